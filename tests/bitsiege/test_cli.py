"""The commands, on builds that need no training; `test_run.py` has the whole job."""

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

COMMANDS = (
    *("run", "train", "export", "compile", "infer", "attack", "replay", "synth", "timing", "report"),
    *("verify", "masking", "faults", "campaign", "compare", "package", "finn", "doctor"),
)

REPLAY = ("replay", "a.npz", "--build", "b", "-o", "r.json")


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
    error_lines,
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
    assert error_lines(result.err) == (2 if hint else 1)
    assert hint is None or hint in result.err
    assert result.out == ""
    assert list(tmp_path.iterdir()) == []


def test_help_imports_nothing_heavy(python):
    code = (
        "import sys; from bitsiege.cli import main; main(['--help']); "
        "print(sorted({'torch', 'numpy', 'onnx', 'pydantic', 'sklearn'} & set(sys.modules)))"
    )
    assert python("-c", code).stdout.splitlines()[-1] == "[]"


def test_a_missing_compiler_is_status_3(
    python, error_lines, small_build: Build, image_file: Path, tmp_path: Path
):
    words = ("--images", image_file, "-o", tmp_path / "o.npz", "--cache-dir", tmp_path / "cache")
    (tmp_path / "env").symlink_to("/usr/bin/env")
    command = ("-m", "bitsiege", "infer", small_build.path, "--target", "rtl", *words)
    ran = python(*command, env={**os.environ, "PATH": str(tmp_path)})  # noqa: TID251  a child without compiler
    assert ran.returncode == 3
    assert error_lines(ran.stderr) == 2
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
