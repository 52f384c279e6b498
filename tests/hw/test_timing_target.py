import numpy as np
import pytest

from export.errors import InputError
from hw.reference import ReferenceTarget
from hw.rtl_target import STREAM_IMAGES, RtlTarget
from hw.target import Target, TargetKind, TracingTarget
from hw.timing import StallPattern
from hw.timing_target import TimingTarget
from hw.verilator import Stalls


@pytest.fixture
def open_timing(simulator_cache):
    def open_case(case):
        return TimingTarget(case.graph, case.folding, cache_dir=simulator_cache, threads=1)

    return open_case


def test_is_a_cycle_accurate_tracing_target(open_timing, cases):
    target: Target = open_timing(cases["serial"])
    assert isinstance(target, TracingTarget)
    assert (target.name, target.kind) == ("timing", TargetKind.CYCLE_ACCURATE)


@pytest.mark.parametrize("name", ["integers", "narrowing"])
@pytest.mark.parametrize("count", [0, 3, 2 * STREAM_IMAGES + 40])
def test_answers_what_the_rtl_does(open_timing, simulator_cache, cases, name, count):
    case = cases[name]
    images = case.images(count)
    got = open_timing(case).infer(images)
    expected = RtlTarget(case.graph, case.folding, cache_dir=simulator_cache).infer(images)
    np.testing.assert_array_equal(got.logits, expected.logits)
    np.testing.assert_array_equal(got.cycles, expected.cycles)


def test_streams_are_those_of_the_rtl(open_timing, simulator_cache, cases):
    case = cases["waiting"]
    images = case.images(30)
    rtl = RtlTarget(case.graph, case.folding, cache_dir=simulator_cache)
    for stalls in (None, Stalls(seed=4, source=0.3, sink=0.2)):
        got, expected = open_timing(case).stream(images, stalls), rtl.stream(images, stalls)
        np.testing.assert_array_equal(got.first_in_cycle, expected.first_in_cycle)
        np.testing.assert_array_equal(got.last_out_cycle, expected.last_out_cycle)


def test_trace_is_the_references(open_timing, cases):
    case = cases["integers"]
    images = case.images(5)
    trace, expected = open_timing(case).trace(images), ReferenceTarget(case.graph).trace(images)
    assert set(trace) == set(expected)
    for node, values in trace.items():
        np.testing.assert_array_equal(values, expected[node])


def test_report(open_timing, cases):
    target = open_timing(cases["waiting"])
    report = target.report(100)
    assert report.ii_cycles == 32
    assert [layer.node for layer in report.layers] == ["mvau_0", "mvau_1", "mvau_2"]
    # SF * NF steps a frame; the last layer is the slowest, and holds up those before it.
    assert [layer.busy_cycles for layer in report.layers] == [400, 400, 3200]
    first, _, last = report.layers
    assert first.blocked_cycles > 2000
    assert last.blocked_cycles == 0
    assert last.busy_cycles + last.starved_cycles == report.total_cycles
    assert {fifo.node: fifo.high_water for fifo in report.fifos}["mvau_2"] == 4
    assert report.first_latency_cycles < report.last_latency_cycles
    assert report.document()["modules"][0]["module"] == "bnn_thresholding"


def test_stalls_show_in_the_report(open_timing, cases):
    target = open_timing(cases["serial"])
    free = target.report(40)
    slow_sink = target.report(40, StallPattern(source_idle=np.array([False]), sink_busy=np.arange(40) > 0))
    assert slow_sink.layers[-1].blocked_cycles > free.layers[-1].blocked_cycles == 0
    slow_source = target.report(40, Stalls(seed=1, source=0.9, sink=0))
    assert slow_source.layers[0].starved_cycles > free.layers[0].starved_cycles
    assert slow_source.ii_cycles > free.ii_cycles


def test_a_report_without_frames(open_timing, cases):
    target = open_timing(cases["serial"])
    report = target.report(0)
    assert (report.total_cycles, report.first_latency_cycles, report.ii_cycles) == (0, None, None)
    assert target.report(1).ii_cycles is None
    with pytest.raises(InputError, match="at least 0"):
        target.report(-1)
