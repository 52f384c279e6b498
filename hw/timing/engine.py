"""The native engine: compiled on first use, kept in the cache, called through ctypes."""

from __future__ import annotations

import ctypes
from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np

from export.errors import CheckFailedError, InputError, ToolError
from hw.cache import cached_directory, content_key
from hw.compiler import find_compiler, run_compiler
from hw.timing.encoding import TimingChain, fifo_key
from hw.timing.run import ChainRun
from hw.timing.stalls import StallPattern, Stalls, of_256

_LIBRARY = "libtiming.so"
_SOURCE = "engine.cpp"
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared", "-Wall", "-Wextra")
# Outcomes and modes; the same numbers as in native/job.hpp.
_DONE, _HUNG = 0, 1
_FREE, _RANDOM, _GIVEN = range(3)


class HangError(CheckFailedError):
    """Hardware that stands still for good: no beat can move any more."""


class _Job(ctypes.Structure):
    """Same layout as ``Job`` in native/job.hpp."""

    _fields_ = (
        ("modules", ctypes.c_void_p),
        ("module_count", ctypes.c_int64),
        ("streams", ctypes.c_void_p),
        ("stream_count", ctypes.c_int64),
        ("frames", ctypes.c_int64),
        ("mode", ctypes.c_int64),
        ("until_periodic", ctypes.c_int64),
        ("seed", ctypes.c_uint64),
        ("in_stall", ctypes.c_int64),
        ("out_stall", ctypes.c_int64),
        ("source_idle", ctypes.c_void_p),
        ("source_length", ctypes.c_int64),
        ("sink_busy", ctypes.c_void_p),
        ("sink_length", ctypes.c_int64),
        ("in_cycles", ctypes.c_void_p),
        ("out_cycles", ctypes.c_void_p),
        ("first_in", ctypes.c_void_p),
        ("last_out", ctypes.c_void_p),
        ("counts", ctypes.c_void_p),
        ("cycles", ctypes.c_int64),
        ("followed", ctypes.c_int64),
        ("period_frames", ctypes.c_int64),
        ("period_cycles", ctypes.c_int64),
    )


class TimingEngine:
    """The loaded engine; several threads may use one.

    Args:
        cache_dir: Where compiled code is kept; None for the user's cache directory.

    Raises:
        ToolError: There is no compiler, or it failed, or the library can't be loaded.
        InputError: The cache directory can't be written.
    """

    def __init__(self, cache_dir: Path | None = None) -> None:
        self._run = _load(cache_dir).bitsiege_timing_run

    def run(
        self,
        chain: TimingChain,
        frames: int,
        stalls: Stalls | StallPattern | None = None,
        *,
        beats: bool = False,
        counts: bool = True,
        until_periodic: bool = False,
    ) -> ChainRun:
        """Follow frames through a chain, exactly.

        Args:
            chain: The modules.
            frames: Frames N, sent back to back after a reset.
            stalls: Idle cycles of source and sink; None for none.
            beats: Whether to return the cycle of every beat.
            counts: Whether to count what each module does; without, its counts are 0.
            until_periodic: Whether to stop where the rest would repeat; cycles after it are -1.

        Raises:
            InputError: A negative number of frames.
            HangError: The hardware hangs; the message names the frame, the cycle and the full FIFOs.
        """
        if frames < 0:
            raise InputError(f"the number of frames must be at least 0, not {frames}")
        rows, streams = chain.rows(), chain.streams()
        result = ChainRun(
            first_in_cycle=np.full(frames, -1, np.int64),
            last_out_cycle=np.full(frames, -1, np.int64),
            in_cycles=np.full((frames * beats, chain.in_beats), -1, np.int64),
            out_cycles=np.full((frames * beats, chain.out_beats), -1, np.int64),
            total_cycles=0,
            counts=np.zeros((len(rows), 4), np.int64),
            followed_frames=0,
            period_frames=0,
            period_cycles=0,
        )
        job = _Job(
            modules=rows.ctypes.data,
            module_count=len(rows),
            streams=streams.ctypes.data,
            stream_count=len(streams),
            frames=frames,
            until_periodic=int(until_periodic),
            in_cycles=result.in_cycles.ctypes.data if beats else None,
            out_cycles=result.out_cycles.ctypes.data if beats else None,
            first_in=result.first_in_cycle.ctypes.data,
            last_out=result.last_out_cycle.ctypes.data,
            counts=result.counts.ctypes.data if counts else None,
        )
        # Kept in variables: the engine reads through these pointers.
        patterns = _set_stalls(job, stalls)
        status = int(self._run(ctypes.byref(job)))
        del patterns
        if status == _HUNG:
            raise _hang(chain, result, int(job.cycles))
        if status != _DONE:
            raise MemoryError("the timing engine's working memory")
        return replace(
            result,
            total_cycles=int(job.cycles),
            followed_frames=int(job.followed),
            period_frames=int(job.period_frames),
            period_cycles=int(job.period_cycles),
        )


def _hang(chain: TimingChain, run: ChainRun, cycles: int) -> HangError:
    frame = int((run.last_out_cycle >= 0).sum())
    full = [
        fifo_key(instance)
        for instance, (*_, high_water) in zip(chain.instances, run.counts, strict=True)
        if instance.module == "bnn_fifo" and high_water == instance.parameters["DEPTH"]
    ]
    return HangError(
        f"frame {frame}: no beat can move after cycle {cycles - 1}",
        hint=f"FIFOs that were full: before {', '.join(full)}" if full else "no FIFO was full",
        frame=frame,
    )


def _set_stalls(job: _Job, stalls: Stalls | StallPattern | None) -> tuple[np.ndarray, ...]:
    """Fill in the stalls; returns the arrays that the job points to."""
    match stalls:
        case None:
            job.mode = _FREE
            return ()
        case Stalls():
            job.mode = _RANDOM
            job.seed = stalls.seed & 0xFFFF_FFFF_FFFF_FFFF
            job.in_stall, job.out_stall = of_256(stalls.source), of_256(stalls.sink)
            return ()
        case StallPattern():
            job.mode = _GIVEN
            source, sink = (
                np.ascontiguousarray(pattern, np.uint8) for pattern in (stalls.source_idle, stalls.sink_busy)
            )
            job.source_idle, job.source_length = source.ctypes.data, source.size
            job.sink_busy, job.sink_length = sink.ctypes.data, sink.size
            return source, sink


@cache
def _load(cache_dir: Path | None) -> ctypes.CDLL:
    path = build_engine(cache_dir)
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ToolError(
            f"can't load {path}: {error}", hint=f"delete {path.parent}; it is compiled again", path=str(path)
        ) from error
    library.bitsiege_timing_run.restype = ctypes.c_int64
    library.bitsiege_timing_run.argtypes = (ctypes.POINTER(_Job),)
    return library


def build_engine(cache_dir: Path | None = None) -> Path:
    """Return the engine's shared library; compile it if the cache has none.

    Raises:
        ToolError: There is no compiler, or it failed.
        InputError: The cache directory can't be written.
    """
    compiler = find_compiler()
    with as_file(files("hw.timing").joinpath("native")) as sources:
        texts = [path.name + path.read_text(encoding="utf-8") for path in sorted(sources.iterdir())]
        key = content_key(*texts, repr(_FLAGS), *compiler.identity)

        def build(directory: Path) -> None:
            run_compiler(compiler, (*_FLAGS, str(sources / _SOURCE), "-o", str(directory / _LIBRARY)))

        return cached_directory("timing", key, build, cache_dir=cache_dir) / _LIBRARY
