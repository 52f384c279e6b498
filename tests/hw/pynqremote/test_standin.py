"""Unmodified pynq 4.0.0, finn-plus-driver 1.6.1 and AMD's own self-test, against an emulated board."""

import json
import socket

import numpy as np
import pytest

from hw.build import write_build
from hw.overlay import OverlaySimulation, design_hash
from hw.pynqremote import EmulatedBoard, RemoteStandIn, folder_firmware
from hw.reference import ReferenceTarget


def found_by(output):
    return json.loads(next(line for line in output.splitlines() if line.startswith("FOUND "))[6:])


@pytest.mark.parametrize(
    ("board", "arch", "clock"), [("Pynq-Z1", "armv7l", 100.0), ("KV260", "aarch64", 99.999)]
)
def test_pynq_finn_and_our_driver_give_exact_logits(
    build_mlp, make_folder, start_board, run_program, save_images, board, arch, clock
):
    graph = build_mlp((30, 16, 7), seed=4)
    path, images = save_images(graph, 20)
    manifest = make_folder(graph, board=board)
    expected = ReferenceTarget(graph).infer(images)
    with start_board(manifest, graph) as standin:
        found = found_by(run_program("drive.py", standin.port, manifest.folder, path))
        # What was allocated has been freed, but for what FINN's driver holds until its process ends.
        assert standin.board.memory.taken_bytes <= 20 * 30 + 20 * 32
    assert found["arch"] == arch
    assert found["board"] == manifest.board
    assert found["blocks"] == ["control0", "idma0", "odma0"]
    assert found["magic"] == 0x42495453
    padded = np.pad(expected.logits, ((0, 0), (0, 1)))
    assert np.array_equal(found["pynq"], padded)
    for driver in ("finn", "finn_again", "own"):
        assert np.array_equal(found[driver], expected.logits), driver
    assert np.array_equal(found["own_labels"], expected.labels)
    assert found["finn_keys"] == found["own_keys"]
    set_mhz, low, high = found["clock"]
    assert set_mhz == pytest.approx(clock)
    assert low <= set_mhz * 1.001
    assert high >= set_mhz * 0.999
    assert "is more than the timing was closed at" in found["clock_error"]
    assert f"was built for {manifest.board}, this board is Pynq-Z9" in found["board_error"]


def test_amd_self_test_passes(build_mlp, make_folder, start_board, run_program):
    graph = build_mlp((12, 5), seed=1)
    with start_board(make_folder(graph), graph) as standin:
        output = run_program("pynq.remote.selftest", "--ip", "127.0.0.1", "--port", standin.port)
    assert "9 passed" in output
    assert "0 failed" in output


def test_packing_equals_finns(run_program):
    assert run_program("packing.py").split() == ["SAME", str(48 * 129)]


def test_a_stale_bitstream_of_the_same_name_is_refused(
    build_mlp, make_folder, start_board, run_program, save_images
):
    # pynq uploads no file whose name is on the board already: so an older one goes on being loaded.
    graph = build_mlp((12, 5), seed=1)
    path, _ = save_images(graph, 2)
    manifest = make_folder(graph)
    with start_board(manifest, graph) as standin:
        standin.board.load(b"an older one")
        standin.board.load = lambda firmware: None
        found = found_by(run_program("finn_only.py", standin.port, manifest.folder, path, 1))
    assert "no accelerator answers at 0x43c02000" in found["refused"]


def test_finns_driver_on_the_verilated_overlay(
    cases, make_folder, pynq_python, run_program, save_images, tmp_path, simulator_cache
):
    graph, folding = cases["integers"].graph, cases["integers"].folding
    build = write_build(tmp_path / "build", graph=graph, folding=folding, clock_mhz=100)
    manifest = make_folder(graph, design_hash=design_hash(build))
    path, images = save_images(graph, 12)
    with OverlaySimulation(build, cache_dir=simulator_cache) as simulation:
        simulation.set_timing(seed=1, stall=0.3)
        board = EmulatedBoard(
            manifest,
            lambda clock: RealTime(simulation, clock),
            folder_firmware(manifest),
            pace_cycles=200,
        )
        with RemoteStandIn(board, pynq_python) as standin:
            found = found_by(run_program("finn_only.py", standin.port, manifest.folder, path, 4))
    assert np.array_equal(found["finn"], ReferenceTarget(graph).infer(images).logits)


class RealTime:
    """A simulation whose cycle counter runs with the board's clock, as it would in hardware."""

    def __init__(self, simulation, clock):
        self.simulation, self.clock = simulation, clock

    def __getattr__(self, name):
        return getattr(self.simulation, name)

    def read(self, offset):
        if offset in (0x2018, 0x201C):
            return self.clock() >> 32 * (offset == 0x201C) & 0xFFFFFFFF
        return self.simulation.read(offset)


def test_it_listens_on_loopback_until_it_is_closed(build_mlp, make_folder, start_board):
    graph = build_mlp((12, 5), seed=1)
    with start_board(make_folder(graph), graph) as standin:
        with socket.create_connection(("127.0.0.1", standin.port), timeout=5):
            pass
        # It listens on loopback and nowhere else.
        own = socket.gethostbyname(socket.gethostname())
        if not own.startswith("127."):
            with pytest.raises(OSError), socket.create_connection((own, standin.port), timeout=5):  # noqa: PT011
                pass
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", standin.port), timeout=5):  # noqa: PT011
        pass
