"""Faults on the generated hardware: digits of memory files differ, and bits of streams are forced."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import prod
from pathlib import Path

import numpy as np

from attacks.faults.layout import MemoryLayout, faulty_memories
from attacks.faults.model import ActivationFault, Effect, Fault
from attacks.faults.targets import faults_by_node, split_faults
from export.graph import DataflowGraph
from hw.folding import Folding
from hw.rtl_faults import CodeMasks, FaultyRtlTarget
from hw.rtlgen import plan_rtl


def faulty_rtl(
    graph: DataflowGraph,
    folding: Folding,
    faults: Sequence[Fault],
    *,
    cache_dir: Path | None = None,
    workers: int | None = None,
    seed: int = 0,
) -> FaultyRtlTarget:
    """Return the generated hardware with faults in its memories and streams.

    It is the design of the network without faults: the faulty graph is not asked.

    Args:
        graph: The network without faults.
        folding: PE and SIMD of each layer.
        faults: What strikes, in this order.
        cache_dir: Where simulators are kept.
        workers: Streams simulated at once; None for one a core.
        seed: Of drawn weights.

    Raises:
        InputError: A fault's place does not exist, or it has no bit of its own in this design.
        ToolError: Verilator or the C++ compiler is missing.
    """
    memory, streams = split_faults(faults)
    design = plan_rtl(graph, folding)
    layout = MemoryLayout.of(graph, folding, design)
    return FaultyRtlTarget(
        graph,
        folding,
        memories=faulty_memories(design.memories, layout, memory),
        streams={
            name: _masks(prod(graph.shapes[name]), struck)
            for name, struck in faults_by_node(graph, streams).items()
        },
        cache_dir=cache_dir,
        workers=workers,
        seed=seed,
    )


def _masks(elements: int, faults: Iterable[ActivationFault]) -> CodeMasks:
    """Join faults that strike one after the other: codes become ``(code & keep) ^ turn``."""
    keep, turn = np.full(elements, -1, np.int64), np.zeros(elements, np.int64)
    for fault in faults:
        bit = np.int64(1) << np.int64(fault.bit)
        if fault.effect is Effect.FLIP:
            turn[fault.element] ^= bit
            continue
        keep[fault.element] &= ~bit
        turn[fault.element] &= ~bit
        if fault.effect is Effect.STUCK_AT_1:
            turn[fault.element] |= bit
    return CodeMasks(keep=keep, turn=turn)
