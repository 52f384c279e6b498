"""One substitute serves all shards and budgets of a model."""

from pathlib import Path

import numpy as np
import pytest

from attacks.archive import load_attack
from attacks.catalog import make_attack
from bitsiege.campaign.config import load_campaign
from bitsiege.campaign.executors import LocalPool
from bitsiege.campaign.job import Surroundings, run_campaign
from bitsiege.campaign.store import read_plan
from bitsiege.progress import SilentProgress
from hw.build import load_build
from hw.reference import ReferenceTarget
from quant_models.data import load_dataset

PARAMETERS = {"held_out": 12, "rounds": 2, "epochs": 3, "hidden": 8, "max_queries": 20, "steps": 2}
CONFIG = f"""
shard_images = 4
[data]
name = "digits"
first = 2
images = 10
[[models]]
source = "net"
[[attacks]]
name = "substitute"
epsilons = [0.1, 0.2]
seeds = [0, 1]
oracle = "reference"
parameters = {{ {", ".join(f"{key} = {value}" for key, value in PARAMETERS.items())} }}
[replay]
targets = ["reference"]
"""


@pytest.fixture
def config(tmp_path: Path, write_digits_build) -> Path:
    write_digits_build(tmp_path / "net")
    (tmp_path / "c.toml").write_text(CONFIG)
    return tmp_path / "c.toml"


def test_a_substitute_is_trained_once_and_attacked_everywhere(config: Path, tmp_path: Path):
    path = tmp_path / "run"
    summary = run_campaign(
        load_campaign(config),
        path,
        surroundings=Surroundings(base=tmp_path),
        make_executor=lambda: LocalPool(2, cache_dir=None),
        progress=SilentProgress(),
    )
    trainings = {part.shard.key for part in read_plan(path)[1].shared if part.attack}
    assert len(trainings) == 2
    data = load_dataset("digits")
    target = ReferenceTarget(load_build(tmp_path / "net").graph)
    images, labels = data.test.images[2:12], data.test.labels[2:12]
    for result in summary["results"]:
        archive = load_attack(path / result["archive"])
        attack = make_attack("substitute", eps=result["epsilon"], seed=result["seed"], **PARAMETERS)
        expected = attack.craft(target, images, labels, first_index=2, seeds=data.train.images[:12])
        assert np.array_equal(archive.adversarial, expected.adversarial)
        assert result["queries_mean"] == 20
        assert result["succeeded"] == int(expected.success.sum())


def test_too_few_training_images_are_refused(bitsiege, config: Path, tmp_path: Path):
    config.write_text(CONFIG.replace("held_out = 12", "held_out = 9000").replace("= 20", "= 9000"))
    result = bitsiege("campaign", config, "--out", tmp_path / "run", "--json")
    assert result.status == 2
    assert "training images, 9000 are to be held out" in result.err
