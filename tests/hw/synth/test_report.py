"""What is made of Yosys' output."""

import json

import pytest

from export.errors import ToolError
from hw.synth.report import Cost, InstanceCost, SynthReport, count, parse_cells, parse_depth


def test_every_kind_of_cell_is_counted_where_it_belongs():
    cells = {
        "LUT1": 1,
        "LUT6": 10,
        "MUXF7": 5,
        "INV": 2,
        "FDRE": 4,
        "FDSE": 3,
        "CARRY4": 2,
        "RAM32M": 3,
        "RAM64X1D": 1,
        "SRL16E": 1,
        "RAMB36E1": 2,
        "RAMB18E1": 3,
        "DSP48E1": 1,
        "$scopeinfo": 9,
    }
    assert count(cells) == Cost(lut=11, lutram=15, ff=7, bram36=3.5, dsp=1, carry=2)
    assert count(cells).all_luts == 26


@pytest.mark.parametrize("cell", ["$_DFF_P_", "LUT7", "RAM32Q", "RAMB72E1", "bnn_popcount"])
def test_an_unknown_cell_is_named(cell):
    with pytest.raises(ToolError, match="whose cost isn't known") as caught:
        count({cell: 1})
    assert cell in caught.value.message


def test_output_that_is_not_yosys_is_refused():
    assert parse_cells(json.dumps({"design": {"num_cells_by_type": {"LUT2": 3}}})) == {"LUT2": 3}
    for text in ("", "{}", "[]", '{"design": {"num_cells_by_type": [1]}}'):
        with pytest.raises(ToolError, match="statistics"):
            parse_cells(text)
    assert parse_depth("\nLongest topological path in bnn_top (length=14):\n") == 14
    assert parse_depth("Longest topological path in bnn_top (length=-1)\n") == 0
    with pytest.raises(ToolError, match="no longest path"):
        parse_depth("")


def test_layers_and_totals_are_sums():
    def instance(name, node, lut, depth):
        return InstanceCost(instance=name, module="m", node=node, cost=Cost(lut=lut, ff=1), depth=depth)

    instances = [instance("a", "x", 1, 2), instance("b", "y", 10, 7), instance("c", "y", 100, 3)]
    report = SynthReport(family="xc7", yosys="none", instances=instances)
    assert report.total == Cost(lut=111, ff=3)
    assert report.layer_cost("y") == Cost(lut=110, ff=2)
    written = json.loads(json.dumps(report.to_json()))
    assert written["total"]["lut"] == 111
    assert written["depth"] == 7
    assert list(written["layers"]) == ["x", "y"]
    assert written["layers"]["y"]["depth"] == 7
    assert len(written["layers"]["y"]["instances"]) == 2
