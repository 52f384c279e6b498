"""The steps of a network: elementwise functions, matrix products, what moves pixels, where branches meet."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from export.graph import IntArray
from export.lowering.operations import FloatArray, Operation

MAX_FRAME_ELEMENTS = 1 << 22

Frame = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointwiseStep:
    """An elementwise function of a stream.

    Attributes:
        node: Name and operator of the node that it came from.
        tensor: The ONNX tensor that holds its result in plain order (NCHW, or the neurons), or None.
        operation: Parameters are scalars, or one value an element in stream order.
    """

    node: tuple[str, str]
    tensor: str | None
    operation: Operation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LinearStep:
    """A product of the stream, or of each of its windows, with a constant matrix.

    Attributes:
        node: Name and operator of the node that it came from.
        tensor: The ONNX tensor that holds the accumulators, or None.
        weights: float32 ``(MH, MW)``, columns in stream order; of a window in the order kernel row, kernel
            column, channel.
        kernel: Height and width of a convolution's window; None for a dense layer.
        stride: Pixels from one window to the next.
        frame: ``(height, width, channels)`` that a convolution's windows slide over.
        groups: Parts that channels and neurons fall into; the columns are those of the neuron's own part.
        draw: Number of the layer in the key of `export.draws` where ``weights`` are the means of ±1 weights
            that are drawn for each frame; else None.
    """

    node: tuple[str, str]
    tensor: str | None
    weights: FloatArray
    kernel: tuple[int, int] | None = None
    stride: tuple[int, int] = (1, 1)
    frame: Frame | None = None
    groups: int = 1
    draw: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PadStep:
    """Pixels of one value around a feature map.

    Attributes:
        node: Name and operator of the node that it came from.
        tensor: The ONNX tensor that holds the result, or None.
        pads: Top, left, bottom, right.
        value: In the float network; None for less than every other value.
    """

    node: tuple[str, str]
    tensor: str | None
    pads: tuple[int, int, int, int]
    value: float | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolStep:
    """The greatest value of each channel in a window.

    Attributes:
        node: Name and operator of the node that it came from.
        tensor: The ONNX tensor that holds the result, or None.
        kernel: Height and width of the window.
        stride: Pixels from one window to the next.
    """

    node: tuple[str, str]
    tensor: str | None
    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AverageStep:
    """The mean of each channel in a window.

    Attributes:
        node: Name and operator of the node that it came from.
        tensor: The ONNX tensor that holds the result, or None.
        kernel: Height and width of the window; their product is a power of two.
        stride: Pixels from one window to the next.
    """

    node: tuple[str, str]
    tensor: str | None
    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class JoinStep:
    """The sum of two streams. What both sides share up to a fork is the same step objects.

    Attributes:
        node: Name and operator of the node that it came from.
        tensor: The ONNX tensor that holds the result, or None.
        left: Steps of one side, from the image on.
        right: Steps of the other.
    """

    node: tuple[str, str]
    tensor: str | None
    left: tuple[Step, ...]
    right: tuple[Step, ...]


MoveStep = PadStep | PoolStep
Token = PointwiseStep | PadStep | PoolStep
Step = Token | LinearStep | AverageStep | JoinStep


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Point:
    """A step at its place in the network.

    Attributes:
        step: The step.
        parents: The steps whose results it takes, two of a join and one of any other; None is the image.
    """

    step: Step
    parents: tuple[Step | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chain:
    """A network from a uint8 image to its logits.

    Attributes:
        input_shape: ``(height, width, channels)`` of the image.
        points: Every step of the file once, in the file's order.
        end: The step that computes the logits; None where they are the image.
        logit_exponent: Integer logits are the outputs times ``2**logit_exponent``; None where nobody said.
    """

    input_shape: Frame
    points: tuple[Point, ...]
    end: Step | None
    logit_exponent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Activation:
    """The value on its way through an ONNX graph.

    Attributes:
        positions: For each element of the ONNX tensor, batch as 1, its position in the hardware's stream.
        plain: The same where the tensor is in plain order (NCHW, or the neurons), flat.
        frame: ``(height, width, channels)`` of the stream; None after a dense layer.
        steps: What computes it.
        label: The node that made a label of it, or None.
    """

    positions: IntArray
    plain: npt.NDArray[np.int64]
    frame: Frame | None = None
    steps: tuple[Step, ...] = ()
    label: tuple[str, str] | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the ONNX tensor holds the stream in plain order."""
        return np.array_equal(self.positions.reshape(-1), self.plain)


def nchw_positions(frame: Frame) -> IntArray:
    """Return the stream's positions of a feature map, int64 ``(1, channels, height, width)``."""
    height, width, channels = frame
    positions = np.arange(prod(frame), dtype=np.int64).reshape(1, height, width, channels)
    return positions.transpose(0, 3, 1, 2)
