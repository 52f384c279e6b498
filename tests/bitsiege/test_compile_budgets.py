"""``bitsiege compile`` with a board, a number of LUTs, and both with a rate."""

import json
from pathlib import Path

import numpy as np
import pytest

from bitsiege.building import Goal, choose_folding, estimate_cost
from bitsiege.config import CompileSection, parse_config
from export.datatypes import BIPOLAR, UINT8
from export.errors import InputError
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.boards import find_board
from hw.folding import LayerFolding


@pytest.fixture(scope="module")
def graph() -> DataflowGraph:
    """64 binarised pixels, 32 neurons, 10 classes."""
    rng = np.random.default_rng(0)
    binarise = Thresholds(steps=np.full((1, 1), 128))
    nodes = (
        Thresholding(name="thresholding_0", input="images", in_type=UINT8, thresholds=binarise),
        Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
        Mvau(
            name="mvau_0",
            input="flatten_0",
            in_type=BIPOLAR,
            weights=rng.choice(np.array([-1, 1], np.int8), (32, 64)),
            thresholds=Thresholds(steps=rng.integers(-9, 9, (32, 1))),
        ),
        Mvau(
            name="mvau_1",
            input="mvau_0",
            in_type=BIPOLAR,
            weights=rng.choice(np.array([-1, 1], np.int8), (10, 32)),
        ),
    )
    return DataflowGraph(input_shape=(8, 8, 1), nodes=nodes)


def goal(**options) -> Goal:
    values = {"fps": None, "max_luts": None, "folding": None, "clock_mhz": 100.0, "board": None}
    return Goal(**(values | options))


def least_luts(graph: DataflowGraph) -> float:
    slowest, _ = choose_folding(graph, goal(fps=1))
    estimate = estimate_cost(graph, slowest)
    assert estimate is not None
    return estimate.lut.value


def test_a_goal_decides_the_folding(graph, tmp_path: Path):
    least, _ = choose_folding(graph, goal())
    assert set(least.layers.values()) == {LayerFolding(1, 1)}
    rate, _ = choose_folding(graph, goal(fps=1_000_000))
    assert rate.ii_cycles(graph) <= 100
    board, _ = choose_folding(graph, goal(board=find_board("ZCU104")))
    assert board.ii_cycles(graph) <= rate.ii_cycles(graph)
    bound = round(1.5 * least_luts(graph))
    small, _ = choose_folding(graph, goal(max_luts=bound))
    estimate = estimate_cost(graph, small)
    assert estimate is not None
    assert estimate.lut.value <= bound
    both, _ = choose_folding(graph, goal(fps=1_000_000, board=find_board("ZCU104")))
    assert both.ii_cycles(graph) <= 100
    path = tmp_path / "folding.json"
    path.write_text(json.dumps({"Defaults": {"PE": [2, ["all"]], "SIMD": [8, ["all"]]}, "LabelSelect_0": {}}))
    read, notes = choose_folding(graph, goal(folding=path))
    assert {(layer.pe, layer.simd) for layer in read.layers.values()} == {(2, 8)}
    assert "LabelSelect_0" in notes[0]


def test_the_lesser_of_board_and_luts_counts():
    board = find_board("Pynq-Z1")
    assert goal(board=board, max_luts=99_000).budget.lut == 45_220
    assert goal(board=board, max_luts=9_000).budget.lut == 9_000
    assert goal(board=board, max_luts=9_000).budget.bram36 == 133


def test_a_rate_that_does_not_fit_names_the_best(graph):
    bound = round(1.5 * least_luts(graph))
    with pytest.raises(InputError, match=rf"do not fit {bound:,} LUT: the best that fits is .* ± \d+ %"):
        choose_folding(graph, goal(fps=50_000_000, max_luts=bound))


def test_the_configuration_knows_the_same_keys():
    config = parse_config({"compile": {"board": "pynq-z2", "max_luts": 9000}}, where="here")
    assert config.compile == CompileSection(board="pynq-z2", max_luts=9000)
    with pytest.raises(InputError, match="the board 'pynq-z9' is unknown"):
        parse_config({"compile": {"board": "pynq-z9"}}, where="here")
    with pytest.raises(InputError, match="give either folding, or fps and max_luts"):
        parse_config({"compile": {"folding": "f.json", "max_luts": 9000}}, where="here")
    with pytest.raises(InputError, match="max_luts"):
        parse_config({"compile": {"max_luts": 0}}, where="here")


def test_options_that_exclude_each_other_are_refused(bitsiege, tmp_path: Path):
    for other in (("--fps", 10), ("--max-luts", 10)):
        result = bitsiege("compile", "m.onnx", "-o", tmp_path / "b", "--folding", "f.json", *other)
        assert result.status == 2
        assert "or a folding file" in result.err
    result = bitsiege("compile", "m.onnx", "-o", tmp_path / "b", "--board", "arty")
    assert result.status == 2
    assert "Pynq-Z1" in result.err
