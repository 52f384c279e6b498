"""The model that ships: every module is in it, and its estimates are near to what synthesis found."""

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.resources import RESOURCES, load_model
from hw.resources.terms import known_modules
from hw.rtlgen import plan_rtl


def test_every_module_is_fitted():
    model = load_model()
    assert set(model.modules) == set(known_modules())
    for name, module in model.modules.items():
        assert module.points == sum(point.module == name for point in model.points)
        assert set(module.resources) == set(RESOURCES)


def test_matrix_units_are_predicted_well():
    """What networks mostly consist of: half of the unseen units are within a tenth in LUTs."""
    units = load_model().modules["bnn_mvau"]
    assert units.points >= 20
    assert units.resources["lut"].median_error <= 0.15
    assert units.resources["bram36"].median_error <= 0.02


def test_the_measurements_are_those_that_the_coefficients_come_from():
    model = load_model()
    misses = [
        abs(model.instance(p.module, p.parameters)["lut"] - p.cost["lut"]) / max(20.0, p.cost["lut"])
        for p in model.points
    ]
    assert float(np.median(misses)) < 0.15


def estimate(pe: int, simd: int, style: str):
    rng = np.random.default_rng(0)
    binarise = Thresholds(steps=np.full((1, 1), 128))
    layer = Mvau(
        name="mvau_0",
        input="flatten_0",
        in_type=BIPOLAR,
        weights=rng.choice(np.array([-1, 1], np.int8), (64, 256)),
    )
    nodes = (
        Thresholding(name="thresholding_0", input="images", in_type=UINT8, thresholds=binarise),
        Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
        layer,
    )
    graph = DataflowGraph(input_shape=(16, 16, 1), nodes=nodes)
    folding = Folding({"mvau_0": LayerFolding(pe, simd, style)})
    return load_model().estimate(plan_rtl(graph, folding, with_contents=False))


def test_an_estimate_has_its_error_and_adds_up():
    found = estimate(4, 16, "block")
    assert found.bram36.value == pytest.approx(1.0)
    assert 0 < found.lut.error < found.lut.worst
    assert "LUT ± " in found.text()
    assert found.to_json()["lut"]["relative_error"] == pytest.approx(found.lut.error, abs=1e-4)
    assert found.lut.value > found.lutram.value > 0


def test_weights_in_logic_cost_luts_and_block_rams_save_them():
    logic, block = estimate(4, 16, "distributed"), estimate(4, 16, "block")
    assert logic.bram36.value == 0
    assert logic.lut.value > 2 * block.lut.value
    assert estimate(8, 32, "block").lut.value > block.lut.value
