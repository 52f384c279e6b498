"""The few bits that harm most: each step keeps the worst single fault, given those before it.

Rakin et al. (Bit-Flip Attack, ICCV 2019) rank bits by the gradient of the loss and evaluate a few of them.
Here every bit of a dense layer is evaluated in every step, of other layers a sample is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attacks.faults.apply import apply_faults
from attacks.faults.evaluator import FaultEvaluator
from attacks.faults.model import Effect, Fault, MemoryFault, ThresholdFault, WeightFault
from attacks.faults.sampling import Memory
from attacks.faults.score import Objective, Score
from attacks.faults.survey import survey_memory
from export.errors import InputError
from export.graph import DataflowGraph, IntArray
from hw.target import ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One more faulty bit.

    Attributes:
        fault: The bit.
        score: The network with it and all before it.
        candidates: Faults that were evaluated for it.
    """

    fault: MemoryFault
    score: Score
    candidates: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GreedySearch:
    """What the adversary knows and may do.

    A channel's thresholds are struck in one bit only.

    Attributes:
        graph: The network.
        images: uint8 ``(N, H, W, C)`` that the adversary evaluates on.
        labels: int64 ``(N,)``.
        memories: Where faults may strike.
        effect: What happens to a bit.
        objective: What makes a bit the most harmful one.
        samples: Candidates of a memory where not all are evaluated.
        seed: Of such samples, and of drawn weights.
        threads: Threads of the emulator; None for one a core.
        cache_dir: Where compiled code is kept.
    """

    graph: DataflowGraph
    images: ImageArray
    labels: IntArray
    memories: Sequence[Memory]
    effect: Effect = Effect.FLIP
    objective: Objective = Objective.ACCURACY
    samples: int = 200
    seed: int = 0
    threads: int | None = None
    cache_dir: Path | None = None

    def run(self, bits: int, progress: Callable[[int], None] | None = None) -> list[Step]:
        """Return one step a fault; fewer where no other bit could be struck.

        Args:
            bits: Faults to find.
            progress: Called with the number of faults found so far.
        """
        steps: list[Step] = []
        while len(steps) < bits:
            step = self._next([step.fault for step in steps])
            if step is None:
                break
            steps.append(step)
            if progress is not None:
                progress(len(steps))
        return steps

    def _next(self, chosen: Sequence[MemoryFault]) -> Step | None:
        evaluator = FaultEvaluator(
            apply_faults(self.graph, chosen),
            self.images,
            self.labels,
            threads=self.threads,
            seed=self.seed,
            cache_dir=self.cache_dir,
        )
        taken = {_place(fault) for fault in chosen}
        best: tuple[tuple[int, int], Score, MemoryFault] | None = None
        candidates = 0
        for memory in self.memories:
            survey = survey_memory(
                evaluator,
                memory,
                effect=self.effect,
                samples=self.samples,
                seed=self.seed + len(chosen),
            )
            candidates += survey.scores.correct.size
            # Enough that one of them is not taken.
            tried = survey.worst(len(taken) * memory.columns * memory.bits + 1, self.objective)
            found = next(((s, f) for f, s in tried if self._may_strike(f, chosen, taken)), None)
            if found is not None and (best is None or found[0].key(self.objective) < best[0]):
                best = found[0].key(self.objective), found[0], _in_memory(found[1])
        return None if best is None else Step(fault=best[2], score=best[1], candidates=candidates)

    def _may_strike(
        self, fault: Fault, chosen: Sequence[MemoryFault], taken: set[tuple[object, ...]]
    ) -> bool:
        """Whether a bit is still free, and a graph says what the network then computes."""
        if _place(fault) in taken:
            return False
        try:
            faulty = apply_faults(self.graph, [*chosen, fault])
        except InputError:
            return False
        return faulty.nodes[-1].out_type == self.graph.nodes[-1].out_type


def _in_memory(fault: Fault) -> MemoryFault:
    if not isinstance(fault, WeightFault | ThresholdFault):
        raise TypeError(f"a fault in a {fault.kind} is in no memory")
    return fault


def _place(fault: Fault) -> tuple[object, ...]:
    """The bit of a weight, or all thresholds of a channel.

    Thresholds beyond all sums become "never", and those of a channel are sorted, when the search goes on from
    the faulty network: their bits are then no longer those of the hardware's memory.
    """
    if isinstance(fault, WeightFault):
        return fault.kind, fault.node, fault.row, fault.column, fault.bit
    return fault.kind, fault.node, fault.channel if isinstance(fault, ThresholdFault) else fault.element
