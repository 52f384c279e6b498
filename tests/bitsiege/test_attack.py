import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from attacks.archive import load_attack, save_attack
from attacks.catalog import make_attack
from attacks.transfer import Ensemble
from bitsiege.crafting import differentiable
from hw.build import Build
from hw.reference import ReferenceTarget
from quant_models.checkpoint import CheckpointMetadata, load_checkpoint, save_checkpoint
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec
from quant_models.zoo import shipped_path


def attack_words(build: Build, images: Path, labels: Path, out: Path) -> tuple[object, ...]:
    return ("attack", build.path, "--attack", "pgd", "--images", images, "--labels", labels, "-o", out)


def test_attack_and_replay(bitsiege, small_build: Build, image_file: Path, label_file: Path, tmp_path: Path):
    archive, report = tmp_path / "attack.npz", tmp_path / "replay.json"
    words = attack_words(small_build, image_file, label_file, archive)
    made = bitsiege(*words, "--eps", "0.2", "--steps", "3", "--json")
    assert made.status == 0, made.err
    assert made.json["images"] == 20
    assert made.json["origin"] == "surrogate of the dataflow graph"
    options = ("--build", small_build.path, "--targets", "reference,emulator", "--limit", "emulator=5")
    result = bitsiege("replay", archive, *options, "-o", report)
    assert result.status == 0, result.err
    assert "emulator" in result.out
    found = json.loads(report.read_text())
    assert found["divergences"] == 0
    assert [target["clean"]["count"] for target in found["targets"]] == [20, 5]


def test_a_divergence_is_status_1_and_named(
    bitsiege,
    small_build: Build,
    image_file: Path,
    label_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    class Wrong(ReferenceTarget):
        name = "emulator"

        def trace(self, images, first_frame=0):
            streams = super().trace(images)
            streams["mvau_0"][:, 4] *= -1
            streams["mvau_1"] = streams["mvau_1"] + 2
            return streams

    archive, report = tmp_path / "attack.npz", tmp_path / "replay.json"
    assert bitsiege(*attack_words(small_build, image_file, label_file, archive), "--steps", "1").status == 0
    monkeypatch.setattr(
        "bitsiege.targets.open_target",
        lambda name, build, **_: {"reference": ReferenceTarget, "emulator": Wrong}[name](build.graph),
    )
    options = ("--build", small_build.path, "--targets", "reference,emulator", "-o", report)
    result = bitsiege("replay", archive, *options, "--trace")
    assert result.status == 1
    assert "emulator differs from reference on clean image 0" in result.err
    assert "first in layer mvau_0, channel 4" in result.err
    assert json.loads(report.read_text())["divergences"] == 40
    assert "--trace" in bitsiege("replay", archive, *options).err


def test_replay_refuses_another_network(
    bitsiege, small_build: Build, image_file: Path, label_file: Path, tmp_path: Path
):
    archive = tmp_path / "attack.npz"
    assert bitsiege(*attack_words(small_build, image_file, label_file, archive), "--steps", "1").status == 0
    save_attack(archive, replace(load_attack(archive), graph_hash="0" * 64))
    options = ("--build", small_build.path, "--targets", "reference", "-o", tmp_path / "r.json")
    result = bitsiege("replay", archive, *options)
    assert result.status == 2
    assert "was made for the network 0000" in result.err
    assert not (tmp_path / "r.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--attack", "pdg"], "unknown attack 'pdg'"),
        (["--attack", "pgd", "--eps", "1.5"], "eps"),
        (["--attack", "pgd", "--steps", "0"], "number of steps"),
        (["--attack", "fgsm", "--steps", "3"], "fgsm has no parameter 'steps'"),
        (["--attack", "fgsm", "--goal", "win"], "unknown goal 'win'"),
    ],
)
def test_attacks_that_do_not_exist(
    bitsiege,
    small_build: Build,
    image_file: Path,
    label_file: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
):
    options = ("--images", image_file, "--labels", label_file, "-o", tmp_path / "a.npz")
    result = bitsiege("attack", small_build.path, *words, *options)
    assert result.status == 2
    assert message in result.err
    assert not (tmp_path / "a.npz").exists()


def test_labels_out_of_range(
    bitsiege, small_build: Build, image_file: Path, label_file: Path, tmp_path: Path
):
    np.save(label_file, np.full(20, 3))
    result = bitsiege(*attack_words(small_build, image_file, label_file, tmp_path / "a.npz"))
    assert result.status == 2
    assert "label 3 of image 0 is out of range" in result.err
    assert "0 to 2" in result.err


@pytest.mark.parametrize("limit", ["emulator", "emulator=0", "emulator=x", "rtl=3"])
def test_limits_that_do_not_fit(bitsiege, small_build: Build, tmp_path: Path, limit: str):
    options = ("--build", small_build.path, "--targets", "reference,emulator", "--limit", limit)
    result = bitsiege("replay", tmp_path / "a.npz", *options, "-o", tmp_path / "r.json")
    assert result.status == 2
    assert "--limit" in result.err


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A dense network for the small images and classes."""
    model = build_model(MlpSpec(name="m", input_shape=(4, 4, 1), hidden=(8,), classes=3)).eval()
    save_checkpoint(tmp_path / "m.safetensors", model, CheckpointMetadata())
    return tmp_path / "m.safetensors"


def test_surrogates_make_images_that_the_build_judges(
    bitsiege, small_build: Build, image_file: Path, label_file: Path, checkpoint: Path, tmp_path: Path
):
    out = tmp_path / "attack.npz"
    words = attack_words(small_build, image_file, label_file, out)
    several = ("--surrogate", checkpoint, "--surrogate", small_build.path)
    made = bitsiege(*words, *several, "--oracle", "reference", "--eps", 0.2, "--steps", 2, "--json")
    assert made.status == 0, made.err
    assert made.json["origin"] == "transfer from m.safetensors, build"
    archive = load_attack(out)
    ensemble = Ensemble([load_checkpoint(checkpoint).build(), differentiable(small_build)[0]])
    expected = make_attack("pgd", eps=0.2, steps=2).craft(ensemble, archive.originals, archive.labels)
    assert np.array_equal(archive.adversarial, expected.adversarial)
    judged = ReferenceTarget(small_build.graph).infer(archive.adversarial)
    assert made.json["succeeded"] == int((judged.labels != archive.labels).sum())
    options = ("--build", small_build.path, "--targets", "reference", "-o", tmp_path / "r.json")
    assert bitsiege("replay", out, *options).status == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--attack", "square", "--surrogate", "m.safetensors"), "square asks a target"),
        (("--attack", "pgd", "--surrogate", "none.safetensors"), "none.safetensors: no such checkpoint"),
        (("--attack", "pgd", "--surrogate", shipped_path("tfc-mnist")), "images of shape (28, 28, 1)"),
    ],
)
def test_surrogates_that_do_not_fit(
    bitsiege,
    small_build: Build,
    image_file: Path,
    label_file: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[object, ...],
    message: str,
):
    monkeypatch.chdir(checkpoint.parent)
    options = ("--images", image_file, "--labels", label_file, "-o", "a.npz")
    result = bitsiege("attack", small_build.path, *words, *options)
    assert result.status == 2
    assert message in result.err
    assert not Path("a.npz").exists()
