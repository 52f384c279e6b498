import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from attacks.archive import load_attack
from bitsiege.campaign.answers import read_answers
from bitsiege.campaign.job import campaign_status
from bitsiege.campaign.store import CampaignDirectory, read_plan
from bitsiege.crafting import craft
from bitsiege.progress import SilentProgress
from export.errors import InputError
from hw.build import load_build
from hw.reference import ReferenceTarget
from quant_models.data import load_dataset

SHARDS = 5 * 3 + 3


@pytest.fixture(scope="module")
def summary(finished: Path) -> dict:
    return json.loads((finished / "campaign.json").read_text())


def test_every_cell_is_there(summary: dict):
    assert summary["finished"] is True
    assert summary["shards"] == {"done": SHARDS, "total": SHARDS}
    cells = [(r["model"], r["title"], r["epsilon"], r["seed"]) for r in summary["results"]]
    assert cells == [
        ("net", "fgsm", 0.1, 0),
        ("net", "pgd", 0.05, 0),
        ("net", "pgd", 0.05, 1),
        ("net", "pgd", 0.1, 0),
        ("net", "pgd", 0.1, 1),
    ]
    assert summary["data"]["first"] == 3
    assert {r["images_done"] for r in summary["results"]} == {20}
    assert summary["models"][0]["ii_cycles"] > 0


def test_a_merged_archive_is_that_of_the_whole(finished: Path, tmp_path: Path):
    """Shards of 8, 8 and 4 images give what one attack on all 20 gives."""
    test = load_dataset("digits").test
    build = load_build(finished / "models" / "net")
    parameters = {"eps": 0.1, "seed": 1, "steps": 2}
    images, labels = test.images[3:23], test.labels[3:23]
    craft(
        build, "pgd", parameters, images, labels, tmp_path / "a.npz", progress=SilentProgress(), first_index=3
    )
    merged = finished / "results" / "net" / "pgd" / "eps-0.1-seed-1" / "attack.npz"
    assert merged.read_bytes() == (tmp_path / "a.npz").read_bytes()


def test_the_numbers_are_those_of_the_targets(finished: Path, summary: dict):
    build = load_build(finished / "models" / "net")
    for result in summary["results"]:
        archive = load_attack(finished / result["directory"] / "attack.npz")
        found = ReferenceTarget(build.graph).infer(archive.adversarial)
        reference, emulator = result["targets"]
        assert reference["adversarial"]["correct"] == int((found.labels == archive.labels).sum())
        assert reference["images"] == 20
        assert emulator["images"] == 13
        low, high = reference["adversarial"]["wilson"]
        assert low <= reference["adversarial"]["accuracy"] <= high
        answers = read_answers(finished / result["directory"] / "answers.npz")
        assert np.array_equal(answers["reference"].adversarial.logits, found.logits)
        assert len(answers["emulator"]) == 13
        replay = json.loads((finished / result["directory"] / "replay.json").read_text())
        assert [t["clean"]["count"] for t in replay["targets"]] == [20, 13]
        assert replay["divergences"] == result["divergences"] == 0


