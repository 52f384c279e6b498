"""A device without anything behind it, servers in this process, and a simulated board in one of its own."""

import hashlib
import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.graph import DataflowGraph, Flatten, Mvau, Thresholds
from hw.boardserver.device import Clocks
from hw.boardserver.serve import ServerPlan, make_server
from hw.boardserver.server import ServerLimits
from hw.boardserver.wire import Limits
from hw.build import write_build
from hw.emulator.library import load_library
from hw.folding import Folding, LayerFolding
from hw.remote import BoardClient, BoardEntry, enrol, find_entry

SHAPE, CLASSES = (4, 4, 1), 3
START_S = 60


def answer(images):
    """What the device without hardware computes."""
    flat = images.reshape(len(images), -1).astype(np.int64)
    return np.stack([flat.sum(axis=1), flat[:, 0], -flat[:, -1]], axis=1)


class ScriptedDevice:
    """Computes, unless something else is on its list."""

    simulated = True
    board_id = "scripted-1"
    board_names = ("Simulated",)
    driver_sha256 = "ab" * 32
    load_s = 0.1

    def __init__(self):
        self.calls = []
        self.next = []
        self.clock = Clocks(set_mhz=100.0, measured_mhz=100.1)

    def reset(self, deadline):
        self.calls.append("reset")

    def load(self, overlay, deadline):
        self.calls.append("load")
        return overlay.design_hash

    def run(self, images, first_frame, seed, deadline):
        self.calls.append(("run", len(images)))
        action = self.next.pop(0) if self.next else None
        if isinstance(action, Exception):
            raise action
        return answer(images) if action is None else action(images, deadline)

    def clocks(self):
        return self.clock

    def temperatures_c(self):
        return {"chip": 41.5}


def write_overlay(root: Path, name="net_simulated_0123", **changes) -> Path:
    """Write an overlay folder for the device without hardware."""
    folder = root / name
    folder.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (16, *SHAPE), np.uint8)
    np.savez(folder / "known_answers.npz", images=images, logits=answer(images))
    (folder / f"{name}.bit").write_bytes(b"bits" * 100)
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    document = {
        "format": "bitsiege-overlay",
        "version": 1,
        "name": name,
        "board": "Simulated",
        "graph_hash": "cd" * 32,
        "design_hash": "ef" * 32,
        "input": {"shape": list(SHAPE), "dtype": "uint8"},
        "output": {"classes": CLASSES, "dtype": "int32", "bytes_per_frame": 16},
        "clock": {"asked_mhz": 100, "planned_mhz": 100.0, "achieved_mhz": None},
        "draws": False,
        "files": files,
        **changes,
    }
    (folder / "overlay.json").write_text(json.dumps(document))
    return folder


@pytest.fixture
def overlay_folder():
    """The function that writes an overlay."""
    return write_overlay


@pytest.fixture
def device():
    return ScriptedDevice()


QUICK = ServerLimits(
    wire=Limits(payload_bytes=1 << 20),
    handshake_s=1.5,
    frame_s=1.0,
    idle_s=20.0,
    send_s=1.0,
    strangers=4,
    connections_each=3,
)


@pytest.fixture
def serve_here(tmp_path, device):
    """The function that serves in a thread of this process, and gives its entry of a registry."""
    servers = []

    def start(**changes):
        root = tmp_path / "overlays"
        if not root.exists():
            write_overlay(root)
        plan = ServerPlan(
            **{"root": root, "state": tmp_path / "state", "port": 0, "limits": QUICK, **changes}
        )
        server = make_server(plan, device)
        thread = threading.Thread(target=server.serve, daemon=True)
        thread.start()
        servers.append((server, thread))
        host, port = server.address
        return BoardEntry(name="here", host=host, port=port, identity=None)

    def close():
        while servers:
            server, thread = servers.pop()
            server.close()
            thread.join(5)
            assert not thread.is_alive()

    start.close = close
    yield start
    close()


@pytest.fixture
def connect():
    """The function that makes a client; it is closed in the end."""
    clients = []

    def make(entry) -> BoardClient:
        clients.append(BoardClient(entry))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def small_graph(seed: int = 0) -> DataflowGraph:
    rng = np.random.default_rng(seed)

    def signs(rows, columns):
        return rng.choice(np.array([-1, 1], np.int8), (rows, columns))

    steps = Thresholds(steps=rng.integers(-500, 500, (6, 1), np.int64))
    return DataflowGraph(
        input_shape=SHAPE,
        nodes=(
            Flatten(name="flatten_0", input="images", in_type=UINT8),
            Mvau(name="mvau_0", input="flatten_0", in_type=UINT8, weights=signs(6, 16), thresholds=steps),
            Mvau(name="mvau_1", input="mvau_0", in_type=BIPOLAR, weights=signs(CLASSES, 6)),
        ),
    )


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory) -> Path:
    """Where the emulator is compiled, once for all test processes."""
    folder = tmp_path_factory.getbasetemp().parent / "emulator-cache"
    load_library(folder)
    return folder


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    folding = Folding({"mvau_0": LayerFolding(2, 4), "mvau_1": LayerFolding(1, 2)})
    path = tmp_path_factory.mktemp("board") / "net"
    return write_build(path, graph=small_graph(), folding=folding, clock_mhz=100.0)


