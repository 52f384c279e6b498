import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.errors import CheckFailedError, InputError
from export.graph import DataflowGraph, Flatten, Mvau, Pool, Swg, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.reference import ReferenceTarget
from hw.rtl_target import STREAM_IMAGES, RtlTarget
from hw.target import Target, TargetKind, TracingTarget
from hw.verilator import Stalls


@pytest.fixture
def open_rtl(simulator_cache):
    def open_case(case, **options):
        return RtlTarget(case.graph, case.folding, cache_dir=simulator_cache, **options)

    return open_case


def test_is_a_cycle_accurate_tracing_target(open_rtl, cases):
    target: Target = open_rtl(cases["serial"])
    assert isinstance(target, TracingTarget)
    assert (target.name, target.kind) == ("rtl", TargetKind.CYCLE_ACCURATE)


def test_logits_equal_the_reference(open_rtl, case):
    images = case.images(60)
    images[0], images[1] = 0, 255
    expected = ReferenceTarget(case.graph).infer(images).logits
    target = open_rtl(case)
    np.testing.assert_array_equal(target.infer(images).logits, expected)
    for seed, (source, sink) in enumerate([(0.5, 0.5), (0.0, 0.8), (0.9, 0.0), (0.1, 0.1)]):
        result = target.stream(images, Stalls(seed=seed, source=source, sink=sink))
        np.testing.assert_array_equal(result.logits, expected)


def test_stalls_cost_cycles_and_repeat_with_their_seed(open_rtl, cases):
    case = cases["narrowing"]
    target, images = open_rtl(case), case.images(20)
    free = target.stream(images).total_cycles
    runs = [target.stream(images, Stalls(seed=seed)) for seed in (1, 2, 1)]
    assert min(run.total_cycles for run in runs) > free
    # Two seeds may cost the same number of cycles in all.
    slow = [run.last_out_cycle.tolist() for run in runs]
    assert slow[0] == slow[2] != slow[1]


def test_a_batch_does_not_depend_on_the_number_of_workers(open_rtl, cases):
    case = cases["waiting"]
    images = case.images(2 * STREAM_IMAGES + 40)
    one, two = (open_rtl(case, workers=workers).infer(images) for workers in (1, 2))
    np.testing.assert_array_equal(one.logits, ReferenceTarget(case.graph).infer(images).logits)
    np.testing.assert_array_equal(one.logits, two.logits)
    assert one.cycles is not None
    np.testing.assert_array_equal(one.cycles, two.cycles)
    np.testing.assert_array_equal(one.cycles[:40], one.cycles[-40:])


def test_an_empty_batch(open_rtl, cases):
    case = cases["serial"]
    target = open_rtl(case)
    result = target.infer(case.images(0))
    assert result.logits.shape == (0, case.graph.classes)
    assert result.cycles is not None
    assert result.cycles.shape == (0,)
    assert target.trace(case.images(0))["mvau_0"].shape == (0, 5)


@pytest.mark.parametrize("name", ["integers", "narrowing"])
def test_trace_shows_every_stream(open_rtl, cases, name):
    case = cases[name]
    images = case.images(STREAM_IMAGES + 10)
    trace = open_rtl(case).trace(images)
    expected = ReferenceTarget(case.graph).trace(images)
    assert set(trace) == set(expected) - {"flatten_0"}
    for node, values in trace.items():
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, expected[node], err_msg=node)


def test_wave_of_one_image(open_rtl, cases, tmp_path):
    case = cases["narrowing"]
    target, images = open_rtl(case), case.images(12)
    path = tmp_path / "image.fst"
    target.write_wave(images, 5, path)
    data = path.read_bytes()
    # FST: the header block is type 0, 329 bytes long, and begins with the first and the last time.
    assert data[0] == 0
    assert int.from_bytes(data[1:9], "big") == 329
    first, last = (int.from_bytes(data[at : at + 8], "big") for at in (9, 17))
    stream = target.stream(images)
    assert first == 2 * stream.first_in_cycle[5]
    assert last == 2 * stream.last_out_cycle[5] + 1
    # Its value changes are block type 8, with their size in memory: the clock alone changes at every time.
    at = 0
    while data[at] != 8:
        at += 1 + int.from_bytes(data[at + 1 : at + 9], "big")
    assert int.from_bytes(data[at + 25 : at + 33], "big") > 10 * (last - first)
    with pytest.raises(InputError, match="no image 12 in a batch of 12"):
        target.write_wave(images, 12, path)
    assert path.read_bytes() == data


