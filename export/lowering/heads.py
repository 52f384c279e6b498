"""Elementwise steps on an integer stream: what stands between a sum, an average or a fork and the next layer.

They are looked at as a layer's activation whose matrix is the identity. Without weights a falling channel
can't be turned round, so its integers are inverted instead, and the next layer's weights turn them back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from export.datatypes import BIPOLAR
from export.graph import IntArray, Thresholding, Thresholds
from export.lowering.evaluate import evaluate
from export.lowering.hidden import Activated, channel_tokens, find_activation, is_quantised, source_at
from export.lowering.movement import NodeList, append_moves, check_pad_values, pointwise
from export.lowering.refusal import refuse
from export.lowering.steps import LinearStep, PointwiseStep, Token
from export.lowering.stream import Stream, common_divisor, make_stream, on_grid
from export.lowering.weights import Accumulators

_MAX_BITS = 16


def lower_head(
    line: NodeList, tokens: Sequence[Token], stream: Stream, channels: int, *, keeps_step: bool = False
) -> tuple[Stream, tuple[str, ...]]:
    """Append the nodes of elementwise steps, pads and pools that follow a stream.

    Args:
        line: The nodes so far.
        tokens: The steps.
        stream: What they read.
        channels: Its channels.
        keeps_step: Whether integers count in the quantiser's own step, for a sum with another stream.

    Returns:
        What the next layer reads, and notes.

    Raises:
        LoweringError: The steps are nothing that integer hardware computes.
    """
    tokens = channel_tokens(tokens, channels)
    steps = pointwise(tokens)
    if not steps:
        return append_moves(line, stream, tokens, lambda index: None), ()
    if not is_quantised(steps):
        return append_moves(line, _renamed(stream, steps), tokens, lambda index: None), ()
    check_pad_values(tokens)
    where = steps[0].node
    if stream.type.width_bits > _MAX_BITS or np.any(stream.signs != 1):
        raise refuse(
            where,
            f"works on a {stream.type} stream, or on one of which some channels are inverted",
            hint="quantise to fewer bits before, with activations that rise with their input",
        )
    sums = _identity(stream, channels)
    # Only its node is looked at, for messages.
    layer = LinearStep(node=where, tensor=None, weights=np.zeros((channels, 1), np.float32))
    name = line.name("thresholding")
    found = find_activation(name, layer, sums, tokens, negatable=False, keeps_step=keeps_step)
    line.nodes.append(
        Thresholding(
            name=name,
            input=stream.name,
            in_type=stream.type,
            thresholds=_thresholds(found, stream),
            source=source_at(found, tokens, -1),
        )
    )
    moved = append_moves(line, found.stream, tokens, lambda index: source_at(found, tokens, index))
    return moved, found.notes


def _centre(stream: Stream) -> tuple[int, int]:
    """Return factor f and shift s that put a type's integers u symmetrically around 0, as f * u - s."""
    if stream.type == BIPOLAR:
        return 1, 0
    return 2, stream.type.minimum + stream.type.maximum


def _identity(stream: Stream, channels: int) -> Accumulators:
    factor, shift = _centre(stream)
    bound = factor * stream.type.maximum - shift
    offsets = factor * stream.offsets + stream.multiplier * shift
    return Accumulators(
        weights=np.ones((channels, 1), np.int64),
        type=BIPOLAR,
        multiplier=stream.multiplier,
        offsets=np.broadcast_to(offsets, (channels,)).astype(np.int64),
        units=np.full(channels, stream.unit / factor),
        bound=bound,
        step=2,
        float_bound=stream.multiplier * bound + int(np.abs(offsets).max()),
    )


def _thresholds(found: Activated, stream: Stream) -> Thresholds:
    """Bring thresholds from centred integers back to the stream's own."""
    factor, shift = _centre(stream)
    # Rounded up, because -1 and +1 have no 0 between them.
    whole: IntArray = -(-(found.thresholds.steps + shift) // factor)
    steps = np.clip(whole, stream.type.minimum, stream.type.maximum + 1)
    rows = steps[:1] if np.all(steps == steps[:1]) else steps
    return Thresholds(
        steps=np.ascontiguousarray(rows, np.int64),
        out_type=found.thresholds.out_type,
        out_bias=found.thresholds.out_bias,
    )


def _renamed(stream: Stream, steps: Sequence[PointwiseStep]) -> Stream:
    """Return what the same integers mean after steps that only scale, shift or negate."""
    where = steps[-1].node
    low, high = stream.type.minimum, stream.type.maximum
    if stream.type.width_bits > _MAX_BITS:
        raise refuse(where, f"works on a {stream.type} stream", hint="quantise to fewer bits before")
    codes = np.arange(low, high + 1, 2 if stream.type == BIPOLAR else 1, dtype=np.int64)[:, None]
    whole = stream.multiplier * stream.signs * codes + stream.offsets
    values = evaluate(steps, (whole * stream.unit).astype(np.float32))
    grid = on_grid(values) if np.isfinite(values).all() else None
    rise = np.zeros((1, 1), np.int64) if grid is None else np.diff(grid[0], axis=0)
    divisor = common_divisor(rise)
    signs = np.sign(rise[0])
    if grid is None or divisor == 0 or np.any(rise != divisor * signs):
        raise refuse(
            where,
            "is followed by another layer without a sign (BipolarQuant) or a quantiser (Quant) between them",
            hint="quantise what a layer reads, with a power-of-two scale",
        )
    # Codes of ±1 are two apart.
    step = int(codes[1, 0] - codes[0, 0])
    factor = 1 if divisor % step == 0 else step
    multiplier = divisor * factor // step
    offsets = grid[0][0] * factor - multiplier * signs * low
    return make_stream(stream.name, stream.type, grid[1] + factor - 1, multiplier, offsets, signs)
