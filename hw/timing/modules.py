"""The modules of hw/rtl, reduced to what decides their handshakes.

A model holds the state after a clock edge. In a cycle, `valids` says which outputs offer a beat, `readies`
which inputs take one, and `clock` is the edge at the end of the cycle.
"""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import Protocol

from hw.rtlgen.latency import MVAU_LATENCY_CYCLES

Flags = tuple[bool, ...]


class Activity(Enum):
    """What a module does in a cycle: it works, waits for input, or waits for its output to be taken."""

    BUSY = 0
    STARVED = 1
    BLOCKED = 2


class Module(Protocol):
    """One module: a flag for each of its input and output streams."""

    @property
    def valids(self) -> Flags:
        """Whether m_axis_tvalid is high."""
        ...

    def readies(self, offered: Flags, out_ready: Flags) -> Flags:
        """Whether s_axis_tready is high, given the other side of each stream."""
        ...

    def activity(self, offered: Flags, out_ready: Flags) -> Activity:
        """What this cycle is used for, asked before `clock`."""
        ...

    def clock(self, offered: Flags, out_ready: Flags) -> None:
        """The clock edge: ``offered`` is whether s_axis_tvalid was high in this cycle."""
        ...


def count_as(runs: bool, works: bool) -> Activity:
    """Return what a cycle is used for by a module that stands still, or could work, or works."""
    if not runs:
        return Activity.BLOCKED
    return Activity.BUSY if works else Activity.STARVED


class Single:
    """A module with one stream on each side."""

    @property
    def valid(self) -> bool:
        """Whether m_axis_tvalid is high."""
        raise NotImplementedError

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high, given m_axis_tready."""
        raise NotImplementedError

    def use(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for: the module works on the beat that is offered, if it takes one."""
        return count_as(self.ready(out_ready), offered)

    def edge(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        raise NotImplementedError

    @property
    def valids(self) -> Flags:
        """`valid`, of the only output."""
        return (self.valid,)

    def readies(self, offered: Flags, out_ready: Flags) -> Flags:
        """`ready`, of the only input."""
        return (self.ready(*out_ready),)

    def activity(self, offered: Flags, out_ready: Flags) -> Activity:
        """`use` with the only streams."""
        return self.use(*offered, *out_ready)

    def clock(self, offered: Flags, out_ready: Flags) -> None:
        """`edge` with the only streams."""
        self.edge(*offered, *out_ready)


class Pipeline(Single):
    """A pipeline that stands still as a whole while its output waits: every beat leaves as a beat."""

    def __init__(self, latency_cycles: int) -> None:
        self.latency_cycles = latency_cycles
        # Edges until each beat inside reaches the output; the first one is the next to leave.
        self._remaining: deque[int] = deque()

    @property
    def valid(self) -> bool:
        """Whether m_axis_tvalid is high."""
        return bool(self._remaining) and self._remaining[0] == 0

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return out_ready or not self.valid

    def use(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for."""
        return count_as(self.ready(out_ready), offered)

    def edge(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        if self.ready(out_ready):
            self._advance()
            if offered:
                self._remaining.append(self.latency_cycles - 1)

    def _advance(self) -> None:
        if self.valid:
            self._remaining.popleft()
        for index in range(len(self._remaining)):
            self._remaining[index] -= 1


class Mvau(Pipeline):
    """bnn_mvau: takes a vector of SF beats, then replays it for its other groups of neurons.

    Args:
        synapse_fold: Beats of a vector.
        turns: Output beats of a vector.
        first_cycle: First cycle after a reset in which it works: when drawn weights are there.
    """

    def __init__(self, synapse_fold: int, turns: int, first_cycle: int = 0) -> None:
        super().__init__(MVAU_LATENCY_CYCLES)
        self.synapse_fold, self.turns, self.first_cycle = synapse_fold, turns, first_cycle
        self._step = self._cycle = 0

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._has_weights() and self._step < self.synapse_fold and super().ready(out_ready)

    def use(self, offered: bool, out_ready: bool) -> Activity:
        """What this cycle is used for: a step of the replay is work as well."""
        return count_as(super().ready(out_ready), self._steps(offered))

    def edge(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        if super().ready(out_ready):
            self._advance()
            if self._steps(offered):
                self._step += 1
                if self._step % self.synapse_fold == 0:
                    self._remaining.append(self.latency_cycles - 1)
                self._step %= self.synapse_fold * self.turns
        self._cycle += 1

    def _steps(self, offered: bool) -> bool:
        return self._has_weights() and (offered or self._step >= self.synapse_fold)

    def _has_weights(self) -> bool:
        return self._cycle >= self.first_cycle


class Fifo(Single):
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

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._count < self.depth

    def edge(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        self._count += int(offered and self.ready(out_ready)) - int(self.valid and out_ready)


class WidthConverter(Single):
    """bnn_dwc, in units of the greatest common divisor of both widths."""

    def __init__(self, in_lanes: int, out_lanes: int) -> None:
        unit = math.gcd(in_lanes, out_lanes)
        self.in_units, self.out_units = in_lanes // unit, out_lanes // unit
        self._have = 0

    @property
    def valid(self) -> bool:
        """Whether m_axis_tvalid is high."""
        return self._have >= self.out_units

    def ready(self, out_ready: bool) -> bool:
        """Whether s_axis_tready is high."""
        return self._after_output(out_ready) < self.out_units

    def edge(self, offered: bool, out_ready: bool) -> None:
        """The clock edge."""
        taken = offered and self.ready(out_ready)
        self._have = self._after_output(out_ready) + (self.in_units if taken else 0)

    def _after_output(self, out_ready: bool) -> int:
        return self._have - self.out_units if self.valid and out_ready else self._have
