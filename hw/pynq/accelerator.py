"""The driver of an overlay: images in, logits out, over any bus.

Its methods are named as those of FINN's driver, so that programs written for that one find what they call.
What is different: every wait has a deadline, a batch of any size is computed to its last image, and a circuit
that is not the expected one is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from .bus import Bus, ByteArray
from .clocks import ClockReport, check_set, measure_clock, timed_mhz
from .engine import Engine
from .errors import BadInputError, SelfTestError
from .knownanswers import KnownAnswers
from .manifest import Manifest
from .packing import Elements, pack, unpack
from .settings import Shapes, finn_shapes

# How long the logic's clock is counted.
_COUNTING_S = 0.02


class Accelerator:
    """An accelerator that is loaded and running.

    One thread at a time uses it; others wait. It is a context manager that frees its memory.

    Args:
        bus: The board or simulation that it sits on.
        manifest: What its folder says that it is.
        io_shape_dict: FINN's dictionary, if a program passes one; it must agree with the manifest.
        batch_size: Images moved at a time; more are computed in several goes.
        timeout_s: Longest wait for a go [s]; None for 10 s and 50 ms a frame.

    Raises:
        WrongOverlayError: The circuit says that it is another one.
        BadInputError: ``io_shape_dict`` or ``batch_size`` doesn't fit.
    """

    def __init__(
        self,
        bus: Bus,
        manifest: Manifest,
        *,
        io_shape_dict: Mapping[str, Any] | None = None,
        batch_size: int = 1,
        timeout_s: float | None = None,
    ) -> None:
        self.bus = bus
        self.manifest = manifest
        self.io_shape_dict = dict(finn_shapes(manifest) if io_shape_dict is None else io_shape_dict)
        self._shapes = Shapes(self.io_shape_dict)
        self._shapes.check(manifest)
        self._batch_size = _checked_batch(batch_size)
        self._engine = Engine(
            bus,
            manifest,
            input_dma=self._shapes.input_dma,
            output_dma=self._shapes.output_dma,
            batch_size=self._batch_size,
            timeout_s=timeout_s,
        )
        self._engine.check_circuit()

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the buffers; the next call allocates them anew."""
        self._engine.resize(self._batch_size)

    @property
    def batch_size(self) -> int:
        """Images moved at a time; setting it frees the buffers."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, size: int) -> None:
        with self._engine.lock:
            self._batch_size = _checked_batch(size)
            self._engine.resize(size)

    @property
    def timeout_s(self) -> float | None:
        """Longest wait for a batch [s]; None for 10 s and 50 ms a frame."""
        return self._engine.timeout_s

    @timeout_s.setter
    def timeout_s(self, timeout_s: float | None) -> None:
        self._engine.timeout_s = timeout_s

    @property
    def num_inputs(self) -> int:
        """Inputs: one."""
        return 1

    @property
    def num_outputs(self) -> int:
        """Outputs: one."""
        return 1

    def ishape_normal(self, ind: int = 0) -> tuple[int, ...]:
        """Shape of a batch of images."""
        return self._shape("ishape_normal", ind)

    def oshape_normal(self, ind: int = 0) -> tuple[int, ...]:
        """Shape of a batch of logits."""
        return self._shape("oshape_normal", ind)

    def ishape_folded(self, ind: int = 0) -> tuple[int, ...]:
        """Shape of a batch of images before packing."""
        return self._shape("ishape_folded", ind)

    def oshape_folded(self, ind: int = 0) -> tuple[int, ...]:
        """Shape of a batch of logits after unpacking."""
        return self._shape("oshape_folded", ind)

    def ishape_packed(self, ind: int = 0) -> tuple[int, ...]:
        """Shape in bytes of a batch of packed images."""
        return self._shape("ishape_packed", ind)

    def oshape_packed(self, ind: int = 0) -> tuple[int, ...]:
        """Shape in bytes of a batch of packed logits."""
        return self._shape("oshape_packed", ind)

    def execute(self, input_npy: Elements | list[Elements], *, first_frame: int | None = None) -> Elements:
        """Compute the logits of images.

        Args:
            input_npy: ``(N, H, W, C)``, whole numbers from 0 to 255 of any dtype; or a list of one such
                array, as FINN's driver takes it. N may be anything, 0 too.
            first_frame: Index of the first image's frame, where weights are drawn; None for the next one.

        Returns:
            ``(N, K)`` in the integer type of the overlay.

        Raises:
            BadInputError: The images don't fit.
            ChannelError: The hardware reports an error; it was reset.
            StuckError: It was not done in time; it was reset.
        """
        packed = self.pack_input(self.fold_input(self._images(input_npy)))
        flat = packed.reshape(len(packed), self.manifest.input_bytes)
        results = np.empty((len(flat), self.manifest.output_bytes), np.uint8)
        with self._engine.lock:
            if first_frame is not None:
                self._engine.set_frame(first_frame)
            for start in range(0, len(flat), self._batch_size):
                part = flat[start : start + self._batch_size]
                self.copy_input_data_to_device(part)
                self.execute_on_buffers(batch_size=len(part))
                self.copy_output_data_from_device(results[start : start + len(part)])
        return self.unfold_output(self.unpack_output(results))

    def logits(self, images: Elements, *, first_frame: int | None = None) -> npt.NDArray[np.int64]:
        """Compute logits, int64 ``(N, K)``; see `execute`."""
        return self.execute(images, first_frame=first_frame).astype(np.int64)

    def predict(self, X: Elements, *, first_frame: int | None = None) -> npt.NDArray[np.int64]:  # noqa: N803
        """Compute labels, int64 ``(N,)``: the greatest logit, the first one on a tie."""
        return self.logits(X, first_frame=first_frame).argmax(axis=1).astype(np.int64)

    def fold_input(self, ibuf_normal: Elements, ind: int = 0) -> Elements:
        """Bring images into the shape before packing."""
        _only_one(ind)
        return ibuf_normal.reshape(self._shapes.shape("ishape_folded", len(ibuf_normal)))

    def pack_input(self, ibuf_folded: Elements, ind: int = 0) -> ByteArray:
        """Pack images into bytes."""
        _only_one(ind)
        return pack(ibuf_folded, self._shapes.input_type)

    def unpack_output(self, obuf_packed: ByteArray, ind: int = 0) -> Elements:
        """Unpack bytes into logits."""
        _only_one(ind)
        return unpack(obuf_packed, self._shapes.output_type, self.manifest.classes)

    def unfold_output(self, obuf_folded: Elements, ind: int = 0) -> Elements:
        """Bring logits into their normal shape."""
        _only_one(ind)
        return obuf_folded.reshape(self._shapes.shape("oshape_normal", len(obuf_folded)))

    def copy_input_data_to_device(self, data: ByteArray, ind: int = 0) -> None:
        """Copy packed images, at most ``batch_size``, to where the hardware reads them."""
        _only_one(ind)
        with self._engine.lock:
            self._engine.buffers()[0].write(np.ascontiguousarray(data).reshape(-1))

    def copy_output_data_from_device(self, data: ByteArray, ind: int = 0) -> None:
        """Fill ``data`` with packed logits from where the hardware left them."""
        _only_one(ind)
        with self._engine.lock:
            data[...] = self._engine.buffers()[1].read(data.size).reshape(data.shape)

    def execute_on_buffers(self, asynch: bool = False, batch_size: int | None = None) -> None:
        """Compute what lies in the buffers.

        Args:
            asynch: Return at once; `wait_until_finished` waits.
            batch_size: Images, at most ``self.batch_size``, which None stands for.

        Raises:
            BadInputError: More images than the buffers hold.
            ChannelError: A channel is not idle, or reports an error; it was reset.
            StuckError: See `wait_until_finished`.
        """
        frames = self._batch_size if batch_size is None else batch_size
        if not 1 <= frames <= self._batch_size:
            raise BadInputError(f"batch_size is {frames}, it must be from 1 to {self._batch_size}")
        with self._engine.lock:
            self._engine.start(frames)
            if not asynch:
                self._engine.wait()

    def wait_until_finished(self, timeout_s: float | None = None) -> None:
        """Wait until the hardware is done with what `execute_on_buffers` started.

        Args:
            timeout_s: Longest wait [s]; None for the accelerator's own.

        Raises:
            StuckError: It was not; the message has the channels' registers. It was reset.
            ChannelError: A channel reports an error. It was reset.
        """
        self._engine.wait(timeout_s)

    def reset(self) -> None:
        """Abort and flush whatever runs; buffers and seed stay, and frames begin at 0.

        Raises:
            DriverError: The hardware does not come back; only loading the overlay again helps.
        """
        self._engine.reset()

    def check_circuit(self) -> None:
        """Compare what the circuit says of itself with the manifest.

        Raises:
            WrongOverlayError: It is another circuit, such as the one of an older bitstream.
        """
        self._engine.check_circuit()

    @property
    def seed(self) -> int:
        """Seed of drawn weights, from 0 to 2**32 - 1; setting it lets the frames begin at 0."""
        return self._engine.seed

    @seed.setter
    def seed(self, seed: int) -> None:
        self._engine.seed = seed

    @property
    def frame(self) -> int:
        """Index of the next frame, from 0 to 2**32 - 1; drawn weights depend on it."""
        return self._engine.frame

    @frame.setter
    def frame(self, frame: int) -> None:
        self._engine.set_frame(frame)

    def set_clock(self, fclk_mhz: float) -> ClockReport:
        """Set the logic's clock and return what came of it.

        Raises:
            ClockError: It is more than the timing was closed at, or the logic counts another one.
        """
        with self._engine.lock:
            check_set(fclk_mhz, timed_mhz(self.manifest.clock))
            self.bus.set_clock_mhz(fclk_mhz)
            report = self.clock_report()
            report.check()
            return report

    def clock_report(self) -> ClockReport:
        """Return the clock as asked, planned, achieved, set and counted [MHz]."""
        plan = self.manifest.clock
        with self._engine.lock:
            return ClockReport(
                asked=plan.asked,
                planned=plan.planned,
                achieved=plan.achieved,
                set=self.bus.clock_mhz(),
                measured=measure_clock(self.bus, self._engine.control, _COUNTING_S),
            )

    @property
    def fclk_mhz(self) -> float:
        """What the logic's clock is set to, or where nobody knows that, planned or asked to be [MHz]."""
        plan = self.manifest.clock
        return self.bus.clock_mhz() or plan.planned or plan.asked

    def self_test(self, answers: KnownAnswers) -> None:
        """Compute images whose logits are known.

        Raises:
            SelfTestError: A logit differs; the message names the first such image and class.
        """
        with self._engine.lock:
            if answers.seed is not None:
                self.seed = answers.seed
            first = answers.first_frame if self.manifest.draws else None
            found = self.logits(answers.images, first_frame=first)
        wrong = np.argwhere(found != answers.logits)
        if len(wrong):
            image, label = (int(place) for place in wrong[0])
            raise SelfTestError(
                f"{self.manifest.name} answers known images wrongly: {len(set(wrong[:, 0].tolist()))} "
                f"of {len(found)}; the first is image {image}, class {label}: {found[image, label]}, "
                f"not {answers.logits[image, label]}",
                hint="don't use it: check the clock, load the overlay again, then suspect the build",
                image=image,
                label=label,
            )

    def throughput_test(self) -> dict[str, float]:
        """Time a batch, and each step of the driver; the keys are those of FINN's driver."""
        from .throughput import measure_throughput

        with self._engine.lock:
            return measure_throughput(self)

    def _shape(self, name: str, ind: int) -> tuple[int, ...]:
        _only_one(ind)
        return self._shapes.shape(name, self._batch_size)

    def _images(self, value: Elements | list[Elements]) -> Elements:
        if isinstance(value, list):
            if len(value) != 1:
                raise BadInputError(f"the overlay has one input, not {len(value)}")
            value = value[0]
        images = np.asarray(value)
        if images.ndim != 4 or images.shape[1:] != self.manifest.input_shape:
            expected = ", ".join(map(str, self.manifest.input_shape))
            raise BadInputError(f"images must have the shape (N, {expected}), not {images.shape}")
        return images


def _checked_batch(size: object) -> int:
    if not isinstance(size, int) or size < 1:
        raise BadInputError(f"batch_size must be a whole number above 0, not {size!r}")
    return size


def _only_one(ind: int) -> None:
    if ind != 0:
        raise BadInputError(f"the overlay has one input and one output: index 0, not {ind}")
