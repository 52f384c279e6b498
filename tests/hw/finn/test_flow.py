"""Real runs of FINN: equal logits, its own folding, and the border that it gets wrong."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.errors import DivergenceError, InputError, ToolError
from hw.build import Build
from hw.finn import Choice, FinnReport, FinnTarget, build_with_finn
from hw.finn.images import draw_images
from hw.finn.stitch import REPLACED
from hw.folding import Folding, LayerFolding
from hw.folding.finn import read_finn_folding
from hw.reference import ReferenceTarget
from hw.target import TargetKind
from hw.targets import open_target

IMAGES = 64


@pytest.fixture(scope="module")
def dense(
    finn: Path, dense_build: Build, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, FinnReport]:
    directory = tmp_path_factory.mktemp("finn") / "out"
    names = [node.name for node in dense_build.graph.mvaus]
    folding = Folding({names[0]: LayerFolding(2, 8, "block"), names[1]: LayerFolding(1, 3)})
    images = draw_images(dense_build.graph, IMAGES)
    report = build_with_finn(finn, dense_build, directory, choice=Choice(folding=folding), images=images)
    return directory, report


def test_a_dense_network_is_equal(dense: tuple[Path, FinnReport]) -> None:
    _, report = dense
    report.check()
    assert [(check.graph, check.images, check.count) for check in report.checks] == [
        (graph, images, IMAGES)
        for images in ("clean", "adversarial")
        for graph in ("streamlined", "hardware", "despecialised")
    ]


def test_both_sides_have_the_same_folding(dense: tuple[Path, FinnReport], dense_build: Build) -> None:
    directory, report = dense
    document = json.loads((directory / "FINN.json").read_text())
    first, second = document["layers"]
    assert (first["finn"]["pe"], first["finn"]["simd"], first["finn"]["ram_style"]) == (2, 8, "block")
    assert (second["finn"]["pe"], second["finn"]["simd"]) == (1, 3)
    # 4 beats for each of 3 groups of neurons, and 2 for each of 3.
    assert (first["rtl"]["cycles"], first["finn"]["cycles"]) == (12, 12)
    assert (second["rtl"]["cycles"], second["finn"]["cycles"]) == (6, 6)
    assert first["finn"]["lut"] > 0
    assert document["network"]["rtl"]["ii_cycles"] >= 12
    assert read_finn_folding(directory / "folding.json", dense_build.graph) == report.folding


def test_sources_are_kept_and_the_edge_is_named(dense: tuple[Path, FinnReport]) -> None:
    directory, report = dense
    stopped = report.document["stopped"]
    assert stopped["step"] == "step_hw_ipgen"
    assert "vitis_hls" in stopped["reason"]
    assert (directory / "generated" / "MVAU_hls_0" / "top_MVAU_hls_0.cpp").is_file()
    assert (directory / "generated" / "Thresholding_rtl_0" / "Thresholding_rtl_0.v").is_file()
    assert not (directory / "work").exists()


def test_zero_padding_is_found_and_explained(finn: Path, padded_build: Build, tmp_path: Path) -> None:
    images = draw_images(padded_build.graph, IMAGES)
    choice = Choice(folding=padded_build.folding, rtl=True)
    report = build_with_finn(finn, padded_build, tmp_path / "out", choice=choice, images=images)
    with pytest.raises(DivergenceError, match="where the network pads with 0"):
        report.check()
    for check in report.checks:
        assert not check.equal
        assert "with -1" in check.reason
    # FINN's RTL does what its Python does.
    assert {check.graph for check in report.checks} > {"despecialised", "stitched"}
    assert (tmp_path / "out" / "FINN.json").is_file()


def test_a_network_becomes_rtl_alone(finn: Path, pooled_build: Build, tmp_path: Path) -> None:
    first, second = (node.name for node in pooled_build.graph.mvaus)
    folding = Folding({first: LayerFolding(2, 6), second: LayerFolding(3, 4)})
    images = draw_images(pooled_build.graph, IMAGES)
    report = build_with_finn(
        finn, pooled_build, tmp_path / "out", choice=Choice(folding=folding, rtl=True), images=images
    )
    report.check()
    assert ("stitched", "adversarial") in {(check.graph, check.images) for check in report.checks}
    origins = report.document["stitched"]["modules"]
    for ours in ("XnorMVAU_rtl_0", "XnorMVAU_rtl_1", "Pool_rtl_0", "LabelSelect_rtl_0"):
        assert origins[ours] == "ours"
    for theirs in (
        "Thresholding_rtl_0",
        "ConvolutionInputGenerator_rtl_0",
        "StreamingDataWidthConverter_rtl_0",
    ):
        assert origins[theirs] == "FINN's"
    assert not [name for name in origins if "_hls" in name]
    # Every instance of FINN's FIFO is replaced, and that is said.
    assert report.document["stitched"]["replaced"] == list(REPLACED.values())
    domains = {
        node.op_type: node.domain for node in onnx.load(str(tmp_path / "out" / "all_rtl.onnx")).graph.node
    }
    assert domains["Pool_rtl"] == domains["XnorMVAU_rtl"] == "bitsiege_rtl"
    assert report.document["warnings"] == []


def test_its_solver_is_read_back(finn: Path, dense_build: Build, tmp_path: Path) -> None:
    images = draw_images(dense_build.graph, 2)
    report = build_with_finn(finn, dense_build, tmp_path / "out", choice=Choice(fps=5e6), images=images)
    report.check()
    report.folding.validate(dense_build.graph)
    assert max(report.folding.layer_cycles(dense_build.graph).values()) <= 20
    assert report.document["folding_by"] == "FINN's solver"


def test_the_target_gives_our_logits(finn: Path, dense_build: Build, finn_cache: Path) -> None:
    del finn
    target = open_target("finn", dense_build, cache_dir=finn_cache)
    assert isinstance(target, FinnTarget)
    shape = (40, *dense_build.graph.input_shape)
    images = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    try:
        result = target.infer(images)
        expected = ReferenceTarget(dense_build.graph).infer(images)
        np.testing.assert_array_equal(result.logits, expected.logits)
        assert (result.cycles, target.kind) == (None, TargetKind.SIMULATION)
        assert target.infer(images[:0]).logits.shape == (0, 3)
    finally:
        target.close()


def test_without_its_environment_the_hint_has_the_command(dense_build: Build, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="bitsiege finn --setup"):
        open_target("finn", dense_build, cache_dir=tmp_path)


def test_a_foreign_directory_is_not_replaced(dense_build: Build, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="holds something else"):
        build_with_finn(Path("python"), dense_build, tmp_path, choice=Choice(fps=1), images={})
