from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quant_models.layers import BatchNorm, BinaryActivation, BinaryLinear, FixedPointAffine, InputGrid

_FINITE = st.floats(-1e6, 1e6, width=32)


def test_grid_keeps_every_grey_level() -> None:
    levels = torch.arange(256, dtype=torch.float32)
    assert torch.equal(InputGrid()(levels / 255), levels / 128 - 1)


def test_grid_equals_numpy_rounding_of_any_float() -> None:
    x = torch.rand(10_000)
    expected = np.round(np.float32(255) * x.numpy()) / np.float32(128) - np.float32(1)
    assert np.array_equal(InputGrid()(x).numpy(), expected)


def test_grid_gradient_is_that_of_the_line() -> None:
    x = torch.rand(100, requires_grad=True)
    InputGrid()(x).sum().backward()
    assert torch.equal(x.grad, torch.full((100,), 255 / 128))


@pytest.mark.parametrize("training", [True, False])
def test_sign_of_zero_is_plus_one(training: bool) -> None:
    x = torch.tensor([-2.0, -1e-38, -0.0, 0.0, 1e-38, 0.5])
    expected = torch.tensor([-1.0, -1.0, 1.0, 1.0, 1.0, 1.0])
    assert torch.equal(BinaryActivation().train(training)(x), expected)


@pytest.mark.parametrize("training", [True, False])
def test_activation_gradient_passes_inside_the_unit_interval(training: bool) -> None:
    x = torch.tensor([-1.5, -1.0, -0.5, 0.0, 1.0, 1.001], requires_grad=True)
    BinaryActivation().train(training)(x).sum().backward()
    assert torch.equal(x.grad, torch.tensor([0.0, 1.0, 1.0, 1.0, 1.0, 0.0]))


def test_weights_are_signs_with_scale_one() -> None:
    layer = BinaryLinear(3, 2)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.3, -0.7, 0.0], [-0.0, 5.0, -1e-30]]))
    identity = torch.eye(3)
    assert torch.equal(layer(identity).T, torch.tensor([[1.0, -1.0, 1.0], [1.0, 1.0, -1.0]]))
    assert layer.quant_weight().scale.item() == 1.0


def test_latent_weights_receive_the_gradient() -> None:
    layer = BinaryLinear(4, 1)
    layer(torch.ones(1, 4)).sum().backward()
    assert torch.equal(layer.weight.grad, torch.ones(1, 4))


@given(
    x=hnp.arrays(np.float32, (7, 3), elements=_FINITE),
    gamma=hnp.arrays(np.float32, 3, elements=_FINITE),
    beta=hnp.arrays(np.float32, 3, elements=_FINITE),
    mean=hnp.arrays(np.float32, 3, elements=_FINITE),
    var=hnp.arrays(np.float32, 3, elements=st.floats(0, 1e6, width=32)),
)
def test_batchnorm_is_two_float32_operations(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray
) -> None:
    norm = BatchNorm(3).eval()
    with torch.no_grad():
        for tensor, values in (
            (norm.weight, gamma),
            (norm.bias, beta),
            (norm.running_mean, mean),
            (norm.running_var, var),
        ):
            tensor.copy_(torch.from_numpy(values))
    scale = gamma / np.sqrt(var + np.float32(1e-5))
    shift = beta - mean * scale
    assert np.array_equal(norm(torch.from_numpy(x)).detach().numpy(), x * scale + shift)


def test_batchnorm_root_is_correctly_rounded() -> None:
    generator = np.random.default_rng(0)
    var = (generator.random(100_000) * generator.choice([1e-6, 1, 1e4, 1e8], 100_000)).astype(np.float32)
    norm = BatchNorm(len(var)).eval()
    norm.running_var.copy_(torch.from_numpy(var))
    scale, _ = norm.affine()
    assert np.array_equal(scale.detach().numpy(), np.float32(1) / np.sqrt(var + np.float32(1e-5)))


def test_batchnorm_trains_like_torch() -> None:
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm1d(5)
    for _ in range(3):
        x = torch.randn(32, 5) * 3 + 1
        assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert torch.allclose(ours.running_mean, theirs.running_mean)
    assert torch.allclose(ours.running_var, theirs.running_var)


@given(
    weight=hnp.arrays(np.float32, 4, elements=st.floats(-1e9, 1e9, width=32)),
    bias=hnp.arrays(np.float32, 4, elements=st.floats(-1e9, 1e9, width=32)),
)
def test_affine_is_exact_for_any_latent_values(weight: np.ndarray, bias: np.ndarray) -> None:
    layer = FixedPointAffine(64, 4, exponent=6, scale=0.125)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        layer.bias.copy_(torch.from_numpy(bias))
    accumulators = torch.arange(-64, 65, dtype=torch.float32)[:, None].expand(-1, 4)
    trained = layer.train()(accumulators)
    frozen = layer.eval()(accumulators)
    scale = (layer.scale.double() * 64).long()
    offset = (layer.offset.double() * 64).long()
    assert bool((scale >= 1).all())
    assert torch.equal((frozen.double() * 64).long(), accumulators.long() * scale + offset)
    assert torch.equal(frozen * 64, torch.round(frozen * 64))
    assert torch.equal(trained, frozen)
