"""What stands before the first matrix product: run it on all 256 pixel codes and see what it is.

Three things can become hardware: a sign (one threshold), the code itself up to a shift and an offset (the
uint8 goes straight into the first layer), or another monotone function on a power-of-two grid (thresholds).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.datatypes import BIPOLAR, UINT8, DataType, smallest_int
from export.graph import INPUT_TENSOR, IntArray, Thresholding, Thresholds
from export.lowering.evaluate import evaluate, find_source
from export.lowering.operations import FloatArray
from export.lowering.refusal import refuse
from export.lowering.steps import PointwiseStep
from export.lowering.stream import Stream, common_divisor, make_stream, on_grid, two_valued

CODES = 256
# What a user's image becomes on its way into the float network, for each pixel code.
_PIXELS = (np.arange(CODES, dtype=np.float32) / np.float32(255))[:, None]
_MAX_THRESHOLDS = 1024
_WAY_OUT = (
    "begin the network with round(255 * x) times a power of two, with Quant on a power-of-two scale, or with"
    " BipolarQuant"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prefix:
    """The lowered input.

    Attributes:
        node: Thresholds on the pixels, or None where the pixels are used as they are.
        stream: What reaches the first layer; offsets and signs are per channel or one for all.
    """

    node: Thresholding | None
    stream: Stream


def lower_prefix(steps: Sequence[PointwiseStep], input_shape: tuple[int, int, int]) -> Prefix:
    """Lower the elementwise steps between the image and the first matrix product.

    Raises:
        LoweringError: The steps are not one of the three things above.
    """
    where = steps[-1].node if steps else ("the image", "input")
    steps = per_channel(steps, input_shape[2])
    table = evaluate(steps, _PIXELS)
    if np.isnan(table).any():
        raise refuse(where, "is not a number for some pixel value", hint="train or export the model again")
    distinct = np.unique(table)
    if not np.isfinite(distinct).all():
        raise refuse(where, "is infinite for some pixel value", hint=_WAY_OUT)
    if distinct.size <= 2:
        return _binary(steps, table, distinct, where)
    grid = on_grid(table)
    if grid is None:
        raise refuse(
            where,
            "does not put pixels on a power-of-two grid, so no integer can stand for them",
            hint=_WAY_OUT,
        )
    integers, exponent = grid
    steps_up = np.diff(integers, axis=0)
    signs = np.where((steps_up >= 0).all(axis=0), 1, -1)
    if np.any(steps_up * signs < 0):
        channel = int(np.flatnonzero((steps_up * signs < 0).any(axis=0))[0])
        raise refuse(where, "is not monotone in the pixel value", hint=_WAY_OUT, channel=channel)
    divisor = common_divisor(steps_up)
    if np.all(np.abs(steps_up) == divisor):
        stream = make_stream(INPUT_TENSOR, UINT8, exponent, divisor, integers[0], signs)
        return Prefix(node=None, stream=stream)
    return _levels(steps, integers, exponent, divisor, signs, where)


def per_channel(steps: Sequence[PointwiseStep], channels: int) -> list[PointwiseStep]:
    """Reduce constants given for every pixel to one a channel.

    Raises:
        LoweringError: A constant depends on the position in the image.
    """
    reduced: list[PointwiseStep] = []
    for step in steps:
        parameters: list[FloatArray] = []
        for value in step.operation.parameters:
            rows = value.reshape(-1, channels) if value.ndim else value.reshape(1, 1)
            if len(rows) > 1 and np.any(rows != rows[0]):
                raise refuse(
                    step.node,
                    "has a constant that differs from pixel to pixel",
                    hint="one constant for each channel is possible",
                )
            parameters.append(rows[0] if value.ndim else value)
        reduced.append(replace(step, operation=replace(step.operation, parameters=tuple(parameters))))
    return reduced


def _binary(
    steps: Sequence[PointwiseStep], table: FloatArray, distinct: FloatArray, where: tuple[str, str]
) -> Prefix:
    low, high = float(distinct[0]), float(distinct[-1])
    if low == high:
        if low == 0:
            raise refuse(where, "is 0 for every pixel value", hint=_WAY_OUT)
        low, high = -abs(low), abs(low)
    is_high = table == np.float32(high)
    changes = np.diff(is_high.astype(np.int8), axis=0)
    if np.any(np.abs(changes).sum(axis=0) > 1):
        channel = int(np.flatnonzero(np.abs(changes).sum(axis=0) > 1)[0])
        raise refuse(where, "is not monotone in the pixel value", hint=_WAY_OUT, channel=channel)
    signs = np.where(changes.sum(axis=0) < 0, -1, 1).astype(np.int64)
    fires = is_high == (signs > 0)
    thresholds = np.where(fires.any(axis=0), fires.argmax(axis=0), CODES)
    node = _thresholding(steps, thresholds[:, None], BIPOLAR, 0, signs)
    stream = two_valued(node.name, low, high, signs)
    if stream is None:
        raise refuse(where, f"gives {low:g} and {high:g}, too far apart for integers", hint=_WAY_OUT)
    return Prefix(node=node, stream=stream)


def _levels(
    steps: Sequence[PointwiseStep],
    integers: IntArray,
    exponent: int,
    divisor: int,
    signs: IntArray,
    where: tuple[str, str],
) -> Prefix:
    divisible = not np.any(integers % divisor)
    offsets = np.zeros(1, np.int64) if divisible else integers[0]
    levels = signs * (integers - offsets) // divisor
    low, high = int(levels.min()), int(levels.max())
    if high - low > _MAX_THRESHOLDS:
        raise refuse(
            where,
            f"needs {high - low} levels to tell pixels apart; at most {_MAX_THRESHOLDS} are accepted",
            hint=_WAY_OUT,
        )
    wanted = np.arange(low + 1, high + 1)
    thresholds = np.stack([np.searchsorted(column, wanted) for column in levels.T])
    node = _thresholding(steps, thresholds, smallest_int(low, high), low, signs)
    return Prefix(node=node, stream=make_stream(node.name, node.out_type, exponent, divisor, offsets, signs))


def _thresholding(
    steps: Sequence[PointwiseStep], thresholds: IntArray, out_type: DataType, bias: int, signs: IntArray
) -> Thresholding:
    rows = thresholds[:1] if np.all(thresholds == thresholds[:1]) else thresholds
    activation = Thresholds(
        steps=np.ascontiguousarray(rows, np.int64),
        out_type=out_type,
        out_bias=0 if out_type.is_bipolar else bias,
    )
    codes = np.arange(CODES, dtype=np.int64)[:, None]
    integers = activation.apply(np.broadcast_to(codes, (CODES, len(rows))).copy())
    return Thresholding(
        name="thresholding_0",
        input=INPUT_TENSOR,
        in_type=UINT8,
        thresholds=activation,
        source=find_source(steps, _PIXELS, signs * integers) if np.all(signs > 0) else None,
    )
