"""Small designs through Yosys."""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.datatypes import UINT8, DataType
from export.errors import InputError, ToolError
from export.graph import DataflowGraph, Flatten, Mvau, Thresholds
from hw.folding import Folding, LayerFolding
from hw.rtlgen import RtlDesign, generate_rtl
from hw.synth import FAMILIES, Cost, Yosys, synthesise, synthesise_flat
from hw.synth import run as run_module


def write_design(directory: Path, ram_style: str = "auto") -> RtlDesign:
    """8 pixels, 4 neurons with 2-bit outputs below zero, 2 classes."""
    rng = np.random.default_rng(0)
    int2 = DataType("INT2")
    steps = np.sort(rng.integers(-300, 300, (4, 3)), axis=1)
    nodes = (
        Flatten(name="flatten_0", input="images", in_type=UINT8),
        Mvau(
            name="mvau_0",
            input="flatten_0",
            in_type=UINT8,
            weights=rng.choice(np.array([-1, 1], np.int8), (4, 8)),
            thresholds=Thresholds(steps=steps, out_type=int2, out_bias=-2),
        ),
        Mvau(
            name="mvau_1",
            input="mvau_0",
            in_type=int2,
            weights=rng.choice(np.array([-1, 1], np.int8), (2, 4)),
        ),
    )
    graph = DataflowGraph(input_shape=(8, 1, 1), nodes=nodes)
    folding = Folding({"mvau_0": LayerFolding(1, 2, ram_style), "mvau_1": LayerFolding(1, 1)})
    return generate_rtl(graph, folding, directory)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("synth")


@pytest.fixture(scope="module")
def design(folder) -> RtlDesign:
    return write_design(folder / "rtl")


@pytest.fixture(scope="module")
def report(design, folder):
    return synthesise(design, folder / "rtl", cache_dir=folder / "cache")


def test_every_instance_has_a_cost(design, report):
    assert [i.instance for i in report.instances] == [i.name for i in design.instances]
    assert all(i.cost.lut > 0 and i.cost.ff > 0 and 0 < i.depth < 40 for i in report.instances)
    assert list(report.layers) == ["mvau_0", "mvau_1"]


def test_weights_are_put_where_the_folding_says(tmp_path):
    brams = []
    for style in ("block", "distributed"):
        design = write_design(tmp_path / style, style)
        part = replace(design, instances=[i for i in design.instances if i.name == "u_mvau_0"])
        report = synthesise(part, tmp_path / style, cache_dir=tmp_path / "cache")
        brams.append(report.total.bram36)
    assert brams == [0.5, 0]


def test_the_sum_is_close_to_one_run(design, report, folder):
    flat = synthesise_flat(design, folder / "rtl", cache_dir=folder / "cache")
    assert flat.cost.all_luts == pytest.approx(report.total.all_luts, rel=0.2)
    assert flat.cost.ff == pytest.approx(report.total.ff, rel=0.2)


def test_a_second_call_needs_no_yosys(design, report, folder, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments, **options):
        raise AssertionError("synthesised again")

    monkeypatch.setattr(run_module, "run_script", refuse)
    assert synthesise(design, folder / "rtl", cache_dir=folder / "cache") == report
    with pytest.raises(AssertionError, match="again"):
        synthesise(design, folder / "rtl", family="xcup", cache_dir=folder / "cache")


def test_a_change_elsewhere_needs_no_yosys(design, report, folder, tmp_path, monkeypatch: pytest.MonkeyPatch):
    shutil.copytree(folder / "rtl", tmp_path / "rtl")
    with (tmp_path / "rtl" / "bnn_label_select.sv").open("a") as file:
        file.write("// changed\n")

    def refuse(yosys, script, directory, *, what, timeout_s):
        raise AssertionError(f"synthesised {what} again")

    monkeypatch.setattr(run_module, "run_script", refuse)
    part = replace(design, instances=design.instances[:-1])
    found = synthesise(part, tmp_path / "rtl", cache_dir=folder / "cache")
    assert list(found.instances) == list(report.instances[:-1])
    with pytest.raises(AssertionError, match="synthesised u_mvau_1__label_select again"):
        synthesise(design, tmp_path / "rtl", cache_dir=folder / "cache")


def test_other_weights_are_another_entry(design, folder, tmp_path, monkeypatch: pytest.MonkeyPatch):
    seen = []

    def note(yosys, script, directory, *, what, timeout_s):
        seen.append(what)
        (directory / "cells.json").write_text('{"design": {"num_cells_by_type": {"LUT2": 1}}}')
        (directory / "path.txt").write_text("Longest topological path in x (length=1):")

    monkeypatch.setattr(run_module, "run_script", note)
    for _ in range(2):
        assert synthesise(design, folder / "rtl", cache_dir=tmp_path).total.lut == len(design.instances)
    assert len(seen) == len(design.instances)
    changed = tmp_path / "rtl"
    changed.mkdir()
    for path in (folder / "rtl").iterdir():
        (changed / path.name).write_bytes(path.read_bytes())
    weights = changed / "mvau_0_weights.mem"
    words = weights.read_text().splitlines()
    words[0] = "0" if words[0] != "0" else "1"
    weights.write_text("\n".join(words) + "\n")
    synthesise(design, changed, cache_dir=tmp_path)
    assert seen[len(design.instances) :] == ["u_mvau_0"]


def test_an_unknown_family_is_refused(design, folder):
    with pytest.raises(InputError, match="virtex2"):
        synthesise(design, folder / "rtl", family="virtex2")
    assert FAMILIES == ("xc7", "xcup")


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("print('ERROR: no such module'); raise SystemExit(1)", "no such module"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9"),
    ],
)
def test_a_failing_yosys_is_a_tool_error(
    design, folder, tmp_path, monkeypatch: pytest.MonkeyPatch, program, sentence
):
    fake = Yosys(command=(sys.executable, "-c", program), version="fake")
    monkeypatch.setattr(run_module, "find_yosys", lambda: fake)
    with pytest.raises(ToolError, match=sentence) as caught:
        synthesise(design, folder / "rtl", cache_dir=tmp_path)
    assert "u_mvau_0__fifo" in caught.value.message or "u_mvau_0" in caught.value.message
    assert not [path for path in (tmp_path / "synth").iterdir() if path.is_dir()]


def test_a_missing_yosys_is_a_tool_error(design, folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ToolError, match="Yosys is missing") as caught:
        synthesise(design, folder / "rtl")
    assert "pip install pyosys" in caught.value.hint
    assert caught.value.exit_status == 3


def test_costs_add_up():
    assert Cost(lut=1, bram36=0.5) + Cost(lut=2, ff=3, bram36=1.0) == Cost(lut=3, ff=3, bram36=1.5)
