import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hw.build import Build
from hw.reference import ReferenceTarget


def test_infer_writes_the_reference_logits(bitsiege, small_build: Build, image_file: Path, tmp_path: Path):
    out = tmp_path / "out.npz"
    result = bitsiege("infer", small_build.path, "--target", "reference", "--images", image_file, "-o", out)
    assert result.status == 0
    expected = ReferenceTarget(small_build.graph).infer(np.load(image_file))
    with np.load(out, allow_pickle=False) as found:
        assert set(found.files) == {"logits", "labels"}
        np.testing.assert_array_equal(found["logits"], expected.logits)
        np.testing.assert_array_equal(found["labels"], expected.labels)
    assert "20 images on reference" in result.err
    assert result.out == ""


def test_infer_json(bitsiege, small_build: Build, image_file: Path, tmp_path: Path):
    out = tmp_path / "out.npz"
    words = ("infer", small_build.path, "--target", "reference", "--images", image_file, "-o", out, "--json")
    result = bitsiege(*words)
    assert result.json["images"] == 20
    assert result.json["graph_hash"] == small_build.graph_hash
    assert result.json["cycles_per_image"] is None


def test_infer_without_images_is_empty(bitsiege, small_build: Build, tmp_path: Path):
    np.save(tmp_path / "x.npy", np.zeros((0, 4, 4, 1), np.uint8))
    out = tmp_path / "out.npz"
    words = ("infer", small_build.path, "--target", "reference", "--images", tmp_path / "x.npy", "-o", out)
    assert bitsiege(*words).status == 0
    with np.load(out) as found:
        assert found["logits"].shape == (0, 3)


def test_infer_needs_no_torch(python, small_build: Build, image_file: Path, tmp_path: Path):
    code = (
        "import sys; from bitsiege.cli import main; status = main(sys.argv[1:]); "
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules; sys.exit(status)"
    )
    out = tmp_path / "out.npz"
    words = ("infer", small_build.path, "--target", "emulator", "--images", image_file, "-o", out)
    ran = python("-c", code, *words)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
    with np.load(out) as found:
        expected = ReferenceTarget(small_build.graph).infer(np.load(image_file)).logits
        np.testing.assert_array_equal(found["logits"], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.astype(np.float32), "must be uint8, not float32"),
        (lambda x: x[..., 0], "must have shape (N, 4, 4, 1)"),
        (lambda x: x[:, :3], "must have shape (N, 4, 4, 1)"),
    ],
)
def test_images_that_do_not_fit(
    error_lines, bitsiege, small_build: Build, image_file: Path, tmp_path: Path, change, message: str
):
    np.save(image_file, change(np.load(image_file)))
    out = tmp_path / "out.npz"
    result = bitsiege("infer", small_build.path, "--target", "reference", "--images", image_file, "-o", out)
    assert result.status == 2
    assert message in result.err
    assert error_lines(result.err) == 2
    assert not out.exists()


@pytest.mark.parametrize("out", ["/dev/full", "/proc/nothing/out.npz", "{tmp}"])
def test_outputs_that_cannot_be_written(
    error_lines, bitsiege, small_build: Build, image_file: Path, tmp_path: Path, out: str
):
    target = out.format(tmp=tmp_path)
    result = bitsiege(
        "infer", small_build.path, "--target", "reference", "--images", image_file, "-o", target
    )
    assert result.status == 2
    assert f"can't write {target}" in result.err
    assert error_lines(result.err) == 2
    assert Path("/dev/full").is_char_device()
    # What can be known before the work is said before the work.
    assert out.startswith("/proc") or "infer on reference" not in result.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy"]


def test_waves_need_rtl(bitsiege, small_build: Build, image_file: Path, tmp_path: Path):
    words = ("--images", image_file, "-o", tmp_path / "o.npz", "--wave", tmp_path / "w.fst")
    result = bitsiege("infer", small_build.path, "--target", "reference", *words)
    assert result.status == 2
    assert "target reference has no waveforms" in result.err


def test_torch_needs_a_checkpoint(bitsiege, small_build: Build, image_file: Path, tmp_path: Path):
    words = ("--images", image_file, "-o", tmp_path / "o.npz")
    result = bitsiege("infer", small_build.path, "--target", "torch", *words)
    assert result.status == 2
    assert "has no checkpoint" in result.err
    assert "--checkpoint" in result.err


def test_a_changed_build_is_refused(
    error_lines, bitsiege, small_build: Build, image_file: Path, tmp_path: Path
):
    words = ("--images", image_file, "-o", tmp_path / "o.npz")
    copy = tmp_path / "build"
    shutil.copytree(small_build.path, copy)
    about = json.loads((copy / "build.json").read_text())
    (copy / "build.json").write_text(json.dumps({**about, "graph_hash": "0" * 64}))
    result = bitsiege("infer", copy, "--target", "reference", *words)
    assert result.status == 2
    assert error_lines(result.err) == 2


def test_json_leaves_standard_output_to_the_result(
    python, small_build: Build, image_file: Path, tmp_path: Path
):
    words = ("--images", image_file, "-o", tmp_path / "o.npz", "--json")
    ran = python("-m", "bitsiege", "infer", small_build.path, "--target", "reference", *words)
    assert json.loads(ran.stdout)["target"] == "reference"
    assert "infer on reference" in ran.stderr


def test_outputs_never_replace_inputs(python, small_build: Build, image_file: Path, tmp_path: Path):
    before = image_file.read_bytes()
    words = ("--target", "reference", "--images", image_file)
    ran = python("-m", "bitsiege", "infer", small_build.path, *words, "-o", image_file)
    assert ran.returncode == 2
    assert "named twice" in ran.stderr
    assert image_file.read_bytes() == before
    same = tmp_path / "same"
    ran = python("-m", "bitsiege", "infer", small_build.path, *words, "-o", same, "--wave", same)
    assert ran.returncode == 2
