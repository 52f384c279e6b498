"""One DMA channel of an overlay: it moves whole frames between memory and the accelerator's stream."""

from __future__ import annotations

from . import registers
from .bus import Bus
from .errors import ChannelError, StuckError

# A soft reset takes some hundred cycles, and what is under way on the bus to memory.
RESET_TIMEOUT_S = 0.05
_SNAPSHOT = {
    "CTRL": registers.CTRL,
    "STATUS": registers.STATUS,
    "ADDRESS": registers.ADDRESS_LOW,
    "FRAMES": registers.FRAMES,
    "FRAMES_DONE": registers.FRAMES_DONE,
    "FRAME_BYTES": registers.FRAME_BYTES,
}


class Channel:
    """A DMA channel.

    Args:
        bus: Where its registers are.
        name: ``idma0`` or ``odma0``; errors name it.
        base: Physical address of its registers.
    """

    def __init__(self, bus: Bus, name: str, base: int) -> None:
        self.name = name
        self._bus = bus
        self._base = base
        self._frames = 0
        self._done = True

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame in memory, as the hardware says."""
        return self._read(registers.FRAME_BYTES)

    def start(self, address: int, frames: int) -> None:
        """Let it move ``frames`` frames from or to memory at ``address``.

        Raises:
            ChannelError: It is not idle.
        """
        if not self._read(registers.CTRL) & registers.IDLE:
            raise self._error(ChannelError, f"{self.name} is not idle", hint="reset the accelerator")
        self._write(registers.ADDRESS_LOW, address & 0xFFFF_FFFF)
        self._write(registers.ADDRESS_HIGH, address >> 32)
        self._write(registers.FRAMES, frames)
        self._frames, self._done = frames, False
        self._write(registers.CTRL, registers.START)

    def poll(self) -> bool:
        """Return whether it is done with what was started.

        Raises:
            ChannelError: It stopped with an error, or before the last frame.
        """
        if self._done:
            return True
        control = self._read(registers.CTRL)
        # Whoever else reads the register clears the done bit; then only idle is left to see.
        stopped = control & registers.DONE or (control & registers.IDLE and not control & registers.START)
        if not stopped and not self._read(registers.STATUS) & registers.HALTED:
            return False
        self._done = True
        self.check()
        moved = self._read(registers.FRAMES_DONE)
        if moved != self._frames:
            message = f"{self.name} stopped after {moved} of {self._frames} frames"
            raise self._error(ChannelError, message, hint="the stream ended early; reset the accelerator")
        return True

    def check(self) -> None:
        """Raise what the error bits say.

        Raises:
            ChannelError: One of them is set.
        """
        status = self._read(registers.STATUS)
        names = registers.error_names(status)
        if not names and status & registers.HALTED:
            names = ["halted"]
        if names:
            raise self._error(ChannelError, f"{self.name} reports {'; '.join(names)}")

    def stuck(self, timeout_s: float) -> StuckError:
        """Return the error of a wait that was given up after ``timeout_s`` seconds."""
        moved = self._read(registers.FRAMES_DONE)
        message = f"{self.name} is stuck: {moved} of {self._frames} frames after {timeout_s:g} s"
        error = self._error(
            StuckError, message, hint="it was reset; give a longer time if the batch needs it"
        )
        return StuckError(error.message, hint=error.hint, **error.context)

    def reset(self) -> bool:
        """Abort and flush; return whether it became idle."""
        self._write(registers.SOFT_RESET, 1)
        start = self._bus.now()
        while not self._is_reset():
            waited_s = self._bus.now() - start
            if waited_s > RESET_TIMEOUT_S:
                return False
            self._bus.pause(waited_s)
        self._write(registers.STATUS, sum(registers.ERRORS))
        self._done = True
        return True

    def snapshot(self) -> dict[str, int]:
        """Return its registers by name; reading them clears a done bit."""
        return {name: self._read(offset) for name, offset in _SNAPSHOT.items()}

    def _is_reset(self) -> bool:
        if self._read(registers.SOFT_RESET) & 1:
            return False
        return bool(self._read(registers.CTRL) & registers.IDLE)

    def _error(self, kind: type[ChannelError], message: str, *, hint: str = "") -> ChannelError:
        found = self.snapshot()
        listed = ", ".join(f"{name}={value:#x}" for name, value in found.items())
        return kind(f"{message} ({listed})", hint=hint, channel=self.name, registers=found)

    def _read(self, offset: int) -> int:
        return self._bus.read(self._base + offset)

    def _write(self, offset: int, value: int) -> None:
        self._bus.write(self._base + offset, value)
