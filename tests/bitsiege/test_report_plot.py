import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitsiege.report.distance import (
    accuracy_over_distance,
    breaking_distances,
    distances,
    median_distance,
)
from bitsiege.report.plot import Frame, Series, decade_ticks, key, plot, round_ticks


def test_distances_are_in_the_unit_of_each_budget():
    originals = np.zeros((1, 2, 2, 3), np.uint8)
    adversarial = originals.copy()
    adversarial[0, 0, 0] = (3, 4, 0)
    assert distances(originals, adversarial, "linf") == pytest.approx([4 / 255])
    assert distances(originals, adversarial, "l2") == pytest.approx([5 / 255])
    assert distances(originals, adversarial, "l0") == pytest.approx([0.25])


def test_an_image_is_lost_from_its_own_distance_on():
    broken = breaking_distances(
        np.array([0.2, 0.3, 0.1, 0.5]),
        clean_wrong=np.array([False, True, False, False]),
        wrong=np.array([True, True, True, False]),
    )
    assert broken.tolist() == [0.2, 0.0, 0.1, np.inf]
    curve = accuracy_over_distance(broken)
    assert curve == ((0.0, 0.75), (0.1, 0.5), (0.2, 0.25))
    assert median_distance(broken) == 0.1
    assert median_distance(np.array([np.inf, np.inf, 0.1])) is None


@given(st.lists(st.one_of(st.just(np.inf), st.floats(0, 2)), min_size=1, max_size=40), st.integers(2, 9))
def test_curves_fall_and_stay_true_when_shortened(values: list[float], most: int):
    broken = np.array(values)
    curve = accuracy_over_distance(broken, most=most)
    assert len(curve) <= most
    assert list(curve) == sorted(curve, key=lambda point: (point[0], -point[1]))
    for distance, accuracy in curve:
        assert accuracy == pytest.approx((broken > distance).mean())
    assert curve[0][0] == 0
    assert curve[-1][1] == pytest.approx(np.isinf(broken).mean())


def test_ticks():
    assert round_ticks(0.3) == (0.0, 0.1, 0.2, 0.3)
    assert round_ticks(0) == (0.0,)
    assert decade_ticks(1, 1500) == (1, 10, 100, 1000, 1500)


@given(st.floats(1e-6, 1e6))
def test_round_ticks_stay_inside(largest: float):
    ticks = round_ticks(largest)
    assert ticks[0] == 0
    assert ticks[-1] <= largest * 1.001
    assert 2 <= len(ticks) <= 7


def test_a_plot_keeps_inside_its_frame():
    series = [
        Series(
            name="<a>",
            points=((0, 1.0), (0.1, 0.5), (9, 0)),
            whiskers=((0.9, 1.0), (0.4, 0.6), (0, 0.1)),
            rings=((1.0,), (0.4,), (0,)),
        ),
        Series(name="b", points=((0, 0.9), (9, 0.1)), staircase=True, style="dashed"),
    ]
    frame = Frame(largest=0.2, ticks=round_ticks(0.2), caption="x", chance=0.1)
    root = ET.fromstring(plot("A & B", frame, series))
    width, height = (float(size) for size in root.attrib["viewBox"].split()[2:])
    assert root[0].text == "A & B: accuracy"
    assert "<a>: 100.0 % at 0" in (root[1].text or "")
    circles = list(root.iter("circle"))
    assert len(circles) == 4
    for circle in circles:
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height
    assert "&lt;a&gt;" in key(series)


def test_a_logarithmic_frame():
    frame = Frame(smallest=1, largest=1000, logarithmic=True)
    gaps = np.diff([frame.x(place) for place in (1, 10, 100, 1000)])
    assert gaps == pytest.approx([gaps[0]] * 3)
