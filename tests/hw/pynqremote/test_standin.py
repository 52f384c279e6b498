"""Unmodified pynq 4.0.0, finn-plus-driver 1.6.1 and AMD's own self-test, against an emulated board."""

import json

import numpy as np
import pytest

from hw.reference import ReferenceTarget

# One at a time: each of these tests runs a server and a program, and this machine may have few cores.
pytestmark = pytest.mark.xdist_group("pynqremote")


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
