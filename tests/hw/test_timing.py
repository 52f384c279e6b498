import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.folding import Folding, LayerFolding, divisors
from hw.rtl_target import RtlTarget
from hw.rtlgen import plan_rtl
from hw.timing import TimingEngine, catalogue, predict, simulate_frames

FRAMES = 150


def test_equals_the_rtl_in_every_cycle(case, simulator_cache):
    target = RtlTarget(case.graph, case.folding, cache_dir=simulator_cache)
    measured = target.stream(case.images(FRAMES))
    timing = simulate_frames(case.graph, case.folding, FRAMES, cache_dir=simulator_cache)
    np.testing.assert_array_equal(timing.first_in_cycle, measured.first_in_cycle)
    np.testing.assert_array_equal(timing.last_out_cycle, measured.last_out_cycle)
    np.testing.assert_array_equal(timing.cycles, measured.cycles)
    prediction = predict(case.graph, case.folding, cache_dir=simulator_cache)
    assert prediction.latency_cycles == measured.cycles[0]
    assert np.all(np.diff(measured.last_out_cycle)[FRAMES // 2 :] == prediction.ii_cycles)


def test_layers(cases, simulator_cache):
    case = cases["waiting"]
    prediction = predict(case.graph, case.folding, cache_dir=simulator_cache)
    assert prediction.ii_cycles == 32
    assert [(layer.name, layer.busy_cycles) for layer in prediction.layers] == [
        ("mvau_0", 4),
        ("mvau_1", 4),
        ("mvau_2", 32),
    ]
    assert prediction.layers[2].utilisation == 1
    assert prediction.fps(100) == 3_125_000
    assert prediction.latency_us(100) == prediction.latency_cycles / 100


def draw_case(draw, build):
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6, 8, 9, 12, 16]), min_size=2, max_size=5))
    graph = build(sizes)
    layers = {
        node.name: LayerFolding(
            draw(st.sampled_from(divisors(node.mh))), draw(st.sampled_from(divisors(node.mw)))
        )
        for node in graph.mvaus
    }
    return graph, Folding(layers)


@settings(max_examples=40)
@given(data=st.data())
def test_every_folding_reaches_the_closed_form(data, build_mlp, simulator_cache):
    graph, folding = draw_case(data.draw, build_mlp)
    ii_cycles = folding.ii_cycles(graph)
    frames = 3000
    leaves = simulate_frames(graph, folding, frames, cache_dir=simulator_cache).last_out_cycle
    assert np.all(np.diff(leaves)[-100:] == ii_cycles)


def test_a_slow_network_is_predicted_quickly(build_mlp, simulator_cache):
    TimingEngine(simulator_cache)
    graph = build_mlp((256, 256, 256))
    folding = Folding({"mvau_0": LayerFolding(1, 1), "mvau_1": LayerFolding(1, 1)})
    started = time.process_time()
    prediction = predict(graph, folding, cache_dir=simulator_cache)
    assert prediction.ii_cycles == 65536
    # The second layer takes its input while the first one computes, and then has 255 groups of 256 to go.
    assert 65536 + 255 * 256 < prediction.latency_cycles < 65536 + 255 * 256 + 20
    assert time.process_time() - started < 1


def test_a_module_without_a_model_is_refused(cases):
    case = cases["serial"]
    instance = plan_rtl(case.graph, case.folding).instances[0]
    with pytest.raises(ValueError, match="no timing model of bnn_new"):
        catalogue.build_module(dataclasses.replace(instance, module="bnn_new"))
