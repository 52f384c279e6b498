import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8
from export.errors import InputError
from export.graph import DataflowGraph, Flatten, FmPadding, Mvau, Pool, Swg, Thresholding, Thresholds
from hw.folding import (
    Folding,
    LayerFolding,
    divisors,
    read_finn_folding,
    solve_folding,
    write_finn_folding,
)


def dense(*sizes: int) -> DataflowGraph:
    """A binarised-input MLP of these sizes, all weights +1."""
    nodes = [
        Thresholding(
            name="thresholding_0",
            input="images",
            in_type=UINT8,
            thresholds=Thresholds(steps=np.full((1, 1), 128)),
        ),
        Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
    ]
    for index, (mw, mh) in enumerate(itertools.pairwise(sizes)):
        last = index == len(sizes) - 2
        nodes.append(
            Mvau(
                name=f"mvau_{index}",
                input=nodes[-1].name,
                in_type=BIPOLAR,
                weights=np.ones((mh, mw), np.int8),
                thresholds=None if last else Thresholds(steps=np.zeros((mh, 1), np.int64)),
            )
        )
    return DataflowGraph(input_shape=(sizes[0], 1, 1), nodes=tuple(nodes))


TFC = dense(784, 64, 64, 64, 10)
TFC_FOLDING = Folding(
    {f"mvau_{i}": LayerFolding(pe, simd) for i, (pe, simd) in enumerate([(16, 49), (8, 8), (8, 8), (10, 8)])}
)


def test_cycles_of_tfc():
    TFC_FOLDING.validate(TFC)
    assert TFC_FOLDING.layer_cycles(TFC) == {"mvau_0": 64, "mvau_1": 64, "mvau_2": 64, "mvau_3": 8}
    assert TFC_FOLDING.ii_cycles(TFC) == 64
    assert TFC_FOLDING.lanes == 784 + 64 + 64 + 80


def test_solver_finds_tfc_at_an_ii_of_64():
    folding = solve_folding(TFC, fps=1_562_500, clock_mhz=100)
    assert folding.ii_cycles(TFC) <= 64
    assert folding.lanes == 784 + 64 + 64 + 10


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    budget=st.integers(1, 200),
)
def test_solver_is_least_and_fast_enough(sizes, budget):
    graph = dense(*sizes)
    folding = solve_folding(graph, fps=1e6, clock_mhz=budget)
    folding.validate(graph)
    assert folding.ii_cycles(graph) <= budget
    for node in graph.mvaus:
        least = min(
            pe * simd
            for pe in range(1, node.mh + 1)
            for simd in range(1, node.mw + 1)
            if node.mh % pe == 0 and node.mw % simd == 0 and (node.mh // pe) * (node.mw // simd) <= budget
        )
        layer = folding[node.name]
        assert layer.pe * layer.simd == least


def test_solver_names_the_fastest_rate():
    with pytest.raises(InputError, match="the fastest possible is 100,000,000 frames/s"):
        solve_folding(TFC, fps=100_000_001, clock_mhz=100)
    assert solve_folding(TFC, fps=100_000_000, clock_mhz=100).ii_cycles(TFC) == 1


def test_solver_takes_decimal_rates_as_written():
    assert solve_folding(dense(100, 1), fps=1000, clock_mhz=0.1).lanes == 1


@pytest.mark.parametrize(("fps", "clock"), [(0, 100), (-1, 100), (float("nan"), 100), (1, float("inf"))])
def test_solver_refuses_senseless_rates(fps, clock):
    with pytest.raises(InputError, match="must be a number above 0"):
        solve_folding(TFC, fps=fps, clock_mhz=clock)


def test_validate_names_layer_and_divisors():
    layers = dict(TFC_FOLDING.layers) | {"mvau_3": LayerFolding(3, 8)}
    with pytest.raises(InputError, match="mvau_3: PE 3 does not divide MH 10\nlegal: 1, 2, 5, 10"):
        Folding(layers).validate(TFC)
    with pytest.raises(InputError, match="no entry for mvau_3"):
        Folding({k: v for k, v in layers.items() if k != "mvau_3"}).validate(TFC)
    with pytest.raises(InputError, match="'mvau_9', which is no Mvau"):
        Folding(layers | {"mvau_9": LayerFolding(1, 1)}).validate(TFC)


def test_divisors():
    assert divisors(1) == [1]
    assert divisors(36) == [1, 2, 3, 4, 6, 9, 12, 18, 36]


def test_finn_round_trip(tmp_path):
    path = tmp_path / "folding.json"
    write_finn_folding(TFC_FOLDING, TFC, path)
    assert json.loads(path.read_text()) == {
        "Defaults": {},
        "MVAU_hls_0": {"PE": 16, "SIMD": 49},
        "MVAU_hls_1": {"PE": 8, "SIMD": 8},
        "MVAU_hls_2": {"PE": 8, "SIMD": 8},
        "MVAU_hls_3": {"PE": 10, "SIMD": 8},
    }
    assert read_finn_folding(path, TFC) == TFC_FOLDING


def test_finn_names_and_other_operators(tmp_path):
    path = tmp_path / "folding.json"
    for names in (
        ["MatrixVectorActivation_3", "MatrixVectorActivation_2", "MatrixVectorActivation_10"],
        ["MVAU_rtl_1", "MVAU_hls_0", "MVAU_2"],
    ):
        entries = {name: {"PE": i + 1, "SIMD": 1, "ram_style": "auto"} for i, name in enumerate(names)}
        path.write_text(json.dumps({"Defaults": {}, "Thresholding_hls_0": {"PE": 7}, **entries}))
        folding = read_finn_folding(path, dense(6, 6, 6, 6))
        expected = [2, 1, 3] if names[0].startswith("Matrix") else [1, 2, 3]
        assert [layer.pe for layer in folding.layers.values()] == expected


def test_finn_defaults(tmp_path):
    path = tmp_path / "folding.json"
    path.write_text('{"Defaults": {"PE": [2, ["MVAU_hls"]], "SIMD": [3, ["all"]]}, "MVAU_hls_0": {}}')
    assert read_finn_folding(path, dense(6, 4)) == Folding({"mvau_0": LayerFolding(2, 3)})


def test_finn_ram_style(tmp_path):
    path = tmp_path / "folding.json"
    folding = Folding({"mvau_0": LayerFolding(2, 3, "block"), "mvau_1": LayerFolding(1, 1)})
    write_finn_folding(folding, dense(6, 4, 2), path)
    assert json.loads(path.read_text())["MVAU_hls_0"] == {"PE": 2, "SIMD": 3, "ram_style": "block"}
    assert read_finn_folding(path, dense(6, 4, 2)) == folding
    path.write_text(
        '{"Defaults": {"ram_style": ["distributed", ["all"]]}, "MVAU_hls_0": {"PE": 1, "SIMD": 1}}'
    )
    assert read_finn_folding(path, dense(6, 4))["mvau_0"].ram_style == "distributed"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a folding JSON"),
        ('{"MVAU_hls_0": {"PE": 1, "SIMD": 1, "ram_style": "flash"}}', "ram_style 'flash' is unknown"),
        ("[]", "must be an object"),
        ("[" * 100_000, "not a folding JSON"),
        ('{"MVAU_hls_0": 3}', "MVAU_hls_0 must be an object"),
        ('{"MVAU_hls_0": {"PE": 1}}', "SIMD of MVAU_hls_0 is missing"),
        ('{"MVAU_hls_0": {"PE": true, "SIMD": 1}}', "PE of MVAU_hls_0 is True"),
        ('{"MVAU_hls_0": {"PE": 0, "SIMD": 1}}', "PE 0 does not divide"),
        ('{"MVAU_hls_0": {"PE": 3, "SIMD": 1}}', "PE 3 does not divide MH 4"),
        ('{"MVAU_hls_0": {"PE": 1, "SIMD": 1}, "MVAU_hls_0": {}}', "twice"),
        ("{}", "folds 0 MVAUs, the network has 1"),
    ],
)
def test_finn_refusals(tmp_path, text, message):
    path = tmp_path / "folding.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_finn_folding(path, dense(6, 4))
    with pytest.raises(InputError, match="can't read"):
        read_finn_folding(tmp_path / "none.json", dense(6, 4))


