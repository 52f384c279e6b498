"""A network as verification sees it: integer matrices between signs, whatever layers it came from.

Windows, borders and maximum pooling become rows of a sparse matrix, so a convolution is a dense layer with
many zeros. Only what is exact is taken; every other network is refused with a reason.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from export.errors import LoweringError
from export.graph import (
    DataflowGraph,
    Flatten,
    FmPadding,
    IntArray,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
    inputs_of,
)
from hw.reference import windows

MAX_ENTRIES = 1 << 25
"""Most entries of one layer's matrix, zeros included."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputLevels:
    """What a pixel is worth to the first layer: ``base + stride * (number of steps that are <= pixel)``.

    Attributes:
        steps: int64 ``(pixels, S)``, ascending in a row; a pixel's raw value has the steps 1 to 255.
        base: Value below the first step.
        stride: Value of one step, above 0.
    """

    steps: IntArray
    base: int
    stride: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignLayer:
    """Neurons that are +1 where ``weights @ x >= thresholds``, else -1.

    Attributes:
        weights: int64 ``(neurons, inputs)``.
        thresholds: int64 ``(neurons,)``.
    """

    weights: IntArray
    thresholds: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignNetwork:
    """A whole network.

    Attributes:
        input_shape: ``(H, W, C)`` of an image; pixels are numbered in that order.
        levels: How pixels enter.
        layers: Hidden layers.
        weights: Of the logits, int64 ``(classes, inputs)``, scale included.
        bias: int64 ``(classes,)``.
    """

    input_shape: tuple[int, int, int]
    levels: InputLevels
    layers: tuple[SignLayer, ...]
    weights: IntArray
    bias: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stream:
    """Elements of a stream: each is an output of the layer before, or a constant.

    Attributes:
        index: int64, of the stream's shape: which output, or -1.
        constant: int64, the same shape: the value where the index is -1.
        count: Outputs of the layer before.
        is_sign: Whether those are ±1, or the pixels.
    """

    index: IntArray
    constant: IntArray
    count: int
    is_sign: bool


def sign_network(graph: DataflowGraph) -> SignNetwork:
    """Return a graph as matrices and signs.

    Raises:
        LoweringError: A layer has no such form, or its matrix would be too large; the message names it.
    """
    pixels = math.prod(graph.input_shape)
    stream = _plain(graph.input_shape, pixels, is_sign=False)
    levels: InputLevels | None = None
    layers: list[SignLayer] = []
    last = graph.nodes[-1]
    previous = graph.nodes[0].input
    for node in graph.nodes:
        if [name for name, _ in inputs_of(node)] != [previous]:
            raise _refusal(node, "is not in one chain with the others")
        previous = node.name
        shape = graph.shapes[node.name]
        match node:
            case Thresholding() if not layers and levels is None and np.all(stream.index >= 0):
                levels = _levels(node.thresholds, stream)
            case Flatten() | FmPadding() | Swg():
                stream = _moved(node, stream)
            case Pool() if node.mode == "max" and stream.is_sign:
                layers.append(_any_of(node, stream))
                stream = _plain(shape, math.prod(shape), is_sign=True)
            case Mvau() if node.draw is not None:
                raise _refusal(node, "draws its weights anew for each image, so no verdict would last")
            case Mvau() if node is last and node.thresholds is None:
                return _with_logits(graph, levels or _raw_levels(pixels), layers, node, stream)
            case Mvau() if node.thresholds is not None and node.thresholds.out_type.is_bipolar:
                layers.append(_sign_layer(node, node.thresholds, stream))
                stream = _plain(shape, math.prod(shape), is_sign=True)
            case _:
                raise _refusal(node, f"({node.op_type}) gives more than a sign")
    raise _refusal(last, "returns no plain logits")


def _with_logits(
    graph: DataflowGraph, levels: InputLevels, layers: list[SignLayer], node: Mvau, stream: _Stream
) -> SignNetwork:
    matrix, offset = _matrix(node, stream)
    scale = np.ones(node.mh, np.int64) if node.scale is None else node.scale
    bias = np.zeros(node.mh, np.int64) if node.bias is None else node.bias
    if not layers:
        raise _refusal(node, "is the only layer: a linear network needs no search")
    return SignNetwork(
        input_shape=graph.input_shape,
        levels=levels,
        layers=tuple(layers),
        weights=matrix * scale[:, None],
        bias=offset * scale + bias,
    )


def _refusal(node: Node, why: str) -> LoweringError:
    return LoweringError(
        f"can't verify this network: {node.name} {why}",
        hint="a chain of layers with signs between them can be verified",
        node=node.name,
    )


