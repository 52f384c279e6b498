"""What the driver needs of the machine that it runs on: registers, memory, a clock."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

ByteArray = npt.NDArray[np.uint8]


class Buffer(Protocol):
    """Contiguous memory that the hardware reaches too."""

    @property
    def address(self) -> int:
        """Physical address of the first byte, a multiple of 64."""
        ...

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    def write(self, data: ByteArray) -> None:
        """Copy bytes to its start, so that the hardware sees them."""
        ...

    def read(self, count: int) -> ByteArray:
        """Return a copy of its first bytes as the hardware left them."""
        ...

    def free(self) -> None:
        """Give the memory back; a second call does nothing."""
        ...


class Bus(Protocol):
    """A board, a board elsewhere, or a simulation of one."""

    @property
    def simulated(self) -> bool:
        """Whether no hardware stands behind it."""
        ...

    @property
    def board(self) -> str | None:
        """Name of the board as it says itself, or None where it doesn't."""
        ...

    def read(self, address: int) -> int:
        """Read a 32-bit register at a physical address."""
        ...

    def write(self, address: int, value: int) -> None:
        """Write a 32-bit register at a physical address."""
        ...

    def allocate(self, size: int) -> Buffer:
        """Return new memory of ``size`` bytes."""
        ...

    def now(self) -> float:
        """Seconds of a clock that never goes back; in a simulation, simulated ones."""
        ...

    def pause(self, waited_s: float) -> None:
        """Let time pass between two polls of something that was waited for so long."""
        ...

    def clock_mhz(self) -> float | None:
        """Return what the logic's clock is set to [MHz], or None where nobody knows."""
        ...

    def set_clock_mhz(self, frequency_mhz: float) -> None:
        """Set the logic's clock to the nearest that the board can do; nothing where it has no setting."""
        ...
