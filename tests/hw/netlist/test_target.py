"""Whole networks as netlists of FPGA primitives, against the golden model and the cycles of the RTL."""

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.errors import InputError, ToolError
from export.graph import DataflowGraph, Flatten, FmPadding, Mvau, Pool, Swg, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.netlist import NetlistTarget, synthesis
from hw.netlist.cells import cell_models
from hw.reference import ReferenceTarget
from hw.rtl_target import RtlTarget
from hw.target import Target, TargetKind
from hw.verilator import Stalls

BINARISE = Thresholds(steps=np.array([[128]]))


def signs(rng, rows, columns):
    return rng.choice(np.array([-1, 1], np.int8), (rows, columns))


def dense():
    """512 words of 32 weights, which become a block RAM, and scaled logits, which take DSPs."""
    rng = np.random.default_rng(0)
    nodes = (
        Thresholding(name="thresholding_0", input="images", in_type=UINT8, thresholds=BINARISE),
        Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
        Mvau(
            name="mvau_0",
            input="flatten_0",
            in_type=BIPOLAR,
            weights=signs(rng, 256, 64),
            thresholds=Thresholds(steps=rng.integers(-9, 9, (256, 1))),
        ),
        Mvau(
            name="mvau_1",
            input="mvau_0",
            in_type=BIPOLAR,
            weights=signs(rng, 3, 256),
            scale=rng.integers(-90, 90, 3),
            bias=rng.integers(-500, 500, 3),
        ),
    )
    graph = DataflowGraph(input_shape=(8, 8, 1), nodes=nodes)
    return graph, Folding({"mvau_0": LayerFolding(pe=2, simd=16), "mvau_1": LayerFolding(pe=3, simd=8)})


def convolution():
    """A padded convolution and a pool behind it."""
    rng = np.random.default_rng(1)
    nodes = (
        Thresholding(name="thresholding_0", input="images", in_type=UINT8, thresholds=BINARISE),
        FmPadding(name="pad_0", input="thresholding_0", in_type=BIPOLAR, pads=(1, 1, 1, 1), value=-1),
        Swg(name="swg_0", input="pad_0", in_type=BIPOLAR, kernel=(3, 3), stride=(1, 1)),
        Mvau(
            name="mvau_0",
            input="swg_0",
            in_type=BIPOLAR,
            weights=signs(rng, 4, 9),
            thresholds=Thresholds(steps=rng.integers(-4, 4, (4, 1))),
        ),
        Pool(name="pool_0", input="mvau_0", in_type=BIPOLAR, kernel=(2, 2), stride=(2, 2)),
        Flatten(name="flatten_0", input="pool_0", in_type=BIPOLAR),
        Mvau(name="mvau_1", input="flatten_0", in_type=BIPOLAR, weights=signs(rng, 3, 16)),
    )
    graph = DataflowGraph(input_shape=(4, 4, 1), nodes=nodes)
    return graph, Folding({"mvau_0": LayerFolding(pe=2, simd=3), "mvau_1": LayerFolding(pe=1, simd=4)})


NETWORKS = {"dense": (dense, {"RAMB18E1", "DSP48E1"}), "convolution": (convolution, {"CARRY4", "RAM32M"})}


@pytest.fixture(scope="module")
def small():
    return convolution()


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_cycles(name, simulator_cache):
    make, primitives = NETWORKS[name]
    graph, folding = make()
    images = np.random.default_rng(2).integers(0, 256, (20, *graph.input_shape), np.uint8)
    expected = ReferenceTarget(graph).infer(images).logits
    target = NetlistTarget(graph, folding, cache_dir=simulator_cache, workers=1)
    rtl = RtlTarget(graph, folding, cache_dir=simulator_cache, workers=1)
    assert primitives <= set(target.netlist().cells)
    result = target.infer(images)
    np.testing.assert_array_equal(result.logits, expected)
    np.testing.assert_array_equal(result.cycles, rtl.infer(images).cycles)
    stalls = Stalls(seed=1, source=0.4, sink=0.4)
    stalled, by_rtl = target.stream(images, stalls), rtl.stream(images, stalls)
    np.testing.assert_array_equal(stalled.logits, expected)
    np.testing.assert_array_equal(stalled.last_out_cycle, by_rtl.last_out_cycle)


def test_is_a_cycle_accurate_target(small):
    target: Target = NetlistTarget(*small)
    assert (target.name, target.kind) == ("netlist", TargetKind.CYCLE_ACCURATE)


def test_a_large_network_is_refused_before_synthesis():
    graph, _ = dense()
    folding = Folding({"mvau_0": LayerFolding(pe=64, simd=64), "mvau_1": LayerFolding(pe=3, simd=8)})
    with pytest.raises(InputError, match=r"4,120 products a cycle; up to 2,048"):
        NetlistTarget(graph, folding)


def test_a_large_netlist_is_refused(small, simulator_cache, monkeypatch):
    monkeypatch.setattr(synthesis, "MAX_CELLS", 100)
    with pytest.raises(InputError, match=r"the netlist has .* primitives; up to 100"):
        NetlistTarget(*small, cache_dir=simulator_cache).netlist()


def test_a_primitive_without_a_model_is_named():
    with pytest.raises(ToolError, match="no model of the primitive ICAPE2"):
        cell_models(["LUT2", "ICAPE2"])
    with pytest.raises(ToolError, match="no model of the primitive FIFO36E1"):
        cell_models(["FIFO36E1"])


def test_models_come_from_one_place_each():
    text = cell_models(["LUT6", "FDRE", "RAMB36E1"])
    assert text.count("module LUT6 ") == text.count("module FDRE ") == text.count("module RAMB36E1 ") == 1
    assert "specify" not in text
    assert "SRL16E" not in text