def _plain(shape: tuple[int, ...], count: int, *, is_sign: bool) -> _Stream:
    index = np.arange(count, dtype=np.int64).reshape(shape)
    return _Stream(index=index, constant=np.zeros(shape, np.int64), count=count, is_sign=is_sign)


def _levels(thresholds: Thresholds, stream: _Stream) -> InputLevels:
    rows = np.broadcast_to(thresholds.steps, (*stream.index.shape, thresholds.steps.shape[1]))
    steps = np.empty((stream.count, thresholds.steps.shape[1]), np.int64)
    steps[stream.index.ravel()] = rows.reshape(stream.count, -1)
    bipolar = thresholds.out_type.is_bipolar
    return InputLevels(steps=steps, base=-1 if bipolar else thresholds.out_bias, stride=2 if bipolar else 1)


def _raw_levels(pixels: int) -> InputLevels:
    return InputLevels(steps=np.tile(np.arange(1, 256, dtype=np.int64), (pixels, 1)), base=0, stride=1)


def _moved(node: Flatten | FmPadding | Swg, stream: _Stream) -> _Stream:
    """Follow elements that only change their places."""
    match node:
        case Flatten():
            index, constant = stream.index.ravel(), stream.constant.ravel()
        case FmPadding():
            top, left, bottom, right = node.pads
            margins = ((top, bottom), (left, right), (0, 0))
            index = np.pad(stream.index, margins, constant_values=-1)
            constant = np.pad(stream.constant, margins, constant_values=node.value)
        case Swg():
            index, constant = (_gather(node, part) for part in (stream.index, stream.constant))
    return _Stream(index=index, constant=constant, count=stream.count, is_sign=stream.is_sign)


def _gather(node: Swg, values: IntArray) -> IntArray:
    patches = windows(values[None], node.kernel, node.stride)[0]
    rows, columns, high, wide, channels = patches.shape
    parts = patches.reshape(rows, columns, high, wide, node.groups, channels // node.groups)
    return parts.transpose(0, 1, 4, 2, 3, 5).reshape(rows, columns, high * wide * channels)


def _any_of(node: Pool, stream: _Stream) -> SignLayer:
    """Return a maximum over ±1 as neurons: one +1 among k is enough, so the sum must reach 2 - k."""
    index, constant = (
        windows(part[None], node.kernel, node.stride)[0].transpose(0, 1, 4, 2, 3)
        for part in (stream.index, stream.constant)
    )
    size = math.prod(node.kernel)
    index, constant = index.reshape(-1, size), constant.reshape(-1, size)
    _check_size(node, len(index) * stream.count)
    matrix = np.zeros((len(index), stream.count), np.int64)
    known = index >= 0
    rows = np.broadcast_to(np.arange(len(index))[:, None], index.shape)
    np.add.at(matrix, (rows[known], index[known]), 1)
    return SignLayer(weights=matrix, thresholds=2 - size - np.where(known, 0, constant).sum(axis=1))


def _sign_layer(node: Mvau, thresholds: Thresholds, stream: _Stream) -> SignLayer:
    matrix, offset = _matrix(node, stream)
    steps = np.broadcast_to(thresholds.steps[:, 0], (node.mh,))
    return SignLayer(weights=matrix, thresholds=np.tile(steps, len(matrix) // node.mh) - offset)


def _matrix(node: Mvau, stream: _Stream) -> tuple[IntArray, IntArray]:
    """Return int64 weights ``(vectors * MH, count)`` and what constants add, ``(vectors * MH,)``."""
    index = stream.index.reshape(-1, node.groups, node.mw)
    constant = stream.constant.reshape(index.shape)
    _check_size(node, len(index) * node.mh * stream.count)
    matrix = np.zeros((len(index), node.mh, stream.count), np.int64)
    offset = np.zeros((len(index), node.mh), np.int64)
    size = node.mh // node.groups
    for vector in range(len(index)):
        for group in range(node.groups):
            rows = slice(group * size, (group + 1) * size)
            weights = node.weights[rows].astype(np.int64)
            places, known = index[vector, group], index[vector, group] >= 0
            np.add.at(matrix[vector, rows].T, places[known], weights[:, known].T)
            offset[vector, rows] = weights[:, ~known] @ constant[vector, group][~known]
    return matrix.reshape(-1, stream.count), offset.ravel()


def _check_size(node: Node, entries: int) -> None:
    if entries > MAX_ENTRIES:
        raise _refusal(node, f"needs a matrix of {entries:,} weights, at most {MAX_ENTRIES:,} are tried")
