"""The generated hardware with faults: other contents of its memories, and bits of its streams forced."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from export.errors import InputError
from export.graph import DataflowGraph, IntArray
from hw.cache import cached_directory, content_key
from hw.folding import Folding
from hw.rtl_target import RtlTarget
from hw.rtlgen import Stream
from hw.target import ImageArray
from hw.verilator import Design, Simulation, Stalls, StreamResult
from hw.verilator.simulation import ByteArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CodeMasks:
    """What happens to the codes of a node's output in every frame: ``(code & keep) ^ turn``.

    Attributes:
        keep: int64 ``(elements,)`` of one frame, in NHWC order.
        turn: int64 ``(elements,)``.
    """

    keep: IntArray
    turn: IntArray


class FaultyRtlTarget(RtlTarget):
    """Simulates the generated accelerator of a network with faults in it.

    The design stays the same, and so do its cycles: faults in memories are digits of the files that
    ``$readmemh`` reads, faults in streams are wires that the simulator forces.

    Args:
        graph: The network without faults.
        folding: PE and SIMD of each layer.
        memories: Text of the memory files that have faults, by name.
        streams: What happens to streams, by the name of the node that writes them.
        cache_dir: Where simulators and memories are kept; None for the user's cache directory.
        workers: Streams simulated at once; None for one a core.
        seed: Of drawn weights, below 2**32.

    Raises:
        InputError: The design has no such memory or stream, or a memory of another size; or as `RtlTarget`.
        ToolError: Verilator or the C++ compiler is missing.
    """

    def __init__(
        self,
        graph: DataflowGraph,
        folding: Folding,
        *,
        memories: Mapping[str, str] | None = None,
        streams: Mapping[str, CodeMasks] | None = None,
        cache_dir: Path | None = None,
        workers: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(graph, folding, cache_dir=cache_dir, workers=workers, seed=seed)
        self._memories = dict(memories or {})
        for name, text in self._memories.items():
            if len(text) != len(self.rtl.memories.get(name, "")):
                raise InputError(f"the design has no memory {name} of this size", node=name)
        known = {stream.node: stream for stream in self.rtl.streams if stream.node is not None}
        if unknown := sorted(set(streams or {}) - set(known)):
            raise InputError(
                f"{unknown[0]} writes no stream in this design",
                hint=f"streams: {', '.join(known)}",
                node=unknown[0],
            )
        self._forces = {name: beat_masks(masks, known[name]) for name, masks in (streams or {}).items()}

    def prepare(self) -> None:
        """Build the simulator, if the cache does not have it."""
        self._library(debug=bool(self._forces))

    def _simulate(
        self,
        images: ImageArray,
        first_image: int,
        stalls: Stalls | None = None,
        *,
        beats: bool = False,
        first_frame: int = 0,
    ) -> StreamResult:
        if not self._forces:
            return super()._simulate(images, first_image, stalls, beats=beats, first_frame=first_frame)
        with self._debug_simulation() as simulation:
            return simulation.stream(
                images,
                deadline_cycles=self.deadline_cycles,
                stalls=stalls,
                beats=beats,
                first_image=first_image,
                draw=self._draw(first_frame),
            )

    def _debug_simulation(self) -> Simulation:
        library = self._library(debug=True)
        return Simulation(library, self._design(), self._rtl_directory(), self._forces)

    def _design(self) -> Design:
        return replace(super()._design(), forceable=bool(self._forces))

    def _rtl_directory(self) -> Path:
        """The directory of the sources and of the memories with their faults, in the cache."""
        clean = super()._rtl_directory()
        if not self._memories:
            return clean
        parts = [part for name, text in sorted(self._memories.items()) for part in (name, text)]

        def build(directory: Path) -> None:
            shutil.copytree(clean, directory / "rtl")
            for name, text in self._memories.items():
                (directory / "rtl" / name).write_text(text, encoding="ascii")

        key = content_key(clean.parent.name, *parts)
        return cached_directory("rtl", key, build, cache_dir=self._cache_dir) / "rtl"


def beat_masks(masks: CodeMasks, stream: Stream) -> tuple[ByteArray, ByteArray]:
    """Return masks of codes as masks of a stream's beats, uint8 ``(beats, bytes)`` each.

    Bits past the width of a beat stay as they are.
    """
    return _beats(masks.keep, stream, fill=1), _beats(masks.turn, stream, fill=0)


def _beats(codes: IntArray, stream: Stream, *, fill: int) -> ByteArray:
    if codes.shape != (stream.beats * stream.lanes,):
        raise ValueError(f"{stream.name} has {stream.beats * stream.lanes} elements, not {codes.shape}")
    bits = (codes[:, None] >> np.arange(stream.element_w, dtype=np.int64)) & 1
    beats = bits.astype(np.uint8).reshape(stream.beats, stream.width_bits)
    padded = np.pad(beats, ((0, 0), (0, -stream.width_bits % 8)), constant_values=fill)
    return np.ascontiguousarray(np.packbits(padded, axis=1, bitorder="little"))
