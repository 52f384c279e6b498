"""A small network on 8x8 digits in a build, and a campaign that attacks it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bitsiege.campaign.config import load_campaign
from bitsiege.campaign.executors import InProcess
from bitsiege.campaign.job import Surroundings, run_campaign
from bitsiege.progress import SilentProgress
from export.datatypes import BIPOLAR, UINT8
from export.graph import DataflowGraph, Flatten, Mvau, Thresholds
from hw.build import Build, write_build
from hw.folding import Folding, LayerFolding

CONFIG = """
name = "small"
shard_images = 8
[data]
name = "digits"
first = 3
images = 20
[[models]]
source = "net"
[[attacks]]
name = "fgsm"
epsilons = [0.1]
[[attacks]]
name = "pgd"
epsilons = [0.05, 0.1]
seeds = [0, 1]
parameters = { steps = 2 }
[replay]
targets = ["reference", "emulator"]
limits = { emulator = 13 }
"""


def digits_graph(seed: int = 0) -> DataflowGraph:
    """Random ±1 weights, so that nothing has to be trained: 64 inputs, 16 neurons, 10 classes."""
    rng = np.random.default_rng(seed)

    def signs(rows: int, columns: int) -> np.ndarray:
        return rng.choice(np.array([-1, 1], np.int8), (rows, columns))

    return DataflowGraph(
        input_shape=(8, 8, 1),
        nodes=(
            Flatten(name="flatten_0", input="images", in_type=UINT8),
            Mvau(
                name="mvau_0",
                input="flatten_0",
                in_type=UINT8,
                weights=signs(16, 64),
                thresholds=Thresholds(steps=rng.integers(-500, 500, (16, 1), np.int64)),
            ),
            Mvau(name="mvau_1", input="mvau_0", in_type=BIPOLAR, weights=signs(10, 16)),
        ),
    )


def _write_build(path: Path, seed: int = 0) -> Build:
    folding = Folding({"mvau_0": LayerFolding(2, 4), "mvau_1": LayerFolding(1, 2)})
    return write_build(path, graph=digits_graph(seed), folding=folding, clock_mhz=100.0)


@pytest.fixture(scope="session")
def write_digits_build() -> Callable[..., Build]:
    """Write such a network as a build: (path, seed=0)."""
    return _write_build


@pytest.fixture(scope="session")
def campaign_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CONFIG beside the build that it names."""
    folder = tmp_path_factory.mktemp("campaign")
    _write_build(folder / "net")
    path = folder / "small.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="session")
def result_bytes() -> Callable[[Path], dict[str, bytes]]:
    """Read all files of a campaign that must not depend on who computed them, by their path."""

    def read(path: Path) -> dict[str, bytes]:
        files = {
            file.relative_to(path).as_posix(): file.read_bytes() for file in path.rglob("*") if file.is_file()
        }
        volatile = ("timing.json", ".lock")
        return {
            name: data
            for name, data in files.items()
            if Path(name).name not in volatile and not name.startswith("manifests/")
        }

    return read


@pytest.fixture(scope="session")
def finished(campaign_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign's folder, computed in this process in one go."""
    path = tmp_path_factory.mktemp("finished") / "run"
    run_campaign(
        load_campaign(campaign_file),
        path,
        surroundings=Surroundings(base=campaign_file.parent),
        make_executor=lambda: InProcess(cache_dir=None),
        progress=SilentProgress(),
    )
    return path
