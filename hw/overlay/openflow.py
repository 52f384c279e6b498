"""A bitstream for the Zynq-7020 without a vendor tool: Yosys, nextpnr-xilinx, Project X-Ray."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from export.errors import CheckFailedError, InputError, ToolError
from export.files import atomic_directory
from hw.build import Build
from hw.overlay.frames import compare_bits, parse_frames, parse_read_bits
from hw.overlay.generate import generate_overlay
from hw.overlay.opentools import OpenDatabase, OpenTools, check_database, run_logged
from hw.rtlgen.generate import RTL_DIR
from hw.synth.yosys import Yosys, find_yosys, run_script

ZYNQ_TOP = "bnn_zynq7"
PARTS = ("xc7z020clg400-1",)
"""Parts that the open path is for."""

TIMEOUT_S = 7200.0
_TOP_FILE = Path(__file__).parent / "zynq7" / f"{ZYNQ_TOP}.sv"
_BRIDGE = "bnn_axi3_bridge.sv"
_NETLIST, _FASM, _FRAMES, _BITS = "netlist.json", "design.fasm", "design.frames", "read.bits"
_REPORT = "report.json"
_FREQUENCY = re.compile(r"Max frequency for clock\s+'[^']+':\s+([\d.]+) MHz")
_USED = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenResult:
    """What the open path ended with.

    Attributes:
        bitstream: The ``.bit`` file.
        asked_mhz: Clock that was asked for [MHz].
        achieved_mhz: Clock that nextpnr says the routed design can have [MHz].
        used: Cells of each kind that are used, and how many the part has.
        bits: Configuration bits that are set, and were found again in the bitstream.
    """

    bitstream: Path
    asked_mhz: float
    achieved_mhz: float
    used: dict[str, tuple[int, int]]
    bits: int


def netlist_script(sources: tuple[str, ...], netlist: str) -> str:
    """Return Yosys' commands from sources to the netlist that nextpnr reads."""
    return "\n".join(
        (
            "read_verilog -lib -specify +/xilinx/cells_sim.v",
            "read_verilog -lib +/xilinx/cells_xtra.v",
            f"read_verilog -sv -defer {' '.join(sources)}",
            f"hierarchy -check -top {ZYNQ_TOP}",
            # nextpnr takes one flat module.
            "setattr -mod -unset keep_hierarchy",
            "synth_xilinx -family xc7 -flatten -noiopad -noclkbuf -run prepare:check",
            # The primitives' models are no part of a netlist.
            "blackbox =A:whitebox",
            "opt_clean -purge",
            f"write_json {netlist}",
            "",
        )
    )


def write_netlist(
    build: Build, directory: Path, *, yosys: Yosys | None = None, timeout_s: float = TIMEOUT_S
) -> Path:
    """Synthesise a build's overlay with the processing system of a Zynq-7000 around it.

    Args:
        build: The build.
        directory: An empty folder for sources and netlist.
        yosys: The program; None for the one that `find_yosys` finds.
        timeout_s: When to give up [s].

    Returns:
        The netlist, in Yosys' JSON.

    Raises:
        InputError: An overlay can't hold the build.
        ToolError: Yosys is missing or fails.
    """
    design = generate_overlay(build, directory)
    (directory / _BRIDGE).write_bytes((RTL_DIR / _BRIDGE).read_bytes())
    (directory / _TOP_FILE.name).write_bytes(_TOP_FILE.read_bytes())
    sources = (*design.sources, _BRIDGE, _TOP_FILE.name)
    run_script(
        yosys or find_yosys(),
        netlist_script(sources, _NETLIST),
        directory,
        what=ZYNQ_TOP,
        timeout_s=timeout_s,
    )
    netlist = directory / _NETLIST
    if not netlist.is_file():
        raise ToolError(f"Yosys wrote no {_NETLIST}")
    return netlist


