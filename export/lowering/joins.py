"""What makes one stream of others: sums of two streams, and averages as sums over windows."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from export.graph import Add, Pool, Source
from export.lowering.movement import NodeList
from export.lowering.refusal import refuse
from export.lowering.steps import AverageStep, JoinStep
from export.lowering.stream import Stream, is_exact, make_stream

_HINT = "quantise both sides with one power-of-two scale before the Add (in Brevitas, one QuantIdentity)"


def append_add(line: NodeList, step: JoinStep, left: Stream, right: Stream) -> tuple[Stream, tuple[str, ...]]:
    """Append the sum of two streams.

    Returns:
        The sum's stream, and notes.

    Raises:
        LoweringError: An integer step means different things on the two sides.
    """
    if np.any(left.signs != 1) or np.any(right.signs != 1):
        raise refuse(
            step.node,
            "adds a stream of which some channels are inverted",
            hint="let the activation before the Add rise with its input (positive BatchNorm factors)",
        )
    steps = [Fraction(side.unit) * side.multiplier for side in (left, right)]
    if steps[0] != steps[1]:
        raise refuse(
            step.node,
            f"adds integers in steps of {float(steps[0]):g} to integers in steps of {float(steps[1]):g}",
            hint=_HINT,
        )
    name = line.name("add")
    units = [Fraction(side.unit) for side in (left, right)]
    exponent = max(unit.denominator.bit_length() - 1 for unit in units)
    scaled = [int(unit * (1 << exponent)) for unit in units]
    offsets = scaled[0] * left.offsets + scaled[1] * right.offsets
    node = Add(name=name, input=left.name, in_type=left.type, other=right.name, other_type=right.type)
    stream = make_stream(
        name, node.out_type, exponent, scaled[0] * left.multiplier, offsets, np.ones(len(offsets), np.int64)
    )
    line.nodes.append(replace(node, source=_source(stream, step.tensor)))
    return stream, _notes(step.node, stream)


def append_average(line: NodeList, step: AverageStep, stream: Stream) -> tuple[Stream, tuple[str, ...]]:
    """Append a sum over windows, which stands for their average.

    Returns:
        The sum's stream, and notes.
    """
    node = Pool(
        name=line.name("pool"),
        input=stream.name,
        in_type=stream.type,
        kernel=step.kernel,
        stride=step.stride,
        mode="sum",
    )
    count = step.kernel[0] * step.kernel[1]
    summed = replace(
        stream,
        name=node.name,
        type=node.out_type,
        # count is a power of two, so this is exact.
        unit=stream.unit / count,
        offsets=stream.offsets * count,
    )
    line.nodes.append(replace(node, source=_source(summed, step.tensor)))
    return summed, _notes(step.node, summed)


def _source(stream: Stream, tensor: str | None) -> Source | None:
    """Name the tensor that holds a stream's integers times a power of two, if it does."""
    unit = Fraction(stream.unit)
    is_plain = not np.any(stream.offsets) and np.all(stream.signs == 1)
    if tensor is None or not is_plain or unit.numerator.bit_count() != 1:
        return None
    exponent = unit.denominator.bit_length() - unit.numerator.bit_length()
    return Source(tensor=tensor, exponent=exponent)


def _notes(where: tuple[str, str], stream: Stream) -> tuple[str, ...]:
    reach = max(-stream.type.minimum, stream.type.maximum)
    bound = stream.multiplier * reach + int(np.abs(stream.offsets).max())
    if is_exact(stream.unit, bound):
        return ()
    return (
        f"node {where[0]!r}: float32 rounds these sums, because the scale is no power of two; the exact sum"
        " is taken",
    )
