from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.adam import Adam
from attacks.catalog import make_attack
from attacks.cw import CarliniWagner
from attacks.threat import Norm
from export.errors import InputError


@pytest.fixture
def linear():
    """Two classes, parted by a plane; and images on one side of it, away from black and white."""
    generator = torch.Generator().manual_seed(2)
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(2, 24, generator=generator))
        net[1].bias.zero_()
    images = np.random.default_rng(3).integers(90, 166, (12, 3, 4, 2), dtype=np.uint8)
    return net, images


def distances(net, images):
    """Each image's distance to the plane, L2 with values in [0, 1]."""
    normal = (net[1].weight[0] - net[1].weight[1]).detach().double()
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).double().flatten(1) / 255
    return ((pixels @ normal).abs() / normal.norm()).numpy()


def labels_of(net, images):
    return net(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1).numpy()


@pytest.mark.parametrize("form", ["grid", "float"])
def test_distance_to_a_plane(form, linear):
    net, images = linear
    attack = make_attack("cw", form=form, steps=150, learning_rate=0.02, constant=1.0, searches=6)
    result = attack.craft(net, images, labels_of(net, images), batch_size=12)
    assert np.all(result.success if form == "grid" else result.float_success)
    found = np.sqrt(((result.adversarial.astype(float) - images) ** 2).sum((1, 2, 3))) / 255
    expected = distances(net, images)
    # Rounding moves each of 24 values by half a level at most.
    slack = np.sqrt(24) / 2 / 255
    assert np.all(found > expected - slack - 1e-6)
    assert np.all(found < 1.15 * expected + 2 * slack)


def test_confidence_asks_for_a_margin(linear):
    net, images = linear
    labels = labels_of(net, images)
    attack = CarliniWagner(steps=60, learning_rate=0.05, confidence=0.5, constant=100.0)
    found = attack.craft(net, images, labels, batch_size=12).adversarial
    logits = net(torch.from_numpy(found).permute(0, 3, 1, 2) / 255).detach().numpy()
    lead = logits[np.arange(12), 1 - labels] - logits[np.arange(12), labels]
    # The polish at the end gives up the margin, not the success.
    assert np.all(lead > 0)
    floats = make_attack("cw", form="float", steps=60, learning_rate=0.05, confidence=0.5, constant=100.0)
    rounded = floats.craft(net, images, labels, batch_size=12)
    logits = net(torch.from_numpy(rounded.adversarial).permute(0, 3, 1, 2) / 255).detach().numpy()
    assert np.all(logits[np.arange(12), 1 - labels] - logits[np.arange(12), labels] > 0.4)


def test_more_constants_find_nearer_images(net, images, labels):
    one, many = (
        make_attack("cw", steps=40, learning_rate=0.05, searches=searches).craft(
            net, images, labels, batch_size=40
        )
        for searches in (1, 4)
    )
    assert np.all(many.success >= one.success)
    both = one.success & many.success

    def size(result):
        return ((result.adversarial.astype(float) - images) ** 2).sum((1, 2, 3))[both]

    assert size(many).mean() <= size(one).mean()


def test_budget_is_kept(net, images, labels):
    attack = CarliniWagner(eps=0.2, steps=30)
    found = attack.craft(net, images, labels, batch_size=40)
    spent = attack.budget((3, 4, 2)).spent(images, found.adversarial)
    assert attack.norm is Norm.L2
    assert spent.max() <= (255 * 0.2) ** 2


def test_neighbours_do_not_matter(net, images, labels):
    attack = CarliniWagner(steps=30, learning_rate=0.05)
    whole = attack.craft(net, images, labels, batch_size=8)
    part = attack.craft(net, images[5:9], labels[5:9], batch_size=8, first_index=5)
    assert np.array_equal(whole.adversarial[5:9], part.adversarial)


def test_an_image_starts_anew_in_a_place_of_another():
    adam, values = Adam(torch.zeros(2, 3), 0.1), torch.zeros(2, 3)
    for _ in range(5):
        values = adam.moved(values, torch.tensor([[1.0, -2, 3]]).expand(2, 3))
    adam.restart(torch.tensor([1]))
    moved = adam.moved(torch.zeros(2, 3), torch.ones(2, 3))
    fresh = Adam(torch.zeros(1, 3), 0.1).moved(torch.zeros(1, 3), torch.ones(1, 3))
    assert torch.equal(moved[1:], fresh)
    assert not torch.equal(moved[:1], fresh)


def test_adam_is_torch_s():
    start = torch.tensor([1.0, -2.0, 3.0])
    theirs = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([theirs], lr=0.1)
    ours, adam = start.clone(), Adam(start, 0.1)
    for _ in range(20):
        optimizer.zero_grad()
        (theirs**4).sum().backward()
        optimizer.step()
        ours = adam.moved(ours, 4 * ours**3)
    torch.testing.assert_close(ours, theirs.detach())


@pytest.mark.parametrize(
    "parameters",
    [{"steps": 0}, {"constant": 0.0}, {"learning_rate": -1.0}, {"searches": 0}, {"confidence": -1.0}],
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(InputError):
        CarliniWagner(**parameters)
