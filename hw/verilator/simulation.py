"""Calling a design's shared library: streams of whole images in, logits and cycle stamps out."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from export.errors import CheckFailedError, ToolError
from export.graph import IntArray
from hw.verilator.library import Design

ByteArray = npt.NDArray[np.uint8]


class _Status(IntEnum):
    """Outcomes of a run; the same numbers as in cpp/harness.cpp."""

    DONE = 0
    HUNG = 1
    BAD_LAST = 2
    BAD_LABEL = 3
    UNSTABLE = 4
    NOT_SUPPORTED = 5
    FAILED = 6
    BAD_ANSWER = 7


_COMPLAINTS = {
    _Status.HUNG: "hangs: no beat moved on either side for {deadline} cycles",
    _Status.BAD_LAST: "raised tlast in the middle of a frame, or not at its end",
    _Status.BAD_LABEL: "gave a label that is not the lowest index of the largest logit",
    _Status.UNSTABLE: "changed or withdrew an output beat that waited for tready",
    _Status.BAD_ANSWER: "did not take seed and frame index of its drawn weights",
}


class _Run(ctypes.Structure):
    """Same layout as ``Run`` in cpp/harness.cpp."""

    _fields_ = (
        ("images", ctypes.c_void_p),
        ("frames", ctypes.c_int64),
        ("logits", ctypes.c_void_p),
        ("first_in", ctypes.c_void_p),
        ("last_out", ctypes.c_void_p),
        ("in_cycles", ctypes.c_void_p),
        ("out_cycles", ctypes.c_void_p),
        ("seed", ctypes.c_uint64),
        ("in_stall", ctypes.c_int64),
        ("out_stall", ctypes.c_int64),
        ("deadline", ctypes.c_int64),
        ("taps", ctypes.c_void_p),
        ("tap_beats", ctypes.c_void_p),
        ("wave_path", ctypes.c_char_p),
        ("wave_frame", ctypes.c_int64),
        ("draw_seed", ctypes.c_int64),
        ("draw_frame", ctypes.c_int64),
        ("keep", ctypes.c_void_p),
        ("turn", ctypes.c_void_p),
        ("frame", ctypes.c_int64),
        ("cycles", ctypes.c_int64),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stalls:
    """Pseudo-random idle cycles on both sides of the design.

    Attributes:
        seed: Of the generator.
        source: Probability that the source has no beat in a cycle, 0 to below 1.
        sink: Probability that the sink takes no beat in a cycle, 0 to below 1.
    """

    seed: int
    source: float = 0.5
    sink: float = 0.5

    def __post_init__(self) -> None:
        if not (0 <= self.source < 1 and 0 <= self.sink < 1):
            raise ValueError("stall probabilities must be from 0 to below 1")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StreamResult:
    """What came out of one stream of N images, sent back to back after a reset.

    Attributes:
        logits: int64 ``(N, K)``.
        first_in_cycle: Cycle in which each image's first input beat was accepted, int64 ``(N,)``.
        last_out_cycle: Cycle in which each image's last output beat was accepted, int64 ``(N,)``.
        taps: Beats of the inner streams, uint8 ``(N, beats, bytes)``, by node name; empty unless asked for.
        in_cycles: Cycle in which every input beat was accepted, int64 ``(N, beats)``; None unless asked for.
        out_cycles: Cycle in which every output beat was accepted, int64 ``(N, beats)``; None unless asked
            for.
    """

    logits: IntArray
    first_in_cycle: IntArray
    last_out_cycle: IntArray
    taps: Mapping[str, npt.NDArray[np.uint8]] = field(default_factory=dict[str, npt.NDArray[np.uint8]])
    in_cycles: IntArray | None = None
    out_cycles: IntArray | None = None

    @property
    def total_cycles(self) -> int:
        """Cycles from the end of the reset to the last output beat of the last image."""
        return int(self.last_out_cycle[-1]) + 1 if self.last_out_cycle.size else 0

    @property
    def cycles(self) -> IntArray:
        """From first input beat to last output beat, both included, int64 ``(N,)``."""
        return self.last_out_cycle - self.first_in_cycle + 1


class Simulation:
    """One instance of a Verilated design. Not to be used by two threads at once; two instances may be."""

    def __init__(
        self,
        library: Path,
        design: Design,
        memory_directory: Path,
        forces: Mapping[str, tuple[ByteArray, ByteArray]] | None = None,
    ) -> None:
        """Load the library and create an instance.

        Args:
            library: From `build_library`.
            design: The same design.
            memory_directory: Directory of the memory files that the design reads.
            forces: Bits of inner streams that are forced in every frame, by node name: those that stay and
                those that are inverted then, uint8 ``(beats, bytes)`` each; needs a forceable debug library.

        Raises:
            ToolError: The library can't be loaded, or the instance not be created.
        """
        self._design = design
        self._keep, self._turn = _force_pointers(design, forces or {})
        # The library reads through those pointers.
        self._forces = forces
        try:
            self._library = ctypes.CDLL(str(library))
        except OSError as error:
            raise ToolError(
                f"can't load the simulator {library}: {error}", hint="delete it; it will be built again"
            ) from error
        self._library.bitsiege_open.restype = ctypes.c_void_p
        self._library.bitsiege_open.argtypes = (ctypes.c_char_p,)
        self._library.bitsiege_run.restype = ctypes.c_int32
        self._library.bitsiege_run.argtypes = (ctypes.c_void_p, ctypes.POINTER(_Run))
        self._library.bitsiege_error.restype = ctypes.c_char_p
        self._library.bitsiege_error.argtypes = ()
        self._library.bitsiege_close.restype = None
        self._library.bitsiege_close.argtypes = (ctypes.c_void_p,)
        self._handle: int | None = self._library.bitsiege_open(str(memory_directory).encode())
        if self._handle is None:
            raise ToolError(f"the simulator {library} did not start: {self._error()}")
        self._finalizer = weakref.finalize(self, self._library.bitsiege_close, self._handle)

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
        """Free the instance; calling it twice is harmless."""
        self._finalizer()
        self._handle = None

    def stream(
        self,
        images: npt.NDArray[np.uint8],
        *,
        deadline_cycles: int,
        stalls: Stalls | None = None,
        taps: bool = False,
        beats: bool = False,
        wave: tuple[Path, int] | None = None,
        first_image: int = 0,
        draw: tuple[int, int] = (0, 0),
    ) -> StreamResult:
        """Reset the design and send images back to back.

        Args:
            images: uint8, C order, N images of any shape.
            deadline_cycles: Cycles without a beat on either side after which the design counts as hung.
            stalls: Random idle cycles; None for a source and a sink that are always ready.
            taps: Whether to record the inner streams; needs a debug library.
            beats: Whether to record the cycle of every beat on both sides.
            wave: A path and an image's index: the FST file of that image's life; needs a debug library.
            first_image: Number of the first image in messages.
            draw: Seed of drawn weights and frame index of the first image, each below 2**32; written to the
                registers of a design that draws.

        Raises:
            CheckFailedError: The design hangs or breaks the stream protocol; the message names image and
                cycle.
            ToolError: The library lacks taps or waves, or the model stopped itself.
        """
        if self._handle is None:
            raise ValueError("the simulation is closed")
        design, frames = self._design, len(images)
        if images.dtype != np.uint8 or not images.flags.c_contiguous:
            raise ValueError("images must be uint8 in C order")
        if images.size != frames * design.input_beats * design.input_beat_bytes:
            raise ValueError("the images do not fit the design")
        result = StreamResult(
            logits=np.zeros((frames, design.output_beats * design.output_pe), np.int64),
            first_in_cycle=np.full(frames, -1, np.int64),
            last_out_cycle=np.full(frames, -1, np.int64),
            taps={
                tap.name: np.zeros((frames, tap.beats, tap.beat_bytes), np.uint8)
                for tap in design.taps
                if taps
            },
            in_cycles=np.full((frames, design.input_beats), -1, np.int64) if beats else None,
            out_cycles=np.full((frames, design.output_beats), -1, np.int64) if beats else None,
        )
        # Kept in variables: the library writes through these pointers.
        pointers = (ctypes.c_void_p * (len(design.taps) + 1))(
            *(tap.ctypes.data for tap in result.taps.values())
        )
        counts = np.zeros(len(design.taps) + 1, np.int64)
        run = _Run(
            images=images.ctypes.data,
            frames=frames,
            logits=result.logits.ctypes.data,
            first_in=result.first_in_cycle.ctypes.data,
            last_out=result.last_out_cycle.ctypes.data,
            in_cycles=None if result.in_cycles is None else result.in_cycles.ctypes.data,
            out_cycles=None if result.out_cycles is None else result.out_cycles.ctypes.data,
            seed=0 if stalls is None else stalls.seed & 0xFFFF_FFFF_FFFF_FFFF,
            in_stall=0 if stalls is None else round(256 * stalls.source),
            out_stall=0 if stalls is None else round(256 * stalls.sink),
            deadline=deadline_cycles,
            taps=ctypes.cast(pointers, ctypes.c_void_p) if taps else None,
            tap_beats=counts.ctypes.data if taps else None,
            wave_path=None if wave is None else str(wave[0]).encode(),
            wave_frame=-1 if wave is None else wave[1],
            draw_seed=draw[0],
            draw_frame=draw[1],
            keep=ctypes.cast(self._keep, ctypes.c_void_p) if self._forces else None,
            turn=ctypes.cast(self._turn, ctypes.c_void_p) if self._forces else None,
        )
        status = _Status(self._library.bitsiege_run(self._handle, ctypes.byref(run)))
        self._check(status, first_image + run.frame, run.cycles, deadline_cycles)
        return result

    def _check(self, status: _Status, frame: int, cycle: int, deadline_cycles: int) -> None:
        if status is _Status.DONE:
            return
        if status is _Status.NOT_SUPPORTED:
            raise ToolError("this simulator was built without inner streams, waves or forces")
        if status is _Status.FAILED:
            raise ToolError(f"the simulation stopped in image {frame}, cycle {cycle}: {self._error()}")
        complaint = _COMPLAINTS[status].format(deadline=deadline_cycles)
        raise CheckFailedError(
            f"image {frame}, cycle {cycle}: the simulated hardware {complaint}",
            hint="write a wave of that image to see where it stands",
            image=frame,
            cycle=cycle,
        )

    def _error(self) -> str:
        return self._library.bitsiege_error().decode(errors="replace")


def _force_pointers(
    design: Design, forces: Mapping[str, tuple[ByteArray, ByteArray]]
) -> tuple[ctypes.Array[ctypes.c_void_p], ctypes.Array[ctypes.c_void_p]]:
    """Return the addresses of the masks of each tap, null where it has none."""
    taps = {tap.name: tap for tap in design.taps}
    for name, masks in forces.items():
        tap = taps[name]
        for mask in masks:
            shape = (tap.beats, tap.beat_bytes)
            if mask.dtype != np.uint8 or mask.shape != shape or not mask.flags.c_contiguous:
                raise ValueError(f"the masks of {name} must be uint8 {shape} in C order")
    table = ctypes.c_void_p * (len(design.taps) + 1)
    addresses = [
        [forces[tap.name][side].ctypes.data if tap.name in forces else None for tap in design.taps]
        for side in (0, 1)
    ]
    return table(*addresses[0]), table(*addresses[1])
