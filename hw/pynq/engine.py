"""Starting and stopping the hardware: channels, buffers, seeds, deadlines."""

from __future__ import annotations

import threading

from . import registers
from .bus import Buffer, Bus
from .channel import Channel
from .errors import BadInputError, ChannelError, DriverError, StuckError, WrongOverlayError
from .manifest import Manifest

# A batch may take this long plus so long a frame, unless the caller says otherwise.
_TIMEOUT_S = 10.0
_TIMEOUT_FRAME_S = 0.05
_FRAME_COUNT = 1 << 32


class Engine:
    """The hardware of an overlay, below the level of images and logits.

    One thread at a time uses it, others wait: whoever needs several steps undisturbed takes ``lock``.

    Args:
        bus: The board or simulation that it sits on.
        manifest: What its folder says that it is.
        input_dma: Name of the channel that reads images.
        output_dma: Name of the channel that writes logits.
        batch_size: Frames that the buffers hold.
        timeout_s: Longest wait for a batch [s]; None for 10 s and 50 ms a frame.
    """

    def __init__(
        self,
        bus: Bus,
        manifest: Manifest,
        *,
        input_dma: str,
        output_dma: str,
        batch_size: int,
        timeout_s: float | None,
    ) -> None:
        self.bus = bus
        self.manifest = manifest
        self.timeout_s = timeout_s
        self.lock = threading.RLock()
        self.control = manifest.registers["control0"]
        self._idma = Channel(bus, input_dma, self._block(input_dma))
        self._odma = Channel(bus, output_dma, self._block(output_dma))
        self._buffers: tuple[Buffer, Buffer] | None = None
        self._batch_size = batch_size
        self._started = 0
        self._broken = ""
        self._seed = 0

    def buffers(self) -> tuple[Buffer, Buffer]:
        """Return the memory of images and that of logits, allocated at the first call."""
        with self.lock:
            if self._buffers is None:
                source = self.bus.allocate(self._batch_size * self.manifest.input_bytes)
                try:
                    sink = self.bus.allocate(self._batch_size * self.manifest.output_bytes)
                except BaseException:
                    source.free()
                    raise
                self._buffers = source, sink
            return self._buffers

    def resize(self, batch_size: int) -> None:
        """Free the buffers; the next ones hold so many frames."""
        with self.lock:
            self._batch_size = batch_size
            buffers, self._buffers = self._buffers, None
            for buffer in buffers or ():
                buffer.free()

    def start(self, frames: int) -> None:
        """Start both channels on the buffers.

        Raises:
            ChannelError: One is not idle; both were reset.
            DriverError: An earlier reset failed.
        """
        with self.lock:
            self._refuse_broken()
            source, sink = self.buffers()
            try:
                # The sink first: results must not wait for it.
                self._odma.start(sink.address, frames)
                self._idma.start(source.address, frames)
            except ChannelError as error:
                self._recover(error)
                raise
            self._started = frames

    def check_circuit(self) -> None:
        """Compare what the circuit says of itself with the manifest.

        Raises:
            WrongOverlayError: It is another circuit, such as the one of an older bitstream.
        """
        with self.lock:
            magic, version = self._word(registers.MAGIC), self._word(registers.VERSION)
            if (magic, version) != (registers.MAGIC_VALUE, registers.VERSION_VALUE):
                raise WrongOverlayError(
                    f"no accelerator answers at {self.control:#x}: "
                    f"it reads {magic:#010x}, version {version}, "
                    f"not {registers.MAGIC_VALUE:#010x}, version {registers.VERSION_VALUE}",
                    hint="load the overlay's bitstream first",
                )
            words = [
                self._word(registers.DESIGN_HASH + 4 * index).to_bytes(4, "little")
                for index in range(registers.HASH_BYTES // 4)
            ]
            found = b"".join(words).hex()
            if found != self.manifest.design_hash:
                raise WrongOverlayError(
                    f"the circuit in the device is {found[:12]}, "
                    f"overlay.json of {self.manifest.name} describes {self.manifest.design_hash[:12]}",
                    hint="an older bitstream is loaded; load this overlay's, under its own name",
                )
            for channel, expected in (
                (self._idma, self.manifest.input_bytes),
                (self._odma, self.manifest.output_bytes),
            ):
                if channel.frame_bytes != expected:
                    raise WrongOverlayError(
                        f"{channel.name} moves {channel.frame_bytes} bytes a frame, not {expected}"
                    )

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until both channels are done with what was started.

        Args:
            timeout_s: Longest wait [s]; None for the accelerator's own.

        Raises:
            StuckError: They were not; the message has the channels' registers. The accelerator was reset.
            ChannelError: One reports an error. The accelerator was reset.
        """
        with self.lock:
            limit_s = self._limit_s() if timeout_s is None else timeout_s
            start = self.bus.now()
            try:
                while not self._poll():
                    waited_s = self.bus.now() - start
                    if waited_s > limit_s:
                        raise self._stuck(limit_s)
                    self.bus.pause(waited_s)
            except ChannelError as error:
                self._recover(error)
                raise
            finally:
                self._started = 0

    def reset(self) -> None:
        """Abort and flush whatever runs; buffers and seed stay.

        Raises:
            DriverError: The hardware does not come back; only loading the overlay again helps.
        """
        with self.lock:
            silent = [channel.name for channel in (self._idma, self._odma) if not channel.reset()]
            if silent:
                self._broken = f"{' and '.join(silent)} did not become idle after a reset"
                self._refuse_broken()
            if self.manifest.draws:
                self._write_control(registers.SEED, self._seed)

    @property
    def seed(self) -> int:
        """Seed of drawn weights, from 0 to 2**32 - 1; setting it lets the frames begin at 0."""
        self._need_draws()
        return self._seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._need_draws()
        if not 0 <= seed < _FRAME_COUNT:
            raise BadInputError(f"a seed is from 0 to 2**32 - 1, not {seed}")
        with self.lock:
            self._write_control(registers.SEED, seed)
            self._seed = seed
            self.set_frame(0)

    @property
    def frame(self) -> int:
        """Index of the next frame, from 0 to 2**32 - 1; drawn weights depend on it."""
        self._need_draws()
        with self.lock:
            return self._word(registers.FRAME)

    def set_frame(self, frame: int) -> None:
        """Let the next frame have this index, modulo 2**32."""
        self._need_draws()
        with self.lock:
            self._write_control(registers.FRAME, frame % _FRAME_COUNT)

    def _block(self, name: str) -> int:
        if name not in self.manifest.registers:
            known = ", ".join(sorted(self.manifest.registers))
            raise BadInputError(f"the overlay has no DMA {name}", hint=f"it has {known}")
        return self.manifest.registers[name]

    def _poll(self) -> bool:
        done = [channel.poll() for channel in (self._odma, self._idma)]
        return all(done)

    def _stuck(self, limit_s: float) -> StuckError:
        late = [channel.stuck(limit_s) for channel in (self._odma, self._idma) if not channel.poll()]
        message = "; ".join(error.message for error in late) or f"not done after {limit_s:g} s"
        return StuckError(message, hint=late[0].hint if late else "", **(late[0].context if late else {}))

    def _recover(self, error: ChannelError) -> None:
        """Reset after an error; if that fails too, the error says so."""
        try:
            self.reset()
        except DriverError as failure:
            error.hint = f"{failure.message}: {failure.hint}"

    def _limit_s(self) -> float:
        return _TIMEOUT_S + _TIMEOUT_FRAME_S * self._started if self.timeout_s is None else self.timeout_s

    def _refuse_broken(self) -> None:
        if self._broken:
            raise DriverError(self._broken, hint="load the overlay again")

    def _need_draws(self) -> None:
        if not self.manifest.draws:
            raise BadInputError(f"{self.manifest.name} draws no weights: it has no seed and no frames")

    def _write_control(self, offset: int, value: int) -> None:
        """Write seed or frame; while a frame is on its way the hardware would answer with an error."""
        if self._word(registers.DRAW_STATUS) & 1:
            raise DriverError("a frame is on its way: seed and frame can't change now", hint="wait, or reset")
        self.bus.write(self.control + offset, value)
        found = self._word(offset)
        if found != value:
            raise DriverError(f"control0 keeps {found:#x} where {value:#x} was written")

    def _word(self, offset: int) -> int:
        return self.bus.read(self.control + offset)
