"""The processor system's clock registers, as far as PYNQ computes the logic's clock from them."""

from __future__ import annotations

import time
from dataclasses import dataclass

# Sources: AMD UG585 (Zynq-7000), SLCR; UG1087 (Zynq UltraScale+), CRL_APB.


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockLayout:
    """Where a processor system keeps the dividers of the logic's first clock.

    Attributes:
        pll_mhz: What is divided [MHz].
        control: Address of the register with the dividers.
        divisors: First bit of each divider, of 6 bits.
        initial: Registers after boot, by address.
    """

    pll_mhz: float
    control: int
    divisors: tuple[int, int]
    initial: dict[int, int]


# The IO PLL multiplies 50 MHz by 20; the clock starts at 100 MHz.
PS7 = ClockLayout(
    pll_mhz=1000.0,
    control=0xF800_0170,
    divisors=(8, 20),
    initial={
        0xF800_0100: 26 << 12,
        0xF800_0104: 21 << 12,
        0xF800_0108: 20 << 12,
        0xF800_0120: 2 << 8,
        0xF800_0170: 1 << 20 | 10 << 8,
    },
)
# The IO PLL multiplies 33.333 MHz by 90 and halves it; the clock starts at 99.999 MHz.
ULTRASCALE = ClockLayout(
    pll_mhz=33.333 * 45,
    control=0xFF5E_00C0,
    divisors=(8, 16),
    initial={0xFF5E_0020: 1 << 16 | 90 << 8, 0xFF5E_00C0: 1 << 24 | 1 << 16 | 15 << 8},
)


class PsRegisters:
    """Registers outside of the overlay: the clock's are understood, others only keep what is written.

    Args:
        layout: Of the processor system.
    """

    def __init__(self, layout: ClockLayout) -> None:
        self._layout = layout
        self._values = dict(layout.initial)
        self._changed_s = time.monotonic()
        self._cycles_before = 0

    def read(self, address: int) -> int:
        """Read a register; one that nobody wrote is 0."""
        return self._values.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        if address == self._layout.control:
            self._cycles_before = self.cycles()
            self._changed_s = time.monotonic()
        self._values[address] = value

    @property
    def frequency_mhz(self) -> float:
        """What the dividers make of the PLL's clock [MHz]; 0 where one of them is 0."""
        product = 1
        for place in self._layout.divisors:
            product *= self._values[self._layout.control] >> place & 63
        return self._layout.pll_mhz / product if product else 0.0

    def cycles(self) -> int:
        """Return the cycles that the logic's clock has made in real time."""
        passed_s = time.monotonic() - self._changed_s
        return self._cycles_before + int(passed_s * self.frequency_mhz * 1e6)
