from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.projection import project, rounded, steepest
from attacks.threat import Budget, Norm


@given(
    norm=st.sampled_from(list(Norm)),
    eps=st.floats(0.005, 1),
    seed=st.integers(0, 2**32),
    on_grid=st.booleans(),
    spread=st.sampled_from([0.3, 5.0, 400.0]),
)
@settings(max_examples=80, deadline=None)
def test_a_projection_is_inside(norm, eps, seed, on_grid, spread):
    draw = np.random.default_rng(seed)
    original = torch.from_numpy(draw.integers(0, 256, (4, 2, 3, 5)).astype(np.float32))
    position = original + torch.from_numpy(draw.normal(0, spread, (4, 2, 3, 5)).astype(np.float32))
    budget = Budget(norm=norm, eps=eps)
    found = project(position, original, budget, on_grid=on_grid)
    assert found.min() >= 0
    assert found.max() <= 255
    whole = found if on_grid else rounded(found, original, budget)
    images, originals = (values.permute(0, 2, 3, 1).numpy().astype(np.uint8) for values in (whole, original))
    np.testing.assert_array_equal(whole.permute(0, 2, 3, 1).numpy(), images)
    assert budget.spent(originals, images).max() <= budget.limit((3, 5, 2))


def test_rounding_in_l2_gives_up_least():
    change = torch.tensor([2.6, 1.55, -3.9, 0.2]).view(1, 1, 2, 2)
    original = torch.full((1, 1, 2, 2), 100.0)
    # 3, 2, -4, 0 has 29 squared levels; 26 are allowed: 2 goes back to 1.
    found = project(original + change, original, Budget(norm=Norm.L2, eps=26**0.5 / 255), on_grid=True)
    assert (found - original).flatten().tolist() == [3, 1, -4, 0]


@pytest.mark.parametrize("norm", [Norm.LINF, Norm.L2])
def test_steepest_has_length_one(norm):
    gradient = torch.tensor([[3.0, -4.0, 0.0], [0.0, 0.0, 0.0]]).view(2, 1, 1, 3)
    found = steepest(gradient, norm).flatten(1).tolist()
    assert found[0] == pytest.approx([1, -1, 0] if norm is Norm.LINF else [0.6, -0.8, 0])
    assert found[1] == [0, 0, 0]
