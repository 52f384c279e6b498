"""The layers of a `DataflowGraph` that look at a neighbourhood of pixels; none of them has weights.

Shapes of one frame are ``(height, width, channels)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from export.datatypes import BIPOLAR, TERNARY, DataType
from export.errors import GraphFileError
from export.nodes import Source

MAX_WINDOW = 1 << 12


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
class Swg:
    """Sliding-window generator: FINN's ConvolutionInputGenerator. A convolution is an Swg and an Mvau.

    Output pixel (y, x) holds the window whose upper left corner is input pixel (y * stride, x * stride), its
    elements in the order kernel row, kernel column, channel.

    Attributes:
        name: Unique name of the node.
        input: Name of the stream read.
        in_type: Type of that stream, and of the output.
        kernel: Height and width of the window.
        stride: Pixels from one window to the next, down and across.
        source: Where the output stands in the ONNX file.
    """

    op_type: ClassVar[str] = "Swg"
    name: str
    input: str
    in_type: DataType
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    source: Source | None = None

    def __post_init__(self) -> None:
        _check_window(self.name, self.kernel, self.stride)

    @property
    def out_type(self) -> DataType:
        """Type of the output stream."""
        return self.in_type

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame: ``(rows, columns, kernel pixels * channels)``."""
        rows, columns, channels = _windows(self.name, in_shape, self.kernel, self.stride)
        return rows, columns, self.kernel[0] * self.kernel[1] * channels


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The greatest value of each channel in a window: FINN's Pool. Over ±1 that is an OR.

    Attributes:
        name: Unique name of the node.
        input: Name of the stream read.
        in_type: Type of that stream, and of the output.
        kernel: Height and width of the window.
        stride: Pixels from one window to the next, down and across.
        source: Where the output stands in the ONNX file.
    """

    op_type: ClassVar[str] = "Pool"
    name: str
    input: str
    in_type: DataType
    kernel: tuple[int, int]
    stride: tuple[int, int]
    source: Source | None = None

    def __post_init__(self) -> None:
        _check_window(self.name, self.kernel, self.stride)

    @property
    def out_type(self) -> DataType:
        """Type of the output stream."""
        return self.in_type

    def out_shape(self, in_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output of one frame."""
        return _windows(self.name, in_shape, self.kernel, self.stride)


def _check_window(name: str, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    for label, sizes in (("kernel", kernel), ("stride", stride)):
        if len(sizes) != 2 or not all(1 <= size <= MAX_WINDOW for size in sizes):
            raise GraphFileError(f"{name}: {label} {sizes} must be two sizes of 1 to {MAX_WINDOW}")


def _feature_map(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise GraphFileError(f"{name}: reads a frame of shape {shape}, not (height, width, channels)")
    return shape[0], shape[1], shape[2]


def _windows(
    name: str, in_shape: tuple[int, ...], kernel: tuple[int, int], stride: tuple[int, int]
) -> tuple[int, int, int]:
    height, width, channels = _feature_map(name, in_shape)
    if kernel[0] > height or kernel[1] > width:
        raise GraphFileError(f"{name}: a window of {kernel} does not fit a feature map of {height}x{width}")
    return (height - kernel[0]) // stride[0] + 1, (width - kernel[1]) // stride[1] + 1, channels
