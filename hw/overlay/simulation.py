"""Running a Verilated overlay: registers, memory behind its AXI master, clock cycles, and faults."""

from __future__ import annotations

import ctypes
import tempfile
import weakref
from collections.abc import Callable
from enum import Enum, IntEnum, IntFlag
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from export.errors import CheckFailedError, ToolError
from hw.build import Build
from hw.overlay.design import OverlayDesign
from hw.overlay.generate import design_of, write_overlay_files
from hw.overlay.library import build_overlay_library

MEMORY_BASE = 0x1000_0000
MEMORY_BYTES = 0x1000_0000
_REGISTER_DEADLINE = 10_000
_NO_ANSWER = -1
_FAILED = -2
_OKAY = 0
_WHOLE_WORD = 0xF
_CHUNK_CYCLES = 64


class Response(IntEnum):
    """AXI's answers that are no success."""

    SLVERR = 2
    DECERR = 3


class Direction(Enum):
    """A way through the memory port."""

    READ = "read"
    WRITE = "write"


class BusChannel(IntFlag):
    """Channels of the memory port that a test may let hang."""

    AR = 1
    R = 2
    AW = 4
    W = 8
    B = 16


class RegisterError(CheckFailedError):
    """A register access was answered with an error, or not at all."""


class OverlaySimulation:
    """A simulated board: a Verilated overlay, and the memory that it shares with whoever uses it.

    The memory checks the AXI rules that matter to a Zynq's HP port: a master that withdraws or changes what
    it offered, or asks for a burst of more than 16 beats or one across 4 KiB, ends the simulation.
    Not to be used by two threads at once.
    """

    def __init__(
        self,
        build: Build | OverlayDesign,
        *,
        memory_base: int = MEMORY_BASE,
        memory_bytes: int = MEMORY_BYTES,
        cache_dir: Path | None = None,
    ) -> None:
        """Build the simulator where the cache has none, and reset the overlay.

        Args:
            build: A build, or the overlay of one.
            memory_base: First address of the memory.
            memory_bytes: Its size [bytes]; all zeros at first.
            cache_dir: Where simulators are kept; None for the user's cache directory.

        Raises:
            InputError: The build was changed, or an overlay can't hold it.
            ToolError: Verilator or the compiler is missing or fails, or the simulator does not start.
        """
        self.design = build if isinstance(build, OverlayDesign) else design_of(build)
        self.memory_base = memory_base
        self.memory: npt.NDArray[np.uint8] = np.zeros(memory_bytes, np.uint8)
        library = build_overlay_library(self.design, cache_dir)
        self._library = _load(library)
        with tempfile.TemporaryDirectory(prefix="bitsiege-overlay-") as directory:
            files = Path(directory) / "overlay"
            write_overlay_files(self.design, files)
            self._handle: int | None = self._library.overlay_open(
                str(files).encode(), self.memory.ctypes.data, memory_base, memory_bytes
            )
        if self._handle is None:
            raise ToolError(f"the simulator {library} did not start: {self._error()}")
        self._finalizer = weakref.finalize(self, self._library.overlay_close, self._handle)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the simulator; calling it twice is harmless."""
        self._finalizer()
        self._handle = None

    @property
    def cycles(self) -> int:
        """Clock cycles so far, those in reset included."""
        return self._library.overlay_cycles(self._open())

    @property
    def words_moved(self) -> tuple[int, int]:
        """64-bit words read from memory, and written to it, so far."""
        return self._library.overlay_moved(self._open(), 0), self._library.overlay_moved(self._open(), 1)

    def read(self, offset: int) -> int:
        """Read a register.

        Args:
            offset: Its byte address in the overlay's window of 64 KiB.

        Raises:
            RegisterError: The answer is an error, or none comes.
            CheckFailedError: The overlay broke a rule of AXI meanwhile.
        """
        value = ctypes.c_uint32()
        answer = self._library.overlay_read(self._open(), offset, ctypes.byref(value), _REGISTER_DEADLINE)
        self._check_answer(answer, f"reading register 0x{offset:04x}")
        return value.value

    def write(self, offset: int, value: int, *, strobes: int = _WHOLE_WORD) -> None:
        """Write a register.

        Args:
            offset: Its byte address in the overlay's window of 64 KiB.
            value: 32 bits.
            strobes: Which of its bytes are written, a bit each.

        Raises:
            RegisterError: The answer is an error, or none comes.
            CheckFailedError: The overlay broke a rule of AXI meanwhile.
        """
        answer = self._library.overlay_write(self._open(), offset, value, strobes, _REGISTER_DEADLINE)
        self._check_answer(answer, f"writing register 0x{offset:04x}")

    def read_memory(self, address: int, count: int) -> bytes:
        """Return bytes of the memory."""
        return self.memory[self._inside(address, count)].tobytes()

    def write_memory(self, address: int, data: bytes) -> None:
        """Set bytes of the memory."""
        self.memory[self._inside(address, len(data))] = np.frombuffer(data, np.uint8)

    def step(self, cycles: int = 1) -> None:
        """Let clock cycles pass.

        Raises:
            CheckFailedError: The overlay broke a rule of AXI.
        """
        self._check(self._library.overlay_step(self._open(), cycles))

    def run_until(self, condition: Callable[[], bool], deadline_cycles: int) -> bool:
        """Let clock cycles pass until a condition holds, or a deadline has passed.

        Args:
            condition: Asked every 64 cycles; it may read registers, which takes cycles too.
            deadline_cycles: Cycles to wait at most.

        Returns:
            Whether it holds.

        Raises:
            CheckFailedError: The overlay broke a rule of AXI.
        """
        end = self.cycles + deadline_cycles
        while not condition():
            if self.cycles >= end:
                return False
            self.step(_CHUNK_CYCLES)
        return True

    def reset(self) -> None:
        """Reset the overlay and the memory port, as loading a bitstream does; the memory keeps its bytes."""
        self._check(self._library.overlay_reset(self._open()))

    def set_timing(self, *, seed: int = 0, stall: float = 0.0, latency_cycles: int = 4) -> None:
        """Choose how the memory answers.

        Args:
            seed: Of the random stalls.
            stall: Probability that a channel of the memory rests in a cycle, 0 to below 1.
            latency_cycles: Cycles from an address to its first answer.
        """
        if not 0 <= stall < 1:
            raise ValueError("a stall's probability must be from 0 to below 1")
        self._library.overlay_timing(
            self._open(), seed & 0xFFFF_FFFF_FFFF_FFFF, round(256 * stall), latency_cycles
        )

    def fail_at(self, direction: Direction, address: int, count: int, response: Response) -> None:
        """Let the memory answer with an error where a word of some bytes is moved, until `heal`."""
        write = int(direction is Direction.WRITE)
        self._library.overlay_inject(self._open(), address, address + count, write, int(response))

    def hang(self, channels: BusChannel) -> None:
        """Let channels of the memory do nothing more, until `heal`; others that hung go on."""
        self._library.overlay_stick(self._open(), int(channels))

    def heal(self) -> None:
        """End all faults."""
        self._library.overlay_heal(self._open())

    def _inside(self, address: int, count: int) -> slice:
        start = address - self.memory_base
        if start < 0 or start + count > self.memory.size:
            raise ValueError(f"0x{address:x} and {count} bytes from there are not in the simulated memory")
        return slice(start, start + count)

    def _open(self) -> int:
        if self._handle is None:
            raise ValueError("the simulation is closed")
        return self._handle

    def _check(self, status: int) -> None:
        if status == _FAILED:
            raise CheckFailedError(f"the simulated overlay {self._error()}")

    def _check_answer(self, answer: int, what: str) -> None:
        self._check(answer)
        if answer == _NO_ANSWER:
            raise RegisterError(f"{what}: no answer within {_REGISTER_DEADLINE} cycles")
        if answer != _OKAY:
            raise RegisterError(f"{what} was answered with {Response(answer).name}")

    def _error(self) -> str:
        return self._library.overlay_error().decode(errors="replace")


def _load(path: Path) -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ToolError(
            f"can't load the simulator {path}: {error}", hint="delete it; it will be built again"
        ) from error
    handle, i32, u32, i64, u64 = (
        *(ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32),
        *(ctypes.c_int64, ctypes.c_uint64),
    )
    library.overlay_open.restype = handle
    library.overlay_open.argtypes = (ctypes.c_char_p, handle, u64, u64)
    library.overlay_error.restype = ctypes.c_char_p
    library.overlay_error.argtypes = ()
    for name, result, arguments in (
        ("step", i32, (i64,)),
        ("reset", i32, ()),
        ("write", i32, (u32, u32, u32, i64)),
        ("read", i32, (u32, ctypes.POINTER(ctypes.c_uint32), i64)),
        ("timing", None, (u64, i64, i64)),
        ("stick", None, (u64,)),
        ("inject", None, (u64, u64, i32, u32)),
        ("heal", None, ()),
        ("cycles", i64, ()),
        ("moved", i64, (i32,)),
        ("close", None, ()),
    ):
        function = getattr(library, f"overlay_{name}")
        function.restype = result
        function.argtypes = (handle, *arguments)
    return library
