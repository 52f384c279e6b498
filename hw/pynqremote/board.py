"""A board that isn't there: an overlay behind its addresses, memory, clock registers, and loading."""

from __future__ import annotations

from collections.abc import Callable

from hw.pynq.manifest import Manifest
from hw.pynq.simulationbus import Memory, Simulation
from hw.pynqremote.device import EmulatedOverlay
from hw.pynqremote.faults import Faults
from hw.pynqremote.psclocks import PS7, ULTRASCALE, PsRegisters
from hw.target import Target

_WINDOW_BYTES = 0x1_0000
# The parts of Zynq-7000.
_ZYNQ7 = "xc7z"


class EmulatedBoard:
    """A board with one overlay, empty until that overlay's bitstream is loaded.

    Args:
        manifest: The overlay.
        overlay: Its registers and memory: emulated or Verilated. A function of the board's clock makes it.
        firmware: The bitstream as the FPGA manager gets it; any other leaves the logic empty. None where the
            overlay is in the logic from the start.
        pace_cycles: Clock cycles that pass after each access to the overlay, where it is Verilated.
    """

    def __init__(
        self,
        manifest: Manifest,
        overlay: Callable[[Callable[[], int]], Simulation],
        firmware: bytes | None = None,
        *,
        pace_cycles: int = 0,
    ) -> None:
        self.manifest = manifest
        self.arch = "armv7l" if manifest.part.startswith(_ZYNQ7) else "aarch64"
        self.ps = PsRegisters(PS7 if self.arch == "armv7l" else ULTRASCALE)
        self.memory = Memory()
        self.overlay = overlay(self.ps.cycles)
        self._window = manifest.registers["idma0"]
        self._firmware = firmware
        self._pace_cycles = pace_cycles
        self.loaded = firmware is None

    def load(self, firmware: bytes) -> None:
        """Configure the logic."""
        self.loaded = self._firmware is None or firmware == self._firmware

    def read(self, address: int) -> int:
        """Read a 32-bit register; in empty logic it is 0."""
        offset = address - self._window
        if not 0 <= offset < _WINDOW_BYTES:
            return self.ps.read(address)
        if not self.loaded:
            return 0
        value = self.overlay.read(offset)
        self._pass_time()
        return value

    def write(self, address: int, value: int) -> None:
        """Write a 32-bit register."""
        offset = address - self._window
        if not 0 <= offset < _WINDOW_BYTES:
            self.ps.write(address, value)
        elif self.loaded:
            self.overlay.write(offset, value)
            self._pass_time()

    def _pass_time(self) -> None:
        if self._pace_cycles:
            self.overlay.step(self._pace_cycles)


def emulated_board(
    manifest: Manifest, target: Target, *, firmware: bytes | None = None, faults: Faults | None = None
) -> EmulatedBoard:
    """Return a board whose overlay is computed by a target.

    Args:
        manifest: The overlay.
        target: Computes the network.
        firmware: See `EmulatedBoard`.
        faults: What is wrong with it.
    """

    def overlay(clock: Callable[[], int]) -> Simulation:
        # In real time there is nothing to wait for: a frame is computed when it is asked for.
        return EmulatedOverlay(manifest, target, frame_cycles=0, faults=faults, clock=clock)

    return EmulatedBoard(manifest, overlay, firmware)
