"""The modules of hw/rtl, reduced to what decides their handshakes.

A model holds the state after a clock edge. In a cycle, `valid` says whether it offers a beat, `ready` whether
it takes one, and `clock` is the edge at the end of the cycle. `quiet_cycles` and `skip` jump over cycles in
which no beat moves.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import Protocol

from hw.rtlgen.latency import MVAU_LATENCY_CYCLES

FOREVER = 1 << 62


class Activity(Enum):
    """What a module does in a cycle: it works, waits for input, or waits for its output to be taken."""

    BUSY = 0
    STARVED = 1
    BLOCKED = 2


class Module(Protocol):
    """One module between two streams."""

    @property
    def valid(self) -> bool:
        """Whether m_axis_tvalid is high."""
        ...

    @property
    def state(self) -> object:
        """Everything that decides what comes, hashable."""
        ...

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high, given m_axis_tready."""
        ...

    def activity(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for, asked before `clock`."""
        ...

    def clock(self, offered: bool, out_ready: bool) -> None:
        """The clock edge: ``offered`` is whether s_axis_tvalid was high in this cycle."""
        ...

    def quiet_cycles(self, out_ready: bool) -> int:
        """Clock edges, at least 0, that change neither `valid` nor `ready` while no beat moves."""
        ...

    def skip(self, cycles: int, out_ready: bool) -> None:
        """That many clock edges at once, at most `quiet_cycles`, while no beat moves."""
        ...


def count_as(runs: bool, works: bool) -> Activity:
    """Return what a cycle is used for by a module that stands still, or could work, or works."""
    if not runs:
        return Activity.BLOCKED
    return Activity.BUSY if works else Activity.STARVED


class Pipeline:
    """A pipeline that stands still as a whole while its output waits: every beat leaves as a beat."""

    def __init__(self, latency_cycles: int) -> None:
        self.latency_cycles = latency_cycles
        # Edges until each beat inside reaches the output; the first one is the next to leave.
        self._remaining: deque[int] = deque()

    @property
    def valid(self) -> bool:
        """Whether m_axis_tvalid is high."""
        return bool(self._remaining) and self._remaining[0] == 0

    @property
    def state(self) -> object:
        """Everything that decides what comes, hashable."""
        return tuple(self._remaining)

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return out_ready or not self.valid

    def activity(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for."""
        return count_as(self.ready(out_ready), offered)

    def clock(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        if self.ready(out_ready):
            self._advance(1)
            if offered:
                self._remaining.append(self.latency_cycles - 1)

    def quiet_cycles(self, out_ready: bool) -> int:
        """Clock edges that change nothing outside."""
        if not self._remaining or not self.ready(out_ready):
            return FOREVER
        return self._remaining[0] - 1

    def skip(self, cycles: int, out_ready: bool) -> None:
        """Many clock edges at once."""
        if self.ready(out_ready):
            self._advance(cycles)

    def _advance(self, cycles: int) -> None:
        if self.valid:
            self._remaining.popleft()
        for index in range(len(self._remaining)):
            self._remaining[index] -= cycles


class Mvau(Pipeline):
    """bnn_mvau: takes SF beats, then replays them for the other NF - 1 groups; one output beat a group."""

    def __init__(self, synapse_fold: int, neuron_fold: int) -> None:
        super().__init__(MVAU_LATENCY_CYCLES)
        self.synapse_fold = synapse_fold
        self.steps = synapse_fold * neuron_fold
        self._step = 0

    @property
    def state(self) -> object:
        """Everything that decides what comes, hashable."""
        return self._step, tuple(self._remaining)

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._step < self.synapse_fold and super().ready(out_ready)

    def activity(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for: a step of the replay is work as well."""
        return count_as(super().ready(out_ready), offered or self._step >= self.synapse_fold)

    def clock(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        if not super().ready(out_ready):
            return
        self._advance(1)
        if offered or self._step >= self.synapse_fold:
            self._step += 1
            if self._step % self.synapse_fold == 0:
                self._remaining.append(self.latency_cycles - 1)
            if self._step == self.steps:
                self._step = 0

    def quiet_cycles(self, out_ready: bool) -> int:
        """Clock edges that change nothing outside."""
        if not super().ready(out_ready):
            return FOREVER
        to_output = self._remaining[0] - 1 if self._remaining else FOREVER
        # The last step of a group makes an output, and the last group ends the replay.
        to_group_end = (
            self.synapse_fold - 1 - self._step % self.synapse_fold
            if self._step >= self.synapse_fold
            else FOREVER
        )
        return min(to_output, to_group_end)

    def skip(self, cycles: int, out_ready: bool) -> None:
        """Many clock edges at once."""
        if super().ready(out_ready):
            self._advance(cycles)
            if self._step >= self.synapse_fold:
                self._step += cycles


class Store:
    """A module that changes only when beats move."""

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high; each module has its own rule."""
        raise NotImplementedError

    def activity(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for: it works on the beat that is offered, if it takes one."""
        return count_as(self.ready(out_ready), offered)

    def quiet_cycles(self, out_ready: bool) -> int:
        """Clock edges that change nothing outside."""
        return FOREVER

    def skip(self, cycles: int, out_ready: bool) -> None:
        """Many clock edges at once."""


class Fifo(Store):
    """bnn_fifo."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self._count = 0

    @property
    def valid(self) -> bool:
        """Whether m_axis_tvalid is high."""
        return self._count > 0

    @property
    def held(self) -> int:
        """Words inside."""
        return self._count

    @property
    def state(self) -> object:
        """Everything that decides what comes, hashable."""
        return self._count

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._count < self.depth

    def clock(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        self._count += int(offered and self.ready(out_ready)) - int(self.valid and out_ready)


class WidthConverter(Store):
    """bnn_dwc, in units of the greatest common divisor of both widths."""

    def __init__(self, in_lanes: int, out_lanes: int) -> None:
        unit = math.gcd(in_lanes, out_lanes)
        self.in_units, self.out_units = in_lanes // unit, out_lanes // unit
        self._have = 0

    @property
    def valid(self) -> bool:
        """Whether m_axis_tvalid is high."""
        return self._have >= self.out_units

    @property
    def state(self) -> object:
        """Everything that decides what comes, hashable."""
        return self._have

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._after_output(out_ready) < self.out_units

    def clock(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        taken = offered and self.ready(out_ready)
        self._have = self._after_output(out_ready) + (self.in_units if taken else 0)

    def _after_output(self, out_ready: bool) -> int:
        return self._have - self.out_units if self.valid and out_ready else self._have