def convolution(height: int, width: int, channels: int, rows: int, stride: int = 1) -> DataflowGraph:
    """A padded 3x3 convolution of a byte image, a 2x2 pool and a dense layer."""
    shape = (height, width, channels)
    nodes = [
        FmPadding(name="pad", input="images", in_type=UINT8, pads=(1, 1, 1, 1)),
        Swg(name="windows", input="pad", in_type=UINT8, kernel=(3, 3), stride=(stride, stride)),
        Mvau(
            name="conv",
            input="windows",
            in_type=UINT8,
            weights=np.ones((rows, 9 * channels), np.int8),
            thresholds=Thresholds(steps=np.zeros((rows, 1), np.int64)),
        ),
        Pool(name="pool", input="conv", in_type=BIPOLAR, kernel=(2, 2), stride=(2, 2)),
        Flatten(name="flat", input="pool", in_type=BIPOLAR),
    ]
    pooled = shape
    for node in nodes:
        pooled = node.out_shape(pooled)
    nodes.append(Mvau(name="dense", input="flat", in_type=BIPOLAR, weights=np.ones((3, *pooled), np.int8)))
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes))


CONV = convolution(6, 8, 4, 6)


def test_a_convolution_counts_its_vectors_and_its_window_beats():
    assert Folding({"conv": LayerFolding(2, 2), "dense": LayerFolding(1, 1)}).layer_cycles(CONV) == {
        "conv": 48 * 18 * 3,
        "dense": 72 * 3,
    }
    # Fully unrolled neurons: the generator moves 9 pixels a window, whatever SIMD is beyond a pixel.
    for simd, ii in ((2, 48 * 18), (4, 48 * 9), (36, 48 * 9)):
        folding = Folding({"conv": LayerFolding(6, simd), "dense": LayerFolding(1, 1)})
        assert folding.ii_cycles(CONV) == ii
    # Windows that lie far apart: the padded map has more beats than they.
    graph = convolution(16, 16, 4, 2, stride=4)
    assert Folding({"conv": LayerFolding(2, 4), "dense": LayerFolding(3, 8)}).ii_cycles(graph) == 18 * 18


def test_simd_of_a_convolution_fits_whole_pixels():
    Folding({"conv": LayerFolding(1, 12), "dense": LayerFolding(1, 1)}).validate(CONV)
    with pytest.raises(InputError, match="SIMD 3 neither divides the channels") as caught:
        Folding({"conv": LayerFolding(1, 3), "dense": LayerFolding(1, 1)}).validate(CONV)
    assert caught.value.hint == "legal: 1, 2, 4, 12, 36"


@settings(max_examples=20, deadline=None)
@given(channels=st.integers(1, 6), rows=st.integers(1, 6), budget=st.integers(100, 5000))
def test_solver_folds_convolutions_within_the_budget(channels, rows, budget):
    graph = convolution(4, 5, channels, rows)
    if budget < 9 * 20:
        with pytest.raises(InputError, match="out of reach"):
            solve_folding(graph, fps=1e6, clock_mhz=budget)
        return
    folding = solve_folding(graph, fps=1e6, clock_mhz=budget)
    folding.validate(graph)
    assert folding.ii_cycles(graph) <= budget
