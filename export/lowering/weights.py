"""Float weight matrices as small integers times a scale for each neuron."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.datatypes import BIPOLAR, DataType, smallest_int
from export.draws import MEAN_EXPONENT
from export.graph import IntArray
from export.lowering.refusal import refuse
from export.lowering.steps import LinearStep
from export.lowering.stream import Stream, on_grid

MAX_BOUND = 1 << 24

_CHUNK_ELEMENTS = 1 << 20
_MAX_WEIGHT = 127
_MAX_PARTIAL = 1 << 53
_FLOAT32_LIMIT = 2.0**127


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerWeights:
    """Weights ``scales[:, None] * integers``.

    Attributes:
        integers: int64 ``(MH, MW)``; the means of drawn weights in steps of 1/128.
        type: BIPOLAR or INT<n>.
        scales: float64 ``(MH,)``, greater than 0.
    """

    integers: IntArray
    type: DataType
    scales: npt.NDArray[np.float64]


def integer_weights(step: LinearStep) -> IntegerWeights:
    """Split weights into integers and scales: ±1 with a scale a neuron, else up to 8 bits on one grid.

    Drawn weights are ±1 with the scale 1.

    Raises:
        LoweringError: The weights are neither.
    """
    weights = step.weights
    if step.draw is not None:
        means = (weights * np.float32(1 << MEAN_EXPONENT)).astype(np.int64)
        return IntegerWeights(integers=means, type=BIPOLAR, scales=np.ones(len(means)))
    if not np.isfinite(weights).all():
        raise refuse(step.node, "has weights that are infinite or not a number", hint="train the model again")
    magnitudes = np.abs(weights)
    if np.all(magnitudes == magnitudes[:, :1]) and np.all(magnitudes[:, 0] > 0):
        signs = np.where(weights > 0, 1, -1).astype(np.int64)
        return IntegerWeights(integers=signs, type=BIPOLAR, scales=magnitudes[:, 0].astype(np.float64))
    grid = on_grid(weights)
    if grid is None or np.abs(grid[0]).max() > _MAX_WEIGHT:
        raise refuse(
            step.node,
            "has weights that are neither ±1 times a scale for each neuron, nor 8-bit integers on a"
            " power-of-two scale",
            hint="quantise the weights in training: BipolarQuant, or Quant with a power-of-two scale",
        )
    integers, exponent = grid
    largest = int(np.abs(integers).max())
    scales = np.full(len(weights), np.ldexp(1.0, -exponent))
    return IntegerWeights(integers=integers, type=smallest_int(-largest, largest), scales=scales)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accumulators:
    """What a layer's integer accumulators mean in the float network.

    Neuron r of the float network is ``units[r] * (multiplier * accumulator + offsets[r])``.

    Attributes:
        weights: int64 ``(MH, MW)``, signs of the stream folded in; means of drawn weights.
        type: Type of the weights.
        multiplier: At least 1.
        offsets: int64 ``(MH,)``.
        units: float64 ``(MH,)``, greater than 0.
        bound: No accumulator, and none negated, is greater in magnitude.
        step: 2 where accumulators have one parity, that of ``bound``; else 1.
        float_bound: In units, no partial sum of the float network is greater.
        draw: `LinearStep.draw`.
    """

    weights: IntArray
    type: DataType
    multiplier: int
    offsets: IntArray
    units: npt.NDArray[np.float64]
    bound: int
    step: int
    float_bound: int
    draw: int | None = None

    @property
    def integers(self) -> IntArray:
        """Every integer that an accumulator, or a negated one, may be: int64 ``(samples, 1)``."""
        return np.arange(-self.bound, self.bound + 1, self.step, dtype=np.int64)[:, None]

    def chunks(self) -> Iterator[slice]:
        """Yield groups of neurons so small that a table of all `integers` fits memory."""
        neurons = len(self.weights)
        chunk = max(1, _CHUNK_ELEMENTS // (2 * self.bound // self.step + 1))
        for start in range(0, neurons, chunk):
            yield slice(start, min(start + chunk, neurons))

    def floats(self, accumulators: IntArray, rows: slice) -> npt.NDArray[np.float32]:
        """Return the float network's values for accumulators, both ``(samples, rows)``, or one column."""
        with np.errstate(all="ignore"):
            whole = (self.multiplier * accumulators + self.offsets[rows]).astype(np.float64)
            return (whole * self.units[rows]).astype(np.float32)


def accumulators(step: LinearStep, stream: Stream) -> Accumulators:
    """Return the integer accumulators of a layer that reads a stream.

    Raises:
        LoweringError: The weights can't be integers, or the sums leave float32's exact range.
    """
    split = integer_weights(step)
    signs, offsets = (_spread(values, step) for values in (stream.signs, stream.offsets))
    weights = split.integers * signs
    extremes = weights
    if step.draw is not None:
        _check_drawn(step, signs, offsets)
        extremes = np.ones_like(weights)
    ends = [extremes * stream.type.minimum, extremes * stream.type.maximum]
    bound = max(-int(np.minimum(*ends).sum(axis=1).min()), int(np.maximum(*ends).sum(axis=1).max()))
    reach = max(-stream.type.minimum, stream.type.maximum)
    partial = (np.abs(extremes) * (float(stream.multiplier) * reach + np.abs(offsets))).sum(axis=1)
    if bound > MAX_BOUND or partial.max() > _MAX_PARTIAL:
        raise refuse(
            step.node,
            f"adds up to {max(bound, int(partial.max()))}, more than float32 can tell apart",
            hint="use fewer inputs, or fewer bits at the input",
        )
    units = split.scales * stream.unit
    if not units.max() * max(bound, float(partial.max())) < _FLOAT32_LIMIT:
        raise refuse(step.node, "adds up to more than float32 can hold", hint="use a smaller weight scale")
    return Accumulators(
        weights=weights,
        type=split.type,
        multiplier=stream.multiplier,
        offsets=(split.integers * offsets).sum(axis=1),
        units=units,
        bound=bound,
        step=2 if split.type.is_bipolar and stream.type.is_bipolar else 1,
        float_bound=int(partial.max()),
        draw=step.draw,
    )


def _check_drawn(step: LinearStep, signs: IntArray, offsets: IntArray) -> None:
    """Refuse a stream whose signs or offsets would have to move into weights that nobody knows."""
    if np.any(signs < 0) or np.any(offsets != 0):
        raise refuse(
            step.node,
            "draws its weights, and its inputs are turned over or moved by an offset",
            hint="let a layer with drawn weights read ±1, or integers from 0 on",
        )


def _spread(values: IntArray, step: LinearStep) -> IntArray:
    """Spread one value, or one for each channel, along a layer's columns, int64 ``(1 or MH, MW)``.

    The innermost index of a window, or of its part for a group, is the channel.
    """
    neurons, width = step.weights.shape
    if len(values) == 1 or step.groups == 1:
        return np.tile(values, width // len(values))[None]
    parts = values.reshape(step.groups, -1)
    rows = np.tile(parts, (1, width // parts.shape[1]))
    return np.repeat(rows, neurons // step.groups, axis=0)
