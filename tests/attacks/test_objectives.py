from __future__ import annotations

import pytest
import torch

from attacks.catalog import make_attack
from attacks.objectives import Classes, Objective, ascent, value
from export.errors import InputError

_LOGITS = torch.tensor([[3.0, 1.0, 0.5, -2.0, 0.0], [0.1, 4.0, 3.5, 3.0, -1.0]], dtype=torch.float64)
_TRUTH, _AIM = torch.tensor([0, 1]), torch.tensor([2, 0])


@pytest.mark.parametrize("objective", list(Objective))
@pytest.mark.parametrize("aim", [None, _AIM])
def test_ascent_is_the_gradient_up_to_a_positive_factor(objective, aim):
    classes = Classes(truth=_TRUTH, aim=aim)
    logits = _LOGITS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(value(objective, logits, classes).sum(), logits)
    found = ascent(objective, _LOGITS, classes)
    factor = (found * expected).sum(1, keepdim=True) / (expected**2).sum(1, keepdim=True)
    assert (factor > 0).all()
    torch.testing.assert_close(found, factor * expected)


def test_known_values():
    untargeted, targeted = Classes(truth=_TRUTH, aim=None), Classes(truth=_TRUTH, aim=_AIM)
    assert value(Objective.MARGIN, _LOGITS, untargeted).tolist() == [-2.0, -0.5]
    assert value(Objective.MARGIN, _LOGITS, targeted).tolist() == pytest.approx([-2.5, -3.9])
    assert value(Objective.DLR, _LOGITS, untargeted).tolist() == pytest.approx([-2 / 2.5, -0.5 / 1.0])
    expected = [(0.5 - 3) / (3 - 0.25), (0.1 - 4) / (4 - 1.55)]
    assert value(Objective.DLR, _LOGITS, targeted).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("objective", list(Objective))
def test_logits_that_tie_give_finite_values(objective):
    logits = torch.zeros(2, 5, dtype=torch.float64)
    classes = Classes(truth=_TRUTH, aim=None)
    assert value(objective, logits, classes).isfinite().all()
    rise = ascent(objective, logits, classes)
    assert rise.isfinite().all()
    assert (rise[:, :] != 0).any(dim=1).all()


@pytest.mark.parametrize("objective", list(Objective))
@pytest.mark.parametrize("name", ["fgsm", "pgd"])
def test_attacks_take_any_objective(objective, name, net, images, labels):
    result = make_attack(name, eps=30 / 255, objective=str(objective)).craft(net, images, labels)
    assert result.success.mean() > 0.3


def test_too_few_classes_are_named(tiny_net, images):
    net = tiny_net((3, 4, 2), hidden=8, classes=2, seed=0)
    with pytest.raises(InputError, match="dlr needs 3 classes, the model has 2"):
        make_attack("pgd", eps=0.1, objective="dlr").craft(net, images, torch.zeros(40).long().numpy())
