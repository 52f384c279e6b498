"""The bus of a simulation: the Verilated overlay, or the emulator behind the same registers."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .bus import ByteArray
from .errors import DriverError
from .manifest import Manifest

# Buffers start at a multiple of this.
_ALIGNMENT = 64
_MEMORY_BASE = 0x1000_0000
_MEMORY_BYTES = 0x1000_0000


class Simulation(Protocol):
    """What a simulated overlay can do."""

    @property
    def cycles(self) -> int:
        """Clock cycles so far."""
        ...

    def read(self, offset: int) -> int:
        """Read a register at an offset in the overlay's window."""
        ...

    def write(self, offset: int, value: int) -> None:
        """Write a register."""
        ...

    def read_memory(self, address: int, count: int) -> bytes:
        """Return bytes of the memory that the overlay shares."""
        ...

    def write_memory(self, address: int, data: bytes) -> None:
        """Set bytes of that memory."""
        ...

    def step(self, cycles: int) -> None:
        """Let clock cycles pass."""
        ...


class Memory:
    """Hands out addresses of simulated memory: the lowest gap that fits.

    Args:
        base: First address.
        size: Bytes.
    """

    def __init__(self, base: int = _MEMORY_BASE, size: int = _MEMORY_BYTES) -> None:
        self._base = base
        self._end = base + size
        self._taken: dict[int, int] = {}

    def take(self, size: int) -> int:
        """Return the address of ``size`` free bytes.

        Raises:
            DriverError: There is no such gap.
        """
        address = self._base
        for start, taken in sorted(self._taken.items()):
            if start - address >= size:
                break
            address = -(-(start + taken) // _ALIGNMENT) * _ALIGNMENT
        if address + size > self._end:
            raise DriverError(f"no {size} bytes of memory are free", hint="use a smaller batch_size")
        self._taken[address] = size
        return address

    def give(self, address: int) -> None:
        """Take bytes back."""
        self._taken.pop(address, None)

    @property
    def taken_bytes(self) -> int:
        """Bytes that are handed out."""
        return sum(self._taken.values())


class SimulationBus:
    """A simulation as a bus.

    Args:
        simulation: The overlay.
        manifest: Where its registers are.
        clock_mhz: Clock at which simulated time passes [MHz]; None for the planned or asked one.
        poll_cycles: Cycles that pass between two polls.
    """

    simulated = True

    def __init__(
        self,
        simulation: Simulation,
        manifest: Manifest,
        *,
        clock_mhz: float | None = None,
        poll_cycles: int = 200,
    ) -> None:
        self.board: str | None = manifest.board
        self.memory = Memory()
        self._simulation = simulation
        self._window = manifest.registers["idma0"]
        self._clock_mhz = clock_mhz or manifest.clock.planned or manifest.clock.asked
        self._poll_cycles = poll_cycles

    def read(self, address: int) -> int:
        """Read a register."""
        return self._simulation.read(address - self._window)

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        self._simulation.write(address - self._window, value)

    def allocate(self, size: int) -> SimulatedBuffer:
        """Return new memory."""
        return SimulatedBuffer(self._simulation, self.memory, size)

    def now(self) -> float:
        """Return simulated seconds."""
        return self._simulation.cycles / (self._clock_mhz * 1e6)

    def pause(self, waited_s: float) -> None:
        """Let some cycles pass; more of them the longer was waited, so that a long wait ends soon."""
        grown = int(waited_s * self._clock_mhz * 1e6 / 8)
        self._simulation.step(max(self._poll_cycles, grown))

    def clock_mhz(self) -> float | None:
        """Return the clock at which simulated time passes."""
        return self._clock_mhz

    def set_clock_mhz(self, frequency_mhz: float) -> None:
        """Let simulated time pass at another clock."""
        self._clock_mhz = frequency_mhz


class SimulatedBuffer:
    """Memory of a simulation."""

    def __init__(self, simulation: Simulation, memory: Memory, size: int) -> None:
        self.size = size
        self.address = memory.take(size)
        self._memory: Memory | None = memory
        self._simulation = simulation

    def write(self, data: ByteArray) -> None:
        """Copy bytes to its start."""
        self._check(data.size)
        self._simulation.write_memory(self.address, data.tobytes())

    def read(self, count: int) -> ByteArray:
        """Return its first bytes."""
        self._check(count)
        return np.frombuffer(self._simulation.read_memory(self.address, count), np.uint8)

    def free(self) -> None:
        """Give the memory back."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.give(self.address)

    def _check(self, count: int) -> None:
        if self._memory is None or count > self.size:
            raise DriverError(f"{count} bytes don't fit a buffer of {self.size}, or it was freed")
