"""An attack's curve as JSON values: the accuracy with each more faulty bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from attacks.faults.evaluator import FaultEvaluator
from attacks.faults.greedy import GreedySearch, Step
from attacks.faults.layout import MemoryLayout
from attacks.faults.model import ActivationFault, Fault, MemoryFault, fault_to_json
from attacks.faults.sampling import Memory
from export.errors import InputError


def curve_to_json(
    search: GreedySearch, steps: Sequence[Step], layout: MemoryLayout, held_out: FaultEvaluator | None
) -> dict[str, Any]:
    """Return an attack as JSON values.

    Args:
        search: Who searched.
        steps: What was found.
        layout: Where the bits lie in hardware.
        held_out: Images that the adversary did not see; None if there are none.

    Returns:
        ``memories``, ``objective``, ``search_images``, ``held_out_images``, ``clean_held_out`` (accuracy on
        the latter without faults), and ``steps``: each with ``bits``, ``fault``, ``address``, ``candidates``,
        ``accuracy_search`` and ``accuracy_held_out``.
    """
    return {
        "objective": str(search.objective),
        "memories": [{"node": memory.node, "kind": memory.kind} for memory in search.memories],
        "search_images": len(search.images),
        "held_out_images": 0 if held_out is None else len(held_out.images),
        "clean_held_out": None if held_out is None else held_out.clean.score.correct / len(held_out.images),
        "steps": [
            _step_to_json(steps[: count + 1], layout, len(search.images), held_out)
            for count in range(len(steps))
        ],
    }


def _step_to_json(
    steps: Sequence[Step], layout: MemoryLayout, images: int, held_out: FaultEvaluator | None
) -> dict[str, Any]:
    faults: list[MemoryFault] = [step.fault for step in steps]
    last = steps[-1]
    accuracy = None
    if held_out is not None:
        accuracy = held_out.score(faults).correct / len(held_out.images)
    return {
        "bits": len(steps),
        "fault": fault_to_json(last.fault),
        "address": asdict(layout.addresses(last.fault)[0]),
        "candidates": last.candidates,
        "accuracy_search": last.score.correct / images,
        "accuracy_held_out": accuracy,
    }


def one_bit_each(layout: MemoryLayout, memory: Memory) -> bool:
    """Whether each fault of a memory is one bit of the hardware: no copies for lanes, no shared words."""
    fault: Fault = memory.fault(0)
    if isinstance(fault, ActivationFault):
        return False
    try:
        return len(layout.addresses(fault)) == 1
    except InputError:
        return False
