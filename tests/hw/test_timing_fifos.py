import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.folding import Folding, LayerFolding, divisors
from hw.reference import ReferenceTarget
from hw.rtl_target import RtlTarget
from hw.rtlgen import plan_rtl
from hw.timing import TimingChain, TimingEngine, prove_fifo_depths, solve_fifo_depths

# Layers of 64 cycles each, of which the middle ones read in short bursts: they need room between them.
SIZES, FOLDING = (32, 32, 16, 16), ((4, 4), (8, 1), (1, 4))


@pytest.fixture
def tight(build_mlp):
    folding = Folding({f"mvau_{i}": LayerFolding(*layer) for i, layer in enumerate(FOLDING)})
    return build_mlp(SIZES), folding


@settings(max_examples=40)
@given(data=st.data())
def test_no_fifo_can_be_smaller(data, build_mlp, simulator_cache):
    sizes = data.draw(st.lists(st.sampled_from([4, 6, 8, 12, 16]), min_size=3, max_size=5))
    graph = build_mlp(sizes)
    folding = Folding(
        {
            node.name: LayerFolding(
                data.draw(st.sampled_from(divisors(node.mh))), data.draw(st.sampled_from(divisors(node.mw)))
            )
            for node in graph.mvaus
        }
    )
    depths = solve_fifo_depths(graph, folding, cache_dir=simulator_cache)
    chain = TimingChain.of(plan_rtl(graph, folding))
    assert set(depths) == {node.name for node in graph.mvaus}
    assert all(depths[name] <= chain.fifo_depths[name] for name in depths)
    ii_cycles = folding.ii_cycles(graph)
    for proof in prove_fifo_depths(chain, depths, TimingEngine(simulator_cache)).values():
        assert proof.ii_cycles == ii_cycles
        if proof.depth == 2:
            assert proof.ii_one_less is None
        else:
            assert proof.ii_one_less > ii_cycles


def test_the_hardware_agrees(tight, simulator_cache):
    graph, folding = tight
    depths = dict(solve_fifo_depths(graph, folding, cache_dir=simulator_cache))
    name = max(depths, key=depths.__getitem__)
    assert depths[name] > 2
    proof = prove_fifo_depths(TimingChain.of(plan_rtl(graph, folding)), depths, TimingEngine(simulator_cache))
    images = np.random.default_rng(0).integers(0, 256, (60, *graph.input_shape), np.uint8)
    expected = ReferenceTarget(graph).infer(images).logits
    for chosen, ii_cycles in (
        (depths, folding.ii_cycles(graph)),
        ({**depths, name: depths[name] - 1}, proof[name].ii_one_less),
    ):
        target = RtlTarget(graph, folding, cache_dir=simulator_cache, fifo_depths=chosen)
        result = target.stream(images)
        np.testing.assert_array_equal(result.logits, expected)
        # Over a whole number of periods; the proof's interval may be a fraction.
        assert (result.last_out_cycle[-1] - result.last_out_cycle[29]) / 30 == pytest.approx(float(ii_cycles))
