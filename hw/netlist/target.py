"""The synthesised netlist under Verilator: what the FPGA's primitives compute, cycle by cycle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from export.graph import DataflowGraph
from hw.cache import cached_directory, content_key
from hw.folding import Folding
from hw.netlist.cells import cell_models
from hw.netlist.synthesis import Netlist, check_size, netlist_of
from hw.rtl_target import RtlTarget
from hw.target import ImageArray, Inference, TargetKind
from hw.verilator import Design, Stalls, StreamResult

_MODELS = "models.sv"


class NetlistTarget:
    """Simulates the network's accelerator as Yosys maps it to look-up tables, registers and memories.

    Streams, resets and cycles are those of `RtlTarget`. Weights are part of the netlist, so every network is
    synthesised and compiled for itself: minutes for a small one.

    Args:
        graph: The network.
        folding: PE and SIMD of each layer.
        cache_dir: Where netlists and simulators are kept; None for the user's cache directory.
        workers: Streams simulated at once; None for one a core.
        seed: Of drawn weights, below 2**32.

    Raises:
        InputError: The folding does not fit, hardware can't compute the network, it is too large, or the seed
            is out of range.
        ToolError: Verilator or the C++ compiler is missing.
    """

    name = "netlist"
    kind = TargetKind.CYCLE_ACCURATE

    def __init__(
        self,
        graph: DataflowGraph,
        folding: Folding,
        *,
        cache_dir: Path | None = None,
        workers: int | None = None,
        seed: int = 0,
    ) -> None:
        self.graph = graph
        self._mapped = _MappedTarget(graph, folding, cache_dir=cache_dir, workers=workers, seed=seed)
        self.rtl = self._mapped.rtl
        check_size(self.rtl)

    def prepare(self) -> None:
        """Synthesise the netlist and build the simulator, if the cache does not have them.

        Raises:
            InputError: The netlist is too large.
            ToolError: Yosys, Verilator or the compiler is missing or fails, or a primitive has no model.
        """
        self._mapped.prepare()

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits and the cycles of uint8 images ``(N, H, W, C)``.

        Raises:
            CheckFailedError: The netlist hangs or breaks the stream protocol; the message names image and
                cycle.
        """
        return self._mapped.infer(images, first_frame)

    def stream(self, images: ImageArray, stalls: Stalls | None = None) -> StreamResult:
        """Send a whole batch as one stream, with random stalls on both sides if asked for."""
        return self._mapped.stream(images, stalls)

    def netlist(self) -> Netlist:
        """Return the netlist; synthesise it, if the cache does not have it."""
        return self._mapped.netlist()


class _MappedTarget(RtlTarget):
    """The same with other sources: the ports of the top module are all that simulation knows of a design."""

    def netlist(self) -> Netlist:
        return netlist_of(self.rtl, self._rtl_directory(), cache_dir=self._cache_dir)

    def _design(self) -> Design:
        netlist = self.netlist()
        models = cell_models(netlist.cells)

        def write(directory: Path) -> None:
            (directory / _MODELS).write_text(models, encoding="utf-8")

        entry = cached_directory("netlist", content_key(models), write, cache_dir=self._cache_dir)
        return replace(super()._design(), sources=(entry / _MODELS, netlist.path), taps=(), large=True)