def worker_processes(parent: int) -> list[int]:
    """Children that compute shards; Python has another one that cleans up."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if "spawn_main" in Path(f"/proc/{child}/cmdline").read_text()]


def test_processes_and_a_kill_change_no_byte(
    campaign_file: Path, tmp_path: Path, finished: Path, result_bytes
):
    """Killed with half of its shards done, then finished by two processes, one of which is killed too."""
    path = tmp_path / "run"
    command = [sys.executable, "-m", "bitsiege", "campaign", str(campaign_file), "--out", str(path)]
    with subprocess.Popen([*command, "--jobs", "1"], stderr=subprocess.DEVNULL) as process:
        while len(list(path.glob("shards/*/*/shard.json"))) < SHARDS // 2:
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    done = campaign_status(path)["shards"]["done"]
    assert SHARDS // 2 <= done < SHARDS
    with subprocess.Popen([*command, "--jobs", "2"], stderr=subprocess.PIPE, text=True) as process:
        while not (children := worker_processes(process.pid)):
            assert process.poll() is None
            time.sleep(0.01)
        os.kill(children[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert f"{done} of {SHARDS} shards are there already" in errors
    assert result_bytes(path) == result_bytes(finished)


def test_a_damaged_shard_and_a_damaged_result_are_made_again(
    bitsiege, campaign_file: Path, tmp_path: Path, finished: Path, result_bytes
):
    path = tmp_path / "run"
    words = ("campaign", campaign_file, "--out", path, "--jobs", 1)
    assert bitsiege(*words).status == 0
    (cell, *_) = read_plan(path)[1].cells
    with (CampaignDirectory(path).shard_folder(cell.shards[1].key) / "attack.npz").open("ab") as stream:
        stream.write(b"x")
    (path / cell.folder / "replay.json").write_text("{}")
    assert campaign_status(path)["shards"]["done"] == SHARDS - 1
    again = bitsiege(*words)
    assert f"{SHARDS - 1} of {SHARDS} shards are there already" in again.err
    assert result_bytes(path) == result_bytes(finished)


def test_the_status_of_a_part(bitsiege, campaign_file: Path, tmp_path: Path, finished: Path):
    path = tmp_path / "run"
    assert bitsiege("campaign", campaign_file, "--out", path, "--jobs", 1).status == 0
    (cell, *_) = read_plan(path)[1].cells
    for shard in cell.shards[1:]:
        (CampaignDirectory(path).shard_folder(shard.key) / "shard.json").unlink()
    part = bitsiege("campaign", "--status", path, "--json")
    assert part.status == 0
    assert part.json["finished"] is False
    first, second = part.json["results"][:2]
    assert (first["images_done"], first["images"], first["finished"]) == (8, 20, False)
    assert second["finished"] is True
    assert second["archive_sha256"]
    assert "8/20" in bitsiege("campaign", "--status", path).out


def test_another_setting_keeps_the_shards_that_it_does_not_touch(
    bitsiege, campaign_file: Path, tmp_path: Path
):
    path, other = tmp_path / "run", campaign_file.with_name("more.toml")
    assert bitsiege("campaign", campaign_file, "--out", path, "--jobs", 1).status == 0
    other.write_text(campaign_file.read_text().replace("[0.05, 0.1]", "[0.05, 0.2]"))
    more = bitsiege("campaign", other, "--out", path, "--jobs", 1)
    assert f"{3 * 3 + 3} of {SHARDS} shards are there already" in more.err


def test_a_divergence_is_counted_and_placed(
    bitsiege, campaign_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The emulator lies about image 12 of the data set, the second one of the second shard."""
    from hw.emulator import EmulatorTarget
    from hw.target import Inference

    honest = EmulatorTarget.infer

    def lying(self: EmulatorTarget, images: np.ndarray, first_frame: int = 0) -> Inference:
        logits = honest(self, images, first_frame).logits.copy()
        if first_frame <= 12 < first_frame + len(images):
            logits[12 - first_frame, 4] += 1
        return Inference(logits=logits)

    monkeypatch.setattr(EmulatorTarget, "infer", lying)
    path = tmp_path / "run"
    result = bitsiege("campaign", campaign_file, "--out", path, "--jobs", 1, "--json")
    assert result.status == 1
    assert result.json["divergences"] == 5 * 2
    first = result.json["results"][0]["targets"][1]["clean"]["first"]
    assert (first["image"], first["channel"]) == (12, 4)
    replay = json.loads((path / result.json["results"][0]["directory"] / "replay.json").read_text())
    assert replay["targets"][1]["clean"]["first"]["image"] == 12 - 3
    assert replay["targets"][1]["clean"]["first"]["note"] == first["note"] != ""


def test_models_must_fit_the_images(bitsiege, campaign_file: Path, tmp_path: Path, small_build):
    config = campaign_file.with_name("unfit.toml")
    config.write_text(campaign_file.read_text().replace('"net"', f'"{small_build.path}"'))
    result = bitsiege("campaign", config, "--out", tmp_path / "run")
    assert result.status == 2
    assert "takes images of shape (4, 4, 1), the data set has (8, 8, 1)" in result.err


def test_a_folder_of_something_else_is_refused(bitsiege, campaign_file: Path, tmp_path: Path):
    (tmp_path / "precious").write_text("x")
    assert bitsiege("campaign", campaign_file, "--out", tmp_path).status == 2
    status = bitsiege("campaign", "--status", tmp_path)
    assert status.status == 2
    assert "is not a campaign" in status.err
    assert bitsiege("campaign").status == 2


def test_a_wrong_parameter_is_found_before_the_work(bitsiege, campaign_file: Path, tmp_path: Path):
    config = campaign_file.with_name("wrong.toml")
    config.write_text(campaign_file.read_text().replace("steps = 2", "stepz = 2"))
    result = bitsiege("campaign", config, "--out", tmp_path / "run")
    assert result.status == 2
    assert "attacks[1]: pgd has no parameter 'stepz'; did you mean steps?" in result.err
    assert not (tmp_path / "run").exists()
    (tmp_path / "marker.json").write_text("{}")
    with pytest.raises(InputError, match="no plan yet"):
        campaign_status(tmp_path)
