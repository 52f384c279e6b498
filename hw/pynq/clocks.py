"""The truth about the logic's clock: asked, planned, achieved, set, and what the logic itself counts.

An overlay that is clocked faster than its timing was closed at gives wrong answers now and then, which look
like those of a network that was built wrongly.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import registers
from .bus import Bus
from .errors import ClockError
from .manifest import ClockPlan

# What rounding of dividers and crystals may add before a clock counts as too fast or as another one.
_ROUNDING = 1e-3
_DRIFT = 5e-3
_ANOTHER = 2e-2


@dataclass(frozen=True)
class ClockReport:
    """Clock of the logic [MHz].

    Attributes:
        asked: What the user wanted.
        planned: What the board can do of it, or None.
        achieved: What the timing was closed at, or None where no bitstream was built.
        set: What the board's dividers are set to, or None where nobody knows.
        measured: Lower and upper bound of what the logic counted against the processor's clock.
    """

    asked: float
    planned: float | None
    achieved: float | None
    set: float | None
    measured: tuple[float, float]

    @property
    def timed(self) -> float:
        """The fastest clock that is allowed: the achieved one, else the planned, else the one asked for."""
        return timed_mhz(ClockPlan(asked=self.asked, planned=self.planned, achieved=self.achieved))

    def check(self) -> None:
        """Refuse a clock that is too fast, or another one than was set.

        Raises:
            ClockError: Of either kind, with all numbers.
        """
        low, high = self.measured
        if self.set is not None:
            check_set(self.set, self.timed)
            if high < self.set * (1 - _ANOTHER) or low > self.set * (1 + _ANOTHER):
                raise ClockError(
                    f"the clock is set to {self.set:g} MHz, but the logic counts {low:g} to {high:g} MHz",
                    hint="another program may have changed it; load the overlay again",
                )
        if low > self.timed * (1 + _DRIFT):
            raise ClockError(
                f"the logic counts {low:g} MHz, its timing was closed at {self.timed:g} MHz",
                hint="set a lower clock: fclk_mhz",
            )


def timed_mhz(plan: ClockPlan) -> float:
    """Return the fastest clock that is allowed [MHz]."""
    return plan.achieved or plan.planned or plan.asked


def check_set(wanted_mhz: float, allowed_mhz: float) -> None:
    """Refuse a clock that is faster than the timing was closed at.

    Raises:
        ClockError: It is.
    """
    if wanted_mhz > allowed_mhz * (1 + _ROUNDING):
        raise ClockError(
            f"a clock of {wanted_mhz:g} MHz is more than the timing was closed at, {allowed_mhz:g} MHz",
            hint=f"give at most fclk_mhz={allowed_mhz:g}, or build the overlay for a faster clock",
        )


def measure_clock(bus: Bus, control: int, duration_s: float) -> tuple[float, float]:
    """Count cycles over some time.

    Each reading happens somewhere between two looks at the processor's clock, so a slow bus widens the result
    and doesn't falsify it.

    Args:
        bus: Where the registers are.
        control: Physical address of control0.
        duration_s: How long to count [s].

    Returns:
        Lower and upper bound of the frequency [MHz].
    """
    before_first, first, after_first = _read_cycles(bus, control)
    while bus.now() - after_first < duration_s:
        bus.pause(bus.now() - after_first)
    before_last, last, after_last = _read_cycles(bus, control)
    cycles = last - first
    return cycles / (after_last - before_first) / 1e6, cycles / (before_last - after_first) / 1e6


def _read_cycles(bus: Bus, control: int) -> tuple[float, int, float]:
    """Return the time before, the cycles, and the time after."""
    while True:
        before = bus.now()
        high = bus.read(control + registers.CYCLES_HIGH)
        low = bus.read(control + registers.CYCLES_LOW)
        after = bus.now()
        # The low word may have overflown in between.
        if bus.read(control + registers.CYCLES_HIGH) == high:
            return before, high << 32 | low, after
