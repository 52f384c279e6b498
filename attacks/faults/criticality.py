"""The score of every single fault of a layer: its criticality map.

A fault in a dense layer changes one neuron, so only images whose neuron changes its output need the layers
behind it, and its sums are those without the fault plus the change of one weight times one input. Where
inputs and weights are ±1 that change is +2 or -2: two tables, one for each, and a matrix product with the
inputs give the scores of all weights at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from attacks.faults.codes import (
    activation_codes,
    activation_values,
    threshold_bits,
    threshold_codes,
    weight_bits,
    weight_codes,
    with_threshold_codes,
    with_weight_codes,
    wrap,
)
from attacks.faults.model import Effect
from attacks.faults.probe import StreamProbe
from attacks.faults.score import Score, ScoreMap
from export.datatypes import DataType
from export.graph import IntArray, Mvau
from hw.reference import compute_node


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseLayer:
    """A layer on vectors, with what it computes without faults.

    Attributes:
        node: The layer; its weights are not drawn, and it has one group.
        inputs: int64 ``(N, MW)``.
        sums: Accumulators, int64 ``(N, MH)``.
        probe: Of the layer's output.
        clean: The score without faults.
    """

    node: Mvau
    inputs: IntArray
    sums: IntArray
    probe: StreamProbe
    clean: Score

    @classmethod
    def of(cls, node: Mvau, inputs: IntArray, probe: StreamProbe, clean: Score) -> DenseLayer:
        """Compute the accumulators of a layer."""
        plain = replace(node, thresholds=None, scale=None, bias=None)
        return cls(node=node, inputs=inputs, sums=compute_node(plain, inputs), probe=probe, clean=clean)

    def outputs(self, node: Mvau, sums: IntArray) -> IntArray:
        """Return what a layer makes of accumulators ``(N, MH)``."""
        if node.thresholds is not None:
            return node.thresholds.apply(sums)
        scale = 1 if node.scale is None else node.scale
        bias = 0 if node.bias is None else node.bias
        # Of this layer without faults: hardware keeps the width of its sums.
        return wrap(sums * scale + bias, self.node.out_type)

    def weight_scores(self, bit: int = 0, effect: Effect = Effect.FLIP) -> ScoreMap:
        """Return the score of the fault in one bit of each weight, ``(MH, MW)``."""
        codes = weight_codes(self.node)
        struck = effect.on(codes, bit)
        if not (self.node.weight_type.is_bipolar and self.node.in_type.is_bipolar):
            return self._by_columns(with_weight_codes(self.node, struck))
        flipped = self._by_steps()
        same = struck == codes
        return ScoreMap(
            correct=np.where(same, self.clean.correct, flipped.correct),
            margin=np.where(same, self.clean.margin, flipped.margin),
        )

    def _by_steps(self) -> ScoreMap:
        """Scores of flips where each moves a sum by 2, one way or the other."""
        tables = [self._step(2), self._step(-2)]
        inputs = self.inputs.astype(np.float64)
        scores: list[IntArray] = []
        for clean, (up, down) in (
            (self.clean.correct, [table[0] for table in tables]),
            (self.clean.margin, [table[1] for table in tables]),
        ):
            # The sum moves up where weight and input differ. All numbers are whole and below 2**53.
            both = (up + down).sum(axis=0)[:, None]
            apart = (up - down).T @ inputs
            scores.append(clean + ((both - self.node.weights * apart) / 2).astype(np.int64))
        return ScoreMap(correct=scores[0], margin=scores[1])

    def _step(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return how right answers and margin change, float64 ``(N, MH)``, where a sum moves by ``step``."""
        change, image, neuron = self.probe.changes(self.outputs(self.node, self.sums + step))
        tables = np.zeros((2, *self.sums.shape))
        tables[0, image, neuron], tables[1, image, neuron] = change.correct, change.margin
        return tables[0], tables[1]

    def _by_columns(self, struck: Mvau) -> ScoreMap:
        """Scores of faults that change any weight to that of ``struck``, all neurons of a column at once."""
        change = struck.weights.astype(np.int64) - self.node.weights
        shape = self.node.weights.shape
        correct, margin = np.empty(shape, np.int64), np.empty(shape, np.int64)
        for column in range(self.node.mw):
            moved = self.sums + self.inputs[:, column, None] * change[:, column]
            found = self.probe.scores(self.outputs(self.node, moved))
            correct[:, column], margin[:, column] = found.correct, found.margin
        return ScoreMap(correct=correct, margin=margin)

    def threshold_scores(self, effect: Effect = Effect.FLIP) -> ScoreMap:
        """Return the score of the fault in each bit of the thresholds, ``(MH, levels, bits)``."""
        codes = threshold_codes(self.node, self.node.mh)
        shape = (*codes.shape, threshold_bits(self.node))
        correct, margin = np.empty(shape, np.int64), np.empty(shape, np.int64)
        for level in range(shape[1]):
            for bit in range(shape[2]):
                struck = codes.copy()
                struck[:, level] = effect.on(struck[:, level], bit)
                faulty = with_threshold_codes(self.node, struck)
                found = self.probe.scores(self.outputs(_mvau(faulty), self.sums))
                correct[:, level, bit], margin[:, level, bit] = found.correct, found.margin
        return ScoreMap(correct=correct, margin=margin)

    @property
    def weight_bits(self) -> int:
        """Bits of a weight."""
        return weight_bits(self.node)


def activation_scores(
    probe: StreamProbe, dtype: DataType, bit: int = 0, effect: Effect = Effect.FLIP
) -> ScoreMap:
    """Return the score of the fault in one bit of each element of a stream, ``(elements,)``."""
    codes = activation_codes(probe.values, dtype)
    return probe.scores(activation_values(effect.on(codes, bit), dtype))


def _mvau(node: object) -> Mvau:
    if not isinstance(node, Mvau):
        raise TypeError(f"{type(node).__name__} is no Mvau")
    return node
