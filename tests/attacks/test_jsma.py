from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.catalog import make_attack
from export.errors import InputError


@pytest.fixture
def sparse():
    """Two classes that four of 24 values decide."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 2))
    with torch.no_grad():
        net[1].weight.zero_()
        net[1].bias.copy_(torch.tensor([1.0, 0.0]))
        net[1].weight[1, [2, 5, 11, 17]] = torch.tensor([0.4, 0.9, 0.8, 0.3])
        net[1].weight[0, [2, 5, 11, 17]] = -torch.tensor([0.4, 0.9, 0.8, 0.3])
    return net


def test_the_two_values_that_matter_most_are_changed(sparse):
    images = np.zeros((1, 3, 4, 2), np.uint8)
    for form in ("grid", "float"):
        result = make_attack("jsma", form=form, eps=0.5).craft(sparse, images, np.array([0]))
        flat = result.adversarial.transpose(0, 3, 1, 2).reshape(-1)
        changed = np.flatnonzero(flat).tolist()
        # One of the two is enough; the grid form finds out.
        assert changed == ([5, 11] if form == "float" else [11]) or (form == "grid" and changed == [5])
        assert set(flat[changed]) == {255}
        assert result.success.all()


def test_the_budget_of_pixels_stops_the_search(sparse):
    images = np.zeros((1, 3, 4, 2), np.uint8)
    with torch.no_grad():
        sparse[1].bias[0] = 100.0
    result = make_attack("jsma", eps=4 / 12).craft(sparse, images, np.array([0]))
    assert not result.success.any()
    np.testing.assert_array_equal(result.adversarial, images)


def test_values_may_go_down_on_the_grid(sparse):
    images = np.full((1, 3, 4, 2), 255, np.uint8)
    result = make_attack("jsma", eps=0.5).craft(sparse, images, np.array([1]))
    assert result.success.all()
    assert set(result.adversarial[result.adversarial != 255]) == {0}
    # As published a value only goes up.
    published = make_attack("jsma", form="float", eps=0.5).craft(sparse, images, np.array([1]))
    assert not published.float_success.any()


@pytest.mark.parametrize("parameters", [{"theta": 0.0}, {"candidates": 1}, {"eps": 1.5}])
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(InputError):
        make_attack("jsma", **parameters)
