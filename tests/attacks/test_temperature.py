from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.catalog import make_attack
from attacks.evaluation import Problem
from attacks.landscape import Landscape
from attacks.temperature import Scaling, gram, temperatures
from export.errors import InputError


class _Loud(nn.Module):
    def __init__(self, net: nn.Module, gain: float) -> None:
        super().__init__()
        self.net, self.gain = net, gain

    def forward(self, x):
        return self.net(x) * self.gain


@pytest.fixture
def linear():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(24, 5))


def _gram(model, images, labels):
    problem = Problem(truth=torch.from_numpy(labels))
    position = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return problem, gram(Landscape(model=model, problem=problem), position)


def test_the_scaled_jacobian_has_a_mean_singular_value_of_one(linear, images, labels):
    problem, own = _gram(linear, images, labels)
    singular = torch.linalg.svdvals(linear[1].weight.double()).mean()
    logits = own[0] / singular
    quiet = 1 - logits.softmax(1).gather(1, problem.truth[:, None])[:, 0] > 0.01
    found = temperatures(Scaling.NJS, problem, own, None)
    assert quiet.any()
    torch.testing.assert_close(found[quiet], singular.expand_as(found[quiet]))


def test_hessian_s_norm_is_largest_at_the_scale_found(linear, images, labels):
    problem, own = _gram(linear, images[:3], labels[:3])
    scales = 1 / temperatures(Scaling.HNS, problem, own, None)[:, 0]
    weight = linear[1].weight.double()

    def norm(row, scale):
        chance = (own[0][row] * scale).softmax(0)
        return (scale**2 * weight.T @ (torch.diag(chance) - chance.outer(chance)) @ weight).norm()

    for row, scale in enumerate(scales):
        # The second scale may have made it smaller; never larger.
        assert all(norm(row, scale) >= norm(row, scale * factor) for factor in (1.3, 2.0))


def test_the_other_classes_keep_their_share(linear, images, labels):
    predicted = linear(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1).numpy()
    problem, own = _gram(_Loud(linear, 1e4), images, predicted)
    known = (own[0], own[1] * 1e-9)
    found = own[0] / temperatures(Scaling.NJS, problem, own, known)
    rest = 1 - found.softmax(1).gather(1, problem.truth[:, None])[:, 0]
    assert (rest >= 0.01 - 1e-9).all()


def test_no_gradient_gives_a_scale_all_the_same(images, labels):
    logits, grams = torch.zeros(2, 5, dtype=torch.float64), torch.zeros(2, 5, 5, dtype=torch.float64)
    problem = Problem(truth=torch.tensor([0, 1]))
    for scaling in (Scaling.NJS, Scaling.HNS):
        found = temperatures(scaling, problem, (logits, grams), None)
        assert found.isfinite().all()
        assert (found > 0).all()


@pytest.mark.parametrize("scaling", ["njs", "hns"])
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_the_model_s_own_scale_makes_no_difference(scaling, name, net, images, labels):
    attack = make_attack(name, eps=12 / 255, scaling=scaling, seed=1)
    quiet = attack.craft(net, images, labels, batch_size=16)
    loud = attack.craft(_Loud(net, 1024.0), images, labels, batch_size=16)
    assert quiet.adversarial.tobytes() == loud.adversarial.tobytes()
    tail = attack.craft(net, images[21:], labels[21:], batch_size=16, first_index=21)
    assert tail.adversarial.tobytes() == quiet.adversarial[21:].tobytes()


def test_one_temperature_comes_from_the_calibration_images(net, images, labels):
    attack = make_attack("pgd", eps=12 / 255, scaling="njs", steps=5)
    own, known = (
        attack.craft(net, images, labels, calibration=given, batch_size=16) for given in (None, images[:25])
    )
    assert not np.array_equal(own.loss, known.loss)
    tail = attack.craft(net, images[21:], labels[21:], calibration=images[:25], batch_size=16, first_index=21)
    assert tail.adversarial.tobytes() == known.adversarial[21:].tobytes()


def test_a_temperature_beside_a_scaling_is_refused():
    with pytest.raises(InputError, match="njs finds the temperature"):
        make_attack("pgd", eps=0.1, scaling="njs", temperature=0.5)
