"""A stand-in for Vivado builds a bitstream, or fails in all the ways that Vivado has."""

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from export.errors import BitsiegeError, CheckFailedError, ToolError
from hw.boards import find_board
from hw.vivado import build_bitstream, find_vivado, read_about
from hw.vivado.run import read_timing


@pytest.fixture
def build(make_overlay: Callable, vivado: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Builds an overlay with the stand-in; returns the overlay and what was raised."""

    def run(fault: str = "", timeout_s: float = 60.0):
        overlay = make_overlay(find_board("Pynq-Z1"))
        monkeypatch.setenv("RECORDER_LOG", str(tmp_path / "calls.txt"))
        monkeypatch.setenv("RECORDER_FAULT", fault)
        monkeypatch.setenv("RECORDER_MHZ", str(overlay.plan.planned_mhz))
        steps: list[str] = []
        try:
            build_bitstream(overlay.path, overlay.plan, vivado, timeout_s=timeout_s, on_step=steps.append)
        except BitsiegeError as error:
            return overlay, steps, error
        return overlay, steps, None

    return run


def test_a_bitstream_is_built_in_order_and_described(build: Callable):
    overlay, steps, error = build()
    assert error is None
    name = overlay.plan.name
    assert steps == ["build_ip.tcl", f"{name}.tcl", "build_bitstream.tcl", "check_timing.tcl"]
    about = read_about(overlay.path)
    assert (about["built"], about["clock"]["achieved_mhz"]) == (True, 100.0)
    for kind in ("bit", "bin", "hwh"):
        data = (overlay.path / f"{name}.{kind}").read_bytes()
        assert about["files"][f"{name}.{kind}"] == hashlib.sha256(data).hexdigest()
    assert not (overlay.project / "work").exists()
    assert read_timing(overlay.project / "timing.txt").slacks_ns["setup_slack_ns"] == 0.125
    assert [path.name for path in overlay.path.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("fault", "kind", "message"),
    [
        ("timing", CheckFailedError, "timing is missed at 100 MHz: slack setup -0.312 ns, hold .0.031 ns"),
        ("clock", CheckFailedError, "Vivado's clock is 125 MHz"),
        ("no-slack", ToolError, "no report of its timing"),
        ("synthesis", ToolError, "the run synth_1 stopped: synth_design ERROR"),
        ("crash", ToolError, r"in build_bitstream\.tcl: Abnormal program termination \(11\)"),
        ("full", ToolError, "the disk is full"),
        ("no-bitstream", ToolError, r"failed in build_bitstream\.tcl"),
        ("no-board-files", ToolError, "no files for the board www.digilentinc.com:pynq-z1"),
    ],
)
def test_what_goes_wrong_is_an_error_of_ours(build: Callable, fault: str, kind: type, message: str):
    overlay, _, error = build(fault)
    assert type(error) is kind
    assert error.exit_status == (1 if kind is CheckFailedError else 3)
    with pytest.raises(kind, match=message):
        raise error
    assert not read_about(overlay.path)["built"]
    assert not list(overlay.path.glob("*.bit"))
    assert (overlay.project / "vivado.log").is_file()
    assert not (overlay.project / "work").exists()
    assert [path.name for path in overlay.path.parent.iterdir() if path.name.startswith(".")] == []


def test_a_hanging_vivado_is_ended(build: Callable):
    _, _, error = build("hang", timeout_s=2.0)
    assert isinstance(error, ToolError)
    assert "did not finish build_bitstream.tcl within 2 s" in error.message


def test_a_vivado_that_claims_success_is_not_believed(build: Callable, vivado: Path):
    vivado.write_text("#!/bin/sh\nexit 0\n")
    _, _, error = build()
    assert isinstance(error, ToolError)
    assert "no report of its timing" in error.message


def test_a_vivado_that_can_t_be_run_is_named(make_overlay: Callable, tmp_path: Path):
    overlay = make_overlay(find_board("Pynq-Z1"))
    broken = tmp_path / "vivado"
    broken.write_text("")
    with pytest.raises(ToolError, match=r"can't run .*vivado: Permission denied"):
        build_bitstream(overlay.path, overlay.plan, broken, timeout_s=10.0)


def test_vivado_is_looked_for_on_the_path(vivado: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(vivado.parent))
    assert find_vivado() == vivado
    monkeypatch.setenv("PATH", "/nowhere")
    assert find_vivado() is None


@pytest.mark.parametrize(
    "text",
    ["", "clock_mhz\n", "clock_mhz x\nmet 1\n", "met 1\n", "clock_mhz 100\nsetup_slack_ns -1\nmet 1\n"],
)
def test_a_damaged_report_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "timing.txt"
    path.write_text(text)
    with pytest.raises(ToolError):
        read_timing(path)


def test_the_makefile_does_the_same(make_overlay: Callable, vivado: Path, tmp_path: Path):
    overlay = make_overlay(find_board("Pynq-Z1"))
    make = shutil.which("make")
    assert make is not None
    environment = {
        "PATH": f"{vivado.parent}:/usr/bin:/bin",
        "RECORDER_LOG": str(tmp_path / "calls.txt"),
        "RECORDER_MHZ": "100.0",
    }

    def run(fault: str) -> int:
        command = [make, "-C", str(overlay.project)]
        environment["RECORDER_FAULT"] = fault
        return subprocess.run(command, env=environment, capture_output=True, timeout=60).returncode

    assert run("synthesis") != 0
    assert run("timing") != 0
    assert run("") == 0
    assert (overlay.project / f"{overlay.plan.name}.bit").is_file()
    scripts = [line for line in (tmp_path / "calls.txt").read_text().splitlines() if line.startswith("#")]
    names = [line.split("\x1f")[1] for line in scripts]
    block = f"{overlay.plan.name}.tcl"
    assert names == [
        *("build_ip.tcl", block, "build_bitstream.tcl", "build_bitstream.tcl", "check_timing.tcl"),
        "check_timing.tcl",
    ]


def test_about_is_json(make_overlay: Callable):
    overlay = make_overlay(find_board("Pynq-Z1"))
    about = json.loads((overlay.path / "overlay.json").read_text())
    assert about["name"] == overlay.plan.name
