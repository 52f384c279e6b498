"""Where two branches come back together: the addition, and FIFOs before it that keep it from a deadlock.

Two streams that start at one fork arrive at an Add at different times. What comes early has to wait in a FIFO
before the Add; if that fills while the other branch still needs beats of the fork, both stand still for good.

A depth that rules this out follows from counts of beats alone (`hw.rtlgen.counts`). Let d be the last stream
that every way from the images to the Add passes. Think of a run in which a module waits while any module
after it can move: a beat enters d when all that follows has come to rest. After x beats of d a side has
received n(x) beats, the Add has taken the lesser of both sides' counts, and so a FIFO never holds more than
its side's n(x) less the other one's n(x - 1). A run within the FIFOs' depths exists, and since no module
chooses what it does by who comes first, no other run of the same hardware can get stuck either.

The default depth adds what the other branch can store, up to a frame, so that its buffers can fill and it
works at full rate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from export.graph import Add, IntArray
from hw.rtlgen.builder import DesignBuilder
from hw.rtlgen.counts import beats_after, stored_frames
from hw.rtlgen.design import Instance, Stream

_SIDES = ("input", "other")


def add_sum(builder: DesignBuilder, node: Add) -> None:
    """Add a bnn_add and FIFOs on both sides, at the lanes of the narrower one.

    Args:
        builder: Grows by the instances, with a width converter where lanes differ.
        node: The node.
    """
    sides = [builder.open(node.input), builder.open(node.other)]
    # The narrower stream takes its cycles anyway, so its lanes cost no time.
    lanes = min(side.lanes for side in sides)
    converted: list[Stream] = []
    for name, side in zip(_SIDES, sides, strict=True):
        builder.head = side
        builder.convert(node, lanes, name)
        converted.append(builder.head)
    depths = bypass_depths(builder.instances, (converted[0], converted[1]))
    sources: list[Stream] = []
    for name, side, depth in zip(_SIDES, converted, depths, strict=True):
        builder.head = side
        builder.buffer(node, depth, name)
        sources.append(builder.head)
    sink = Stream(name=node.name, dtype=node.out_type, lanes=lanes, beats=sources[0].beats, node=node.name)
    parameters = {"LANES": lanes, "OUT_W": sink.element_w}
    for index, source in enumerate(sources):
        parameters[f"IN{index}_W"] = source.element_w
        parameters[f"IN{index}_BIPOLAR"] = int(source.dtype.is_bipolar)
        parameters[f"IN{index}_SIGNED"] = int(source.dtype.is_signed and not source.dtype.is_bipolar)
    builder.join("bnn_add", "", node, sources, sink, parameters)


def bypass_depths(instances: Sequence[Instance], sides: tuple[Stream, Stream]) -> tuple[int, int]:
    """Return how deep the FIFOs before a module that joins two streams should be.

    Args:
        instances: All that was built before it, in topological order.
        sides: The streams that it joins.
    """
    writers = {sink.name: k for k, instance in enumerate(instances) for sink in instance.sinks}
    reached = [_ancestors(instances, writers, side) for side in sides]
    fork = _dominator(instances, writers, sides)
    clock = instances[fork].sinks[0].beats
    after = {sink.name: np.arange(clock + 1) for sink in instances[fork].sinks}
    for k in sorted(k for k in reached[0] | reached[1] if k > fork):
        _count(instances[k], after)
    counts = [after[side.name] for side in sides]
    depths: list[int] = []
    for this in (0, 1):
        waiting = int(np.max(counts[this][1:] - counts[1 - this][:-1]))
        only = [instances[k] for k in reached[1 - this] - reached[this]]
        stored = sum(stored_frames(instance) for instance in only if not _is_bypass(instance))
        depths.append(max(0, waiting) + 1 + math.ceil(min(1.0, stored) * sides[this].beats))
    return depths[0], depths[1]


def _is_bypass(instance: Instance) -> bool:
    """Whether it is the FIFO of an inner Add: what lies beside a branch does not lengthen it."""
    return instance.fifo_key is not None and instance.fifo_key != instance.node


def _count(instance: Instance, after: dict[str, IntArray]) -> None:
    """Enter the counts of an instance's outputs."""
    if len(instance.sources) > 1:
        sent = np.minimum.reduce([after[source.name] for source in instance.sources])
    else:
        sent = beats_after(instance, after[instance.source.name])
    after.update((sink.name, sent) for sink in instance.sinks)


def _ancestors(instances: Sequence[Instance], writers: dict[str, int], stream: Stream) -> set[int]:
    """Indices of the instances from which a stream comes."""
    found: set[int] = set()
    waiting = [stream.name]
    while waiting:
        index = writers.get(waiting.pop())
        if index is not None and index not in found:
            found.add(index)
            waiting += [source.name for source in instances[index].sources]
    return found


def _dominator(instances: Sequence[Instance], writers: dict[str, int], sides: tuple[Stream, Stream]) -> int:
    """Index of the last instance that every way to both sides passes.

    Walking back from the latest instance of a front to its sources, it is the first to stand alone.
    """
    front = {writers[side.name] for side in sides}
    while len(front) > 1:
        latest = max(front)
        front.remove(latest)
        front |= {writers[source.name] for source in instances[latest].sources}
    return front.pop()
