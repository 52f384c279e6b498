from __future__ import annotations

import torch
from torch import nn

from attacks.chunks import Asker
from attacks.evaluation import Problem
from attacks.landscape import Landscape


class _Counting(nn.Module):
    """Logits are sums of halves; it notes how many images each call has."""

    def __init__(self):
        super().__init__()
        self.heights = []

    def forward(self, x):
        self.heights.append(len(x))
        flat = x.flatten(1)
        return torch.stack([flat[:, :4].sum(1), flat[:, 4:].sum(1)], dim=1)


def asker(model, truth):
    return Asker(landscape=Landscape(model=model, problem=Problem(truth=truth)), height=4)


def test_every_call_has_one_height_and_each_image_its_own_problem():
    model, truth = _Counting(), torch.tensor([0, 1] * 5)
    rows = torch.tensor([9, 2, 3, 4, 7, 0])
    position = torch.arange(48.0).view(6, 1, 2, 4)
    asking = asker(model, truth)
    seen = asking.confirm(rows, position)
    assert model.heights == [4, 4]
    # The second half of every image is larger: class 1 is predicted.
    assert seen.success.tolist() == (truth[rows] != 1).tolist()
    assert torch.equal(seen.position, position)
    found, gradient = asking.differentiate(
        rows, position, lambda problem, logits: torch.eye(2)[problem.truth].to(logits.dtype)
    )
    assert torch.equal(found.logits, seen.logits)
    first = gradient.flatten(1)[:, 0] != 0
    assert first.tolist() == (truth[rows] == 0).tolist()
    assert set(model.heights) == {4}
