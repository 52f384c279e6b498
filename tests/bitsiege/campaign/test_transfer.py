"""Images that are crafted on one network and judged by others: models, a checkpoint, an ensemble."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from attacks.archive import load_attack
from attacks.catalog import make_attack
from attacks.transfer import Ensemble
from bitsiege.campaign.config import load_campaign, parse_campaign
from bitsiege.campaign.executors import InProcess
from bitsiege.campaign.job import Surroundings, campaign_status, run_campaign
from bitsiege.campaign.store import read_plan
from bitsiege.crafting import Gradients, differentiable
from bitsiege.pipeline.digests import file_digest
from bitsiege.progress import SilentProgress
from bitsiege.report.assemble import evaluate_folder
from bitsiege.report.evaluationpage import render_evaluation
from export.errors import InputError
from hw.build import load_build
from hw.reference import ReferenceTarget
from quant_models.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from quant_models.data import load_dataset
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec

CONFIG = """
name = "transfers"
shard_images = 4
transfer = true
[data]
name = "digits"
images = 10
[[models]]
source = "net"
[[models]]
source = "other"
[[sources]]
name = "float"
members = ["float.safetensors"]
[[sources]]
name = "both"
members = ["net", "float.safetensors"]
[[attacks]]
name = "pgd"
epsilons = [0.1]
steps = 2
[[attacks]]
name = "square"
epsilons = [0.2]
max_queries = 3
[replay]
targets = ["reference", "emulator", "timing"]
limits = { emulator = 6, timing = 5 }
resources = { timing = "board-fake" }
"""
# Own images of two models by two attacks, of two sources by one, and what each model judges.
CELLS = 2 * 2 + 2 * (2 + 2)
CRAFTED = 2
SHARDS = CELLS * (3 + 2) + CRAFTED * 3 + 2 * (3 + 2)


@pytest.fixture(scope="module")
def transfer_file(tmp_path_factory: pytest.TempPathFactory, write_digits_build) -> Path:
    folder = tmp_path_factory.mktemp("transfer")
    write_digits_build(folder / "net")
    write_digits_build(folder / "other", seed=1)
    model = build_model(MlpSpec(name="float", input_shape=(8, 8, 1), hidden=(12,), classes=10)).eval()
    save_checkpoint(folder / "float.safetensors", model, CheckpointMetadata())
    path = folder / "transfers.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def transferred(transfer_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("transferred") / "run"
    run_campaign(
        load_campaign(transfer_file),
        path,
        surroundings=Surroundings(base=transfer_file.parent),
        make_executor=lambda: InProcess(cache_dir=None),
        progress=SilentProgress(),
    )
    return path


@pytest.fixture(scope="module")
def summary(transferred: Path) -> dict:
    return json.loads((transferred / "campaign.json").read_text())


def test_every_model_judges_every_source(summary: dict):
    assert summary["finished"] is True
    assert summary["shards"] == {"done": SHARDS, "total": SHARDS}
    found = [(r["model"], r["title"], r["source"]) for r in summary["results"]]
    assert found == [
        ("net", "pgd", ""),
        ("net", "square", ""),
        ("other", "pgd", ""),
        ("other", "square", ""),
        ("net", "pgd", "other"),
        ("net", "square", "other"),
        ("net", "pgd", "float"),
        ("net", "pgd", "both"),
        ("other", "pgd", "net"),
        ("other", "square", "net"),
        ("other", "pgd", "float"),
        ("other", "pgd", "both"),
    ]
    assert [(r["model"], r["images_done"], r["targets"]) for r in summary["crafted"]] == [
        ("float", 10, []),
        ("both", 10, []),
    ]
    assert {r["images_done"] for r in summary["results"]} == {10}


def test_the_numbers_are_those_of_the_judge(transferred: Path, summary: dict):
    hashes = {part["name"]: part["graph_hash"] for part in summary["models"]}
    hashes |= {part["name"]: part["source_hash"] for part in summary["sources"]}
    for result in summary["results"]:
        archive = load_attack(transferred / result["archive"])
        build = load_build(transferred / "models" / result["model"])
        found = ReferenceTarget(build.graph).infer(archive.adversarial)
        counts = {entry["target"]: entry["adversarial"]["count"] for entry in result["targets"]}
        assert counts == {"reference": 10, "emulator": 6, "timing": 5}
        right = found.labels == archive.labels
        for entry in result["targets"]:
            assert entry["adversarial"]["correct"] == int(right[: counts[entry["target"]]].sum())
        if result["source"]:
            assert result["succeeded"] == int((~right).sum())
            assert not (transferred / result["directory"] / "attack.npz").exists()
        replay = json.loads((transferred / result["directory"] / "replay.json").read_text())
        assert replay["graph_hash"] == build.graph_hash
        assert replay["source_hash"] == result["source_hash"] == hashes[result["source"] or result["model"]]
        assert replay["divergences"] == 0


def test_a_source_is_a_checkpoint_or_an_ensemble(transferred: Path, transfer_file: Path):
    """The images are what the attack finds on the networks themselves, whatever the shards."""
    test = load_dataset("digits").test
    net = differentiable(load_build(transfer_file.parent / "net"), Gradients.TWIN)[0]
    checkpoint = transfer_file.parent / "float.safetensors"
    member = load_checkpoint(checkpoint).build()
    attack = make_attack("pgd", eps=0.1, steps=2)
    for name, module in (("float", member), ("both", Ensemble([net, member]))):
        folder = transferred / "results" / name / "pgd" / "eps-0.1-seed-0"
        archive = load_attack(folder / "attack.npz")
        result = attack.craft(module, test.images[:10], test.labels[:10])
        assert np.array_equal(archive.adversarial, result.adversarial)
        assert not (folder / "replay.json").exists()
    assert load_attack(transferred / "results/float/pgd/eps-0.1-seed-0/attack.npz").graph_hash == file_digest(
        checkpoint
    )


def test_originals_are_computed_once_for_each_model(
    transfer_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    originals = load_dataset("digits").test.images[:10]
    asked = []
    honest = ReferenceTarget.infer

    def counting(self: ReferenceTarget, images: np.ndarray, first_frame: int = 0):
        asked.append(np.array_equal(images, originals[first_frame : first_frame + len(images)]))
        return honest(self, images, first_frame)

    monkeypatch.setattr(ReferenceTarget, "infer", counting)
    config = tomllib.loads(CONFIG)
    del config["sources"], config["attacks"][1:]
    config["replay"] = {"targets": ["reference"]}
    run_campaign(
        parse_campaign(config, where="x"),
        tmp_path / "run",
        surroundings=Surroundings(base=transfer_file.parent),
        make_executor=lambda: InProcess(cache_dir=None),
        progress=SilentProgress(),
    )
    assert asked[: 2 * 3] == [True] * (2 * 3)
    assert not any(asked[2 * 3 :])


def test_processes_and_a_kill_change_no_byte_of_a_transfer(
    transfer_file: Path, tmp_path: Path, transferred: Path, result_bytes
):
    path = tmp_path / "run"
    command = [sys.executable, "-m", "bitsiege", "campaign", str(transfer_file), "--out", str(path)]
    log = tmp_path / "log"
    with log.open("w") as stream, subprocess.Popen([*command, "--jobs", "2"], stderr=stream) as process:
        # Sources are crafted, and the first of their images are judged.
        while len(list(path.glob("shards/*/*/shard.json"))) < SHARDS * 3 // 4:
            assert process.poll() is None, log.read_text()
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert campaign_status(path)["shards"]["done"] < SHARDS
    again = subprocess.run(
        [*command, "--jobs", "2"], capture_output=True, text=True, timeout=240, check=False
    )
    assert again.returncode == 0, again.stderr
    assert result_bytes(path) == result_bytes(transferred)


def test_the_plan_reads_back(transferred: Path):
    about, plan = read_plan(transferred)
    assert [source["name"] for source in about["sources"]] == ["float", "both"]
    assert len(plan.cells) == CELLS
    assert (
        json.loads(json.dumps(plan.to_json())) == json.loads((transferred / "plan.json").read_text())["plan"]
    )


def test_the_report_has_the_matrix(transferred: Path, summary: dict):
    evaluation = evaluate_folder(transferred)
    assert evaluation.campaign is not None
    pgd, square = evaluation.campaign.transfers
    assert (pgd.title, pgd.epsilon, pgd.models) == ("pgd", 0.1, ("net", "other"))
    assert [row.source for row in pgd.rows] == ["net", "other", "float", "both"]
    assert [row.source for row in square.rows] == ["net", "other"]
    accuracy = {
        (r["title"], r["source"] or r["model"], r["model"]): r["targets"][0]["adversarial"]
        for r in summary["results"]
    }
    for matrix in (pgd, square):
        for row in matrix.rows:
            for model, share in zip(matrix.models, row.shares, strict=True):
                expected = accuracy[matrix.title, row.source, model]
                assert share is not None
                assert (share.accuracy, share.correct) == (expected["accuracy"], expected["correct"])
                assert [share.low, share.high] == expected["wilson"]
    fooled = {r["model"]: r["succeeded"] for r in summary["crafted"]}
    assert [row.itself and row.itself.correct for row in pgd.rows[2:]] == [
        10 - fooled["float"],
        10 - fooled["both"],
    ]
    assert {item.name: item.answer for item in evaluation.checklist}["transfer"] == "yes"
    text = render_evaluation(evaluation)
    ET.fromstring(re.sub(r"^<!DOCTYPE html>\s*", "", text))
    assert "What images from other networks do" in text
    assert "pgd from both" in text


def test_a_comparison_sees_transfers(bitsiege, transferred: Path, tmp_path: Path):
    worse = json.loads((transferred / "campaign.json").read_text())
    (result,) = [r for r in worse["results"] if (r["model"], r["source"]) == ("net", "float")]
    worse["results"].remove(result)
    (tmp_path / "less.json").write_text(json.dumps(worse))
    assert bitsiege("compare", transferred, transferred).status == 0
    compared = bitsiege("compare", transferred, tmp_path / "less.json", "--json")
    assert compared.status == 1
    missing = {d["where"] for d in compared.json["differences"] if d["verdict"] == "missing"}
    assert missing == {
        f"net pgd from float eps 0.1 on {name}" for name in ("reference", "emulator", "timing")
    }


def test_a_replay_of_another_network_s_attack_must_be_asked_for(bitsiege, transferred: Path, tmp_path: Path):
    archive = transferred / "results" / "net" / "pgd" / "eps-0.1-seed-0" / "attack.npz"
    words = ("replay", archive, "--build", transferred / "models" / "other", "--targets", "reference")
    refused = bitsiege(*words, "-o", tmp_path / "r.json")
    assert refused.status == 2
    assert "--transfer" in refused.err
    judged = bitsiege(*words, "-o", tmp_path / "r.json", "--transfer", "--json")
    assert judged.status == 0
    hashes = [load_build(transferred / "models" / name).graph_hash for name in ("other", "net")]
    assert [judged.json["graph_hash"], judged.json["source_hash"]] == hashes
    (result,) = [
        r
        for r in json.loads((transferred / "campaign.json").read_text())["results"]
        if (r["model"], r["source"], r["title"]) == ("other", "net", "pgd")
    ]
    assert (
        judged.json["targets"][0]["adversarial"]["correct"] == result["targets"][0]["adversarial"]["correct"]
    )


def test_other_images_are_refused(bitsiege, transferred: Path, tmp_path: Path, small_build):
    archive = transferred / "results" / "net" / "pgd" / "eps-0.1-seed-0" / "attack.npz"
    words = ("replay", archive, "--build", small_build.path, "--targets", "reference", "--transfer")
    result = bitsiege(*words, "-o", tmp_path / "r.json")
    assert result.status == 2
    assert "images of shape (8, 8, 1) and 10 classes" in result.err


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ('[[sources]]\nname = "net"\nmembers = ["net"]', "two models or sources have one name"),
        ('[[sources]]\nname = "x"\nmembers = []', "sources[2].members"),
        ('[[sources]]\nname = "x"\nmembers = ["nothing"]', "nothing of the source x is not there"),
        ('[[sources]]\nname = "x"\nmembers = ["tfc-mnist"]', "takes images of shape (28, 28, 1)"),
    ],
)
def test_sources_that_do_not_fit(bitsiege, transfer_file: Path, tmp_path: Path, sources: str, message: str):
    config = transfer_file.with_name("wrong.toml")
    config.write_text(CONFIG.replace("[replay]", f"{sources}\n[replay]"))
    result = bitsiege("campaign", config, "--out", tmp_path / "run", "--jobs", 1)
    assert result.status == 2
    assert message in result.err


def test_a_source_needs_an_attack_with_gradients():
    values = {
        "models": [{"source": "tfc-mnist"}],
        "sources": [{"name": "a", "members": ["paper-a-mnist"]}],
        "attacks": [{"name": "square", "epsilons": [0.1]}],
    }
    with pytest.raises(InputError, match="no attack here takes gradients"):
        parse_campaign(values, where="x")
