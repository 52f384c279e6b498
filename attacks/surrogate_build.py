"""From a dataflow graph to the layers of `attacks.surrogate`: what is fused, and how wide gates are."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from attacks.surrogate_layers import (
    Convolution,
    Dense,
    Drawn,
    Flat,
    Gate,
    ImageConvolution,
    Layer,
    Plain,
    Thresholds,
    by_channel,
    gather,
    kernels_of,
    product_by_group,
)
from export.datatypes import DataType
from export.errors import InputError
from export.graph import (
    INPUT_TENSOR,
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    IntArray,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
    inputs_of,
)

FloatArray = np.ndarray[Any, Any]

# float32 holds every integer up to here, so sums below it are exact in any order.
_EXACT_LIMIT = 1 << 24
_FEW_CHANNELS = 4
# Images that a convolution is tried on before it is trusted; some algorithms need a batch of 16.
_PROBES = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """A layer between its streams."""

    layer: Layer
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fused:
    """The window generator that a product takes in, and the padding before it.

    Attributes:
        windows: None where the product reads its stream as it is.
        padding: Zeros, as many above as below and left as right.
        source: The stream that all together read.
    """

    windows: Swg | None
    padding: FmPadding | None
    source: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Options:
    graph: DataflowGraph
    gate: float
    half_widths: Mapping[str, FloatArray]


def layers_of(
    graph: DataflowGraph,
    *,
    gate: float,
    half_widths: Mapping[str, FloatArray],
) -> list[Place]:
    """Return the layers in order; see `attacks.surrogate.Surrogate`.

    A window generator whose only reader multiplies is one convolution with it, zeros around it included.

    Raises:
        InputError: A node that torch can't compute exactly in float32.
    """
    if not (math.isfinite(gate) and gate > 0):
        raise ValueError(f"gate must be a positive number, not {gate}")
    options = _Options(graph=graph, gate=gate, half_widths=half_widths)
    nodes = {node.name: node for node in graph.nodes}
    inside = [_fused(node, nodes, graph) for node in graph.mvaus]
    fused = {part.name for one in inside for part in (one.windows, one.padding) if part is not None}
    places: list[Place] = []
    for node in graph.nodes:
        if isinstance(node, Mvau):
            places += _multiply(node, _fused(node, nodes, graph), options)
        elif isinstance(node, Thresholding):
            places.append(_place(node, _threshold(node, options)))
        elif node.name not in fused:
            places.append(_place(node, _plain(node)))
    return places


def logit_exponent(graph: DataflowGraph) -> int:
    """Return the power of two that brings the integer logits to order 1."""
    node = graph.nodes[-1]
    if not isinstance(node, Mvau) or node.thresholds is not None:
        return 0
    scale = 1.0 if node.scale is None else float(np.abs(node.scale).mean())
    return max(0, round(math.log2(max(1.0, scale * accumulator_deviation(node)))))


def accumulator_deviation(node: Mvau) -> float:
    """Return the mean standard deviation of the accumulators for independent uniform inputs."""
    power = (_magnitudes(node).astype(np.float64) ** 2).sum(axis=1)
    return float(np.sqrt(power * _variance(node.in_type)).mean())


def _place(node: Node, layer: Layer) -> Place:
    return Place(layer=layer, inputs=tuple(name for name, _ in inputs_of(node)), output=node.name)


def _fused(node: Mvau, nodes: Mapping[str, Node], graph: DataflowGraph) -> _Fused:
    """Return what a product takes in."""
    windows = nodes.get(node.input)
    readers = graph.readers(node.input)
    if not isinstance(windows, Swg) or windows.groups != node.groups or len(readers) > 1:
        return _Fused(windows=None, padding=None, source=node.input)
    padding = nodes.get(windows.input)
    if (
        node.draw is None
        and isinstance(padding, FmPadding)
        and padding.value == 0
        and padding.pads[:2] == padding.pads[2:]
        and len(graph.readers(padding.name)) == 1
    ):
        return _Fused(windows=windows, padding=padding, source=padding.input)
    return _Fused(windows=windows, padding=None, source=windows.input)


def _plain(node: FmPadding | Swg | Pool | Add | Flatten) -> Layer:
    match node:
        case Flatten():
            return Flat()
        case FmPadding():
            top, left, bottom, right = node.pads
            value = float(node.value)
            return Plain(lambda x: functional.pad(x, (left, right, top, bottom), value=value))
        case Swg():
            return Plain(lambda x: gather(x, node, node.groups).permute(0, 3, 1, 2))
        case Pool():
            _refuse_large(node, max(-node.out_type.minimum, node.out_type.maximum))
            return Plain(lambda x: _pooled(x, node))
        case Add():
            _refuse_large(node, max(-node.out_type.minimum, node.out_type.maximum))
            return Plain(torch.add)


def _pooled(values: Tensor, node: Pool) -> Tensor:
    """Pool; values that tie for a maximum share the gradient."""
    windows = values.unfold(2, node.kernel[0], node.stride[0]).unfold(3, node.kernel[1], node.stride[1])
    return windows.amax(dim=(4, 5)) if node.mode == "max" else windows.sum(dim=(4, 5))


def _threshold(node: Thresholding, options: _Options) -> Layer:
    low, high = node.in_type.minimum, node.in_type.maximum
    _refuse_large(node, max(abs(low), abs(high)))
    steps = _tensor(np.clip(node.thresholds.steps, low, high + 1))
    is_input = node.input == INPUT_TENSOR
    if is_input:
        # No pixel is farther away from a threshold than this.
        width = max(float(high - steps.min()), float(steps.max() - low), 1.0)
    else:
        least = max(1.0, options.gate * math.sqrt(_variance(node.in_type)))
        width = options.half_widths.get(node.name, least)
    return Thresholds(
        steps,
        _gate(steps, _tensor(np.asarray(width)), _output(node)[0]),
        output=_output(node),
        open_gate=is_input,
    )


def _multiply(node: Mvau, fused: _Fused, options: _Options) -> list[Place]:
    """Return the layers of a product and of its thresholds."""
    largest = _largest_magnitude(node)
    _refuse_large(node, largest)
    if node.thresholds is None:
        exponent = logit_exponent(options.graph) if node is options.graph.nodes[-1] else 0
        scale = np.ones(node.mh) if node.scale is None else node.scale
        scale = scale * 2.0**-exponent
        bias = np.zeros(node.mh) if node.bias is None else node.bias * 2.0**-exponent
        return _scaled(node, fused, scale, bias, options)
    low, high = node.accumulator_range
    steps = _tensor(np.clip(node.thresholds.steps, low, high + 1))
    width = options.half_widths.get(node.name)
    if width is None:
        width = np.asarray(max(1.0, options.gate * accumulator_deviation(node)))
    gate = _gate(steps, _tensor(width), _output(node)[0])
    # Halves are exact up to half of the limit, and the threshold may double the largest sum.
    subtracted = node.out_type.is_bipolar and node.draw is None and 2 * largest + 2 < _EXACT_LIMIT // 2
    sloped = node.draw is not None
    offset = (0.5 - steps[:, 0]) if subtracted else torch.zeros(node.mh)
    slope = torch.ones(node.mh) if sloped else gate.slope.expand(node.mh)
    product = _product(node, fused, _tensor(node.weights), offset.expand(node.mh), slope, options)
    thresholds = Thresholds(steps, gate, output=_output(node), subtracted=subtracted, sloped=sloped)
    between = f"{node.name} accumulators"
    return [
        Place(layer=product, inputs=(fused.source,), output=between),
        Place(layer=thresholds, inputs=(between,), output=node.name),
    ]


def _scaled(node: Mvau, fused: _Fused, scale: FloatArray, bias: FloatArray, options: _Options) -> list[Place]:
    """Return the layers of a product that is scaled and offset."""
    if node.draw is None:
        weights = _tensor(node.weights * scale[:, None])
        product = _product(node, fused, weights, _tensor(bias), torch.ones(node.mh), options)
        return [Place(layer=product, inputs=(fused.source,), output=node.name)]
    factor, offset = _tensor(scale), _tensor(bias)
    between = f"{node.name} accumulators"

    def affine(sums: Tensor) -> Tensor:
        return sums * by_channel(factor, sums) + by_channel(offset, sums)

    return [
        Place(layer=Drawn(node, fused.windows), inputs=(fused.source,), output=between),
        Place(layer=Plain(affine), inputs=(between,), output=node.name),
    ]


def _product(
    node: Mvau,
    fused: _Fused,
    weights: Tensor,
    offset: Tensor,
    slope: Tensor,
    options: _Options,
) -> Layer:
    """Return a product: of windows that it gathers itself, of whole feature maps, or of each pixel."""
    windows = fused.windows
    if node.draw is not None:
        return Drawn(node, windows)
    if windows is None:
        if node.groups == 1:
            return Dense(weights, offset, slope, whole=False)
        return Plain(lambda x: product_by_group(x, weights, node.groups) + by_channel(offset, x), slope)
    frame = options.graph.shapes[fused.source]
    if fused.padding is None and node.groups == 1 and windows.kernel == frame[:2]:
        return Dense(weights, offset, slope, whole=True)
    padding = (0, 0) if fused.padding is None else fused.padding.pads[:2]
    kind = ImageConvolution if node.groups == 1 and frame[2] <= _FEW_CHANNELS else Convolution
    convolution = kind(
        kernels_of(weights, windows),
        offset,
        slope,
        stride=windows.stride,
        padding=padding,
        groups=node.groups,
    )

    def by_windows(x: Tensor) -> Tensor:
        padded = functional.pad(x, (padding[1], padding[1], padding[0], padding[0]))
        rows = gather(padded, windows, node.groups).permute(0, 3, 1, 2)
        return product_by_group(rows, weights, node.groups) + by_channel(offset, x)

    return convolution if _is_exact(convolution, by_windows, node, frame) else Plain(by_windows, slope)


def _is_exact(
    convolution: Convolution, by_windows: Callable[[Tensor], Tensor], node: Mvau, frame: tuple[int, ...]
) -> bool:
    """Compare a convolution with the product of its windows on images at the range's ends and inside it.

    Sums of whole numbers are exact in any order, but a library may transform its inputs first (Winograd).
    """
    low, high = node.in_type.minimum, node.in_type.maximum
    images = np.random.default_rng(0).integers(low, high, (_PROBES, *frame), endpoint=True)
    images[0], images[1] = low, high
    pixels = _tensor(images).permute(0, 3, 1, 2)
    return torch.equal(convolution.run(pixels)[0], by_windows(pixels))


def _gate(steps: Tensor, least: Tensor, stride: int) -> Gate:
    """Return the ramp over all thresholds of a channel, at least ``least`` to both sides of their middle.

    Each of them is worth ``stride`` in the output.
    """
    levels = steps.shape[1]
    first, last = steps[:, 0], steps[:, -1]
    spread = (last - first) / 2 * (levels / max(1, levels - 1))
    half_width = torch.maximum(spread, least)
    return Gate(
        centre=(first + last) / 2 - 0.5, half_width=half_width, slope=stride * levels / (2 * half_width)
    )


def _output(node: Mvau | Thresholding) -> tuple[int, int]:
    """Return stride and offset of a count of thresholds."""
    thresholds = node.thresholds
    bipolar = node.out_type.is_bipolar
    return (2, -1) if bipolar or thresholds is None else (1, thresholds.out_bias)


def _tensor(values: Any) -> Tensor:
    return torch.from_numpy(np.asarray(values, np.float32))


def _magnitudes(node: Mvau) -> IntArray:
    """Return the weights' magnitudes, int64 ``(MH, MW)``: 1 where they are drawn, whatever their means."""
    return (
        np.abs(node.weights.astype(np.int64)) if node.draw is None else np.ones(node.weights.shape, np.int64)
    )


def _variance(data_type: DataType) -> float:
    """Return the variance of uniform integers of a type."""
    if data_type.is_bipolar:
        return 1.0
    return ((data_type.maximum - data_type.minimum + 1) ** 2 - 1) / 12


def _largest_magnitude(node: Mvau) -> int:
    """Bound every partial sum of the accumulator, in any order, and the scaled result."""
    largest_input = max(abs(node.in_type.minimum), abs(node.in_type.maximum))
    sums = [int(row) * largest_input for row in _magnitudes(node).sum(axis=1)]
    if node.scale is not None:
        sums = [total * max(1, abs(int(factor))) for total, factor in zip(sums, node.scale, strict=True)]
    if node.bias is not None:
        sums = [total + abs(int(offset)) for total, offset in zip(sums, node.bias, strict=True)]
    return max(sums)


def _refuse_large(node: Node, magnitude: int) -> None:
    if magnitude >= _EXACT_LIMIT:
        raise InputError(
            f"{node.name}: values up to {magnitude:,} are not exact in float32, whose limit is 2**24",
            hint="attack the trained module instead",
            node=node.name,
        )
