"""Loading on a board: a small `pynq` of our own stands in; the real one is in tests/hw/pynqremote."""

import hashlib
import json
import sys
import types

import numpy as np
import pytest

from hw.pynq import (
    BadInputError,
    BitsiegeOverlay,
    ClockError,
    DriverError,
    SelfTestError,
    WrongBoardError,
    WrongOverlayError,
    board_name,
    parse_manifest,
)
from hw.pynqremote import EmulatedOverlay, Faults
from hw.reference import ReferenceTarget


class Board:
    """What `pynq` gives a driver, in front of an emulated overlay."""

    def __init__(self, device, manifest, name):
        self.device, self.base, self.name = device, manifest.registers["idma0"], name
        self.ip_dict = {name: {"phys_addr": address} for name, address in manifest.registers.items()}
        self.loaded, self.next, self.live = [], 0x1000_0000, 0
        self.clocks = types.SimpleNamespace(fclk0_mhz=50.0)

    def has_capability(self, capability):
        return capability == "REMOTE"

    def modules(self):
        board = self

        class MMIO:
            def __init__(self, base_addr, length, device):
                assert length == 0x1000
                assert device is board
                self.offset = base_addr - board.base

            def read(self, offset):
                return board.device.read(self.offset + offset)

            def write(self, offset, value):
                board.device.write(self.offset + offset, value)

        class Buffer(np.ndarray):
            def flush(self):
                board.device.write_memory(self.device_address, self.tobytes())

            def invalidate(self):
                self[:] = np.frombuffer(board.device.read_memory(self.device_address, self.size), np.uint8)

            def freebuffer(self):
                board.live -= 1

        def allocate(shape, dtype, target):
            assert target is board
            if shape[0] > 1 << 20:
                raise MemoryError("no more CMA")
            buffer = np.zeros(shape, dtype).view(Buffer)
            buffer.device_address = board.next
            board.next += 1 << 20
            board.live += 1
            return buffer

        def overlay(path, download, device):
            board.loaded.append((path, download))
            return board

        pynq = types.ModuleType("pynq")
        pynq.MMIO, pynq.allocate, pynq.Overlay = MMIO, allocate, overlay
        pynq.Device = types.SimpleNamespace(active_device=board)
        ps = types.ModuleType("pynq.ps")
        ps.Clocks = board.clocks
        grpc = types.ModuleType("grpc")
        grpc.RpcError = type("RpcError", (Exception,), {})
        return {"pynq": pynq, "pynq.ps": ps, "grpc": grpc}


@pytest.fixture
def folder(tmp_path, document, build_mlp, monkeypatch):
    """An overlay's folder, its graph, and a function that makes the board under it."""
    graph = build_mlp((12, 8, 5), seed=3)
    images = np.random.default_rng(1).integers(0, 256, (6, 12, 1, 1), np.uint8)
    logits = ReferenceTarget(graph).infer(images).logits
    np.savez(tmp_path / "known_answers.npz", images=images, logits=logits)
    (tmp_path / "net.bit").write_bytes(b"bitstream")
    (tmp_path / "net.hwh").write_bytes(b"handoff")
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tmp_path.iterdir()}
    content = document(graph, files=files)
    (tmp_path / "overlay.json").write_text(json.dumps(content))

    def make(name="Pynq-Z1", **faults):
        manifest = parse_manifest(content)
        # A clock that stands at the set frequency, by the processor's time.
        board = Board(None, manifest, name)

        def cycles():
            import time

            return int(time.monotonic() * board.clocks.fclk0_mhz * 1e6)

        board.device = EmulatedOverlay(
            manifest, ReferenceTarget(graph), faults=Faults(**faults), clock=cycles
        )
        for module, content_of in board.modules().items():
            monkeypatch.setitem(sys.modules, module, content_of)
        return board

    return tmp_path, graph, make


