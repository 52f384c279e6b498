"""Replaying faults on the simulated hardware: every integer logit must be the emulator's."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from attacks.divergence import Divergence, describe, differing_images, locate
from attacks.faults.apply import apply_faults
from attacks.faults.hardware import faulty_rtl
from attacks.faults.layout import MemoryLayout
from attacks.faults.model import Fault, fault_to_json
from attacks.faults.targets import FaultyEmulator, FaultyReference, split_faults
from export.errors import InputError
from export.graph import DataflowGraph, IntArray
from hw.folding import Folding
from hw.rtl_target import RtlTarget
from hw.rtlgen import plan_rtl
from hw.target import ImageArray, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Faults that strike together, and why they were chosen.

    Attributes:
        name: A few words.
        faults: In the order in which they strike.
    """

    name: str
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetReplay:
    """One target under one scenario.

    Attributes:
        target: Its name.
        how: ``faulty graph``; ``memory contents and forced streams`` of the faultless design; or ``generated
            from the faulty graph``, where channels share a word of memory.
        correct: Images with the right label.
        diverging_images: Images whose logits differ from the emulator's.
        first: The first of them.
    """

    target: str
    how: str
    correct: int
    diverging_images: int
    first: Divergence | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultReplay:
    """One scenario on all targets.

    Attributes:
        scenario: The faults.
        images: How many images.
        targets: The emulator first, which the others are compared with.
    """

    scenario: Scenario
    images: int
    targets: tuple[TargetReplay, ...]

    def check(self) -> None:
        """Raise the first divergence.

        Raises:
            DivergenceError: A target differs from the emulator.
        """
        for result in self.targets:
            if result.first is not None:
                raise result.first.error()

    def to_json(self) -> dict[str, Any]:
        """Return JSON values; ``accuracy`` beside ``correct``."""
        return {
            "scenario": self.scenario.name,
            "faults": [fault_to_json(fault) for fault in self.scenario.faults],
            "images": self.images,
            "targets": [
                {**asdict(result), "accuracy": result.correct / self.images} for result in self.targets
            ],
        }


def replay_faults(
    graph: DataflowGraph,
    folding: Folding,
    scenario: Scenario,
    images: ImageArray,
    labels: IntArray,
    *,
    seed: int = 0,
    workers: int | None = None,
    cache_dir: Path | None = None,
) -> FaultReplay:
    """Run one scenario on emulator, reference and rtl.

    Args:
        graph: The network without faults.
        folding: PE and SIMD of each layer.
        scenario: What strikes.
        images: uint8 ``(N, H, W, C)``, at least one.
        labels: int64 ``(N,)``.
        seed: Of drawn weights.
        workers: Streams and threads at once; None for one a core.
        cache_dir: Where compiled code is kept.

    Raises:
        InputError: A fault's place does not exist.
        ToolError: Verilator or the compiler is missing.
    """
    faults = scenario.faults
    emulator = FaultyEmulator(graph, faults, threads=workers, seed=seed, cache_dir=cache_dir)
    hardware, how = open_hardware(graph, folding, faults, seed=seed, workers=workers, cache_dir=cache_dir)
    targets: list[tuple[Target, str]] = [
        (emulator, "faulty graph"),
        (FaultyReference(graph, faults, seed=seed), "faulty graph"),
        (hardware, how),
    ]
    baseline = emulator.infer(images)
    results: list[TargetReplay] = []
    for target, way in targets:
        found = baseline if target is emulator else target.infer(images)
        differing = differing_images(baseline, found)
        first = None
        if len(differing):
            image = int(differing[0])
            first = describe(
                emulator, target, baseline.logits[image], found.logits[image], images="faulty", image=image
            )
            layer, note = locate(emulator, target, images[image : image + 1], frame=image)
            first = replace(first, layer=layer, note=note)
        results.append(
            TargetReplay(
                target=target.name,
                how=way,
                correct=int((found.labels == labels).sum()),
                diverging_images=len(differing),
                first=first,
            )
        )
    return FaultReplay(scenario=scenario, images=len(images), targets=tuple(results))


def open_hardware(
    graph: DataflowGraph,
    folding: Folding,
    faults: Sequence[Fault],
    *,
    seed: int = 0,
    workers: int | None = None,
    cache_dir: Path | None = None,
) -> tuple[Target, str]:
    """Return the simulated hardware with faults, and in words how they got into it; see `TargetReplay`."""
    memory, streams = split_faults(faults)
    layout = MemoryLayout.of(graph, folding, plan_rtl(graph, folding, with_contents=False))
    if not streams and any(not _has_own_bits(layout, fault) for fault in memory):
        faulty = apply_faults(graph, memory)
        target = RtlTarget(faulty, folding, seed=seed, workers=workers, cache_dir=cache_dir)
        return target, "generated from the faulty graph"
    target = faulty_rtl(graph, folding, faults, seed=seed, workers=workers, cache_dir=cache_dir)
    return target, "memory contents and forced streams"


def _has_own_bits(layout: MemoryLayout, fault: Fault) -> bool:
    """Whether bits of the memories belong to this fault alone."""
    memory, _ = split_faults([fault])
    with suppress(InputError):
        return bool(layout.addresses(memory[0]))
    return False
