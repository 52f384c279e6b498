"""Synthesising a generated design: every instance alone and side by side, or the whole top at once."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from export.errors import InputError
from hw.cache import cached_directory, content_key
from hw.rtlgen import Instance, RtlDesign
from hw.synth.report import FAMILIES, FlatCost, InstanceCost, SynthReport, count, parse_cells, parse_depth
from hw.synth.yosys import TIMEOUT_S, Yosys, find_yosys, run_script

_CELLS, _PATH = "cells.json", "path.txt"
_MODULE_NAME = re.compile(r"\bbnn_\w+")
# A wide layer takes gigabytes.
_JOBS_MAX = 2


def synthesise(
    design: RtlDesign,
    directory: Path,
    *,
    family: str = "xc7",
    cache_dir: Path | None = None,
    timeout_s: float = TIMEOUT_S,
    on_done: Callable[[int], None] | None = None,
) -> SynthReport:
    """Synthesise every instance of a design alone, two at a time.

    Args:
        design: What was generated.
        directory: Where: sources and memory files.
        family: One of `FAMILIES`.
        cache_dir: Where results are kept; None for the user's cache directory.
        timeout_s: When to give up on an instance [s].
        on_done: Is told how many instances are done.

    Raises:
        InputError: The family is unknown, or a file of the design can't be read.
        ToolError: Yosys is missing, failed or was killed; it names the instance.
    """
    _check_family(family)
    yosys = find_yosys()

    texts = {name: _read(directory / name).decode() for name in design.sources[:-1]}

    def job(instance: Instance) -> InstanceCost:
        sources = _needed(instance.module, texts)
        flat = _synthesise_one(
            yosys,
            directory,
            sources,
            {str(v): design.memories[str(v)] for k, v in instance.parameters.items() if k.endswith("_FILE")},
            _script(sources, instance.module, instance.parameters, family),
            what=instance.name,
            cache_dir=cache_dir,
            timeout_s=timeout_s,
        )
        return InstanceCost(
            instance=instance.name,
            module=instance.module,
            node=instance.node,
            cost=flat.cost,
            depth=flat.depth,
        )

    jobs = min(_JOBS_MAX, os.cpu_count() or 1)
    costs: list[InstanceCost] = []
    with ThreadPoolExecutor(jobs) as pool:
        for cost in pool.map(job, design.instances):
            costs.append(cost)
            if on_done is not None:
                on_done(len(costs))
    return SynthReport(family=family, yosys=yosys.version, instances=costs)


def synthesise_flat(
    design: RtlDesign, directory: Path, *, family: str = "xc7", cache_dir: Path | None = None
) -> FlatCost:
    """Flatten a whole design and synthesise it in one run: the logic of two instances may then be merged.

    Args:
        design: What was generated.
        directory: Where: sources and memory files.
        family: One of `FAMILIES`.
        cache_dir: Where results are kept; None for the user's cache directory.

    Raises:
        InputError: The family is unknown, or a file of the design can't be read.
        ToolError: Yosys is missing, failed or was killed.
    """
    _check_family(family)
    return _synthesise_one(
        find_yosys(),
        directory,
        design.sources,
        design.memories,
        _script(design.sources, design.top, {}, family),
        what=design.top,
        cache_dir=cache_dir,
    )


def _needed(module: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    """The files of a module and of all that it may instantiate; changes of others don't matter to it."""
    needed: list[str] = []
    names = [f"{module}.sv"]
    while names:
        name = names.pop()
        if name in texts and name not in needed:
            needed.append(name)
            names += [f"{word}.sv" for word in _MODULE_NAME.findall(texts[name])]
    return tuple(name for name in texts if name in needed)


def _check_family(family: str) -> None:
    if family not in FAMILIES:
        raise InputError(f"the FPGA family {family!r} is unknown", hint=f"known: {', '.join(FAMILIES)}")


def _script(sources: tuple[str, ...], top: str, parameters: Mapping[str, int | str], family: str) -> str:
    settings = " ".join(f"-set {name} {_value(value)}" for name, value in parameters.items())
    return "\n".join(
        (
            # synth_xilinx alone reads all cells of all families, which is half the work for a small unit.
            "read_verilog -lib -specify +/xilinx/cells_sim.v",
            *(() if family == "xc7" else ("read_verilog -lib +/xilinx/cells_xtra.v",)),
            f"read_verilog -sv -defer {' '.join(sources)}",
            *((f"chparam {settings} {top}",) if settings else ()),
            f"hierarchy -check -top {top}",
            f"synth_xilinx -family {family} -flatten -noiopad -noclkbuf -run prepare:check",
            # Small units were mapped on their own; their cells are counted with all others.
            "setattr -mod -unset keep_hierarchy",
            "flatten",
            "opt_clean",
            f"tee -q -o {_CELLS} stat -json",
            # What is left is the logic between registers, memories and ports.
            "delete t:FD* t:RAM* t:SRL* t:DSP*",
            f"tee -q -o {_PATH} ltp",
            "",
        )
    )


def _value(value: int | str) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    # A negative decimal isn't understood here; the parameter's own type says that the 32 bits are signed.
    return str(value) if value >= 0 else f"32'b{value & 0xFFFFFFFF:032b}"


def _synthesise_one(
    yosys: Yosys,
    directory: Path,
    sources: tuple[str, ...],
    memories: Mapping[str, str],
    script: str,
    *,
    what: str,
    cache_dir: Path | None,
    timeout_s: float = TIMEOUT_S,
) -> FlatCost:
    files = {name: _read(directory / name) for name in (*sources, *memories)}
    parts = (part for item in sorted(files.items()) for part in item)

    def build(entry: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="bitsiege-synth-") as name:
            folder = Path(name)
            for file, content in files.items():
                (folder / file).write_bytes(content)
            run_script(yosys, script, folder, what=what, timeout_s=timeout_s)
            for result in (_CELLS, _PATH):
                shutil.copyfile(folder / result, entry / result)

    entry = cached_directory("synth", content_key(yosys.version, script, *parts), build, cache_dir=cache_dir)
    return FlatCost(
        cost=count(parse_cells((entry / _CELLS).read_text())), depth=parse_depth((entry / _PATH).read_text())
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}", path=str(path)) from error
