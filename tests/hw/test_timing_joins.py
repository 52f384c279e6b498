"""Designs that fork and join: native against Python, deadlocks, and FIFOs on a bypass."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import (
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
)
from hw.folding import Folding, LayerFolding
from hw.rtl_target import RtlTarget
from hw.rtlgen.design import Instance, Stream
from hw.timing import HangError, TimingChain, TimingEngine, prove_fifo_depths, run_golden
from hw.timing.fifos import solve_chain, throughput_ii
from hw.verilator import Stalls

FIELDS = ("first_in_cycle", "last_out_cycle", "in_cycles", "out_cycles", "counts", "total_cycles")


@pytest.fixture(scope="session")
def engine(simulator_cache):
    return TimingEngine(simulator_cache)


def assert_equal_runs(got, expected):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)


def stream(name, beats):
    return Stream(name=name, dtype=UINT8, lanes=1, beats=beats)


def instance(module, sources, sinks, *, key=None, **parameters):
    return Instance(
        name=f"u_{sinks[0].name}",
        module=module,
        parameters=parameters,
        sources=tuple(sources),
        sinks=tuple(sinks),
        node=sinks[0].name,
        fifo_key=key,
    )


def residual(height, width, *, bypass, branch=2, turns=1, copies=2, draw=0):
    """A 3x3 layer with a border, its input added to its output; and further copies that are added, too."""
    size = {"CHANNELS": 1, "LANES": 1, "HEIGHT": height, "WIDTH": width}
    beats, windows = height * width, 9 * height * width
    start, padded, windowed = (
        stream("s_axis", beats),
        stream("padded", (height + 2) * (width + 2)),
        stream("windowed", windows),
    )
    split = [stream(f"copy_{k}", beats) for k in range(copies)]
    buffered, product = stream("buffered", windows), stream("product", beats * turns)
    whole = stream("whole", beats)
    modules = [
        instance("bnn_duplicate", [start], split, COPIES=copies, DATA_W=8),
        instance("bnn_fmpadding", [split[0]], [padded], TOP=1, LEFT=1, BOTTOM=1, RIGHT=1, **size),
        instance(
            "bnn_swg",
            [padded],
            [windowed],
            **(size | {"HEIGHT": height + 2, "WIDTH": width + 2}),
            KERNEL_H=3,
            KERNEL_W=3,
        ),
        instance("bnn_fifo", [windowed], [buffered], key="layer", DEPTH=branch, DATA_W=8),
        instance("bnn_mvau", [buffered], [product], MW=9, SIMD=1, MH=turns, PE=1, DRAW=draw),
        instance("bnn_dwc", [product], [whole], IN_LANES=1, OUT_LANES=turns),
    ]
    total = whole
    for k, copy in enumerate(split[1:]):
        waiting, added = stream(f"waiting_{k}", beats), stream(f"sum_{k}", beats)
        modules.append(instance("bnn_fifo", [copy], [waiting], key=f"sum_{k}.other", DEPTH=bypass, DATA_W=8))
        modules.append(instance("bnn_add", [total, waiting], [added]))
        total = added
    modules.append(instance("bnn_thresholding", [total], [stream("m_axis", beats)]))
    return TimingChain(instances=tuple(modules))


@settings(max_examples=40)
@given(data=st.data())
def test_native_equals_python(data, engine):
    height, width = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    chain = residual(
        height,
        width,
        bypass=2 * width + 12 + data.draw(st.integers(0, 40)),
        branch=data.draw(st.integers(2, 30)),
        turns=data.draw(st.integers(1, 3)),
        copies=data.draw(st.integers(2, 3)),
        draw=data.draw(st.integers(0, 1)),
    )
    probability = st.sampled_from([0.0, 0.1, 0.5])
    stalls = data.draw(st.none() | st.builds(Stalls, seed=st.just(5), source=probability, sink=probability))
    frames = data.draw(st.sampled_from([1, 5, 25]))
    assert_equal_runs(engine.run(chain, frames, stalls, beats=True), run_golden(chain, frames, stalls))


def test_a_bypass_that_is_too_small_hangs_and_is_named(engine):
    chain = residual(6, 6, bypass=5)
    with pytest.raises(HangError, match="frame 0: no beat can move after cycle") as caught:
        engine.run(chain, 2)
    assert "sum_0.other" in caught.value.hint
    with pytest.raises(HangError):
        throughput_ii(chain, engine)


def test_the_bypass_gets_its_least_depth(engine):
    chain = residual(6, 6, bypass=5)
    depths = solve_chain(chain, engine)
    proof = prove_fifo_depths(chain, depths, engine)["sum_0.other"]
    assert proof.ii_cycles == 9 * 36
    assert proof.hangs_one_less or proof.ii_one_less > proof.ii_cycles
    hanging = [depth for depth in range(2, depths["sum_0.other"]) if hangs(depth, engine)]
    assert hanging == list(range(2, len(hanging) + 2))


def hangs(depth, engine):
    try:
        engine.run(residual(6, 6, bypass=depth), 3)
    except HangError:
        return True
    return False


@pytest.mark.parametrize("draw", [0, 1])
def test_drawn_weights_delay_the_first_beat_alone(draw, engine):
    run = engine.run(residual(4, 4, bypass=40, draw=draw), 20)
    assert run.period_cycles == 9 * 16
    assert run.last_out_cycle[0] == 9 * 16 + (18 if draw else 11) + 6


def network():
    """A grouped, padded layer of drawn weights, its input added to it, sums of windows, and a dense layer."""
    rng = np.random.default_rng(3)
    sign = Thresholds(steps=np.array([[128]]))
    levels = Thresholds(steps=np.array([[-2, 0, 2]] * 4), out_type=DataType("INT2"), out_bias=-2)
    nodes = [Thresholding(name="sign_0", input="images", in_type=UINT8, thresholds=sign)]
    nodes.append(FmPadding(name="pad_0", input="sign_0", in_type=BIPOLAR, pads=(1, 1, 1, 1), value=-1))
    nodes.append(
        Swg(name="windows_0", input="pad_0", in_type=BIPOLAR, kernel=(3, 3), stride=(1, 1), groups=2)
    )
    nodes.append(
        Mvau(
            name="mvau_0",
            input="windows_0",
            in_type=BIPOLAR,
            weights=rng.integers(-128, 128, (4, 18)).astype(np.int8),
            groups=2,
            draw=1,
            thresholds=levels,
        )
    )
    nodes.append(
        Add(name="add_0", input="mvau_0", in_type=DataType("INT2"), other="sign_0", other_type=BIPOLAR)
    )
    nodes.append(
        Pool(
            name="pool_0",
            input="add_0",
            in_type=nodes[-1].out_type,
            kernel=(2, 2),
            stride=(2, 1),
            mode="sum",
        )
    )
    nodes.append(Flatten(name="flatten_0", input="pool_0", in_type=nodes[-1].out_type))
    signs = rng.choice(np.array([-1, 1], np.int8), (3, 24))
    nodes.append(Mvau(name="mvau_1", input="flatten_0", in_type=nodes[-1].out_type, weights=signs))
    folding = Folding({"mvau_0": LayerFolding(1, 2), "mvau_1": LayerFolding(1, 4)})
    return DataflowGraph(input_shape=(5, 4, 4), nodes=tuple(nodes)), folding


def test_equals_the_rtl_in_every_beat(engine, simulator_cache):
    graph, folding = network()
    target = RtlTarget(graph, folding, cache_dir=simulator_cache, workers=1)
    chain = TimingChain.of(target.rtl)
    images = np.random.default_rng(0).integers(0, 256, (10, *graph.input_shape), np.uint8)
    for stalls in (None, *(Stalls(seed=k, source=k % 3 / 5, sink=k % 2 / 5) for k in range(1, 6))):
        measured = target.stream(images, stalls, beats=True)
        run = engine.run(chain, len(images), stalls, beats=True)
        np.testing.assert_array_equal(run.in_cycles, measured.in_cycles)
        np.testing.assert_array_equal(run.out_cycles, measured.out_cycles)
    expected = run_golden(chain, 6, Stalls(seed=4, source=0.2, sink=0.1))
    assert_equal_runs(engine.run(chain, 6, Stalls(seed=4, source=0.2, sink=0.1), beats=True), expected)
