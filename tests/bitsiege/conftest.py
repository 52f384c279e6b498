"""A small network in a build, and the command line as a function."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitsiege.cli import main
from export.datatypes import BIPOLAR, UINT8
from export.graph import DataflowGraph, Flatten, Mvau, Thresholds
from hw.build import Build, write_build
from hw.folding import Folding, LayerFolding

SHAPE = (4, 4, 1)


@dataclass(frozen=True)
class Outcome:
    """What a command returned and printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict:
        return json.loads(self.out)


@pytest.fixture
def bitsiege(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Run one command in this process."""

    def call(*words: object) -> Outcome:
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Outcome(status=status, out=captured.out, err=captured.err)

    return call


@pytest.fixture
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run Python in a process of its own."""

    def run(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **options)

    return run


@pytest.fixture
def error_lines() -> Callable[[str], int]:
    """Count the lines of an error at the end of a text: the error, and perhaps a hint; 0 without either."""

    def count(text: str) -> int:
        *_, before, last = ["", *text.splitlines()]
        if last.startswith("  hint: ") and before.startswith("bitsiege: error: "):
            return 2
        return int(last.startswith("bitsiege: error: "))

    return count


def small_graph(seed: int = 0) -> DataflowGraph:
    rng = np.random.default_rng(seed)

    def signs(rows: int, columns: int) -> np.ndarray:
        return rng.choice(np.array([-1, 1], np.int8), (rows, columns))

    first = rng.integers(-500, 500, (6, 1), np.int64)
    return DataflowGraph(
        input_shape=SHAPE,
        nodes=(
            Flatten(name="flatten_0", input="images", in_type=UINT8),
            Mvau(
                name="mvau_0",
                input="flatten_0",
                in_type=UINT8,
                weights=signs(6, 16),
                thresholds=Thresholds(steps=first),
            ),
            Mvau(name="mvau_1", input="mvau_0", in_type=BIPOLAR, weights=signs(3, 6)),
        ),
    )


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A build without checkpoint and QONNX file: 16 inputs, 6 neurons, 3 classes."""
    folding = Folding({"mvau_0": LayerFolding(2, 4), "mvau_1": LayerFolding(1, 2)})
    path = tmp_path_factory.mktemp("small") / "build"
    return write_build(path, graph=small_graph(), folding=folding, clock_mhz=100.0)


@pytest.fixture(scope="session")
def small_images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (20, *SHAPE), np.uint8)


@pytest.fixture
def image_file(tmp_path: Path, small_images: np.ndarray) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, small_images)
    return path


@pytest.fixture
def label_file(tmp_path: Path, small_images: np.ndarray) -> Path:
    path = tmp_path / "y.npy"
    np.save(path, np.arange(len(small_images)) % 3)
    return path