def build_open_bitstream(
    build: Build,
    directory: Path,
    *,
    tools: OpenTools,
    database: OpenDatabase,
    part: str = PARTS[0],
    clock_mhz: float | None = None,
    seed: int = 1,
    timeout_s: float = TIMEOUT_S,
    on_step: Callable[[str], None] = lambda name: None,
) -> OpenResult:
    """Build a bitstream of a build's overlay, read it again, and keep everything in a directory.

    Args:
        build: The build.
        directory: Replaced as a whole, and only by a complete result: ``bnn_zynq7.bit``, ``report.json``,
            netlist, frames and logs.
        tools: The programs.
        database: What is known of the part.
        part: One of `PARTS`.
        clock_mhz: Clock to route for [MHz]; None for the build's.
        seed: Of nextpnr's placer.
        timeout_s: When to give up on a program [s].
        on_step: Called with the name of each program before it runs.

    Raises:
        CheckFailedError: The routed design is too slow, or the bitstream doesn't hold its frames.
        InputError: The part is another one, a database lacks a file, or an overlay can't hold the build.
        ToolError: A program is missing, fails, takes too long, or doesn't say what it should.
    """
    if part not in PARTS:
        raise InputError(f"there is no open path for {part}", hint=f"parts: {', '.join(PARTS)}")
    check_database(database, part)
    asked = build.clock_mhz if clock_mhz is None else clock_mhz
    with atomic_directory(directory) as folder:
        on_step("yosys")
        netlist = write_netlist(build, folder / "rtl", timeout_s=timeout_s)
        on_step("nextpnr-xilinx")
        said = run_logged(
            (
                *(str(tools.nextpnr), "--chipdb", str(database.chip.absolute()), "--json", str(netlist)),
                *("--fasm", _FASM, "--freq", f"{asked:g}", "--seed", str(seed)),
            ),
            folder / "nextpnr.log",
            what="nextpnr-xilinx",
            timeout_s=timeout_s,
        )
        achieved, used = read_placement(said)
        if achieved < asked:
            raise CheckFailedError(
                f"the routed design can have {achieved:.2f} MHz, {asked:g} MHz were asked for",
                hint="ask for a lower clock, or try another seed",
            )
        bits = _write_bitstream(folder, tools, database, part, timeout_s, on_step)
        report = {"part": part, "asked_mhz": asked, "achieved_mhz": achieved, "seed": seed, "bits": bits}
        text = json.dumps({**report, "used": used}, indent=2, sort_keys=True) + "\n"
        (folder / _REPORT).write_text(text, encoding="utf-8")
    return OpenResult(
        bitstream=directory / f"{ZYNQ_TOP}.bit",
        asked_mhz=asked,
        achieved_mhz=achieved,
        used=used,
        bits=bits,
    )


def read_placement(log: str) -> tuple[float, dict[str, tuple[int, int]]]:
    """Return the clock [MHz] after routing, and the cells of each kind that are used, from nextpnr's words.

    nextpnr says a frequency after placement and one after routing: the last one counts.

    Raises:
        ToolError: It says none.
    """
    frequencies = [float(value) for value in _FREQUENCY.findall(log)]
    if not frequencies:
        raise ToolError("nextpnr-xilinx says no frequency", hint="its log may show why")
    used = {kind: (int(count), int(of)) for kind, count, of in _USED.findall(log) if int(count) > 0}
    return frequencies[-1], used


def read_back(bitstream: Path, frames: str, tools: OpenTools, part_file: Path, timeout_s: float) -> int:
    """Read a bitstream and compare its bits with the frames that it was written from.

    Returns:
        How many bits are set.

    Raises:
        CheckFailedError: They differ.
        ToolError: bitread fails.
    """
    folder = bitstream.parent
    run_logged(
        (str(tools.bitread), "-part_file", str(part_file), "-z", "-y", "-o", _BITS, str(bitstream)),
        folder / "bitread.log",
        what="bitread",
        timeout_s=timeout_s,
    )
    written = parse_frames(frames, where=_FRAMES)
    read = parse_read_bits((folder / _BITS).read_text(encoding="ascii", errors="replace"))
    compare_bits(written, read, what=bitstream.name)
    return len(written)


def _write_bitstream(
    folder: Path,
    tools: OpenTools,
    database: OpenDatabase,
    part: str,
    timeout_s: float,
    on_step: Callable[[str], None],
) -> int:
    """Turn the features of a routed design into a bitstream; return how many bits it sets."""
    part_file = database.part_file(part).absolute()
    bitstream = folder / f"{ZYNQ_TOP}.bit"
    on_step("fasm2frames")
    run_logged(
        (
            *(str(tools.fasm2frames), "--db-root", str(database.family.absolute()), "--part", part),
            *(_FASM, _FRAMES),
        ),
        folder / "fasm2frames.log",
        what="fasm2frames",
        timeout_s=timeout_s,
    )
    on_step("xc7frames2bit")
    run_logged(
        (
            *(str(tools.frames2bit), "-part_file", str(part_file), "-part_name", part),
            *("-frm_file", _FRAMES, "-output_file", bitstream.name),
        ),
        folder / "xc7frames2bit.log",
        what="xc7frames2bit",
        timeout_s=timeout_s,
    )
    if not bitstream.is_file():
        raise ToolError("xc7frames2bit wrote no bitstream", hint="its log says why")
    on_step("bitread")
    frames = (folder / _FRAMES).read_text(encoding="ascii", errors="replace")
    return read_back(bitstream, frames, tools, part_file, timeout_s)