def test_networks_of_one_shape_share_a_simulator(open_rtl, simulator_cache, cases):
    case = cases["serial"]
    open_rtl(case).prepare()
    before = set((simulator_cache / "verilator").glob("*/"))
    other = type(case)(graph=_retrained(case.graph), folding=case.folding)
    target = open_rtl(other)
    images = case.images(30)
    logits = target.infer(images).logits
    np.testing.assert_array_equal(logits, ReferenceTarget(other.graph).infer(images).logits)
    assert not np.array_equal(logits, open_rtl(case).infer(images).logits)
    assert set((simulator_cache / "verilator").glob("*/")) == before


def _retrained(graph):
    import dataclasses

    nodes = [
        dataclasses.replace(node, weights=-node.weights) if hasattr(node, "weights") else node
        for node in graph.nodes
    ]
    return dataclasses.replace(graph, nodes=tuple(nodes))


def test_a_hang_names_image_and_cycle(open_rtl, cases):
    case = cases["serial"]
    target = open_rtl(case, workers=1)
    target.deadline_cycles = 3
    with pytest.raises(CheckFailedError, match=r"image 0, cycle \d+: the simulated hardware hangs") as caught:
        target.infer(case.images(3))
    assert caught.value.context["image"] == 0


def pooled_network():
    """A pool whose windows overlap so much that it takes twenty times as long as the layers around it."""
    rng = np.random.default_rng(0)

    def signs(rows, columns):
        return rng.choice(np.array([-1, 1], np.int8), (rows, columns))

    bits = Thresholds(steps=np.full((1, 1), 128))
    even = Thresholds(steps=np.zeros((2, 1), np.int64))
    nodes = (
        Thresholding(name="sign_0", input="images", in_type=UINT8, thresholds=bits),
        Swg(name="swg_0", input="sign_0", in_type=BIPOLAR, kernel=(1, 1), stride=(1, 1)),
        Mvau(name="mvau_0", input="swg_0", in_type=BIPOLAR, weights=signs(2, 1), thresholds=even),
        Pool(name="pool_0", input="mvau_0", in_type=BIPOLAR, kernel=(8, 8), stride=(1, 1)),
        Flatten(name="flatten_0", input="pool_0", in_type=BIPOLAR),
        Mvau(name="mvau_1", input="flatten_0", in_type=BIPOLAR, weights=signs(3, 162), thresholds=None),
    )
    folding = Folding({"mvau_0": LayerFolding(1, 1), "mvau_1": LayerFolding(3, 162)})
    return DataflowGraph(input_shape=(16, 16, 1), nodes=nodes), folding


def test_a_slow_pool_does_not_count_as_a_hang(simulator_cache):
    graph, folding = pooled_network()
    target = RtlTarget(graph, folding, cache_dir=simulator_cache, workers=1)
    images = np.random.default_rng(1).integers(0, 256, (1, *graph.input_shape), np.uint8)
    result = target.stream(images, beats=True)
    np.testing.assert_array_equal(result.logits, ReferenceTarget(graph).infer(images).logits)
    idle = result.out_cycles[0, 0] - result.in_cycles[0, -1]
    assert 10 * sum(folding.layer_cycles(graph).values()) < idle < target.deadline_cycles


def test_bad_arguments(open_rtl, cases):
    case = cases["serial"]
    with pytest.raises(InputError, match="at least 1, not 0"):
        open_rtl(case, workers=0)
    with pytest.raises(InputError, match="must be uint8"):
        open_rtl(case).infer(np.zeros((1, 9, 1, 1), np.float32))
    with pytest.raises(ValueError, match="below 1"):
        Stalls(seed=0, source=1.0)
