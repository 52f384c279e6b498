"""``bitsiege package``: an overlay for a board, with and without Vivado."""

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bitsiege.packaging import network_name
from hw.build import load_build
from hw.overlay import OverlaySimulation, design_hash
from hw.pynq import Accelerator, SelfTestError, SimulationBus, read_known_answers, read_manifest
from hw.reference import ReferenceTarget
from hw.verilator.tools import find_verilator

RECORDER = Path(__file__).resolve().parents[1] / "hw" / "vivado" / "recorder.tcl"


@pytest.fixture
def no_vivado(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))


@pytest.fixture
def vivado(monkeypatch, tmp_path: Path) -> None:
    """The recorder stands in for Vivado."""
    tclsh = shutil.which("tclsh")
    if tclsh is None:
        pytest.skip("no tclsh; apt-get install tcl")
    program = tmp_path / "bin" / "vivado"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {tclsh} {RECORDER} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("RECORDER_LOG", str(tmp_path / "calls.txt"))
    monkeypatch.setenv("RECORDER_MHZ", "100.0")


@pytest.mark.usefixtures("no_vivado")
def test_without_vivado_it_stops_at_a_complete_project(bitsiege, small_build, image_file, tmp_path: Path):
    path = tmp_path / "overlay"
    words = ("package", small_build.path, "--board", "Pynq-Z1", "-o", path, "--images", image_file)
    result = bitsiege(*words)
    assert result.status == 0, result.err
    assert "Vivado is not on the PATH. The project is complete" in result.out
    about = json.loads((path / "overlay.json").read_text())
    assert about["graph_hash"] == small_build.graph_hash
    assert about["design_hash"] == design_hash(small_build)
    assert about["name"] == f"build_pynqz1_{about['design_hash'][:12]}"
    assert (about["built"], about["clock"]["achieved_mhz"]) == (False, None)
    with np.load(path / "known_answers.npz") as answers:
        images, logits = answers["images"], answers["logits"]
    assert np.array_equal(images[:20], np.load(image_file))
    assert len(images) >= 36
    assert np.array_equal(logits, ReferenceTarget(small_build.graph).infer(images).logits)
    assert bitsiege(*words, "--json").json["note"] == "Vivado is not on the PATH"


@pytest.mark.usefixtures("no_vivado")
def test_a_bitstream_that_was_asked_for_is_an_error_without_vivado(bitsiege, small_build, tmp_path: Path):
    path = tmp_path / "overlay"
    result = bitsiege("package", small_build.path, "--board", "KV260", "-o", path, "--bitstream")
    assert result.status == 3
    assert "Vivado is not on the PATH" in result.err
    assert not path.exists()


@pytest.mark.usefixtures("vivado")
def test_with_vivado_it_builds(bitsiege, small_build, tmp_path: Path):
    path = tmp_path / "overlay"
    words = ("package", small_build.path, "--board", "pynq-z2", "-o", path)
    result = bitsiege(*words, "--name", "Tiny", "--json")
    assert result.status == 0, result.err
    summary = result.json
    assert summary["name"].startswith("tiny_pynqz2_")
    assert (summary["achieved_mhz"], summary["slacks_ns"]["setup_slack_ns"]) == (100.0, 0.125)
    assert (path / f"{summary['name']}.bit").is_file()
    project = bitsiege(*words, "--no-bitstream")
    assert project.status == 0
    assert "no bitstream was asked for" in project.out
    assert not list(path.glob("*.bit"))


@pytest.mark.usefixtures("vivado")
def test_a_missed_timing_is_a_failed_check(bitsiege, small_build, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("RECORDER_FAULT", "timing")
    path = tmp_path / "overlay"
    result = bitsiege("package", small_build.path, "--board", "Pynq-Z1", "-o", path)
    assert result.status == 1
    assert "timing is missed at 100 MHz" in result.err
    assert (path / "overlay.json").is_file()
    assert not list(path.glob("*.bit"))


@pytest.mark.usefixtures("no_vivado")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--board", "pynq-z3"), "did you mean Pynq-Z"),
        (("--board", "none.toml"), "can't read the board file none.toml"),
        (("--board", "Pynq-Z1", "--clock-mhz", "400"), "400 MHz are out of the range of Pynq-Z1"),
        (("--board", "Pynq-Z1", "--name", "-"), "has no letter or digit"),
        (("--board", "Pynq-Z1", "--images", "none.npy"), "none.npy"),
    ],
)
def test_bad_input_is_named(bitsiege, small_build, tmp_path: Path, words: tuple[str, ...], message: str):
    result = bitsiege("package", small_build.path, "-o", tmp_path / "overlay", *words)
    assert result.status == 2
    assert message in result.err
    assert not (tmp_path / "overlay").exists()


def test_the_name_is_the_network_s(small_build, tmp_path: Path):
    assert network_name(load_build(small_build.path)) == "build"


def test_the_packaged_rtl_is_clean_for_verilator(bitsiege, small_build, tmp_path: Path):
    verilator = find_verilator()
    words = ("package", small_build.path, "--board", "ZCU104", "-o", tmp_path / "overlay", "--no-bitstream")
    assert bitsiege(*words).status == 0
    rtl = tmp_path / "overlay" / "project" / "rtl"
    command = [
        *verilator.command,
        *("--lint-only", "-Wall", "--quiet", "--top-module", "bnn_overlay_ip"),
        *(str(path) for path in sorted(rtl.iterdir()) if path.suffix in (".sv", ".v")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_packaged_answers_pass_in_the_verilated_overlay(bitsiege, small_build, tmp_path: Path):
    """Package, circuit and driver agree: addresses, hash of the design, shapes, logits."""
    path = tmp_path / "overlay"
    words = ("package", small_build.path, "--board", "Pynq-Z1", "-o", path, "--no-bitstream")
    assert bitsiege(*words).status == 0
    manifest = read_manifest(path)
    answers = read_known_answers(manifest.check_file("known_answers.npz"), manifest)
    with OverlaySimulation(small_build) as simulation:
        driver = Accelerator(SimulationBus(simulation, manifest), manifest, batch_size=8, timeout_s=60.0)
        driver.self_test(answers)
        wrong = replace(answers, logits=answers.logits + 1)
        with pytest.raises(SelfTestError):
            driver.self_test(wrong)
