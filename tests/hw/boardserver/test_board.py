"""After a fault nothing is computed before reset, reload and known answers."""

import time

import numpy as np
import pytest

from hw.boardserver.board import Board
from hw.boardserver.deadlines import Deadline
from hw.boardserver.device import Clocks
from hw.boardserver.errors import (
    BAD_OVERLAY,
    CLOCK,
    DEADLINE,
    DEVICE,
    HUNG,
    KNOWN_ANSWERS,
    NO_LEASE,
    QUARANTINED,
    STALE_BITSTREAM,
    STUCK,
    WRONG_BOARD,
    BoardError,
    FaultError,
)
from hw.boardserver.overlays import OverlayFolder

NAME = "net"


@pytest.fixture
def make_board(tmp_path, device, overlay_folder):
    boards = []

    def make(**changes):
        if not (tmp_path / "root").exists():
            overlay_folder(tmp_path / "root", NAME, **changes)
        boards.append(Board(device, OverlayFolder(tmp_path / "root"), tmp_path / "quarantine.json"))
        return boards[-1]

    yield make
    for board in boards:
        board.close()


def soon(seconds=5.0):
    return Deadline.after(seconds)


def code_of(function, *arguments):
    with pytest.raises(BoardError) as caught:
        function(*arguments)
    return caught.value.code


def run(board, images, seconds=5.0):
    return board.run(NAME, images, 0, 0, soon(seconds))


def stuck():
    return FaultError(STUCK, "odma0 is stuck")


def test_a_lease_loads_and_asks_for_the_known_answers_once(make_board, device, images):
    board = make_board()
    board.prepare(NAME, soon())
    board.prepare(NAME, soon())
    assert device.calls == ["reset", "load", ("run", 16)]
    logits, record = run(board, images)
    assert logits[:, 1].tolist() == images[:, 0, 0, 0].tolist()
    assert record["temperatures_c"] == {"chip": 41.5}


def test_a_fault_costs_reset_reload_and_known_answers(make_board, device, images):
    board = make_board()
    board.prepare(NAME, soon())
    device.next = [stuck()]
    assert code_of(run, board, images) == STUCK
    assert board.state == "suspect"
    assert code_of(run, board, images) == NO_LEASE
    device.calls.clear()
    board.prepare(NAME, soon())
    assert device.calls == ["reset", "load", ("run", 16)]
    assert board.state == "ready"
    run(board, images)


def wrong(images, deadline):
    return np.zeros((len(images), 3), np.int64)


def test_a_second_failure_is_a_quarantine_that_a_restart_does_not_end(make_board, device, images):
    board = make_board()
    device.next = [wrong, wrong]
    assert code_of(board.prepare, NAME, soon()) == KNOWN_ANSWERS
    assert board.state == "quarantined"
    for again in (board, make_board()):
        assert again.state == "quarantined"
        assert code_of(again.prepare, NAME, soon()) == QUARANTINED
        assert code_of(run, again, images) == QUARANTINED
    device.next = [wrong, wrong]
    assert code_of(again.recover, NAME, soon()) == KNOWN_ANSWERS
    assert again.state == "quarantined"
    again.recover(NAME, soon())
    assert again.state == "ready"
    assert make_board().state == "unloaded"


def test_one_failure_to_load_is_tried_again(make_board, device):
    board = make_board()
    device.next = [wrong]
    board.prepare(NAME, soon())
    assert device.calls == 2 * ["reset", "load", ("run", 16)]


def test_another_manifest_under_the_same_name_is_loaded_anew(make_board, device, tmp_path):
    board = make_board()
    board.prepare(NAME, soon())
    manifest = tmp_path / "root" / NAME / "overlay.json"
    manifest.write_text(manifest.read_text() + "\n")
    device.calls.clear()
    board.prepare(NAME, soon())
    assert "load" in device.calls


def test_a_stale_circuit_is_a_fault(make_board, device):
    board = make_board()
    device.load = lambda overlay, deadline: "00" * 32
    assert code_of(board.prepare, NAME, soon()) == STALE_BITSTREAM


@pytest.mark.parametrize("clock", [Clocks(set_mhz=101.0), Clocks(set_mhz=90.0, measured_mhz=100.0)])
def test_a_clock_that_is_too_fast_or_another_is_a_fault(make_board, device, clock):
    device.clock = clock
    assert code_of(make_board().prepare, NAME, soon()) == CLOCK


def test_the_wrong_board_is_refused_before_anything_is_touched(make_board, device):
    assert code_of(make_board(board="Pynq-Z1").prepare, NAME, soon()) == WRONG_BOARD
    assert device.calls == []


@pytest.mark.parametrize("name", ["SIMULATED", "simulated", "Simu-Lated"])
def test_a_board_s_name_is_not_a_matter_of_dashes(make_board, device, name):
    device.board_names = (name,)
    make_board().prepare(NAME, soon())


def test_hardware_needs_a_bitstream(make_board, device, tmp_path, overlay_folder):
    import json

    board = make_board()
    manifest = tmp_path / "root" / NAME / "overlay.json"
    document = json.loads(manifest.read_text())
    del document["files"]["net.bit"]
    manifest.write_text(json.dumps(document))
    board.prepare(NAME, soon())
    device.simulated = False
    assert code_of(board.prepare, NAME, soon()) == BAD_OVERLAY


def test_an_impatient_client_can_t_cause_a_quarantine(make_board, device):
    board = make_board()
    assert code_of(board.prepare, NAME, soon(0.15)) == DEADLINE
    assert board.state == "unloaded"
    assert device.calls == []


def test_a_driver_that_never_returns_blocks_nobody(make_board, device, images):
    board = make_board()
    board.prepare(NAME, soon())

    def hang(part, deadline):
        time.sleep(4)
        raise RuntimeError

    device.next = [hang]
    start = time.monotonic()
    assert code_of(run, board, images, 0.3) == HUNG
    assert time.monotonic() - start < 3
    # It still hangs: what needs the device fails at once.
    assert code_of(board.prepare, NAME, soon()) == HUNG
    assert time.monotonic() - start < 3
    assert board.state == "quarantined"
    time.sleep(4)
    board.recover(NAME, soon())
    run(board, images)


@pytest.mark.parametrize(
    "action",
    [
        lambda images, deadline: np.zeros((len(images) - 1, 3), np.int64),
        lambda images, deadline: np.zeros((len(images), 3), np.int32),
        lambda images, deadline: 1 // 0,
    ],
)
def test_whatever_else_a_driver_does_is_a_fault(make_board, device, images, action):
    board = make_board()
    board.prepare(NAME, soon())
    device.next = [action]
    assert code_of(run, board, images) == DEVICE
    assert board.state == "suspect"


def test_images_of_another_shape_don_t_reach_the_device(make_board, device):
    board = make_board()
    board.prepare(NAME, soon())
    device.calls.clear()
    assert code_of(run, board, np.zeros((2, 5, 5, 1), np.uint8)) == BAD_OVERLAY
    assert device.calls == []
