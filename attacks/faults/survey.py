"""All single faults of a memory or a stream where that is feasible, else a random sample of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from attacks.faults.codes import activation_codes, activation_values
from attacks.faults.evaluator import FaultEvaluator, is_dense
from attacks.faults.model import ActivationFault, Effect, Fault
from attacks.faults.sampling import Memory, random_faults
from attacks.faults.score import Objective, Score, ScoreMap
from export.graph import Mvau, Node

# Images times faults that the map of a dense layer may have.
PAIRS_MAX = 50_000_000_000
# Multiply-accumulates that the map of a stream may cost: each pair needs all layers behind it.
STREAM_MACS_MAX = 500_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Survey:
    """The scores of faults of one kind in one layer.

    Attributes:
        node: Name of the layer.
        kind: ``weight``, ``threshold`` or ``activation``.
        effect: What happens to each bit.
        faults: The faults evaluated; empty where these are all of `shape`.
        scores: Of all faults, in `shape`; or of `faults`, ``(faults,)``.
        shape: Rows, columns and bits.
        bits: Bits that could have been struck.
    """

    node: str
    kind: str
    effect: Effect
    faults: tuple[Fault, ...]
    scores: ScoreMap
    shape: tuple[int, int, int]

    @property
    def exhaustive(self) -> bool:
        """Whether every bit was tried."""
        return not self.faults

    @property
    def size(self) -> int:
        """Bits that there are."""
        return prod(self.shape)

    def fault(self, index: int) -> Fault:
        """Return the fault of a score, by its index in the flattened scores."""
        if self.faults:
            return self.faults[index]
        rows, columns, bits = self.shape
        if self.kind == ActivationFault.kind:
            element, bit = divmod(index, bits)
            return ActivationFault(node=self.node, element=element, bit=bit, effect=self.effect)
        memory = Memory(node=self.node, kind=self.kind, rows=rows, columns=columns, bits=bits)
        return memory.fault(index, self.effect)

    def worst(self, count: int, objective: Objective = Objective.ACCURACY) -> list[tuple[Fault, Score]]:
        """Return the most harmful faults and their scores, in that order."""
        flat = ScoreMap(correct=self.scores.correct.ravel(), margin=self.scores.margin.ravel())
        return [(self.fault(place[0]), score) for place, score in flat.worst(count, objective)]


def survey_memory(
    evaluator: FaultEvaluator, memory: Memory, *, effect: Effect, samples: int, seed: int
) -> Survey:
    """Evaluate the single faults of a memory: all in a dense layer, else a sample.

    Args:
        evaluator: Of the network.
        memory: Which bits.
        effect: What happens to a bit.
        samples: Faults drawn where not all are evaluated.
        seed: Of the draw.
    """
    shape = (memory.rows, memory.columns, memory.bits)
    node = next(node for node in evaluator.graph.nodes if node.name == memory.node)
    pairs = memory.size * len(evaluator.images)
    if isinstance(node, Mvau) and _can_map(evaluator, node) and pairs <= PAIRS_MAX:
        layer = evaluator.layer(node)
        if memory.kind == "threshold":
            scores = layer.threshold_scores(effect)
        else:
            maps = [layer.weight_scores(bit, effect) for bit in range(memory.bits)]
            scores = ScoreMap(
                correct=np.stack([found.correct for found in maps], axis=-1),
                margin=np.stack([found.margin for found in maps], axis=-1),
            )
        evaluator.pairs += pairs
        return Survey(
            node=memory.node, kind=memory.kind, effect=effect, faults=(), scores=scores, shape=shape
        )
    if memory.size <= samples:
        faults = tuple(memory.fault(index, effect) for index in range(memory.size))
    else:
        faults = random_faults([memory], samples, seed=seed, effect=effect)
    scores = score_all(evaluator, [(fault,) for fault in faults])
    return Survey(
        node=memory.node,
        kind=memory.kind,
        effect=effect,
        faults=() if len(faults) == memory.size else faults,
        scores=scores,
        shape=shape,
    )


def _can_map(evaluator: FaultEvaluator, node: Mvau) -> bool:
    small = node is evaluator.graph.nodes[-1] or node.out_type.width_bits <= 8
    return not evaluator.graph.is_stochastic and is_dense(evaluator.graph, node) and small


def survey_stream(
    evaluator: FaultEvaluator, node: Node, *, effect: Effect, samples: int, seed: int
) -> Survey:
    """Evaluate faults of the elements of a node's output: all, or those of some elements.

    Raises:
        InputError: The network draws weights, or can't be cut behind the node.
    """
    shape, bits = evaluator.graph.shapes[node.name], node.out_type.width_bits
    elements = prod(shape)
    chosen = np.arange(elements)
    probe = evaluator.probe(node.name)
    cost = elements * bits * len(evaluator.images) * probe.tail_macs
    if cost > STREAM_MACS_MAX and elements > samples:
        chosen = np.sort(np.random.default_rng((seed, 0)).choice(elements, samples, replace=False))
    codes = activation_codes(probe.values, node.out_type)
    maps: list[ScoreMap] = []
    for bit in range(bits):
        struck = codes.copy()
        struck[:, chosen] = effect.on(struck[:, chosen], bit)
        maps.append(probe.scores(activation_values(struck, node.out_type)))
    evaluator.pairs += len(chosen) * bits * len(evaluator.images)
    faults = () if len(chosen) == elements else _of_elements(node.name, chosen.tolist(), bits, effect)
    return Survey(
        node=node.name,
        kind=ActivationFault.kind,
        effect=effect,
        faults=faults,
        scores=ScoreMap(
            correct=np.stack([found.correct[chosen] for found in maps], axis=-1),
            margin=np.stack([found.margin[chosen] for found in maps], axis=-1),
        ),
        shape=(shape[0], prod(shape[1:]), bits) if len(shape) == 3 else (1, elements, bits),
    )


def _of_elements(name: str, elements: Sequence[int], bits: int, effect: Effect) -> tuple[Fault, ...]:
    return tuple(
        ActivationFault(node=name, element=element, bit=bit, effect=effect)
        for element in elements
        for bit in range(bits)
    )


def score_all(evaluator: FaultEvaluator, scenarios: Sequence[Sequence[Fault]]) -> ScoreMap:
    """Return the score of each group of faults that strike together."""
    scores = [evaluator.score(faults) for faults in scenarios]
    return ScoreMap(
        correct=np.array([score.correct for score in scores], np.int64),
        margin=np.array([score.margin for score in scores], np.int64),
    )
