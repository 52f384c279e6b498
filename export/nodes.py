"""The layers of a `DataflowGraph` that compute: matrix products, thresholds and sums."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from export.datatypes import BIPOLAR, DataType, smallest_int
from export.draws import draw_weights
from export.errors import GraphFileError

IntArray = npt.NDArray[np.int64]
WeightArray = npt.NDArray[np.int8]

_MAX_ADD_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a node's output stands in the QONNX file that it was lowered from.

    Attributes:
        tensor: Name of the ONNX tensor.
        exponent: The integer is the tensor's value times ``2**exponent``.
    """

    tensor: str
    exponent: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thresholds:
    """Ascending integer thresholds per channel: FINN's MultiThreshold.

    The output is ``bias + stride * count`` where count is the number of thresholds that are <= the input; for
    BIPOLAR bias is -1 and stride 2, for any other type bias is ``out_bias`` and stride 1. A single ±1
    threshold T therefore means: +1 where ``x >= T``.

    Attributes:
        steps: int64 ``(channels, levels - 1)``, or one row for all channels.
        out_type: Type of the output.
        out_bias: Output below the first threshold; ignored for BIPOLAR.
    """

    steps: IntArray
    out_type: DataType = BIPOLAR
    out_bias: int = 0

    def __post_init__(self) -> None:
        if self.steps.ndim != 2 or self.steps.dtype != np.int64 or self.steps.size == 0:
            raise GraphFileError("thresholds must be int64 of shape (channels, levels - 1)")
        if self.out_type.is_bipolar and self.steps.shape[1] != 1:
            raise GraphFileError("a BIPOLAR output takes exactly one threshold per channel")
        if np.any(self.steps[:, 1:] < self.steps[:, :-1]):  # a difference could wrap
            raise GraphFileError("thresholds of one channel must ascend")
        if not self.out_type.is_bipolar and not (
            self.out_type.minimum <= self.out_bias
            and self.out_bias + self.steps.shape[1] <= self.out_type.maximum
        ):
            raise GraphFileError(f"thresholds count past the range of {self.out_type}")

    def apply(self, values: IntArray) -> IntArray:
        """Threshold int64 ``(..., channels)``; returns int64 of the same shape."""
        count = np.zeros_like(values)
        for level in self.steps.T:
            count += values >= level
        return 2 * count - 1 if self.out_type.is_bipolar else self.out_bias + count


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thresholding:
    """Thresholds on their own, elementwise; at the input they binarise or requantise the image.

    Attributes:
        name: Unique name of the node.
        input: Name of the stream read: another node's name, or `INPUT_TENSOR`.
        in_type: Type of that stream.
        thresholds: One row, or one per channel.
        source: Where the output stands in the ONNX file.
    """

    op_type: ClassVar[str] = "Thresholding"
    name: str
    input: str
    in_type: DataType
    thresholds: Thresholds
    source: Source | None = None

    @property
    def out_type(self) -> DataType:
        """Type of the output stream."""
        return self.thresholds.out_type

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame."""
        channels = self.thresholds.steps.shape[0]
        if channels not in (1, in_shape[-1]):
            raise GraphFileError(f"{self.name}: {channels} threshold rows for {in_shape[-1]} channels")
        return in_shape


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Flatten:
    """Joins all dimensions of a frame into one, in NHWC order. Costs nothing in a stream."""

    op_type: ClassVar[str] = "Flatten"
    name: str
    input: str
    in_type: DataType
    source: Source | None = None

    @property
    def out_type(self) -> DataType:
        """Type of the output stream."""
        return self.in_type

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame."""
        return (prod(in_shape),)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mvau:
    """Matrix-vector-activation unit: ``threshold(weights @ x)``, or ``scale * (weights @ x) + bias``.

    It acts on the innermost dimension, so a convolution is a sliding-window generator followed by an Mvau.

    With ``groups`` the innermost dimension holds that many vectors of MW elements, one after the other, and
    the neurons of group g, rows ``g * MH / groups`` and following, see vector g alone.

    With ``draw`` the weights are ±1 and drawn anew for each frame, as `export.draws` says; ``weights`` then
    holds their means in steps of 1/128.

    Attributes:
        name: Unique name of the node.
        input: Name of the stream read.
        in_type: Type of that stream: BIPOLAR, TERNARY, UINT<n> or INT<n>.
        weights: int8 ``(MH, MW)``: one row an output channel.
        weight_type: BIPOLAR, or INT<n>; BIPOLAR with ``draw``.
        groups: Parts that inputs and neurons fall into; divides MH.
        draw: Number of the layer in the generator's key, below 2**32; None for fixed weights.
        thresholds: Activation; None leaves the accumulator.
        scale: Fixed-point factor per channel, int64 ``(MH,)``, or None for 1; only without thresholds.
        bias: Fixed-point offset per channel, int64 ``(MH,)``, or None for 0; only without thresholds.
        source: Where the output stands in the ONNX file.
    """

    op_type: ClassVar[str] = "Mvau"
    name: str
    input: str
    in_type: DataType
    weights: WeightArray
    weight_type: DataType = BIPOLAR
    groups: int = 1
    draw: int | None = None
    thresholds: Thresholds | None = None
    scale: IntArray | None = None
    bias: IntArray | None = None
    source: Source | None = None

    def __post_init__(self) -> None:
        if self.weights.ndim != 2 or self.weights.dtype != np.int8 or self.weights.size == 0:
            raise GraphFileError(f"{self.name}: weights must be int8 of shape (MH, MW)")
        if self.groups < 1 or self.mh % self.groups:
            raise GraphFileError(f"{self.name}: {self.groups} groups do not divide {self.mh} neurons")
        self._check_weights()
        if self.thresholds is not None and self.thresholds.steps.shape[0] not in (1, self.mh):
            rows = self.thresholds.steps.shape[0]
            raise GraphFileError(f"{self.name}: {rows} threshold rows for {self.mh} neurons")
        if self.thresholds is not None and (self.scale is not None or self.bias is not None):
            raise GraphFileError(f"{self.name}: scale and bias go with an output without thresholds")
        for label, values in (("scale", self.scale), ("bias", self.bias)):
            if values is not None and (values.shape != (self.mh,) or values.dtype != np.int64):
                raise GraphFileError(f"{self.name}: {label} must be int64 of shape ({self.mh},)")
        if max(map(abs, self.accumulator_range)) >= 1 << 53 or max(map(abs, self._raw_range)) >= 1 << 61:
            raise GraphFileError(f"{self.name}: accumulators need more than 53 bits, or outputs more than 62")

    def _check_weights(self) -> None:
        if self.draw is not None:
            if not self.weight_type.is_bipolar or not 0 <= self.draw < 1 << 32:
                raise GraphFileError(f"{self.name}: drawn weights are BIPOLAR, of a layer below 2**32")
            return
        low, high = self.weight_type.minimum, self.weight_type.maximum
        if self.weights.min() < low or self.weights.max() > high:
            raise GraphFileError(f"{self.name}: weights leave the range of {self.weight_type}")
        if self.weight_type.is_bipolar and np.any(self.weights == 0):
            raise GraphFileError(f"{self.name}: a BIPOLAR weight is 0")

    def weights_of(self, frame: int, seed: int) -> WeightArray:
        """Return the weights of one frame, int8 ``(MH, MW)``; without `draw` they are the same in all.

        Args:
            frame: Index of the frame, not negative.
            seed: The run's seed, below 2**32.
        """
        if self.draw is None:
            return self.weights
        return draw_weights(self.weights, seed=seed, layer=self.draw, frame=frame)

    @property
    def mw(self) -> int:
        """Matrix width: inputs per neuron."""
        return int(self.weights.shape[1])

    @property
    def mh(self) -> int:
        """Matrix height: neurons."""
        return int(self.weights.shape[0])

    @property
    def accumulator_range(self) -> tuple[int, int]:
        """Least and greatest value of ``weights @ x`` over all inputs of `in_type` and these weights.

        Drawn weights count as any ±1 weights.
        """
        low, high = self.in_type.minimum, self.in_type.maximum
        if self.draw is not None:
            largest = self.mw * max(abs(low), abs(high))
            return -largest, largest
        up = np.maximum(self.weights, 0).sum(axis=1, dtype=np.int64).tolist()
        down = np.minimum(self.weights, 0).sum(axis=1, dtype=np.int64).tolist()
        # Python's integers, because a stream of 64 bits would overflow NumPy's without a word.
        rows = list(zip(up, down, strict=True))
        return min(p * low + n * high for p, n in rows), max(p * high + n * low for p, n in rows)

    @property
    def out_type(self) -> DataType:
        """Type of the output stream: the thresholds', else the narrowest signed integer that holds it."""
        if self.thresholds is not None:
            return self.thresholds.out_type
        low, high = self._raw_range
        return smallest_int(min(-1, low), high)

    @property
    def _raw_range(self) -> tuple[int, int]:
        """Bounds of ``scale * accumulator + bias``."""
        low, high = self.accumulator_range
        scale = [1] if self.scale is None else [int(s) for s in self.scale]
        bias = [0] if self.bias is None else [int(b) for b in self.bias]
        ends = [s * end for s in (min(scale), max(scale)) for end in (low, high)]
        return min(ends) + min(bias), max(ends) + max(bias)

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame."""
        if in_shape[-1] != self.mw * self.groups:
            wanted = f"MW {self.mw}" + (f" times {self.groups} groups" if self.groups > 1 else "")
            raise GraphFileError(f"{self.name}: {wanted}, but its input has {in_shape[-1]} channels")
        return (*in_shape[:-1], self.mh)


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """The sum of two streams, element by element: FINN's AddStreams, where a residual branch comes back.

    Attributes:
        name: Unique name of the node.
        input: Name of one stream read.
        in_type: Type of that stream.
        other: Name of the other one; a shape equal to the first's.
        other_type: Type of that stream.
        source: Where the output stands in the ONNX file.
    """

    op_type: ClassVar[str] = "Add"
    name: str
    input: str
    in_type: DataType
    other: str
    other_type: DataType
    source: Source | None = None

    def __post_init__(self) -> None:
        if max(self.in_type.width_bits, self.other_type.width_bits) > _MAX_ADD_BITS:
            raise GraphFileError(
                f"{self.name}: adds {self.in_type} and {self.other_type}, at most 32 bits each"
            )

    @property
    def out_type(self) -> DataType:
        """The narrowest integer type that holds every sum."""
        low = self.in_type.minimum + self.other_type.minimum
        return smallest_int(low, self.in_type.maximum + self.other_type.maximum)

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame."""
        return in_shape