@pytest.fixture(scope="session")
def enrolled(tmp_path_factory):
    """Folder with certificates of a board ``sim``, of its user and of four more."""
    folder = tmp_path_factory.mktemp("certificates")
    credentials = folder / "credentials"
    first = folder / "boards.toml"
    enrol("sim", host="127.0.0.1", port=1, registry=first, board_folder=credentials, client="user")
    for user in ("anna", "bela", "cleo", "dora"):
        enrol(
            "sim",
            host="127.0.0.1",
            port=1,
            registry=first,
            board_folder=folder / f"unused-{user}",
            client=user,
        )
    with (credentials / "clients.txt").open("a") as stream:
        stream.write("anna\nbela\ncleo\ndora\n")
    return folder


class SimulatedProcess:
    """A simulated board's server, as a process that can be killed and started again on the same port."""

    def __init__(self, folder: Path, build, certificates: Path, cache_dir: Path) -> None:
        self.folder = folder
        self.faults = folder / "faults.json"
        self.state = folder / "state"
        self.port = 0
        self._build = build
        self._certificates = certificates
        self._cache_dir = cache_dir
        self._process = None
        folder.mkdir(parents=True, exist_ok=True)
        self.inject()

    def inject(self, **counts) -> None:
        """Let faults happen; underscores stand for dashes."""
        text = json.dumps({name.replace("_", "-"): count for name, count in counts.items()})
        (self.folder / "new").write_text(text)
        (self.folder / "new").replace(self.faults)

    def start(self) -> None:
        command = [
            *(sys.executable, "-m", "bitsiege", "board", "serve", "--simulate", self._build.path),
            *("--state", self.state, "--credentials", self._certificates / "credentials"),
            *("--port", self.port, "--faults", self.faults, "--cache-dir", self._cache_dir),
        ]
        self._process = subprocess.Popen(
            list(map(str, command)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # noqa: TID251  the process is the command line's
        )
        line = first_line(self._process, START_S)
        assert line.startswith("listening 127.0.0.1 "), line
        self.port = int(line.split()[2])

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def wait(self) -> int:
        return self._process.wait(START_S)

    def kill(self, number=signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(START_S)
            self._process.stdout.close()
            self._process = None

    def entry(self, user="user") -> BoardEntry:
        own = self._certificates / "board-certificates"
        found = find_entry("sim", self._certificates / "boards.toml")
        identity = type(found.identity)(
            certificate=own / f"{user}.pem", key=own / f"{user}.key", authority=own / "ca.pem"
        )
        return BoardEntry(name="sim", host="127.0.0.1", port=self.port, identity=identity)

    def audit(self) -> list[dict]:
        return [json.loads(line) for line in (self.state / "audit.jsonl").read_text().splitlines()]


def first_line(process, timeout_s: float) -> str:
    """Read one line of a process's output, or fail."""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    end = time.monotonic() + timeout_s
    data = b""
    while not data.endswith(b"\n"):
        if not selector.select(max(0.0, end - time.monotonic())):
            process.kill()
            raise TimeoutError(f"only {data!r} in {timeout_s} s")
        part = os.read(process.stdout.fileno(), 1)
        if not part:
            break
        data += part
    selector.close()
    return data.decode()


@pytest.fixture(scope="session")
def read_line():
    """The function that reads one line of a process's output."""
    return first_line


@contextmanager
def running(folder, build, certificates, cache_dir):
    board = SimulatedProcess(folder, build, certificates, cache_dir)
    board.start()
    try:
        yield board
    finally:
        board.kill()


@pytest.fixture(scope="module")
def shared_board(tmp_path_factory, build, enrolled, cache_dir):
    with running(tmp_path_factory.mktemp("shared"), build, enrolled, cache_dir) as board:
        yield board


@pytest.fixture
def simulated(shared_board):
    """A simulated board without faults, as a process; tests of a module share it."""
    if not shared_board.running:
        shared_board.kill()
        shared_board.start()
    shared_board.inject()
    yield shared_board
    shared_board.inject()


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (50, *SHAPE), np.uint8)
