import re
from dataclasses import replace

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8, DataType
from export.errors import InputError
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.rtlgen import generate_rtl, plan_rtl

FOLDING = Folding({"mvau_0": LayerFolding(pe=4, simd=3), "mvau_1": LayerFolding(pe=2, simd=4)})


def make_nodes():
    thresholds = Thresholds(steps=np.zeros((8, 1), np.int64))
    return [
        Thresholding(
            name="thresholding_0",
            input="images",
            in_type=UINT8,
            thresholds=Thresholds(steps=np.array([[128]])),
        ),
        Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
        Mvau(
            name="mvau_0",
            input="flatten_0",
            in_type=BIPOLAR,
            weights=np.ones((8, 12), np.int8),
            thresholds=thresholds,
        ),
        Mvau(name="mvau_1", input="mvau_0", in_type=BIPOLAR, weights=np.ones((4, 8), np.int8)),
    ]


def make_graph(**changes):
    nodes = [replace(node, **changes.get(node.name, {})) for node in make_nodes()]
    return DataflowGraph(input_shape=(2, 2, 3), nodes=tuple(nodes))


def test_the_chain_has_a_converter_only_where_lanes_differ():
    design = plan_rtl(make_graph(), FOLDING)
    assert [i.module for i in design.instances] == [
        "bnn_thresholding",
        "bnn_fifo",
        "bnn_mvau",
        "bnn_fifo",
        "bnn_mvau",
        "bnn_label_select",
    ]
    narrow = Folding({**FOLDING.layers, "mvau_1": LayerFolding(pe=2, simd=2)})
    assert "bnn_dwc" in [i.module for i in plan_rtl(make_graph(), narrow).instances]
    assert "bnn_dwc.sv" not in design.sources


def test_weights_lie_where_the_folding_says():
    folding = Folding({**FOLDING.layers, "mvau_1": LayerFolding(2, 4, "block")})
    design = plan_rtl(make_graph(), folding)
    units = {i.node: i.parameters for i in design.instances if i.module == "bnn_mvau"}
    assert "RAM_STYLE" not in units["mvau_0"]
    assert units["mvau_1"]["RAM_STYLE"] == "block"
    assert re.search(r'\.RAM_STYLE +\("block"\)', design.top_text)
    assert design.top_text.count("MEM_DIR, ") == len(design.memories)


def test_a_design_describes_its_streams():
    design = plan_rtl(make_graph(), FOLDING)
    assert (design.input.lanes, design.input.beats, design.input.element_w) == (3, 4, 8)
    assert (design.output.lanes, design.output.beats, design.logit_w, design.label_w) == (2, 2, 8, 16)
    assert [(s.node, s.lanes, s.beats) for s in design.streams] == [
        ("thresholding_0", 3, 4),
        ("mvau_0", 4, 2),
        ("mvau_1", 2, 2),
    ]
    for stream in design.streams:
        assert f" {stream.name}_tdata" in design.top_text


def test_a_scaled_layer_keeps_the_nodes_name_for_the_scaled_values():
    design = plan_rtl(make_graph(mvau_1={"scale": np.array([1, 2, 3, 4])}), FOLDING)
    assert design.instances[-2].module == "bnn_scale_bias"
    assert design.streams[-1].node == "mvau_1"
    assert design.streams[-1] == design.instances[-2].sink


def test_fifos_hold_a_vector_unless_told_otherwise():
    def depths(design):
        return [i.parameters["DEPTH"] for i in design.instances if i.module == "bnn_fifo"]

    assert depths(plan_rtl(make_graph(), FOLDING)) == [4, 2]
    assert depths(plan_rtl(make_graph(), FOLDING, fifo_depths={"mvau_0": 9, "mvau_1": 1})) == [9, 2]


def test_generation_is_complete_and_deterministic(tmp_path):
    designs = [generate_rtl(make_graph(), FOLDING, tmp_path / name) for name in "ab"]
    written = [{p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in "ab"]
    assert written[0] == written[1]
    assert sorted(written[0]) == sorted([*designs[0].sources, *designs[0].memories])
    assert designs[0] == plan_rtl(make_graph(), FOLDING)


def test_a_folding_that_does_not_divide_is_refused():
    with pytest.raises(InputError, match="SIMD 5 does not divide MW 12"):
        plan_rtl(make_graph(), Folding({**FOLDING.layers, "mvau_0": LayerFolding(pe=4, simd=5)}))


def test_thresholds_at_the_end_are_refused():
    thresholds = Thresholds(steps=np.zeros((4, 1), np.int64))
    with pytest.raises(InputError, match="mvau_1: the last node must be an Mvau without thresholds"):
        plan_rtl(make_graph(mvau_1={"thresholds": thresholds}), FOLDING)


def test_wide_weights_are_refused():
    with pytest.raises(InputError, match="mvau_1: weights are INT9"):
        plan_rtl(make_graph(mvau_1={"weight_type": DataType("INT9")}), FOLDING)


@pytest.mark.parametrize("name", ["../x", "a b", "a__b", "s_axis", "", "1st", 'x";'])
def test_names_that_could_leave_the_directory_or_the_syntax_are_refused(name):
    nodes = make_nodes()
    nodes[2], nodes[3] = replace(nodes[2], name=name), replace(nodes[3], input=name)
    graph = DataflowGraph(input_shape=(2, 2, 3), nodes=tuple(nodes))
    with pytest.raises(InputError, match="can't name a module instance"):
        plan_rtl(graph, Folding({name: LayerFolding(pe=4, simd=3), "mvau_1": LayerFolding(pe=2, simd=4)}))


def test_a_stream_that_nothing_reads_is_refused():
    nodes = [*make_nodes()[:3], Flatten(name="flatten_1", input="mvau_0", in_type=BIPOLAR)]
    nodes.append(replace(make_nodes()[3], input="mvau_0"))
    graph = DataflowGraph(input_shape=(2, 2, 3), nodes=tuple(nodes))
    with pytest.raises(InputError, match="nothing reads flatten_1"):
        plan_rtl(graph, FOLDING)
