"""Fitting: coefficients that made the measurements come back, and errors say how far off the model is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from export.errors import InputError
from hw.resources import RESOURCES, Point, ResourceModel, fit, read_model, write_model
from hw.resources.fit import nonnegative_least_squares
from hw.resources.points import module_hash, point_from_json
from hw.resources.samples import chosen, samples
from hw.resources.terms import known_modules, module_terms
from hw.rtlgen import plan_rtl


def fifo_point(width: int, depth: int, lut: float) -> Point:
    parameters = {"DATA_W": width, "DEPTH": depth}
    cost = dict.fromkeys(RESOURCES, 0.0) | {"lut": lut, "ff": 3.0 * (depth - 1).bit_length() + 2}
    cost["lutram"] = sum(module_terms("bnn_fifo", parameters)["lutram"].values())
    return Point(module="bnn_fifo", parameters=parameters, cost=cost, source=module_hash("bnn_fifo"))


def fifo_points() -> list[Point]:
    """FIFOs of 10 LUTs and 4 more for each bit of a pointer."""
    depths = (8, 16, 32, 64)
    return [fifo_point(w, d, 10 + 4 * (d - 1).bit_length()) for w in (4, 8, 20) for d in depths]


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 12), columns=st.integers(1, 6), seed=st.integers(0, 10_000))
def test_least_squares_are_those_of_scipy(rows, columns, seed):
    rng = np.random.default_rng(seed)
    matrix, target = rng.normal(size=(rows, columns)), rng.normal(size=rows)
    found = nonnegative_least_squares(matrix, target)
    assert (found >= 0).all()
    expected = nnls(matrix, target)[1]
    assert np.linalg.norm(matrix @ found - target) == pytest.approx(expected, abs=1e-6)


def test_coefficients_that_made_the_measurements_come_back():
    fitted = fit(fifo_points())["bnn_fifo"]
    assert fitted.points == 12
    lut = fitted.resources["lut"]
    assert lut.coefficients["unit"] == pytest.approx(10, abs=1e-3)
    assert lut.coefficients["bits of pointers"] == pytest.approx(4, abs=1e-3)
    assert lut.worst_error == pytest.approx(0, abs=1e-3)
    assert fitted.resources["lutram"].worst_error == 0


def test_an_error_is_that_of_an_instance_that_was_not_seen():
    odd = fifo_point(7, 32, 200.0)
    fitted = fit([*fifo_points(), odd])["bnn_fifo"].resources["lut"]
    # 10 + 4 * 5 LUTs were to be expected of it.
    assert fitted.worst_error == pytest.approx((200 - 30) / 200, abs=0.02)
    assert 0 < fitted.median_error < fitted.worst_error


def test_a_model_comes_back_from_its_file(tmp_path):
    path = tmp_path / "model.json"
    written = write_model(path, fifo_points(), family="xc7", yosys="test 1")
    read = read_model(path)
    assert read.modules == written.modules
    assert [p.key for p in read.points] == [p.key for p in fifo_points()]
    assert read.outdated() == []
    cost = read.instance("bnn_fifo", {"DATA_W": 6, "DEPTH": 32})
    assert cost["lut"] == pytest.approx(30, abs=0.01)
    assert cost["lutram"] == 4
    with pytest.raises(InputError, match="knows no bnn_pool"):
        read.instance("bnn_pool", {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is no resource model"),
        ("[]", "it lacks fields"),
        ('{"version": 1}', "it lacks fields"),
        ('{"version": 99}', "of version 99"),
        ('{"version": 1, "points": [3]}', "can't be read"),
        ('{"version": 1, "points": [{"module": "bnn_fifo"}]}', "is incomplete"),
    ],
)
def test_a_damaged_model_is_refused(tmp_path, text, message):
    path = tmp_path / "model.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_model(path)
    with pytest.raises(InputError, match="can't read"):
        read_model(tmp_path / "none.json")


def test_a_changed_module_is_outdated():
    point = fifo_points()[0]
    stale = point_from_json({**point.to_json(), "source": "0"}, where="here")
    model = ResourceModel(family="xc7", yosys="", modules={}, points=[point, stale])
    assert model.outdated() == ["bnn_fifo"]
    assert module_hash("bnn_mvau") != module_hash("bnn_fifo")


def test_samples_cover_the_modules_of_the_matrix_and_window_units():
    found = set()
    for sample in samples():
        design = plan_rtl(sample.graph, sample.folding, with_contents=False)
        for instance in chosen(sample, design):
            assert instance.module in known_modules()
            terms = module_terms(instance.module, instance.parameters)
            assert set(terms) == set(RESOURCES)
            assert all(value >= 0 for named in terms.values() for value in named.values())
            found.add(instance.module)
    assert {"bnn_mvau", "bnn_fifo", "bnn_dwc", "bnn_swg", "bnn_pool", "bnn_fmpadding"} <= found
