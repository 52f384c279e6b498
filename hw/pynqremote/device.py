"""An overlay without hardware: its registers and memory, and a target that computes what lies there.

It is for whatever talks to an overlay by registers: the driver, the stand-in of PYNQ.remote, a simulated
board.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from hw.pynq import registers
from hw.pynq.manifest import Manifest
from hw.pynq.packing import pack, parse_type
from hw.pynqremote.faults import Faults
from hw.target import Target

# The blocks of the overlay's window.
_IDMA, _ODMA, _CONTROL = 0x0000, 0x1000, 0x2000
_MEMORY_BASE = 0x1000_0000
_MEMORY_BYTES = 0x1000_0000
# A register access takes about so long.
_ACCESS_CYCLES = 8
_LENGTH_ERROR, _DECODE_ERROR = 1 << 4, 1 << 6
_WORD_MASK = 0xFFFF_FFFF


@dataclass(slots=True)
class _Channel:
    """State of a DMA channel."""

    name: str
    frame_bytes: int
    address: int = 0
    frames: int = 0
    moved: int = 0
    status: int = 0
    running: bool = False
    done: bool = False

    def control(self) -> int:
        """Return CTRL; done is cleared by that."""
        value = (
            registers.START * self.running | registers.DONE * self.done | registers.IDLE * (not self.running)
        )
        self.done = False
        return value

    def reset(self) -> None:
        self.running = self.done = False
        self.moved = self.status = 0

    def finish(self, status: int = 0) -> None:
        self.running, self.done = False, not status
        self.status |= status | (registers.HALTED if status else 0)


class EmulatedOverlay:
    """The register map of an overlay with a target behind it.

    Time passes by register accesses and `step`, or as ``clock`` says.

    Args:
        manifest: What the overlay is said to be.
        target: Computes the network; where weights are drawn it has an attribute ``seed``.
        frame_cycles: Clock cycles that a frame takes.
        faults: What is wrong with it.
        clock: Returns the clock cycles so far; None for simulated time.
    """

    def __init__(
        self,
        manifest: Manifest,
        target: Target,
        *,
        frame_cycles: int = 100,
        faults: Faults | None = None,
        clock: Callable[[], int] | None = None,
    ) -> None:
        self.manifest = manifest
        self.target = target
        self.faults = faults or Faults()
        self.computed_frames = 0
        self._frame_cycles = frame_cycles
        self._clock = clock
        self._cycles = 0
        self._finish_at = 0
        self._starts = 0
        # Pages that nobody writes take no memory.
        self._memory = np.zeros(_MEMORY_BYTES, np.uint8)
        self._idma = _Channel("idma0", manifest.input_bytes)
        self._odma = _Channel("odma0", manifest.output_bytes)
        self._element = parse_type(manifest.output_type.upper())
        self._seed = 0
        self._frame = 0

    @property
    def cycles(self) -> int:
        """Clock cycles so far."""
        cycles = self._cycles if self._clock is None else self._clock()
        return int(cycles * self.faults.clock_factor)

    def step(self, cycles: int) -> None:
        """Let clock cycles pass."""
        self._cycles += cycles
        self._settle()

    def read(self, offset: int) -> int:
        """Read a register; one that isn't there reads as 0."""
        self.step(_ACCESS_CYCLES)
        place = offset & (registers.BLOCK_BYTES - 1)
        match offset - place:
            case 0x0000:
                return self._read_channel(self._idma, place)
            case 0x1000:
                return self._read_channel(self._odma, place)
            case 0x2000:
                return self._read_control(place)
            case _:
                return 0

    def write(self, offset: int, value: int) -> None:
        """Write a register; one that isn't there, or can't be written, stays."""
        self.step(_ACCESS_CYCLES)
        place = offset & (registers.BLOCK_BYTES - 1)
        match offset - place:
            case 0x0000:
                self._write_channel(self._idma, place, value & _WORD_MASK)
            case 0x1000:
                self._write_channel(self._odma, place, value & _WORD_MASK)
            case 0x2000:
                self._write_control(place, value & _WORD_MASK)
            case _:
                pass

    def read_memory(self, address: int, count: int) -> bytes:
        """Return bytes of memory.

        Raises:
            ValueError: There is no memory there.
        """
        return self._place(address, count).tobytes()

    def write_memory(self, address: int, data: bytes) -> None:
        """Set bytes of memory.

        Raises:
            ValueError: There is no memory there.
        """
        self._place(address, len(data))[:] = np.frombuffer(data, np.uint8)

    def _place(self, address: int, count: int) -> npt.NDArray[np.uint8]:
        start = address - _MEMORY_BASE
        if not 0 <= start <= _MEMORY_BYTES - count:
            raise ValueError(f"no memory at {address:#x}")
        return self._memory[start : start + count]

    def _read_channel(self, channel: _Channel, place: int) -> int:
        match place:
            case registers.CTRL:
                return channel.control()
            case registers.ADDRESS_LOW:
                return channel.address & _WORD_MASK
            case registers.ADDRESS_HIGH:
                return channel.address >> 32
            case registers.FRAMES:
                return channel.frames
            case registers.STATUS:
                return channel.status
            case registers.FRAME_BYTES:
                return channel.frame_bytes
            case registers.FRAMES_DONE:
                return channel.moved
            case _:
                return 0

    def _write_channel(self, channel: _Channel, place: int, value: int) -> None:
        match place:
            case registers.CTRL if value & registers.START and not (
                channel.running or channel.status & registers.HALTED
            ):
                channel.running, channel.done, channel.moved = True, False, 0
                self._begin()
            case registers.ADDRESS_LOW:
                channel.address = channel.address >> 32 << 32 | value
            case registers.ADDRESS_HIGH:
                channel.address = value << 32 | channel.address & _WORD_MASK
            case registers.FRAMES:
                channel.frames = value
            case registers.STATUS:
                channel.status &= ~value | registers.HALTED
            case registers.SOFT_RESET if value & 1 and not self.faults.deaf:
                # As in hardware, either of them resets everything but the counter of cycles.
                self._idma.reset()
                self._odma.reset()
                self._seed = self._frame = 0
            case _:
                pass

    def _read_control(self, place: int) -> int:
        digest = bytes.fromhex(self.manifest.design_hash)
        match place:
            case registers.SEED:
                return self._seed
            case registers.FRAME:
                return self._frame
            case registers.DRAW_STATUS:
                return int(self._both_run)
            case registers.MAGIC:
                return registers.MAGIC_VALUE
            case registers.VERSION:
                return registers.VERSION_VALUE
            case registers.CYCLES_LOW:
                return self.cycles & _WORD_MASK
            case registers.CYCLES_HIGH:
                return self.cycles >> 32
            case _ if 0 <= place - registers.DESIGN_HASH < len(digest):
                start = place - registers.DESIGN_HASH
                return int.from_bytes(digest[start : start + 4], "little")
            case _:
                return 0

    def _write_control(self, place: int, value: int) -> None:
        if not self.manifest.draws or self._both_run:
            return
        if place == registers.SEED:
            self._seed = value
        elif place == registers.FRAME:
            self._frame = value

    @property
    def _both_run(self) -> bool:
        return self._idma.running and self._odma.running

    def _begin(self) -> None:
        if self._both_run:
            self._starts += 1
            if self.faults.starts is not None and self._starts > self.faults.starts:
                self.faults = Faults()
            frames = min(self._idma.frames, self._odma.frames)
            self._finish_at = self.cycles + self._frame_cycles * frames

    def _settle(self) -> None:
        """Let happen what should have happened by now."""
        if not self._both_run or self.cycles < self._finish_at or self.faults.stuck:
            return
        frames = min(self._idma.frames, self._odma.frames)
        if self.faults.short is not None:
            frames = min(frames, self.faults.short)
        try:
            images = self._place(self._idma.address, frames * self._idma.frame_bytes)
            results = self._place(self._odma.address, frames * self._odma.frame_bytes)
        except ValueError:
            self._idma.finish(_DECODE_ERROR)
            return
        self._compute(images, results, frames)
        for channel in (self._idma, self._odma):
            channel.moved = frames
            status = self.faults.errors.get(channel.name, 0)
            if channel is self._odma and self.faults.short is not None:
                status |= _LENGTH_ERROR
            # The one that was to move more frames than the other waits for them.
            if status or frames == channel.frames:
                channel.finish(status)

    def _compute(self, images: npt.NDArray[np.uint8], results: npt.NDArray[np.uint8], frames: int) -> None:
        if self.manifest.draws:
            self.target.seed = self._seed  # pyright: ignore[reportAttributeAccessIssue]
        batch = images.reshape(frames, *self.manifest.input_shape)
        logits = self.target.infer(batch, self._frame).logits.copy()
        if self.faults.garbled:
            logits[:, 0] ^= 1
        rows = results.reshape(frames, self.manifest.output_bytes)
        rows[:] = 0
        packed = pack(logits.astype(self._element.container), self._element)
        rows[:, : packed.shape[1]] = packed
        self.computed_frames += frames
        if self.manifest.draws:
            self._frame = self._frame + frames & _WORD_MASK
