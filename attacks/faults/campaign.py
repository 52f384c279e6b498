"""Everything at once: maps of all layers, bursts, random faults, the worst few bits, and their replay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from attacks.faults.curve import curve_to_json, one_bit_each
from attacks.faults.evaluator import FaultEvaluator
from attacks.faults.greedy import GreedySearch
from attacks.faults.layout import MemoryLayout, random_bursts
from attacks.faults.model import ActivationFault, Effect, fault_to_json
from attacks.faults.replay import FaultReplay, Scenario, replay_faults
from attacks.faults.sampling import Memory, estimate, memories_of, random_faults
from attacks.faults.score import Objective, ScoreMap
from attacks.faults.summary import survey_to_json
from attacks.faults.survey import Survey, score_all, survey_memory, survey_stream
from export.errors import InputError
from export.graph import DataflowGraph, Flatten, IntArray
from hw.folding import Folding
from hw.rtlgen import plan_rtl
from hw.target import ImageArray

FORMAT_VERSION = 1
MEMORY_KINDS = ("weight", "threshold")
KINDS = (*MEMORY_KINDS, "activation")
Report = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a campaign does.

    Attributes:
        kinds: Of `KINDS`: what is mapped; the attack strikes those that are memories.
        effect: What happens to a bit.
        nodes: Names of the layers to look at; empty for all.
        bits: Faults of an attack; 0 for none.
        objective: What makes a bit the most harmful one.
        search_images: The adversary sees this many of the images; the accuracy is that on the others.
        samples: Faults drawn where not all can be tried, and draws of random faults and bursts.
        burst: Adjacent bits of a burst; 0 for none.
        replay_images: Images of the replay on rtl; 0 for none.
        seed: Of all draws.
    """

    kinds: tuple[str, ...] = KINDS
    effect: Effect = Effect.FLIP
    nodes: tuple[str, ...] = ()
    bits: int = 10
    objective: Objective = Objective.ACCURACY
    search_images: int = 1000
    samples: int = 200
    burst: int = 4
    replay_images: int = 100
    seed: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class Campaign:
    """A network, its hardware, and what faults do to it.

    Attributes:
        graph: The network.
        folding: PE and SIMD of each layer.
        images: uint8 ``(N, H, W, C)``.
        labels: int64 ``(N,)``.
        options: What to do.
        threads: Threads of the emulator; None for one a core.
        cache_dir: Where compiled code is kept.
        report: Called with what is under way, how much of it is done, and how much there is.
    """

    graph: DataflowGraph
    folding: Folding
    images: ImageArray
    labels: IntArray
    options: Options
    threads: int | None = None
    cache_dir: Path | None = None
    report: Report | None = None
    replays: list[FaultReplay] = field(default_factory=list[FaultReplay])
    _scenarios: list[Scenario] = field(default_factory=list[Scenario])

    def run(self) -> dict[str, Any]:
        """Return the result as JSON values; `replays` holds what was replayed.

        Raises:
            InputError: A name of a layer, or an option, that does not fit the network.
            ToolError: A compiler or simulator is missing.
        """
        self._check()
        evaluator = FaultEvaluator(
            self.graph,
            self.images,
            self.labels,
            threads=self.threads,
            seed=self.options.seed,
            cache_dir=self.cache_dir,
        )
        design = plan_rtl(self.graph, self.folding, with_contents=False)
        layout = MemoryLayout.of(self.graph, self.folding, design)
        clean = evaluator.clean.score
        surveys, left_out = self._survey(evaluator)
        found: dict[str, Any] = {
            "version": FORMAT_VERSION,
            "images": len(self.images),
            "clean_accuracy": clean.correct / len(self.images),
            "options": asdict(self.options),
            "layers": [survey_to_json(s, clean=clean, images=len(self.images)) for s in surveys],
            "left_out": left_out,
            "bursts": self._bursts(evaluator, layout),
            "random": self._random(evaluator),
            "attacks": self._attacks(layout),
            "pairs": evaluator.pairs,
        }
        found["replay"] = self._replay()
        return found

    def _check(self) -> None:
        names = [node.name for node in self.graph.nodes]
        if unknown := sorted(set(self.options.nodes) - set(names)):
            raise InputError(f"{unknown[0]!r} is no node of the network", hint=f"nodes: {', '.join(names)}")
        if unknown := sorted(set(self.options.kinds) - set(KINDS)):
            raise InputError(f"{unknown[0]!r} is no kind of fault", hint=f"kinds: {', '.join(KINDS)}")
        if not 0 <= self.options.search_images <= len(self.images):
            raise InputError(
                f"the adversary can't search on {self.options.search_images} of {len(self.images)} images",
                hint="--search-images is at most the number of images",
            )

    @property
    def _memories(self) -> list[Memory]:
        memories = memories_of(self.graph, self.options.kinds)
        return [m for m in memories if not self.options.nodes or m.node in self.options.nodes]

    def _survey(self, evaluator: FaultEvaluator) -> tuple[list[Survey], list[dict[str, str]]]:
        options, surveys, left_out = self.options, [], []
        streams = [
            node
            for node in self.graph.nodes
            if ActivationFault.kind in options.kinds
            and not isinstance(node, Flatten)
            and (not options.nodes or node.name in options.nodes)
        ]
        total = len(self._memories) + len(streams)
        for memory in self._memories:
            self._say("map", len(surveys), total)
            surveys.append(
                survey_memory(
                    evaluator, memory, effect=options.effect, samples=options.samples, seed=options.seed
                )
            )
            self._keep_worst(surveys[-1])
        for node in streams:
            self._say("map", len(surveys) + len(left_out), total)
            try:
                survey = survey_stream(
                    evaluator, node, effect=options.effect, samples=options.samples, seed=options.seed
                )
            except InputError as error:
                left_out.append({"node": node.name, "kind": ActivationFault.kind, "why": error.message})
                continue
            surveys.append(survey)
            self._keep_worst(survey)
        return surveys, left_out

    def _keep_worst(self, survey: Survey) -> None:
        fault, _ = survey.worst(1)[0]
        self._scenarios.append(Scenario(name=f"worst {survey.kind} of {survey.node}", faults=(fault,)))

    def _bursts(self, evaluator: FaultEvaluator, layout: MemoryLayout) -> list[dict[str, Any]]:
        options, found = self.options, []
        names = {node.name for node in self.graph.mvaus}
        memories = [m for m in self._memories if m.node in names] if options.burst > 0 else []
        for memory in memories:
            self._say("bursts", len(found), len(memories))
            if layout.word_shape(memory.node, memory.kind)[1] < options.burst:
                continue
            bursts = random_bursts(
                layout,
                memory.node,
                memory.kind,
                length=options.burst,
                count=options.samples,
                effect=options.effect,
                seed=options.seed,
            )
            scores = score_all(evaluator, bursts)
            order = scores.worst(1)[0][0][0]
            self._scenarios.append(
                Scenario(name=f"worst burst in {memory.node}'s {memory.kind}s", faults=bursts[order])
            )
            found.append(
                {
                    "node": memory.node,
                    "kind": memory.kind,
                    "length": options.burst,
                    "estimate": self._estimate(evaluator, scores),
                    "worst": [fault_to_json(fault) for fault in bursts[order]],
                }
            )
        return found

    def _random(self, evaluator: FaultEvaluator) -> list[dict[str, Any]]:
        """Accuracies with a number of random faults anywhere in the memories."""
        options, found = self.options, []
        memories = self._memories
        bits = sum(memory.size for memory in memories)
        counts = [1 << power for power in range(20) if 1 << power <= min(bits, max(1, bits // 8))]
        for count in counts if memories else []:
            self._say("random faults", len(found), len(counts))
            draws = [
                random_faults(memories, count, seed=options.seed, index=index, effect=options.effect)
                for index in range(max(2, options.samples // 10))
            ]
            scores = score_all(evaluator, draws)
            found.append({"bits": count, "estimate": self._estimate(evaluator, scores)})
        return found

    def _estimate(self, evaluator: FaultEvaluator, scores: ScoreMap) -> dict[str, Any]:
        return asdict(estimate(scores, clean=evaluator.clean.score, images=len(self.images)))

    def _attacks(self, layout: MemoryLayout) -> list[dict[str, Any]]:
        """One attack on the weights, one on the thresholds, where a fault is one bit of the hardware."""
        options, found = self.options, []
        for kind in MEMORY_KINDS:
            memories = [m for m in self._memories if m.kind == kind and one_bit_each(layout, m)]
            if options.bits < 1 or options.search_images < 1 or not memories:
                continue
            search = GreedySearch(
                graph=self.graph,
                images=self.images[: options.search_images],
                labels=self.labels[: options.search_images],
                memories=memories,
                effect=options.effect,
                objective=options.objective,
                samples=options.samples,
                seed=options.seed,
                threads=self.threads,
                cache_dir=self.cache_dir,
            )
            steps = search.run(
                options.bits, lambda done, kind=kind: self._say(f"attack on {kind}s", done, options.bits)
            )
            found.append(curve_to_json(search, steps, layout, self._held_out()))
            faults = tuple(step.fault for step in steps)
            if faults:
                name = f"attack on {len(faults)} bits of {kind}s"
                self._scenarios.insert(len(found) - 1, Scenario(name=name, faults=faults))
        return found

    def _held_out(self) -> FaultEvaluator | None:
        split = self.options.search_images
        if split == len(self.images):
            return None
        return FaultEvaluator(
            self.graph,
            self.images[split:],
            self.labels[split:],
            threads=self.threads,
            seed=self.options.seed,
            first_frame=split,
            cache_dir=self.cache_dir,
        )

    def _replay(self) -> list[dict[str, Any]]:
        count = min(self.options.replay_images, len(self.images))
        if count < 1:
            return []
        for scenario in self._scenarios:
            self._say("replay on rtl", len(self.replays), len(self._scenarios))
            self.replays.append(
                replay_faults(
                    self.graph,
                    self.folding,
                    scenario,
                    self.images[:count],
                    self.labels[:count],
                    seed=self.options.seed,
                    workers=self.threads,
                    cache_dir=self.cache_dir,
                )
            )
        return [replay.to_json() for replay in self.replays]

    def _say(self, what: str, done: int, total: int) -> None:
        if self.report is not None:
            self.report(what, done, total)
