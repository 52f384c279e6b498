"""A small ±1 network in plain torch with straight-through gradients, and integer graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.datatypes import BIPOLAR, UINT8
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Thresholding, Thresholds


class _Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return torch.where(values >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        return gradient * (values.abs() <= 1)


class Binarise(nn.Module):
    emits_activation = True

    def forward(self, values: Tensor) -> Tensor:
        return _Sign.apply(values)


class TinyNet(nn.Module):
    """The torch side of `graph_of`: 8-bit input, one hidden ±1 layer, integer accumulators / 2**exponent."""

    logit_exponent = 3

    def __init__(self, shape: tuple[int, int, int], hidden: int, classes: int, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        pixels = shape[0] * shape[1] * shape[2]
        self.shape = shape
        self.first = nn.Parameter(torch.randn(hidden, pixels, generator=generator).sign())
        self.last = nn.Parameter(torch.randn(classes, hidden, generator=generator).sign())
        self.thresholds = torch.randint(-400, 400, (hidden,), generator=generator).float()
        self.scale = 4.0 * pixels**0.5 * 50
        self.binarise = Binarise()

    def forward(self, images: Tensor) -> Tensor:
        scaled = images * 255
        pixels = scaled + (scaled.round() - scaled).detach()
        flat = pixels.permute(0, 2, 3, 1).flatten(1)
        hidden = self.binarise((flat @ self.first.T - self.thresholds) / self.scale)
        return hidden @ self.last.T / 2**self.logit_exponent


def graph_of(net: TinyNet) -> DataflowGraph:
    """What lowering makes of a `TinyNet`."""
    return DataflowGraph(
        input_shape=net.shape,
        nodes=(
            Flatten(name="flatten_0", input=INPUT_TENSOR, in_type=UINT8),
            Mvau(
                name="mvau_0",
                input="flatten_0",
                in_type=UINT8,
                weights=net.first.detach().numpy().astype(np.int8),
                thresholds=Thresholds(steps=net.thresholds.numpy().astype(np.int64)[:, None]),
            ),
            Mvau(
                name="mvau_1",
                input="mvau_0",
                in_type=BIPOLAR,
                weights=net.last.detach().numpy().astype(np.int8),
            ),
        ),
    )


@pytest.fixture
def net() -> TinyNet:
    return TinyNet((3, 4, 2), hidden=32, classes=5, seed=1)


@pytest.fixture
def graph(net: TinyNet) -> DataflowGraph:
    return graph_of(net)


@pytest.fixture
def tiny_net():
    return TinyNet


@pytest.fixture
def tiny_graph():
    return graph_of


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 3, 4, 2), dtype=np.uint8)


@pytest.fixture
def labels(net: TinyNet, images: np.ndarray) -> np.ndarray:
    """The classes that the network gives the clean images."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return net(pixels).argmax(1).numpy()


@pytest.fixture
def binarised_graph() -> DataflowGraph:
    """Binarised input, two hidden layers, scale and bias at the end."""
    draw = np.random.default_rng(7)

    def pm1(*shape: int) -> np.ndarray:
        return draw.choice(np.array([-1, 1], np.int8), shape)

    def hidden(name: str, source: str, rows: int, columns: int) -> Mvau:
        steps = draw.integers(-4, 5, (rows, 1))
        return Mvau(
            name=name,
            input=source,
            in_type=BIPOLAR,
            weights=pm1(rows, columns),
            thresholds=Thresholds(steps=steps),
        )

    return DataflowGraph(
        input_shape=(3, 4, 2),
        nodes=(
            Thresholding(
                name="thresholding_0",
                input=INPUT_TENSOR,
                in_type=UINT8,
                thresholds=Thresholds(steps=np.array([[128]])),
            ),
            Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
            hidden("mvau_0", "flatten_0", 16, 24),
            hidden("mvau_1", "mvau_0", 12, 16),
            Mvau(
                name="mvau_2",
                input="mvau_1",
                in_type=BIPOLAR,
                weights=pm1(5, 12),
                scale=draw.integers(-9, 10, 5),
                bias=draw.integers(-50, 50, 5),
            ),
        ),
    )


@pytest.fixture
def linear_graph() -> DataflowGraph:
    """Class 0 where the pixels of a 4x4 image sum to at least 1600, class 1 elsewhere."""
    return DataflowGraph(
        input_shape=(4, 4, 1),
        nodes=(
            Flatten(name="flatten_0", input=INPUT_TENSOR, in_type=UINT8),
            Mvau(
                name="mvau_0",
                input="flatten_0",
                in_type=UINT8,
                weights=np.repeat(np.array([[1], [-1]], np.int8), 16, axis=1),
                scale=np.array([1, 1]),
                bias=np.array([0, 3200]),
            ),
        ),
    )


@pytest.fixture
def drawn_graph() -> DataflowGraph:
    """A hidden layer whose weights are drawn for each frame."""
    draw = np.random.default_rng(3)
    return DataflowGraph(
        input_shape=(3, 4, 2),
        nodes=(
            Flatten(name="flatten_0", input=INPUT_TENSOR, in_type=UINT8),
            Mvau(
                name="mvau_0",
                input="flatten_0",
                in_type=UINT8,
                weights=draw.integers(-128, 128, (16, 24)).astype(np.int8),
                thresholds=Thresholds(steps=draw.integers(-400, 400, (16, 1))),
                draw=0,
            ),
            Mvau(
                name="mvau_1",
                input="mvau_0",
                in_type=BIPOLAR,
                weights=draw.choice(np.array([-1, 1], np.int8), (5, 16)),
            ),
        ),
    )
