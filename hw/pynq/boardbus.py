"""The bus of a board, through the ``pynq`` package: on the board itself, or from a host with PYNQ.remote."""

from __future__ import annotations

import importlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from .bus import ByteArray
from .errors import DriverError
from .manifest import Manifest
from .registers import BLOCK_BYTES

# Results come within microseconds on a board: at first it is only polled, then with pauses.
_EAGER_S = 1e-3
_PAUSE_S = 50e-6
_LONG_S = 0.1
_LONG_PAUSE_S = 2e-3
_BOARD_FILES = (Path("/proc/device-tree/chosen/pynq_board"), Path("/etc/xocl.txt"))


def import_pynq() -> Any:
    """Return the ``pynq`` package.

    Raises:
        DriverError: It isn't installed, as anywhere but on a board.
    """
    try:
        return importlib.import_module("pynq")
    except ImportError as error:
        raise DriverError(
            f"the pynq package can't be imported: {error}",
            hint="run this on a PYNQ board, or install pynq where PYNQ.remote is used",
        ) from error


def board_name(device: Any) -> str | None:
    """Return the name of the board of a device of ``pynq``, or None where it has none."""
    if device is not None and device.has_capability("REMOTE"):
        name = str(device.name)
        return None if name == "Unknown" else name
    for file in _BOARD_FILES:
        try:
            return file.read_text(encoding="utf-8").strip("\0\n ")
        except OSError:
            continue
    return None


class BoardBus:
    """A board as a bus.

    Args:
        manifest: Where the overlay's registers are.
        device: A device of ``pynq``; None for the active one.

    Raises:
        DriverError: ``pynq`` isn't installed.
    """

    simulated = False

    def __init__(self, manifest: Manifest, device: Any = None) -> None:
        pynq = import_pynq()
        self._allocate = pynq.allocate
        self._clocks = importlib.import_module("pynq.ps").Clocks
        self._device: Any = pynq.Device.active_device if device is None else device
        self.board = board_name(self._device)
        self._failures = _remote_failures(self._device)
        self._blocks = {
            base: pynq.MMIO(base, BLOCK_BYTES, device=self._device) for base in manifest.registers.values()
        }

    def read(self, address: int) -> int:
        """Read a register."""
        base = address & ~(BLOCK_BYTES - 1)
        try:
            return int(self._blocks[base].read(address - base))
        except self._failures as error:
            raise _gone(error) from error

    def write(self, address: int, value: int) -> None:
        """Write a register."""
        base = address & ~(BLOCK_BYTES - 1)
        try:
            self._blocks[base].write(address - base, int(value))
        except self._failures as error:
            raise _gone(error) from error

    def allocate(self, size: int) -> BoardBuffer:
        """Return new contiguous memory of the board."""
        try:
            array = self._allocate((size,), np.uint8, target=self._device)
            return BoardBuffer(array, self._failures)
        except (RuntimeError, MemoryError, *self._failures) as error:
            raise DriverError(
                f"the board has no {size} bytes of contiguous memory left: {error}",
                hint="use a smaller batch_size, or end other programs that hold buffers",
            ) from error

    def now(self) -> float:
        """Return the processor's monotonic clock."""
        return time.monotonic()

    def pause(self, waited_s: float) -> None:
        """Poll at once for a millisecond, then with pauses."""
        if waited_s > _EAGER_S:
            time.sleep(_PAUSE_S if waited_s < _LONG_S else _LONG_PAUSE_S)

    def clock_mhz(self) -> float | None:
        """Return what the board's dividers are set to."""
        return float(self._clocks.fclk0_mhz)

    def set_clock_mhz(self, frequency_mhz: float) -> None:
        """Set the board's dividers to the nearest clock."""
        self._clocks.fclk0_mhz = frequency_mhz


class BoardBuffer:
    """Contiguous memory that ``pynq`` allocated."""

    def __init__(self, array: Any, failures: tuple[type[Exception], ...] = ()) -> None:
        self._array: Any = array
        self._failures = failures
        self.size = int(array.size)
        self.address = int(array.device_address)

    def write(self, data: ByteArray) -> None:
        """Copy bytes to its start and flush them."""
        self._array[: data.size] = data
        try:
            self._array.flush()
        except self._failures as error:
            raise _gone(error) from error

    def read(self, count: int) -> ByteArray:
        """Return its first bytes after invalidating the cache."""
        try:
            self._array.invalidate()
        except self._failures as error:
            raise _gone(error) from error
        return np.array(self._array[:count], dtype=np.uint8)

    def free(self) -> None:
        """Give the memory back."""
        array, self._array = self._array, None
        if array is not None:
            # A board that is gone has freed it.
            with suppress(*self._failures):
                array.freebuffer()


def _remote_failures(device: Any) -> tuple[type[Exception], ...]:
    """Return what calls to a board elsewhere raise when it can't answer; none for a board here."""
    if device is None or not device.has_capability("REMOTE"):
        return ()
    return (RuntimeError, importlib.import_module("grpc").RpcError)


def _gone(error: Exception) -> DriverError:
    return DriverError(
        f"the board does not answer: {error}", hint="see whether its server runs, and load again"
    )
