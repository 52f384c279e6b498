"""Synthesising a whole generated design to a netlist of the FPGA's primitives, written as Verilog."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from export.errors import InputError
from hw.cache import cached_directory, content_key
from hw.rtlgen import RtlDesign
from hw.synth import find_yosys
from hw.synth.report import parse_cells
from hw.synth.yosys import run_script

# The families' primitives differ; the models are those of the 7 series.
FAMILY = "xc7"
# Beyond these, synthesis and the compilation of the simulator take hours.
MAX_PRODUCTS = 2048
MAX_MEMORY_BITS = 1 << 19
MAX_CELLS = 40_000
_HEX_BITS = 4
_HINT = "fold the network further, or use the target rtl"
_NETLIST, _CELLS = "netlist.v", "cells.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Netlist:
    """A synthesised design.

    Attributes:
        path: The Verilog file; its top module has the ports of the generated one.
        cells: How often each primitive occurs.
    """

    path: Path
    cells: Mapping[str, int]


def check_size(design: RtlDesign) -> None:
    """Refuse a design whose synthesis would take hours; what passes may still have too many primitives.

    Raises:
        InputError: It is too large.
    """
    products = sum(
        int(i.parameters.get("PE", 0)) * int(i.parameters.get("SIMD", 0)) for i in design.instances
    )
    bits = sum(_HEX_BITS * len("".join(text.split())) for text in design.memories.values())
    for count, what, limit in (
        (products, "products a cycle", MAX_PRODUCTS),
        (bits, "bits of weights and thresholds", MAX_MEMORY_BITS),
    ):
        if count > limit:
            raise InputError(
                f"the network has {count:,} {what}; up to {limit:,} are synthesised for simulation",
                hint=_HINT,
            )


def netlist_of(design: RtlDesign, directory: Path, *, cache_dir: Path | None = None) -> Netlist:
    """Flatten and synthesise a design as `hw.synth.synthesise_flat` does, and keep its netlist.

    Args:
        design: What was generated.
        directory: Where: sources and memory files.
        cache_dir: Where netlists are kept; None for the user's cache directory.

    Raises:
        InputError: The netlist is too large to be simulated in reasonable time.
        ToolError: Yosys is missing, failed or was killed.
    """
    yosys = find_yosys()
    script = _script(design.sources, design.top)
    files = {name: (directory / name).read_bytes() for name in (*design.sources, *design.memories)}
    parts = (part for item in sorted(files.items()) for part in item)

    def build(entry: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="bitsiege-netlist-") as name:
            folder = Path(name)
            for file, content in files.items():
                (folder / file).write_bytes(content)
            run_script(yosys, script, folder, what=design.top)
            for result in (_NETLIST, _CELLS):
                shutil.copyfile(folder / result, entry / result)

    entry = cached_directory(
        "netlist", content_key(yosys.version, script, *parts), build, cache_dir=cache_dir
    )
    cells = parse_cells((entry / _CELLS).read_text(encoding="utf-8"))
    count = sum(cells.values())
    if count > MAX_CELLS:
        raise InputError(
            f"the netlist has {count:,} primitives; up to {MAX_CELLS:,} are simulated",
            hint=_HINT,
        )
    return Netlist(path=entry / _NETLIST, cells=cells)


def _script(sources: tuple[str, ...], top: str) -> str:
    return "\n".join(
        (
            f"read_verilog -sv -defer {' '.join(sources)}",
            f"synth_xilinx -family {FAMILY} -flatten -noiopad -noclkbuf -top {top}",
            # Small units were mapped on their own.
            "setattr -mod -unset keep_hierarchy",
            "flatten",
            "opt_clean",
            # What follows changes no primitive. Wires of one bit each: vectors look like loops.
            "delete t:$scopeinfo",
            f"tee -q -o {_CELLS} stat -json",
            "splitnets",
            "opt_clean -purge",
            f"write_verilog -noattr -noexpr {_NETLIST}",
            "",
        )
    )
