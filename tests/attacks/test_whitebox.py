"""Every gradient attack, in every norm, for every goal, in both forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks.catalog import ATTACKS, make_attack
from attacks.goal import Goal
from attacks.gradient import GradientAttack
from attacks.iprop import Iprop
from attacks.threat import Norm
from export.errors import InputError

_EPS = {Norm.LINF: 20 / 255, Norm.L2: 0.35, Norm.L0: 0.5}
_FEW = {
    "cw": {"steps": 40, "learning_rate": 0.05},
    "apgd-ce": {"steps": 20},
    "apgd-dlr": {"steps": 20},
    "apgd-t": {"steps": 8, "flips": 8},
    "deepfool": {"steps": 20},
}
_TABLE = [
    (name, norm)
    for name, kind in ATTACKS.items()
    # Target propagation needs a graph, and has tests of its own.
    if issubclass(kind, GradientAttack) and kind is not Iprop
    for norm in sorted(kind.norms)
]


def _labels_on(net, images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return net(pixels).argmax(1).numpy()


@pytest.mark.parametrize("form", ["grid", "float"])
@pytest.mark.parametrize("goal", [Goal.UNTARGETED, Goal.NEXT])
@pytest.mark.parametrize(("name", "norm"), _TABLE)
def test_contract(name, norm, goal, form, net, images, labels):
    parameters = {"norm": str(norm), "goal": str(goal), "form": form, "seed": 3} | _FEW.get(name, {})
    if name == "apgd-t" and goal is not Goal.UNTARGETED:
        with pytest.raises(InputError, match="chooses its classes itself"):
            make_attack(name, eps=_EPS[norm], **parameters)
        return
    attack = make_attack(name, eps=_EPS[norm], **parameters)
    result = attack.craft(net, images, labels, batch_size=16)
    budget = attack.budget(images.shape[1:])
    assert result.adversarial.dtype == np.uint8
    assert 0 < budget.spent(images, result.adversarial).max() <= budget.limit(images.shape[1:])
    found = _labels_on(net, result.adversarial)
    expected = found != labels if goal is Goal.UNTARGETED else found == result.targets
    np.testing.assert_array_equal(result.success, expected)
    assert result.success.any()
    assert (result.float_success is None) == (form == "grid")
    whole = attack.craft(net, images, labels, batch_size=64)
    assert whole.adversarial.tobytes() == result.adversarial.tobytes()
    tail = attack.craft(net, images[33:], labels[33:], batch_size=64, first_index=33)
    assert tail.adversarial.tobytes() == whole.adversarial[33:].tobytes()
    assert make_attack(name, **attack.parameters()) == attack


@pytest.mark.parametrize(("name", "norm"), _TABLE)
def test_grid_form_does_no_worse_than_the_rounded_float_form(name, norm, net, images, labels):
    grid, rounded = (
        make_attack(name, norm=str(norm), eps=_EPS[norm], form=form, **_FEW.get(name, {})).craft(
            net, images, labels
        )
        for form in ("grid", "float")
    )
    assert grid.success.sum() >= rounded.success.sum()
    assert rounded.success.sum() <= len(images)


@pytest.mark.parametrize("name", sorted({name for name, _ in _TABLE if ATTACKS[name].minimises}))
def test_attacks_that_minimise_need_no_budget(name, net, images, labels):
    result = make_attack(name, eps=None, **_FEW.get(name, {})).craft(net, images[:8], labels[:8])
    assert result.success.mean() > 0.7
    wrong = (labels[:8] + 1) % 5
    # What is fooled already needs no change.
    still = make_attack(name, eps=None, **_FEW.get(name, {})).craft(net, images[:8], wrong)
    np.testing.assert_array_equal(still.adversarial, images[:8])
    assert still.success.all()
