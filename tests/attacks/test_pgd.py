from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.fgsm import Fgsm
from attacks.gradient import Form
from attacks.pgd import Pgd
from attacks.threat import Norm
from export.errors import InputError


class _Bump(nn.Module):
    """Class 1 wins only at the pixel value 103; elsewhere class 0 does, and the loss grows with the value."""

    def forward(self, x):
        value = x.flatten(1)[:, :1] * 255
        hit = (value.detach().round() == 103).float() * 1e6
        return torch.cat([-value, value * 0 - 1e5 + hit], dim=1)


def test_success_beats_a_higher_loss_of_a_later_step():
    image = np.full((1, 1, 1, 1), 100, np.uint8)
    attack = Pgd(eps=10 / 255, steps=8, step_size=1 / 255, random_start=False)
    result = attack.craft(_Bump(), image, np.array([0]))
    assert result.adversarial.item() == 103
    assert result.success.item()


def test_original_is_kept_where_nothing_beats_it(net, images, labels):
    wrong = (labels + 1) % 5
    result = Pgd(eps=3 / 255, steps=1, seed=2).craft(net, images, wrong)
    assert result.success.all()


def test_more_steps_and_restarts_never_hurt(net, images, labels):
    few = Pgd(eps=10 / 255, steps=5, step_size=3 / 255, seed=4, flips=0).craft(net, images, labels)
    more = Pgd(eps=10 / 255, steps=9, step_size=3 / 255, seed=4, restarts=3, flips=0).craft(
        net, images, labels
    )
    assert np.all(more.success >= few.success)
    same = more.success == few.success
    assert np.all(more.loss[same] >= few.loss[same])


def test_an_eighth_of_the_steps_is_left_for_flips(net, images, labels):
    class Counting(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net, self.calls = net, 0

        def forward(self, x):
            self.calls += 1
            return self.net(x)

    def calls(**parameters):
        model = Counting(net)
        Pgd(eps=0.1, steps=16, **parameters).craft(model, images, labels)
        return model.calls

    assert calls() <= calls(flips=0) + 1
    assert calls(flips=0) + 5 == calls(flips=4)
    assert (Pgd(eps=0.1, steps=16).rounds, Pgd(eps=0.1, steps=16, flips=0).rounds) == (14, 16)
    assert Pgd(eps=0.1, steps=16, form=Form.FLOAT).rounds == Pgd(eps=2.0, norm=Norm.L2, steps=16).rounds == 16


def test_pgd_is_at_least_as_strong_as_fgsm(net, images, labels):
    fgsm = Fgsm(eps=12 / 255).craft(net, images, labels).success.mean()
    assert Pgd(eps=12 / 255, steps=20).craft(net, images, labels).success.mean() >= fgsm


def test_momentum_changes_the_path(net, images, labels):
    plain = Pgd(eps=0.1, steps=10, random_start=False).craft(net, images, labels)
    heavy = Pgd(eps=0.1, steps=10, random_start=False, momentum=0.9).craft(net, images, labels)
    assert plain.adversarial.tobytes() != heavy.adversarial.tobytes()
    assert heavy.success.mean() > 0.3


@pytest.mark.parametrize(
    ("eps", "steps", "size", "expected"),
    [(0.1, 20, None, 3), (1 / 255, 100, None, 1), (0.1, 10, 0.0001, 1), (0.3, 10, 0.02, 5)],
)
def test_steps_are_whole_grid_steps(eps, steps, size, expected):
    assert Pgd(eps=eps, steps=steps, step_size=size).length == expected


@pytest.mark.parametrize(
    "parameters",
    [
        {"steps": 0},
        {"steps": 2.5},
        {"restarts": 0},
        {"step_size": 0.0},
        {"step_size": float("nan")},
        {"momentum": 1.5},
        {"random_start": False, "restarts": 2},
        {"seed": -1},
        {"temperature": 0.0},
        {"goal": "any"},
    ],
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(InputError):
        Pgd(eps=0.1, **parameters)
