"""Helpers for the tests of `quant_models`: small data sets, and an integer model of a network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from quant_models.data import Dataset, ImageSet
from quant_models.layers import BatchNorm, BinaryLinear
from quant_models.mlp import BinaryMlp

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def make_dataset() -> MakeDataset:
    """A factory of random data sets that a network can learn: the class is the brightest column."""

    def make(*, train: int = 120, test: int = 40, size: int = 4, seed: int = 0) -> Dataset:
        generator = np.random.default_rng(seed)

        def part(count: int) -> ImageSet:
            labels = generator.integers(0, size, count)
            images = generator.integers(0, 120, (count, size, size, 1), dtype=np.uint8)
            images[np.arange(count), :, labels] += 130
            return ImageSet(images=images, labels=labels.astype(np.int64))

        names = tuple(f"column {index}" for index in range(size))
        return Dataset(name="columns", classes=names, train=part(train), test=part(test))

    return make


@pytest.fixture
def integer_logits() -> Callable[[BinaryMlp, np.ndarray], np.ndarray]:
    """The network in NumPy: int64 accumulators, and float32 only for BatchNorm's two operations."""
    return _integer_logits


def _integer_logits(model: BinaryMlp, images: np.ndarray) -> np.ndarray:
    pixels = np.moveaxis(images, 3, 1).reshape(len(images), -1).astype(np.int64)
    is_binary = model.spec.input_mode == "binary"
    values = np.where(pixels >= 128, 1, -1) if is_binary else pixels - 128
    step = np.float32(1 if is_binary else 2.0**-7)
    linears = [layer for layer in model.modules() if isinstance(layer, BinaryLinear)]
    norms = [layer for layer in model.modules() if isinstance(layer, BatchNorm)]
    for linear, norm in zip(linears, norms, strict=False):
        accumulators = values @ _signs(linear).T
        scale, shift = _affine(norm)
        with np.errstate(over="ignore", invalid="ignore"):
            normalised = accumulators.astype(np.float32) * step * scale + shift
        values = np.where(normalised >= 0, 1, -1)
        step = np.float32(1)
    accumulators = values @ _signs(linears[-1]).T
    if model.affine is None:
        return accumulators
    steps = 2.0**model.affine.exponent
    scale = (model.affine.scale.double().numpy() * steps).astype(np.int64)
    return accumulators * scale + (model.affine.offset.double().numpy() * steps).astype(np.int64)


def _signs(linear: BinaryLinear) -> np.ndarray:
    return np.where(linear.weight.detach().numpy() >= 0, 1, -1).astype(np.int64)


def _affine(norm: BatchNorm) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, var = (
        tensor.detach().numpy() for tensor in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    scale = gamma / np.sqrt(var + np.float32(norm.eps))
    return scale, beta - mean * scale


@pytest.fixture(autouse=True)
def _seeded_torch() -> None:
    torch.manual_seed(0)