def test_an_overlay_is_loaded_checked_and_computes(folder):
    path, graph, make = folder
    board = make()
    overlay = BitsiegeOverlay(str(path / "net.bit"), "zynq-iodma", batch_size=4, driver_type="FINNDMAOverlay")
    assert board.loaded == [(str(path / "net.bit"), True)]
    assert board.clocks.fclk0_mhz == 100
    assert overlay.clock.set == 100
    assert overlay.fclk_mhz == 100
    images = np.random.default_rng(2).integers(0, 256, (9, 12, 1, 1), np.uint8)
    assert np.array_equal(overlay.logits(images), ReferenceTarget(graph).infer(images).logits)
    assert set(overlay.ip_dict) == {"idma0", "odma0", "control0"}
    assert not overlay.bus.simulated
    assert board.live == 2
    overlay.close()
    assert board.live == 0
    overlay.batch_size = 1 << 20
    with pytest.raises(DriverError, match="contiguous memory left: no more CMA"):
        overlay.execute(images)
    with pytest.raises(AttributeError):
        _ = overlay.nothing_of_that_name


def test_the_wrong_thing_is_refused_before_it_is_loaded(folder):
    path, _, make = folder
    board = make("Pynq-Z2")
    with pytest.raises(WrongBoardError, match="was built for Pynq-Z1, this board is Pynq-Z2"):
        BitsiegeOverlay(path / "net.bit")
    board = make("PYNQ Z1")
    with pytest.raises(ClockError, match="150 MHz is more than"):
        BitsiegeOverlay(path / "net.bit", fclk_mhz=150.0)
    with pytest.raises(BadInputError, match="alveo"):
        BitsiegeOverlay(path / "net.bit", platform="alveo")
    (path / "net.bit").write_bytes(b"bitstr")
    with pytest.raises(WrongOverlayError, match=r"net\.bit is not the file"):
        BitsiegeOverlay(path / "net.bit")
    assert board.loaded == []


def test_the_wrong_thing_is_refused_after_it_was_loaded(folder):
    path, _, make = folder
    make(garbled=True)
    with pytest.raises(SelfTestError, match="6 of 6"):
        BitsiegeOverlay(path / "net.bit")
    assert BitsiegeOverlay(path / "net.bit", self_test=False).batch_size == 1
    make(clock_factor=1.5)
    with pytest.raises(ClockError, match="set to 100 MHz, but the logic counts"):
        BitsiegeOverlay(path / "net.bit")
    board = make()
    board.ip_dict["odma0"]["phys_addr"] += 0x1000
    with pytest.raises(WrongOverlayError, match=r"odma0 at 0x43c02000, overlay\.json at 0x43c01000"):
        BitsiegeOverlay(path / "net.bit")
    del board.ip_dict["odma0"]
    with pytest.raises(WrongOverlayError, match="has no block odma0"):
        BitsiegeOverlay(path / "net.bit")


def test_known_answers_that_do_not_fit(folder):
    path, _, make = folder
    make()
    document = json.loads((path / "overlay.json").read_text())
    file = path / "known_answers.npz"
    for arrays, words in (
        ({"images": np.zeros((1, 5, 1, 1), np.uint8), "logits": np.zeros((1, 5), int)}, "images must be"),
        ({"images": np.zeros((1, 12, 1, 1), np.uint8), "logits": np.zeros((1, 4), int)}, "logits must be"),
        ({"images": np.zeros((0, 12, 1, 1), np.uint8), "logits": np.zeros((0, 5), int)}, "holds no images"),
        (None, "can't read"),
    ):
        file.write_bytes(b"no archive") if arrays is None else np.savez(file, **arrays)
        document["files"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        (path / "overlay.json").write_text(json.dumps(document))
        with pytest.raises(BadInputError, match=words):
            BitsiegeOverlay(path / "net.bit")


def test_a_board_that_is_gone_is_an_error_of_ours(folder):
    path, _, make = folder
    board = make()
    overlay = BitsiegeOverlay(path / "net.bit")
    images = np.zeros((1, 12, 1, 1), np.uint8)

    def gone(*arguments):
        raise sys.modules["grpc"].RpcError("unavailable")

    board.device.read_memory = gone
    with pytest.raises(DriverError, match="the board does not answer: unavailable"):
        overlay.execute(images)
    board.device.read = gone
    with pytest.raises(DriverError, match="the board does not answer"):
        overlay.execute(images)
    board.device.write_memory = gone
    with pytest.raises(DriverError, match="the board does not answer"):
        overlay.execute(images)
    overlay.close()


def test_no_pynq_and_no_board(monkeypatch, folder):
    path, _, _ = folder
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(DriverError, match="pynq package can't be imported"):
        BitsiegeOverlay(path / "net.bit")
    assert board_name(None) is None
    assert board_name(types.SimpleNamespace(has_capability=lambda _: True, name="Unknown")) is None
