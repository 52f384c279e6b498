from __future__ import annotations

import pytest
import torch

from attacks.evaluation import Problem
from attacks.nearest import contract, distance, nearer_of, undo
from attacks.threat import Norm

_PROBLEM = Problem(truth=torch.zeros(2, dtype=torch.int64))
_ORIGINAL = torch.zeros(2, 1, 2, 4)


def _judge(rows, position):
    """Fooled where value 3 is at least 40."""
    lead = position.flatten(1)[:, 3] - 39.5
    return _PROBLEM.take(rows).judge(position, torch.stack([-lead, lead], dim=1))


@pytest.fixture
def found():
    position = torch.tensor([[9.0, 0, 200, 100, 7, 8, 1, 2], [0.0, 0, 0, 10, 0, 0, 0, 0]]).view(2, 1, 2, 4)
    return _judge(torch.arange(2), position)


def test_distances():
    position = torch.tensor([[3.0, -4, 0, 0, 0, 0, 0, 0]]).view(1, 2, 2, 2)
    zero = torch.zeros_like(position)
    assert distance(position, zero, Norm.LINF).tolist() == [4]
    assert distance(position, zero, Norm.L2).tolist() == [25]
    assert distance(torch.ones(1, 2, 2, 2), torch.zeros(1, 2, 2, 2), Norm.L0).tolist() == [4]


@pytest.mark.parametrize("norm", [Norm.L2, Norm.L0])
def test_what_is_not_needed_is_undone(norm, found):
    best = undo(_judge, found, _ORIGINAL, norm)
    assert best.position[0].flatten().tolist() == [0, 0, 0, 100, 0, 0, 0, 0]
    # What doesn't fool is left alone, without a question.
    assert torch.equal(best.position[1], found.position[1])


def test_the_dearest_go_first_and_only_what_is_open_is_asked(found):
    asked = []

    def judge(rows, position):
        asked.append((rows.tolist(), position.flatten(1)[0].tolist()))
        return _judge(rows, position)

    best = undo(judge, found, _ORIGINAL, Norm.L2, dearest_first=True)
    assert best.position[0].flatten().tolist() == [0, 0, 0, 100, 0, 0, 0, 0]
    assert asked[0] == ([0], [9, 0, 0, 100, 7, 8, 1, 2])
    assert all(rows == [0] for rows, _ in asked)


@pytest.mark.parametrize(("norm", "expected"), [(Norm.L2, 40), (Norm.LINF, 40)])
def test_the_change_shrinks_to_the_border(norm, expected, found):
    best = contract(_judge, found, _ORIGINAL, norm, looks=10)
    assert best.position[0].flatten()[3] == expected
    assert best.success.tolist() == [True, False]


def test_nearer_needs_success(found):
    near = _judge(torch.arange(2), torch.zeros_like(_ORIGINAL))
    assert torch.equal(nearer_of(near, found, _ORIGINAL, Norm.L2).position, found.position)
