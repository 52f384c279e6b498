"""The whole job on a tiny network, for real: trained, simulated, killed, resumed, used by every command."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bitsiege.config import load_config
from bitsiege.report.model import Report
from hw.build import load_build
from hw.timing import predict
from quant_models.data import load_dataset

CONFIG = """
name = "tiny"
[model]
hidden = [8]
input_mode = "binary"
[train]
epochs = 4
[compile]
fps = 500_000
[[attacks]]
name = "fgsm"
epsilons = [0.3]
[[attacks]]
name = "pgd"
epsilons = [0.2, 0.3]
steps = 3
[replay]
images = 24
limits = { qonnx = 10 }
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def run_dir(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed while it attacked, and then run again to its end."""
    path = tmp_path_factory.mktemp("run") / "tiny"
    command = [sys.executable, "-m", "bitsiege", "run", str(config), "--out", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "attacks/pgd-0.2 ..." in line:
                os.kill(process.pid, signal.SIGKILL)
                break
        else:
            pytest.fail("the run never came to the attack")
    assert process.returncode == -signal.SIGKILL
    assert not (path / "report.json").exists()
    ran = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    steps = {step["name"]: step["reused"] for step in json.loads(ran.stdout)["steps"]}
    assert [name for name, reused in steps.items() if reused] == [
        "train",
        "export",
        "build",
        "targets",
        "attacks/fgsm-0.3",
        "replay/fgsm-0.3",
    ]
    return path


@pytest.fixture(scope="module")
def report(run_dir: Path) -> Report:
    return Report.model_validate_json((run_dir / "report.json").read_text())


def test_five_targets_agree(report: Report):
    assert [target.name for target in report.targets] == ["torch", "qonnx", "reference", "emulator", "rtl"]
    assert report.divergences == 0
    assert report.logits_compared == 4 * (3 * 24 + 10) * 10
    for point in report.all_points:
        accuracies = {result.accuracy for result in point.results if result.target != "qonnx"}
        assert len(accuracies) == 1
    assert [target.first_images for target in report.targets] == [None, 10, None, None, None]


def test_the_simulated_cycles_are_the_predicted_ones(report: Report, run_dir: Path):
    rtl = report.targets[-1]
    build = load_build(run_dir / "build")
    timing = predict(build.graph, build.folding)
    assert rtl.ii_cycles == timing.ii_cycles == report.hardware.ii_cycles
    assert rtl.first_latency_cycles == timing.latency_cycles == report.hardware.latency_cycles
    assert [layer.name for layer in report.hardware.layers if layer.bottleneck]


def test_attacks_stay_in_the_ball_and_hurt(report: Report):
    clean = report.clean.results[0].accuracy
    assert clean > 0.3
    assert min(point.results[0].accuracy for point in report.points) < clean
    assert [point.pixel_steps for point in report.points] == [76, 51, 76]


def test_the_page_is_there(run_dir: Path):
    text = (run_dir / "report.html").read_text()
    assert "All 5 targets agree on every logit" in text
    assert "first 10 images" in text
    assert "<script" not in text
    assert "http" not in text


def test_a_second_run_reuses_everything(bitsiege, config: Path, run_dir: Path):
    result = bitsiege("run", config, "--out", run_dir, "--json")
    assert result.status == 0
    assert all(step["reused"] for step in result.json["steps"])
    assert "[1/10] train: reused" in result.err
    table = bitsiege("run", config, "--out", run_dir)
    assert "clean accuracy" in table.out
    assert "first 10 images" in table.out
    assert str(run_dir / "report.html") in table.err


def test_the_report_is_rebuilt(bitsiege, run_dir: Path, report: Report):
    (run_dir / "report.html").unlink()
    result = bitsiege("report", run_dir, "--json")
    assert result.status == 0
    assert (run_dir / "report.html").exists()
    rebuilt = Report.model_validate_json((run_dir / "report.json").read_text())
    volatile = {"created", "command"}
    assert rebuilt.model_dump(exclude=volatile) == report.model_dump(exclude=volatile)
    assert rebuilt.command.startswith("bitsiege run ")


def test_another_process_is_kept_out(bitsiege, config: Path, run_dir: Path):
    from bitsiege.pipeline.store import RunDirectory

    with RunDirectory(run_dir).locked():
        result = bitsiege("run", config, "--out", run_dir)
    assert result.status == 2
    assert "another bitsiege process is working in" in result.err


def test_train_is_the_first_step_of_run(bitsiege, config: Path, tmp_path: Path, run_dir: Path):
    result = bitsiege("train", config, "--out", tmp_path / "t", "--json")
    assert result.status == 0, result.err
    checkpoint = Path(result.json["checkpoint"])
    assert checkpoint.read_bytes() == (run_dir / "train" / "checkpoint.safetensors").read_bytes()
    again = bitsiege("train", config, "--out", tmp_path / "t", "--json")
    assert again.json["reused"] is True


def test_step_by_step_gives_the_same_network(bitsiege, run_dir: Path, tmp_path: Path):
    checkpoint, model, build = (
        run_dir / "train" / "checkpoint.safetensors",
        tmp_path / "m.onnx",
        tmp_path / "b",
    )
    assert bitsiege("export", checkpoint, "-o", model).status == 0
    options = ("--fps", 500_000, "--checkpoint", checkpoint, "--json")
    made = bitsiege("compile", model, "-o", build, *options)
    assert made.status == 0, made.err
    expected = load_build(run_dir / "build")
    assert made.json["graph_hash"] == expected.graph_hash
    assert load_build(build).folding == expected.folding
    assert bitsiege("compile", model, "-o", tmp_path / "least").status == 0
    assert all(load_build(tmp_path / "least").folding[n.name].pe == 1 for n in expected.graph.mvaus)


def test_compile_refuses_what_contradicts(bitsiege, run_dir: Path, tmp_path: Path):
    model, out = run_dir / "export" / "model.onnx", tmp_path / "b"
    folding = run_dir / "build" / "folding.json"
    both = bitsiege("compile", model, "-o", out, "--fps", 1000, "--folding", folding)
    assert both.status == 2
    assert "either a frame rate or a folding" in both.err
    fast = bitsiege("compile", model, "-o", out, "--fps", 1e12)
    assert fast.status == 2
    assert "out of reach" in fast.err
    assert not out.exists()
    assert bitsiege("compile", model, "-o", out, "--folding", folding).status == 0


def test_compile_refuses_the_checkpoint_of_another_network(
    bitsiege, run_dir: Path, tmp_path: Path, config: Path
):
    other = tmp_path / "other.toml"
    other.write_text(config.read_text().replace("epochs = 4", "epochs = 4\nseed = 9"))
    made = bitsiege("train", other, "--out", tmp_path / "t", "--json")
    words = ("compile", run_dir / "export" / "model.onnx", "-o", tmp_path / "b")
    result = bitsiege(*words, "--checkpoint", made.json["checkpoint"])
    assert result.status == 2
    assert "is another network" in result.err
    assert not (tmp_path / "b").exists()


def test_infer_attack_and_replay_on_the_build(bitsiege, run_dir: Path, tmp_path: Path):
    test = load_dataset("digits").test
    images, labels, archive = tmp_path / "x.npy", tmp_path / "y.npy", tmp_path / "a.npz"
    np.save(images, test.images[:6])
    np.save(labels, test.labels[:6])
    build, wave = run_dir / "build", tmp_path / "w.fst"
    words = ("--target", "rtl", "--images", images, "-o", tmp_path / "o.npz", "--wave", wave)
    assert bitsiege("infer", build, *words, "--wave-image", 2).status == 0
    assert wave.stat().st_size > 0
    with np.load(tmp_path / "o.npz") as out:
        assert out["cycles"].shape == (6,)
        assert out["cycles"].dtype == np.int64
    made = bitsiege(
        "attack", build, "--attack", "fgsm", "--images", images, "--labels", labels, "-o", archive, "--json"
    )
    assert made.json["origin"] == "twin of the checkpoint"
    targets = ("--build", build, "--targets", "torch,rtl", "-o", tmp_path / "r.json", "--trace")
    assert bitsiege("replay", archive, *targets).status == 0


def test_an_unfinished_run_has_no_report(bitsiege, config: Path, tmp_path: Path):
    from bitsiege.config import load_config
    from bitsiege.pipeline.job import run_training
    from bitsiege.pipeline.steps import Environment
    from bitsiege.progress import SilentProgress

    run_training(load_config(config), tmp_path / "t", environment=Environment(), progress=SilentProgress())
    result = bitsiege("report", tmp_path / "t")
    assert result.status == 2
    assert "its step build has no result" in result.err
    assert not (tmp_path / "t" / "report.json").exists()


def test_a_divergence_fails_the_run(bitsiege, config: Path, run_dir: Path, monkeypatch: pytest.MonkeyPatch):
    """The emulator is made to lie about one logit; nothing else changes."""
    from hw.emulator import EmulatorTarget
    from hw.target import Inference

    honest = EmulatorTarget.infer

    def lying(self: EmulatorTarget, images: np.ndarray, first_frame: int = 0) -> Inference:
        found = honest(self, images, first_frame)
        logits = found.logits.copy()
        logits[3:4, 0] += 1
        return Inference(logits=logits)

    monkeypatch.setattr(EmulatorTarget, "infer", lying)
    other = config.with_name("lying.toml")
    other.write_text(config.read_text().replace("qonnx = 10", "qonnx = 9"))
    assert load_config(other) != load_config(config)
    result = bitsiege("run", other, "--out", run_dir)
    assert result.status == 1
    assert "emulator gives logit 0 of image 3" in result.err
    assert "images diverge from torch" in (run_dir / "report.html").read_text()
