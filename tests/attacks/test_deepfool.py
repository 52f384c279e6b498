from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.catalog import make_attack
from export.errors import InputError


@pytest.fixture
def linear():
    generator = torch.Generator().manual_seed(5)
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 4))
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(4, 24, generator=generator))
        net[1].bias.zero_()
    images = np.random.default_rng(6).integers(110, 146, (16, 3, 4, 2), dtype=np.uint8)
    labels = net(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1).numpy()
    return net, images, labels


def borders(net, images, labels, norm):
    """Distance in levels to the nearest border, by the formula for planes."""
    weight = net[1].weight.detach().double().numpy()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).flatten(1).double().numpy()
    logits = pixels @ weight.T
    found = []
    for row, label in enumerate(labels):
        normals = np.delete(weight - weight[label], label, axis=0)
        behind = logits[row, label] - np.delete(logits[row], label)
        length = np.abs(normals).sum(1) if norm == "linf" else np.sqrt((normals**2).sum(1))
        found.append((behind / length).min())
    return np.array(found)


@pytest.mark.parametrize("form", ["grid", "float"])
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_distance_to_the_nearest_plane(norm, form, linear):
    net, images, labels = linear
    result = make_attack("deepfool", norm=norm, form=form).craft(net, images, labels)
    assert np.all(result.success if form == "grid" else result.float_success)
    change = np.abs(result.adversarial.astype(float) - images)
    size = change.max((1, 2, 3)) if norm == "linf" else np.sqrt((change**2).sum((1, 2, 3)))
    expected = borders(net, images, labels, norm)
    # Rounding: half a level for each of 24 values; the overshoot: 2 %.
    slack = 0.5 if norm == "linf" else np.sqrt(24) / 2
    assert np.all(size > expected - slack - 1e-6)
    assert np.all(size < 1.02 * expected + (1.0 if norm == "linf" else 1.5 * slack) + 0.5)


def test_a_target_is_reached_through_its_own_border(linear):
    net, images, labels = linear
    targets = (labels + 1) % 4
    result = make_attack("deepfool", goal="given").craft(net, images, labels, targets=targets)
    found = net(torch.from_numpy(result.adversarial).permute(0, 3, 1, 2) / 255).argmax(1).numpy()
    np.testing.assert_array_equal(result.success, found == targets)
    assert result.success.mean() > 0.8


def test_no_gradient_leaves_the_image(images):
    class Flat(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3] * 0 + torch.tensor([1.0, 0.0, 0.0])

    result = make_attack("deepfool", steps=3).craft(Flat(), images, np.zeros(40, int))
    np.testing.assert_array_equal(result.adversarial, images)


@pytest.mark.parametrize("parameters", [{"steps": 0}, {"overshoot": -0.1}, {"norm": "l0"}])
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(InputError):
        make_attack("deepfool", **parameters)
