"""Commands on a network that draws weights for each frame: a seed option, recorded in what they write."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bitsiege.config import parse_config
from bitsiege.inference import infer_file
from bitsiege.progress import SilentProgress
from export.errors import InputError
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.build import Build, write_build
from hw.folding import Folding, LayerFolding
from hw.reference import ReferenceTarget
from quant_models.checkpoint import CheckpointMetadata, save_checkpoint
from quant_models.convspec import ConvSpec, ConvStage
from quant_models.mlp import build_model

SPEC = ConvSpec(
    name="drawn",
    input_shape=(4, 4, 1),
    stages=(
        ConvStage(channels=4, kernel=2, weights="int8", relu=True),
        ConvStage(channels=5, kernel=2, weights="stochastic", relu=True, norm=False, activation=4),
    ),
    classes=3,
    classifier="int8",
    input_grid="unsigned",
)
TARGETS = ("torch", "reference", "emulator")


@pytest.fixture(scope="module")
def drawn_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    path = tmp_path_factory.mktemp("drawn")
    torch.set_num_threads(1)
    torch.manual_seed(4)
    model = build_model(SPEC).eval()
    save_checkpoint(path / "a.safetensors", model, CheckpointMetadata())
    export_qonnx(model, path / "a.onnx", input_shape=SPEC.input_shape)
    graph = lower_model(path / "a.onnx")
    folding = Folding({node.name: LayerFolding(1, 1) for node in graph.mvaus})
    return write_build(
        path / "build",
        graph=graph,
        folding=folding,
        clock_mhz=100.0,
        model=path / "a.onnx",
        checkpoint=path / "a.safetensors",
    )


@pytest.mark.parametrize("target", TARGETS)
def test_infer_draws_by_the_seed_and_says_so(
    bitsiege, drawn_build: Build, image_file: Path, tmp_path: Path, target: str
) -> None:
    out = tmp_path / "out.npz"
    words = ("infer", drawn_build.path, "--target", target, "--images", image_file, "-o", out)
    result = bitsiege(*words, "--draw-seed", 5, "--json")
    assert result.status == 0, result.err
    assert result.json["draw_seed"] == 5
    with np.load(out) as found:
        expected = ReferenceTarget(drawn_build.graph, seed=5).infer(np.load(image_file)).logits
        np.testing.assert_array_equal(found["logits"], expected)
        assert int(found["draw_seed"]) == 5


def test_a_network_without_drawn_weights_records_none(
    bitsiege, small_build: Build, image_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.npz"
    result = bitsiege(
        "infer", small_build.path, "--target", "reference", "--images", image_file, "-o", out, "--json"
    )
    assert result.json["draw_seed"] is None
    with np.load(out) as found:
        assert "draw_seed" not in found.files


def test_a_file_s_images_are_its_frames(drawn_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(1).integers(0, 256, (20, 4, 4, 1), np.uint8)
    target = ReferenceTarget(drawn_build.graph, seed=2)
    # Seven images in a batch.
    monkeypatch.setattr("bitsiege.inference._BATCH_BYTES", 7 * 16)
    found = infer_file(target, images, SilentProgress()).logits
    np.testing.assert_array_equal(found, target.infer(images).logits)


def test_attack_and_replay(
    bitsiege, drawn_build: Build, image_file: Path, label_file: Path, tmp_path: Path
) -> None:
    archive, report = tmp_path / "attack.npz", tmp_path / "replay.json"
    words = ("attack", drawn_build.path, "--attack", "fgsm", "--images", image_file, "--labels", label_file)
    assert bitsiege(*words, "-o", archive).status == 0
    words = ("replay", archive, "--build", drawn_build.path, "--targets", ",".join(TARGETS), "-o", report)
    result = bitsiege(*words, "--draw-seed", 9, "--trace")
    assert result.status == 0, result.err
    written = json.loads(report.read_text())
    assert (written["draw_seed"], written["divergences"]) == (9, 0)


def test_qonnx_is_refused(bitsiege, drawn_build: Build, image_file: Path, tmp_path: Path) -> None:
    words = ("infer", drawn_build.path, "--target", "qonnx", "--images", image_file, "-o", tmp_path / "o.npz")
    result = bitsiege(*words)
    assert result.status == 2
    assert "drawn for each frame, which the qonnx package can't do" in result.err


@pytest.mark.parametrize("seed", [-1, 1 << 32])
def test_seeds_out_of_range(bitsiege, drawn_build: Build, image_file: Path, tmp_path: Path, seed) -> None:
    words = ("infer", drawn_build.path, "--target", "reference", "--images", image_file, "-o", tmp_path / "o")
    assert bitsiege(*words, "--draw-seed", seed).status == 2
    with pytest.raises(InputError, match="draw_seed"):
        parse_config({"replay": {"draw_seed": seed}}, where="c.toml")
