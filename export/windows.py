"""The layers of a `DataflowGraph` that look at a neighbourhood of pixels; none of them has weights.

Shapes of one frame are ``(height, width, channels)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from export.datatypes import BIPOLAR, TERNARY, DataType, smallest_int
from export.errors import GraphFileError
from export.nodes import Source

MAX_WINDOW = 1 << 12
# A sum over the largest window must fit 64 bits.
_MAX_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class FmPadding:
    """Adds pixels of one value around a feature map: FINN's FMPadding.

    A BIPOLAR stream padded with 0 becomes TERNARY: a padded position counts for nothing in a sum. Padded with
    -1 or +1 it stays BIPOLAR. An integer stream keeps its type.

    Attributes:
        name: Unique name of the node.
        input: Name of the stream read.
        in_type: Type of that stream.
        pads: Pixels added at the top, left, bottom and right.
        value: What the new pixels hold in every channel.
        source: Where the output stands in the ONNX file.
    """

    op_type: ClassVar[str] = "FmPadding"
    name: str
    input: str
    in_type: DataType
    pads: tuple[int, int, int, int]
    value: int = 0
    source: Source | None = None

    def __post_init__(self) -> None:
        if len(self.pads) != 4 or min(self.pads) < 0 or max(self.pads) > MAX_WINDOW:
            raise GraphFileError(f"{self.name}: pads {self.pads} must be four sizes of 0 to {MAX_WINDOW}")
        if not self.in_type.minimum <= self.value <= self.in_type.maximum:
            raise GraphFileError(f"{self.name}: the padding value {self.value} is no {self.in_type}")

    @property
    def out_type(self) -> DataType:
        """Type of the output stream."""
        return TERNARY if self.in_type == BIPOLAR and self.value == 0 else self.in_type

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame."""
        height, width, channels = _feature_map(self.name, in_shape)
        top, left, bottom, right = self.pads
        return height + top + bottom, width + left + right, channels


@dataclass(frozen=True, slots=True, kw_only=True)
class _Windows:
    """What the nodes that read a feature map window by window have in common.

    Attributes:
        name: Unique name of the node.
        input: Name of the stream read.
        in_type: Type of that stream, and of the output.
        kernel: Height and width of the window.
        stride: Pixels from one window to the next, down and across.
        source: Where the output stands in the ONNX file.
    """

    name: str
    input: str
    in_type: DataType
    kernel: tuple[int, int]
    stride: tuple[int, int]
    source: Source | None = None

    def __post_init__(self) -> None:
        for label, sizes in (("kernel", self.kernel), ("stride", self.stride)):
            if len(sizes) != 2 or not all(1 <= size <= MAX_WINDOW for size in sizes):
                raise GraphFileError(f"{self.name}: {label} {sizes} must be two sizes of 1 to {MAX_WINDOW}")
        if self.in_type.width_bits > _MAX_BITS:
            raise GraphFileError(f"{self.name}: reads {self.in_type}, more than {_MAX_BITS} bits")

    @property
    def out_type(self) -> DataType:
        """Type of the output stream."""
        return self.in_type

    def _windows(self, in_shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Return rows and columns of windows, and the channels."""
        height, width, channels = _feature_map(self.name, in_shape)
        (high, wide), (down, across) = self.kernel, self.stride
        if high > height or wide > width:
            raise GraphFileError(
                f"{self.name}: a window of {self.kernel} does not fit a feature map of {height}x{width}"
            )
        return (height - high) // down + 1, (width - wide) // across + 1, channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Swg(_Windows):
    """Sliding-window generator: FINN's ConvolutionInputGenerator. A convolution is an Swg and an Mvau.

    Output pixel (y, x) holds the window whose upper left corner is input pixel (y * stride, x * stride), its
    elements in the order group, kernel row, kernel column, channel of the group.

    Attributes:
        groups: Parts that the channels fall into, for an Mvau with as many groups; divides the channels.
    """

    op_type: ClassVar[str] = "Swg"
    stride: tuple[int, int] = (1, 1)
    groups: int = 1

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame: ``(rows, columns, kernel pixels * channels)``."""
        rows, columns, channels = self._windows(in_shape)
        if self.groups < 1 or channels % self.groups:
            raise GraphFileError(f"{self.name}: {self.groups} groups do not divide {channels} channels")
        return rows, columns, self.kernel[0] * self.kernel[1] * channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(_Windows):
    """The greatest value of each channel in a window, or the sum: FINN's Pool. Over ±1 the first is an OR.

    An average is a sum whose scale the next layer takes in.

    Attributes:
        mode: ``max`` or ``sum``.
    """

    op_type: ClassVar[str] = "Pool"
    mode: Literal["max", "sum"] = "max"

    @property
    def out_type(self) -> DataType:
        """The input's type, or the narrowest that holds every sum."""
        if self.mode == "max":
            return self.in_type
        count = self.kernel[0] * self.kernel[1]
        return smallest_int(count * self.in_type.minimum, count * self.in_type.maximum)

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame."""
        return self._windows(in_shape)


def _feature_map(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise GraphFileError(f"{name}: reads a frame of shape {shape}, not (height, width, channels)")
    return shape[0], shape[1], shape[2]
