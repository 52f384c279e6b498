"""The native engine against the Python model in every cycle and count, and against the simulated hardware."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.errors import InputError, ToolError
from hw.folding import Folding, LayerFolding, divisors
from hw.rtl_target import RtlTarget
from hw.rtlgen import plan_rtl
from hw.timing import StallPattern, TimingChain, TimingEngine, run_golden
from hw.timing import engine as engine_module
from hw.verilator import Stalls

FIELDS = ("first_in_cycle", "last_out_cycle", "in_cycles", "out_cycles", "counts", "total_cycles")


@pytest.fixture(scope="session")
def engine(simulator_cache):
    return TimingEngine(simulator_cache)


def assert_equal_runs(got, expected, message=""):
    for name in FIELDS:
        np.testing.assert_array_equal(
            getattr(got, name), getattr(expected, name), err_msg=f"{name} {message}"
        )


@st.composite
def chains(draw, build):
    sizes = draw(st.lists(st.sampled_from([1, 2, 3, 4, 6, 8, 9, 12]), min_size=2, max_size=4))
    graph = build(sizes, scaled=draw(st.booleans()))
    layers = {
        node.name: LayerFolding(
            draw(st.sampled_from(divisors(node.mh))), draw(st.sampled_from(divisors(node.mw)))
        )
        for node in graph.mvaus
    }
    depths = {name: draw(st.integers(2, 9)) for name in layers}
    return TimingChain.of(plan_rtl(graph, Folding(layers), fifo_depths=depths))


PROBABILITIES = st.sampled_from([0.0, 0.1, 0.5, 0.9])
STALLS = st.one_of(
    st.none(),
    st.builds(Stalls, seed=st.integers(0, 2**64 - 1), source=PROBABILITIES, sink=PROBABILITIES),
    st.builds(
        lambda source, sink: StallPattern(
            source_idle=np.array([*source, False]), sink_busy=np.array([*sink, False])
        ),
        st.lists(st.booleans(), max_size=30),
        st.lists(st.booleans(), max_size=30),
    ),
)


@settings(max_examples=60)
@given(data=st.data(), frames=st.integers(0, 30), stalls=STALLS)
def test_equals_the_python_model(data, frames, stalls, build_mlp, engine):
    chain = data.draw(chains(build_mlp))
    expected = run_golden(chain, frames, stalls)
    assert_equal_runs(engine.run(chain, frames, stalls, beats=True), expected)


PATTERNS = [None] + [
    Stalls(seed=seed, source=source, sink=sink)
    for seed, (source, sink) in enumerate([(0.5, 0.5), (0, 0.8), (0.9, 0), (0.1, 0.1), (0.02, 0.3), (0.6, 0)])
]


def test_equals_the_rtl_in_every_beat(case, engine, simulator_cache):
    target = RtlTarget(case.graph, case.folding, cache_dir=simulator_cache)
    chain = TimingChain.of(target.rtl)
    images = case.images(40)
    for stalls in PATTERNS:
        measured = target.stream(images, stalls, beats=True)
        run = engine.run(chain, len(images), stalls, beats=True)
        np.testing.assert_array_equal(run.in_cycles, measured.in_cycles)
        np.testing.assert_array_equal(run.out_cycles, measured.out_cycles)
        np.testing.assert_array_equal(run.first_in_cycle, measured.first_in_cycle)
        np.testing.assert_array_equal(run.last_out_cycle, measured.last_out_cycle)


SLOW_GROWTH = [
    # Layers of 15 and 16 cycles around a deep FIFO: it fills by a word every few frames.
    ((15, 3, 16, 2), ((1, 3), (1, 3), (2, 1)), {"mvau_1": 90, "mvau_2": 60}),
    ((12, 5, 13, 2), ((1, 1), (1, 1), (1, 1)), {"mvau_1": 40, "mvau_2": 3}),
    ((29, 2, 30, 2), ((1, 1), (1, 1), (1, 1)), {"mvau_1": 50, "mvau_2": 70}),
]


@pytest.mark.parametrize(("sizes", "layers", "depths"), SLOW_GROWTH)
def test_frames_that_grow_are_skipped_exactly(sizes, layers, depths, build_mlp, engine):
    graph = build_mlp(sizes)
    folding = Folding({f"mvau_{i}": LayerFolding(*layer) for i, layer in enumerate(layers)})
    chain = TimingChain.of(plan_rtl(graph, folding, fifo_depths=depths))
    frames = 200
    run = engine.run(chain, frames, beats=True)
    assert run.followed_frames < frames // 2
    assert_equal_runs(run, run_golden(chain, frames))
    # A pattern that never stalls lets no frame be skipped.
    pattern = StallPattern(source_idle=np.array([False]), sink_busy=np.array([False]))
    followed = engine.run(chain, 5 * frames, pattern, beats=True)
    assert followed.followed_frames == 5 * frames
    assert_equal_runs(engine.run(chain, 5 * frames, beats=True), followed)


def test_until_periodic(cases, engine):
    case = cases["serial"]
    chain = TimingChain.of(plan_rtl(case.graph, case.folding))
    run = engine.run(chain, 1000, until_periodic=True, counts=False)
    assert (run.period_frames, run.period_cycles) == (1, case.folding.ii_cycles(case.graph))
    assert run.followed_frames < 20
    assert run.last_out_cycle[run.followed_frames :].tolist() == [-1] * (1000 - run.followed_frames)
    assert not run.counts.any()


def test_every_cycle_is_counted_once(case, engine):
    run = engine.run(TimingChain.of(plan_rtl(case.graph, case.folding)), 1000)
    assert np.all(run.counts[:, :3].sum(axis=1) == run.total_cycles)
    assert run.period_frames > 0


def test_beats_are_only_returned_on_demand(cases, engine):
    case = cases["serial"]
    run = engine.run(TimingChain.of(plan_rtl(case.graph, case.folding)), 3)
    assert run.in_cycles.shape == (0, 9)
    assert run.out_cycles.shape == (0, 4)


def test_bad_arguments(cases, engine, monkeypatch, tmp_path):
    case = cases["serial"]
    chain = TimingChain.of(plan_rtl(case.graph, case.folding))
    with pytest.raises(InputError, match="at least 0, not -1"):
        engine.run(chain, -1)
    with pytest.raises(InputError, match="no FIFO before other"):
        chain.with_fifo_depths({"other": 3})
    for source, sink in (([True], [False]), ([False], [True]), ([], [False]), ([0], [False])):
        with pytest.raises(InputError, match=r"stalls in every cycle|must be a bool array"):
            StallPattern(source_idle=np.array(source), sink_busy=np.array(sink))
    broken = tmp_path / "libtiming.so"
    broken.write_bytes(b"not a library")
    monkeypatch.setattr(engine_module, "build_engine", lambda cache_dir: broken)
    with pytest.raises(ToolError, match="can't load"):
        TimingEngine(tmp_path / "other")


def test_a_module_without_a_model_is_refused(cases):
    case = cases["serial"]
    chain = TimingChain.of(plan_rtl(case.graph, case.folding))
    odd = dataclasses.replace(chain.instances[0], module="bnn_new")
    with pytest.raises(ValueError, match="no timing model of bnn_new"):
        dataclasses.replace(chain, instances=(odd,)).rows()
