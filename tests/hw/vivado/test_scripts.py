"""The generated Tcl is linted, run under a recorder, and compared call by call with what was read once."""

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hw.boards import BOARDS, Board

_HERE = Path(__file__).parent
_GOLDEN = _HERE / "golden"
_BOARDS = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.key)


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    command = [
        *(sys.executable, "-m", "tclint", "--commands", str(_HERE / "vivado-commands.json")),
        *("--style-line-length", "110"),
    ]
    return subprocess.run([*command, *map(str, files)], capture_output=True, text=True, timeout=60)


@_BOARDS
def test_the_scripts_are_clean(make_overlay: Callable, board: Board):
    overlay = make_overlay(board)
    done = lint(*sorted(overlay.project.glob("*.tcl")), *overlay.project.glob("*.xdc"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("{name}.tcl", "[get_bd_pins reset/ext_reset_in]", ""),
        ("{name}.tcl", "create_bd_cell -type ip -vlnv", "create_bd_cell -kind ip -vlnv"),
        ("{name}.tcl", "set_property board_part", "set_property a b board_part"),
        ("{name}.tcl", "validate_bd_design", "validate_bd_design now"),
        ("build_ip.tcl", "-vendor bitsiege", "-vendor"),
        ("build_bitstream.tcl", "wait_on_run $run", "wait_on_run"),
        ("check_timing.tcl", "open_run impl_1", "open_run"),
    ],
)
def test_the_linter_sees_what_is_wrong(make_overlay: Callable, script: str, old: str, new: str):
    overlay = make_overlay(BOARDS[0])
    file = overlay.project / script.format(name=overlay.plan.name)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    assert lint(file).returncode != 0


@_BOARDS
def test_the_scripts_call_what_they_are_known_to_call(
    make_overlay: Callable, record: Callable, board: Board, pytestconfig: pytest.Config
):
    recorded = record(make_overlay(board))
    assert recorded.status == 0, recorded.output
    text = "".join(shlex.join(call) + "\n" for call in recorded.calls)
    golden = _GOLDEN / f"{board.key}.txt"
    if pytestconfig.getoption("--update-golden", default=False):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert golden.exists(), "run pytest tests/hw/vivado --update-golden, and read what it wrote"
    assert text == golden.read_text()


def test_there_is_no_record_of_a_board_that_is_gone():
    assert {path.stem for path in _GOLDEN.iterdir()} == {board.key for board in BOARDS}


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        ("{name}.tcl", "validate_bd_design", "validate_bd_desing"),
        ("{name}.tcl", "[latest proc_sys_reset]", "[latest proc_sys_rest]"),
        ("{name}.tcl", "$design -top", "$desing -top"),
        ("{name}.tcl", "set_property ip_repo_paths", "set_property"),
        ("build_ip.tcl", "ipx::save_core", "ipx::store_core"),
        ("build_ip.tcl", "bnn_top.sv", "bnn_pot.sv"),
        ("check_timing.tcl", "STATS.$statistic", "STAT.$statistic"),
    ],
)
def test_the_recorder_stops_at_a_mistake(
    make_overlay: Callable, record: Callable, script: str, old: str, new: str
):
    overlay = make_overlay(BOARDS[0])
    file = overlay.project / script.format(name=overlay.plan.name)
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    assert record(overlay).status == 1


def test_the_order_of_the_scripts_matters(make_overlay: Callable, record: Callable):
    overlay = make_overlay(BOARDS[0])
    assert "does not exist" in record(overlay, "build_bitstream.tcl").output
    assert "no IP bitsiege:hardware" in record(overlay, f"{overlay.plan.name}.tcl").output


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("timing", 1, "setup_slack_ns -0.312"),
        ("no-slack", 1, "met 0"),
        ("clock", 1, "met 0"),
        ("", 0, "met 1"),
    ],
)
def test_timing_is_met_or_it_is_an_error(
    make_overlay: Callable, record: Callable, fault: str, status: int, words: str
):
    overlay = make_overlay(BOARDS[0])
    recorded = record(overlay, fault=fault)
    assert recorded.status == status
    assert words in (overlay.project / "timing.txt").read_text()


def test_missing_board_files_are_named(make_overlay: Callable, record: Callable):
    recorded = record(make_overlay(BOARDS[0]), fault="no-board-files")
    assert f"no files for the board {BOARDS[0].board_part}" in recorded.output
