"""The commands, on builds that need no training; `test_run.py` has the whole job."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from bitsiege.cli.app import app
from hw.build import Build
from hw.reference import ReferenceTarget

COMMANDS = (
    *("run", "train", "export", "compile", "infer", "attack", "replay", "synth", "timing", "report"),
    "doctor",
)

REPLAY = ("replay", "a.npz", "--build", "b", "-o", "r.json")


def python(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **options,
    )


def is_error(text: str, *, hint: bool = True) -> bool:
    """One or two lines, the second one a hint."""
    lines = text.splitlines()[-2:] if hint else text.splitlines()[-1:]
    return lines[0].startswith("bitsiege: error: ") and (not hint or lines[1].startswith("  hint: "))


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str):
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    assert re.search(rf"Example: bitsiege {command}", re.sub(r"\x1b\[[0-9;]*m", "", result.output))
    assert "--json" in result.output


def test_every_command_is_listed(bitsiege):
    result = bitsiege("--help")
    assert result.status == 0
    for command in COMMANDS:
        assert re.search(rf"│ {command} ", result.out)


def test_version(bitsiege):
    assert re.fullmatch(r"bitsiege \d+\.\d+\.\d+\n", bitsiege("--version").out)


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["infre"], "no such command 'infre'. Did you mean 'infer'?", "see bitsiege --help"),
        (["infer"], "missing argument 'BUILD'", "see bitsiege infer --help"),
        (["infer", "b", "--tarjet", "x"], "no such option: --tarjet", "see bitsiege infer --help"),
        (
            ["compile", "m.onnx", "-o", "b", "--fps", "fast"],
            "invalid value for '--fps'",
            "see bitsiege compile",
        ),
        (["run", "none.toml"], "can't read none.toml: No such file or directory", None),
        (["report", "none"], "none holds nothing to report", "bitsiege run or bitsiege campaign"),
        (["compile", "none.onnx", "-o", "b"], "none.onnx: can't be read", "ONNX file"),
        (
            ["export", "none.safetensors", "-o", "m.onnx"],
            "none.safetensors: no such checkpoint",
            "bitsiege train",
        ),
        (
            ["replay", "a.npz", "--build", "b", "--targets", "rlt", "-o", "r"],
            "no target 'rlt'",
            "did you mean rtl?",
        ),
        (
            ["replay", "a.npz", "--build", "b", "--targets", ",", "-o", "r"],
            "no target is named",
            "known: torch",
        ),
    ],
)
def test_bad_words_are_two_lines_and_status_2(
    bitsiege,
    words: list[str],
    message: str,
    hint: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    result = bitsiege(*words)
    assert result.status == 2
    assert message in result.err
    assert is_error(result.err, hint=hint is not None)
    assert hint is None or hint in result.err
    assert result.out == ""
    assert list(tmp_path.iterdir()) == []


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


def test_infer_needs_no_torch(small_build: Build, image_file: Path, tmp_path: Path):
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


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from bitsiege.cli import main; main(['--help']); "
        "print(sorted({'torch', 'numpy', 'onnx', 'pydantic', 'sklearn'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.astype(np.float32), "must be uint8, not float32"),
        (lambda x: x[..., 0], "must have shape (N, 4, 4, 1)"),
        (lambda x: x[:, :3], "must have shape (N, 4, 4, 1)"),
    ],
)
def test_images_that_do_not_fit(
    bitsiege, small_build: Build, image_file: Path, tmp_path: Path, change, message: str
):
    np.save(image_file, change(np.load(image_file)))
    out = tmp_path / "out.npz"
    result = bitsiege("infer", small_build.path, "--target", "reference", "--images", image_file, "-o", out)
    assert result.status == 2
    assert message in result.err
    assert is_error(result.err)
    assert not out.exists()


@pytest.mark.parametrize("out", ["/dev/full", "/proc/nothing/out.npz", "{tmp}"])
def test_outputs_that_cannot_be_written(
    bitsiege, small_build: Build, image_file: Path, tmp_path: Path, out: str
):
    target = out.format(tmp=tmp_path)
    result = bitsiege(
        "infer", small_build.path, "--target", "reference", "--images", image_file, "-o", target
    )
    assert result.status == 2
    assert f"can't write {target}" in result.err
    assert is_error(result.err)
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


def test_a_changed_build_is_refused(bitsiege, small_build: Build, image_file: Path, tmp_path: Path):
    words = ("--images", image_file, "-o", tmp_path / "o.npz")
    copy = tmp_path / "build"
    subprocess.run(["cp", "-r", small_build.path, copy], check=True)
    about = json.loads((copy / "build.json").read_text())
    (copy / "build.json").write_text(json.dumps({**about, "graph_hash": "0" * 64}))
    result = bitsiege("infer", copy, "--target", "reference", *words)
    assert result.status == 2
    assert is_error(result.err)


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
    from dataclasses import replace

    from attacks.archive import load_attack, save_attack

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


def test_a_missing_compiler_is_status_3(small_build: Build, image_file: Path, tmp_path: Path):
    words = ("--images", image_file, "-o", tmp_path / "o.npz", "--cache-dir", tmp_path / "cache")
    (tmp_path / "env").symlink_to("/usr/bin/env")
    command = ("-m", "bitsiege", "infer", small_build.path, "--target", "rtl", *words)
    ran = python(*command, env={**os.environ, "PATH": str(tmp_path)})  # noqa: TID251  a child without compiler
    assert ran.returncode == 3
    assert is_error(ran.stderr)
    assert "compiler" in ran.stderr
    ran = python("-m", "bitsiege", "doctor", env={**os.environ, "PATH": str(tmp_path)})  # noqa: TID251  the same
    assert ran.returncode == 3
    assert "Missing: C++ compiler" in ran.stdout


def test_doctor(bitsiege):
    result = bitsiege("doctor", "--json")
    assert result.status == 0
    assert result.json["healthy"] is True
    assert {"python", "torch", "verilator", "C++ compiler"} <= {f["name"] for f in result.json["findings"]}
    assert all(f["purpose"] and f["remedy"] for f in result.json["findings"])


def test_a_bug_is_status_70(bitsiege, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bitsiege.diagnosis.examine", lambda: 1 / 0)
    result = bitsiege("doctor")
    assert result.status == 70
    assert "a bug in bitsiege: ZeroDivisionError" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in bitsiege("--debug", "doctor").err


def test_interruption_is_status_130(small_build: Build, tmp_path: Path):
    np.save(tmp_path / "x.npy", np.zeros((200_000, 4, 4, 1), np.uint8))
    code = (
        "import signal, sys, time; import hw.reference as r; from bitsiege.cli import main\n"
        # A shell starts its background jobs with interrupts ignored, and the tests may run in one.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def slow(self, images, first_frame=0):\n    print('slow', flush=True); time.sleep(60)\n"
        "r.ReferenceTarget.infer = slow\nsys.exit(main(sys.argv[1:]))"
    )
    words = ("--target", "reference", "--images", tmp_path / "x.npy", "-o", tmp_path / "o.npz")
    command = [sys.executable, "-c", code, "infer", small_build.path, *words]
    with subprocess.Popen(
        [*map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "slow\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "bitsiege: error: interrupted"
    assert "Traceback" not in err
    assert not (tmp_path / "o.npz").exists()


def test_json_leaves_standard_output_to_the_result(small_build: Build, image_file: Path, tmp_path: Path):
    words = ("--images", image_file, "-o", tmp_path / "o.npz", "--json")
    ran = python("-m", "bitsiege", "infer", small_build.path, "--target", "reference", *words)
    assert json.loads(ran.stdout)["target"] == "reference"
    assert "infer on reference" in ran.stderr


def test_outputs_never_replace_inputs(small_build: Build, image_file: Path, tmp_path: Path):
    before = image_file.read_bytes()
    words = ("--target", "reference", "--images", image_file)
    ran = python("-m", "bitsiege", "infer", small_build.path, *words, "-o", image_file)
    assert ran.returncode == 2
    assert "named twice" in ran.stderr
    assert image_file.read_bytes() == before
    same = tmp_path / "same"
    ran = python("-m", "bitsiege", "infer", small_build.path, *words, "-o", same, "--wave", same)
    assert ran.returncode == 2
