from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.catalog import make_attack
from attacks.estimators import Estimator, estimating
from attacks.evaluation import evaluating
from attacks.surrogate import Surrogate
from export.errors import InputError
from quant_models.layers import BinaryActivation

_VALUES = torch.tensor([[-3.0, -0.5, 0.0, 0.5, 3.0]])


class _Sign(nn.Module):
    """A sign whose own gradient is 7, so that no estimator can be taken for it."""

    emits_activation = True

    def forward(self, x):
        sign = torch.where(x >= 0, 1.0, -1.0)
        return 7 * x + (sign - 7 * x).detach()


def _gradient(module, estimator, upstream=1.0, progress=0.0):
    values = _VALUES.clone().requires_grad_()
    with estimating(module, estimator) as estimation:
        estimation.progress = progress
        output = module(values)
        assert output.tolist() == [[-1, -1, 1, 1, 1]]
        (output * upstream).sum().backward()
    return values.grad[0].tolist()


@pytest.mark.parametrize("make", [_Sign, BinaryActivation])
def test_each_estimator_has_its_derivative(make):
    module = make().eval()
    assert _gradient(module, Estimator.IDENTITY) == [1, 1, 1, 1, 1]
    assert _gradient(module, Estimator.HARDTANH) == [0, 1, 1, 1, 0]
    assert _gradient(module, Estimator.CLIP, upstream=-2.5) == [-1] * 5
    assert _gradient(module, Estimator.CLIP, upstream=0.25) == [0.25] * 5
    early, late = (_gradient(module, Estimator.TANH, progress=share) for share in (0.0, 1.0))
    assert early == pytest.approx((1 - np.tanh(0.1 * _VALUES.numpy()[0]) ** 2).tolist())
    assert late[2] == pytest.approx(10)
    assert late[0] < 1e-6


def test_the_model_gets_its_own_back():
    module = _Sign()
    with pytest.raises(RuntimeError), estimating(module, Estimator.IDENTITY):
        raise RuntimeError
    assert _gradient(module, Estimator.MODEL) == [7] * 5
    assert not module._forward_hooks


def test_smooth_signs_are_tanh():
    module = _Sign()
    with estimating(module, Estimator.BPDA) as estimation, estimation.smoothed():
        torch.testing.assert_close(module(_VALUES.clone().requires_grad_()), _VALUES.tanh())


def test_a_surrogate_counts_in_units_of_its_ramp(binarised_graph):
    surrogate = Surrogate(binarised_graph)
    pixels = torch.rand(6, 2, 3, 4, generator=torch.Generator().manual_seed(1))

    def gradient(estimator):
        with evaluating(surrogate), estimating(surrogate, estimator):
            values = pixels.clone().requires_grad_()
            surrogate(values)[:, 0].sum().backward()
        return values.grad

    own, hard, identity = (gradient(e) for e in (Estimator.MODEL, Estimator.HARDTANH, Estimator.IDENTITY))
    # Both have a ramp of the same width in each layer, one with a slope that the other leaves out.
    factor = (own * hard).sum() / (hard * hard).sum()
    assert factor > 0
    torch.testing.assert_close(own, factor * hard)
    assert not torch.allclose(identity * (hard.norm() / identity.norm()), hard)


@pytest.mark.parametrize("estimator", list(Estimator))
@pytest.mark.parametrize("form", ["grid", "float"])
def test_every_estimator_attacks(estimator, form, net, images, labels):
    attack = make_attack("pgd", eps=30 / 255, estimator=str(estimator), form=form)
    result = attack.craft(net, images, labels, batch_size=16)
    assert result.success.mean() > 0.25
    pixels = torch.from_numpy(result.adversarial).permute(0, 3, 1, 2) / 255
    assert np.array_equal(result.success, net(pixels).argmax(1).numpy() != labels)
    again = attack.craft(net, images[30:], labels[30:], batch_size=16, first_index=30)
    assert again.adversarial.tobytes() == result.adversarial[30:].tobytes()


def test_a_model_without_signs_is_refused(images, labels):
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 5))
    with pytest.raises(InputError, match="no sign function"):
        make_attack("fgsm", eps=0.1, estimator="identity").craft(net, images, labels)


@pytest.mark.parametrize("form", ["grid", "float"])
def test_a_surrogate_under_attack_takes_the_estimator(form, graph, images, labels):
    found = {
        estimator: make_attack("fgsm", eps=30 / 255, estimator=str(estimator), form=form)
        .craft(Surrogate(graph), images, labels)
        .adversarial.tobytes()
        for estimator in (Estimator.MODEL, Estimator.HARDTANH, Estimator.IDENTITY, Estimator.BPDA)
    }
    assert found[Estimator.MODEL] == found[Estimator.HARDTANH]
    assert found[Estimator.IDENTITY] != found[Estimator.MODEL]
    assert found[Estimator.BPDA] != found[Estimator.IDENTITY]


def test_signs_without_a_gradient_are_refused(images, labels):
    class Severed(nn.Module):
        emits_activation = True

        def forward(self, x):
            return torch.where(x.detach() >= 0, 1.0, -1.0)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.sign = Severed()

        def forward(self, x):
            flat = x.flatten(1)[:, :5]
            return self.sign(flat) + flat

    with pytest.raises(InputError, match="no sign of the model took the estimator"):
        make_attack("fgsm", eps=0.1, estimator="identity").craft(Net(), images, labels)
