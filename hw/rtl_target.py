"""The generated SystemVerilog under Verilator: bit-accurate and cycle-accurate."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue

import numpy as np
import numpy.typing as npt

from export.draws import check_seed
from export.errors import InputError
from export.files import atomic_file
from export.graph import DataflowGraph, IntArray
from hw.cache import cached_directory, content_key
from hw.folding import Folding
from hw.rtlgen import RtlDesign, Stream, generate_rtl, plan_rtl
from hw.rtlgen.generate import RTL_DIR
from hw.target import ImageArray, Inference, TargetKind, check_images
from hw.verilator import (
    Design,
    Simulation,
    Stalls,
    StreamResult,
    Tap,
    build_library,
    find_compiler,
    find_verilator,
)

# Long enough that filling the pipeline costs a few per cent, short enough to share a batch among cores.
STREAM_IMAGES = 128
_WAVE_FOLLOWERS = 8
_DEADLINE_FACTOR = 4
_DEADLINE_MIN_CYCLES = 1000
_BYTE = 8


class RtlTarget:
    """Simulates the generated accelerator of a network.

    A batch is cut into streams of `STREAM_IMAGES` images. Each stream starts with a reset and runs back to
    back, and the streams are shared among threads, each with its own instance of the design (the simulator
    runs without Python's lock). `Inference.cycles` therefore does not depend on the number of threads: an
    image's cycles are those in its stream, where the first image finds an empty pipeline, and later ones wait
    in the FIFOs behind those before them.
    """

    name = "rtl"
    kind = TargetKind.CYCLE_ACCURATE

    def __init__(
        self,
        graph: DataflowGraph,
        folding: Folding,
        *,
        cache_dir: Path | None = None,
        workers: int | None = None,
        fifo_depths: Mapping[str, int] | None = None,
        seed: int = 0,
    ) -> None:
        """Plan the hardware. The simulator is built when it is first needed, or by `prepare`.

        Args:
            graph: The network.
            folding: PE and SIMD of each layer.
            cache_dir: Where simulators are kept; None for the user's cache directory.
            workers: Streams simulated at once; None for one a core.
            fifo_depths: Depth of a FIFO by its key, where it isn't the default; see `hw.rtlgen.plan_rtl`.
            seed: Of drawn weights, below 2**32.

        Raises:
            InputError: The folding does not fit, hardware can't compute the network, or the seed is out of
                range.
            ToolError: Verilator or the C++ compiler is missing.
        """
        if workers is not None and workers < 1:
            raise InputError(f"the number of workers must be at least 1, not {workers}")
        check_seed(seed)
        find_verilator()
        find_compiler()
        self.seed = seed
        self.graph = graph
        self.folding = folding
        self._fifo_depths = fifo_depths
        self.rtl: RtlDesign = plan_rtl(graph, folding, fifo_depths=fifo_depths)
        self._cache_dir = cache_dir
        self._workers = workers or len(os.sched_getaffinity(0))
        self._idle: SimpleQueue[Simulation] = SimpleQueue()
        self._libraries: dict[bool, Path] = {}
        self.deadline_cycles = _deadline(self.rtl, folding.layer_cycles(graph))

    def prepare(self) -> None:
        """Build the simulator, if the cache does not have it.

        Raises:
            ToolError: Verilator or the compiler fails.
        """
        self._library(debug=False)

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits and the cycles of uint8 images ``(N, H, W, C)``.

        Raises:
            CheckFailedError: The hardware hangs or breaks the stream protocol; the message names image and
                cycle.
        """
        images = check_images(images, self.graph)
        self.prepare()

        def run(part: ImageArray, first_image: int) -> StreamResult:
            return self._simulate(part, first_image, first_frame=first_frame + first_image)

        results = self._run_streams(images, run)
        return Inference(
            logits=_joined([result.logits for result in results], self.graph.classes),
            cycles=_joined([result.cycles for result in results]),
        )

    def stream(
        self, images: ImageArray, stalls: Stalls | None = None, *, beats: bool = False, first_frame: int = 0
    ) -> StreamResult:
        """Send a whole batch as one stream, with random stalls on both sides if asked for.

        With ``beats``, the result has the cycle of every beat.
        """
        images = check_images(images, self.graph)
        return self._simulate(images, 0, stalls, beats=beats, first_frame=first_frame)

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return the outputs of the nodes that exist in hardware, int64 ``(N, ...)``, by name.

        They are what was seen on the streams between the layers.
        """
        images = check_images(images, self.graph)

        def record(part: ImageArray, first_image: int) -> StreamResult:
            with self._debug_simulation() as simulation:
                return simulation.stream(
                    part,
                    deadline_cycles=self.deadline_cycles,
                    taps=True,
                    first_image=first_image,
                    draw=self._draw(first_frame + first_image),
                )

        self._library(debug=True)
        results = self._run_streams(images, record)
        outputs: dict[str, IntArray] = {}
        for stream in self.rtl.streams:
            name = str(stream.node)
            shape = self.graph.shapes[name]
            parts = [decode_beats(result.taps[name], stream) for result in results]
            outputs[name] = _joined(parts, stream.beats * stream.lanes).reshape(len(images), *shape)
        return outputs

    def write_wave(self, images: ImageArray, index: int, path: Path) -> None:
        """Write an FST wave of one image's life: from its first input beat to its last output beat.

        The images before it run through first, back to back, and some of those after it follow, so the
        pipeline is as full as in the batch. Two time units are a clock cycle; time 0 is the end of the reset.

        Args:
            images: The batch, uint8 ``(N, H, W, C)``.
            index: Which of them.
            path: The file to write; waveform viewers expect the suffix ``.fst``.

        Raises:
            InputError: No such image, or the file can't be written.
        """
        images = check_images(images, self.graph)
        if not 0 <= index < len(images):
            raise InputError(f"there is no image {index} in a batch of {len(images)}", index=index)
        with atomic_file(path) as temporary, self._debug_simulation() as simulation:
            part = images[: index + 1 + _WAVE_FOLLOWERS]
            simulation.stream(
                part, deadline_cycles=self.deadline_cycles, wave=(temporary, index), draw=self._draw(0)
            )

    def _draw(self, first_frame: int) -> tuple[int, int]:
        """Seed and frame register; the frame index counts modulo 2**32."""
        if first_frame < 0:
            raise InputError(f"the index of a frame is {first_frame}, it must not be negative")
        return self.seed, first_frame & 0xFFFF_FFFF

    def _simulate(
        self,
        images: ImageArray,
        first_image: int,
        stalls: Stalls | None = None,
        *,
        beats: bool = False,
        first_frame: int = 0,
    ) -> StreamResult:
        """Run one stream on an idle instance, or on a new one."""
        try:
            simulation = self._idle.get_nowait()
        except Empty:
            library = self._library(debug=False)
            simulation = Simulation(library, self._design(), self._rtl_directory())
        result = simulation.stream(
            images,
            deadline_cycles=self.deadline_cycles,
            stalls=stalls,
            beats=beats,
            first_image=first_image,
            draw=self._draw(first_frame),
        )
        self._idle.put(simulation)
        return result

    def _run_streams(
        self, images: ImageArray, run: Callable[[ImageArray, int], StreamResult]
    ) -> list[StreamResult]:
        starts = range(0, len(images), STREAM_IMAGES)

        def run_from(start: int) -> StreamResult:
            return run(images[start : start + STREAM_IMAGES], start)

        if min(self._workers, len(starts)) <= 1:
            return [run_from(start) for start in starts]
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(run_from, starts))

    def _debug_simulation(self) -> Simulation:
        return Simulation(self._library(debug=True), self._design(), self._rtl_directory())

    def _library(self, *, debug: bool) -> Path:
        if debug not in self._libraries:
            self._libraries[debug] = build_library(self._design(), debug=debug, cache_dir=self._cache_dir)
        return self._libraries[debug]

    def _rtl_directory(self) -> Path:
        """The directory of the sources and memories, in the cache."""
        rtl = self.rtl
        modules = [(RTL_DIR / name).read_bytes() for name in rtl.sources[:-1]]
        memories = [part for name, text in sorted(rtl.memories.items()) for part in (name, text)]
        key = content_key(rtl.top_text, *rtl.sources, *modules, *memories)

        def build(directory: Path) -> None:
            generate_rtl(self.graph, self.folding, directory / "rtl", fifo_depths=self._fifo_depths)

        return cached_directory("rtl", key, build, cache_dir=self._cache_dir) / "rtl"

    def _design(self) -> Design:
        rtl, directory = self.rtl, self._rtl_directory()
        return Design(
            sources=tuple(directory / name for name in rtl.sources),
            input_beats=rtl.input.beats,
            input_beat_bytes=rtl.input.lanes,
            output_beats=rtl.output.beats,
            output_pe=rtl.output.lanes,
            logit_bytes=rtl.logit_w // _BYTE,
            label_bytes=rtl.label_w // _BYTE,
            draws=rtl.draws,
            taps=tuple(
                Tap(
                    name=str(stream.node),
                    prefix=stream.name,
                    beats=stream.beats,
                    beat_bytes=-(-stream.width_bits // _BYTE),
                )
                for stream in rtl.streams
            ),
        )


def decode_beats(beats: npt.NDArray[np.uint8], stream: Stream) -> IntArray:
    """Decode recorded beats into integers.

    Args:
        beats: uint8 ``(N, beats, bytes)``, the first element in the least significant bits.
        stream: What they were recorded from.

    Returns:
        int64 ``(N, beats * lanes)``.
    """
    width = stream.element_w
    bits = np.unpackbits(beats, axis=2, count=stream.width_bits, bitorder="little")
    bits = bits.reshape(len(beats), -1, width).astype(np.int64)
    if stream.dtype.is_bipolar:
        return 2 * bits[:, :, 0] - 1
    weights = np.int64(1) << np.arange(width, dtype=np.int64)
    if stream.dtype.is_signed:
        weights[-1] = -weights[-1]
    return bits @ weights


def _deadline(rtl: RtlDesign, layer_cycles: Mapping[str, int]) -> int:
    """Return after how many cycles without a beat on either side the design must have hung.

    A frame leaves at the latest when every instance has worked on all of it before the next one starts: a
    layer for its cycles, others for the beats of their longest stream. Windows and borders can be many more
    beats than any layer has cycles.
    """
    longest = sum(
        max(stream.beats for stream in (*instance.sources, *instance.sinks)) for instance in rtl.instances
    )
    return _DEADLINE_FACTOR * (longest + sum(layer_cycles.values())) + _DEADLINE_MIN_CYCLES


def _joined(parts: Sequence[IntArray], *shape: int) -> IntArray:
    """Concatenate the results of the streams; an empty batch has none, and keeps the shape of a row."""
    return np.concatenate(parts) if parts else np.zeros((0, *shape), np.int64)
