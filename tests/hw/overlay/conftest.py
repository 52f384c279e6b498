"""Overlays of small networks, and a driver of a few lines for their registers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.graph import DataflowGraph, Flatten, Mvau, Swg, Thresholds
from hw.build import Build, write_build
from hw.folding import Folding, LayerFolding
from hw.overlay import OverlaySimulation

IDMA, ODMA, CONTROL = 0x0000, 0x1000, 0x2000
CTRL, ADDRESS, FRAMES, STATUS, BYTES, FINISHED, RESET = 0x00, 0x10, 0x1C, 0x20, 0x24, 0x28, 0x2C
DONE, IDLE, RUNS = 2, 4, 1
INPUTS, OUTPUTS = 0x1000_0FC0, 0x1004_0FD0
DEADLINE = 200_000


@dataclass(kw_only=True)
class Driver:
    """What a program on the board would do."""

    simulation: OverlaySimulation

    def start(self, base: int, address: int, frames: int) -> None:
        self.simulation.write(base + ADDRESS, address & 0xFFFF_FFFF)
        self.simulation.write(base + ADDRESS + 4, address >> 32)
        self.simulation.write(base + FRAMES, frames)
        self.simulation.write(base + CTRL, 1)

    def begin(self, images: np.ndarray, *, source: int = INPUTS, sink: int = OUTPUTS) -> None:
        self.simulation.write_memory(source, images.tobytes())
        self.start(ODMA, sink, len(images))
        self.start(IDMA, source, len(images))

    def finished(self, base: int = ODMA) -> bool:
        return bool(self.simulation.read(base + CTRL) & DONE)

    def logits(self, frames: int, sink: int = OUTPUTS) -> np.ndarray:
        design = self.simulation.design
        data = self.simulation.read_memory(sink, frames * design.result_bytes)
        return np.frombuffer(data, np.int32).reshape(frames, -1)[:, : design.classes]

    def infer(self, images: np.ndarray, **where: int) -> np.ndarray:
        self.begin(images, **where)
        assert self.simulation.run_until(self.finished, DEADLINE), "no result in time"
        return self.logits(len(images), where.get("sink", OUTPUTS))

    def status(self, base: int) -> int:
        return self.simulation.read(base + STATUS)

    def reset(self, deadline: int = 2000) -> bool:
        self.simulation.write(ODMA + RESET, 1)
        return self.simulation.run_until(lambda: not self.simulation.read(ODMA + RESET), deadline)


def conv_graph() -> DataflowGraph:
    """Windows of 3x3 over 5x5 images of 3 channels (75 bytes), then a dense layer of 7 classes."""
    rng = np.random.default_rng(5)
    nodes = (
        Swg(name="swg_0", input="images", in_type=UINT8, kernel=(3, 3), stride=(1, 1)),
        Mvau(
            name="mvau_0",
            input="swg_0",
            in_type=UINT8,
            weights=rng.choice(np.array([-1, 1], np.int8), (4, 27)),
            thresholds=Thresholds(steps=rng.integers(-400, 400, (4, 1))),
        ),
        Flatten(name="flatten_0", input="mvau_0", in_type=BIPOLAR),
        Mvau(
            name="mvau_1",
            input="flatten_0",
            in_type=BIPOLAR,
            weights=rng.choice(np.array([-1, 1], np.int8), (7, 36)),
        ),
    )
    return DataflowGraph(input_shape=(5, 5, 3), nodes=nodes)


def drawn_graph() -> DataflowGraph:
    """A dense network whose first layer draws its weights anew for each frame: 16 bytes in, 3 logits out."""
    rng = np.random.default_rng(8)
    means = rng.integers(-128, 128, (6, 16)).astype(np.int8)
    nodes = (
        Flatten(name="flatten_0", input="images", in_type=UINT8),
        Mvau(
            name="mvau_0",
            input="flatten_0",
            in_type=UINT8,
            weights=means,
            draw=0,
            thresholds=Thresholds(steps=rng.integers(-300, 300, (6, 1))),
        ),
        Mvau(
            name="mvau_1",
            input="mvau_0",
            in_type=BIPOLAR,
            weights=rng.choice(np.array([-1, 1], np.int8), (3, 6)),
        ),
    )
    return DataflowGraph(input_shape=(4, 2, 2), nodes=nodes)


DRAWN_FOLDING = Folding({"mvau_0": LayerFolding(pe=2, simd=8), "mvau_1": LayerFolding(pe=1, simd=2)})
CONV_FOLDING = Folding({"mvau_0": LayerFolding(pe=2, simd=3), "mvau_1": LayerFolding(pe=1, simd=4)})


@pytest.fixture
def conv_network() -> DataflowGraph:
    """A small convolutional network."""
    return conv_graph()


@pytest.fixture
def drawn_network() -> DataflowGraph:
    """A small network with drawn weights."""
    return drawn_graph()


@pytest.fixture
def drawn_driver(open_driver) -> Driver:
    """Its overlay."""
    return open_driver(drawn_graph(), DRAWN_FOLDING)


@pytest.fixture
def make_build(tmp_path: Path) -> Callable[[DataflowGraph, Folding], Build]:
    """Return a function that writes a build."""

    def make(graph: DataflowGraph, folding: Folding) -> Build:
        return write_build(tmp_path / "build", graph=graph, folding=folding, clock_mhz=100.0)

    return make


@pytest.fixture
def open_driver(make_build, simulator_cache) -> Callable[[DataflowGraph, Folding], Driver]:
    """Return a function that simulates the overlay of a network."""

    def open_overlay(graph: DataflowGraph, folding: Folding) -> Driver:
        build = make_build(graph, folding)
        return Driver(simulation=OverlaySimulation(build, memory_bytes=1 << 20, cache_dir=simulator_cache))

    return open_overlay


@pytest.fixture
def driver(open_driver, cases) -> Driver:
    """The overlay of a small network with 8-bit inputs: 10 bytes in, 5 logits out."""
    return open_driver(cases["integers"].graph, cases["integers"].folding)


@pytest.fixture
def conv_driver(open_driver) -> Driver:
    """The overlay of a small convolutional network."""
    return open_driver(conv_graph(), CONV_FOLDING)
