"""The emulator against the golden model, on every instruction set that this machine has."""

from __future__ import annotations

import itertools
import re
import threading
import time
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8, DataType
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.emulator import EmulatorTarget
from hw.emulator.steps import STEP_FIELDS, STEP_KINDS
from hw.reference import ReferenceTarget
from hw.target import TargetKind, TracingTarget

_FAR = (-(1 << 63), -(1 << 40), 1 << 40, (1 << 63) - 1)


def _thresholds(draw, rng, channels, low, high):
    kind = draw(st.sampled_from(["BIPOLAR", "BIPOLAR", "UINT1", "UINT2", "UINT8", "UINT20", "INT3", "INT9"]))
    out_type = DataType(kind)
    rows = draw(st.sampled_from([1, channels]))
    bias, levels = 0, 1
    if not out_type.is_bipolar:
        bias = int(rng.integers(out_type.minimum, out_type.maximum))
        levels = int(rng.integers(1, min(9, out_type.maximum - bias + 1)))
    steps = rng.integers(low - 2, high + 3, (rows, levels))
    steps[rng.random(steps.shape) < 0.1] = rng.choice(_FAR)
    return Thresholds(steps=np.sort(steps.astype(np.int64), axis=1), out_type=out_type, out_bias=bias)


def _mvau(draw, rng, name, source, in_type, mw, *, last):
    mh = draw(st.one_of(st.integers(1, 20), st.integers(1, 140)))
    if draw(st.booleans()):
        weight_type = BIPOLAR
        weights = rng.choice(np.array([-1, 1], np.int8), (mh, mw))
    else:
        weight_type = DataType(draw(st.sampled_from(["INT2", "INT4", "INT8"])))
        weights = rng.integers(weight_type.minimum, weight_type.maximum + 1, (mh, mw)).astype(np.int8)
    bare = Mvau(name=name, input=source, in_type=in_type, weights=weights, weight_type=weight_type)
    fields = {}
    if not last or draw(st.booleans()):
        low, high = bare.accumulator_range
        spread = max(1, (high - low) // 8)
        middle = (low + high) // 2
        fields["thresholds"] = _thresholds(draw, rng, mh, middle - spread, middle + spread)
    elif draw(st.booleans()):
        fields["scale"] = rng.integers(-100, 100, mh)
        fields["bias"] = rng.integers(-(1 << 30), 1 << 30, mh)
    return Mvau(name=name, input=source, in_type=in_type, weights=weights, weight_type=weight_type, **fields)


@st.composite
def graphs(draw):
    """Any graph: every node kind and type, branches, nodes that nobody reads, sizes off the word grid."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 8, 64])))
    nodes = []
    streams = [(INPUT_TENSOR, UINT8, shape)]

    def add(node, node_shape):
        nodes.append(node)
        streams.append((node.name, node.out_type, node_shape))

    if draw(st.booleans()):
        thresholds = Thresholds(steps=rng.integers(-2, 259, (draw(st.sampled_from([1, shape[-1]])), 1)))
        binary = Thresholding(name="binary", input=INPUT_TENSOR, in_type=UINT8, thresholds=thresholds)
        add(binary, shape)
    for index in range(draw(st.integers(0, 5))):
        source, in_type, in_shape = streams[-1] if draw(st.integers(0, 4)) else draw(st.sampled_from(streams))
        name = f"node_{index}"
        match draw(st.sampled_from(["mvau", "mvau", "flatten", "thresholding"])):
            case "mvau":
                node = _mvau(draw, rng, name, source, in_type, in_shape[-1], last=draw(st.booleans()))
                if node.out_type.width_bits > 24:
                    continue
            case "flatten":
                node = Flatten(name=name, input=source, in_type=in_type)
            case _:
                low, high = max(in_type.minimum, -300), min(in_type.maximum, 300)
                thresholds = _thresholds(draw, rng, in_shape[-1], low, high)
                node = Thresholding(name=name, input=source, in_type=in_type, thresholds=thresholds)
        add(node, node.out_shape(in_shape))
    source, in_type, in_shape = streams[-1]
    if len(in_shape) > 1:
        flatten = Flatten(name="flatten", input=source, in_type=in_type)
        add(flatten, flatten.out_shape(in_shape))
    source, in_type, in_shape = streams[-1]
    node = _mvau(draw, rng, "last", source, in_type, in_shape[-1], last=True)
    add(node, node.out_shape(in_shape))
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes))


def _images(graph, count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *graph.input_shape)).astype(np.uint8)


def _mlp(sizes, *, binarised, seed=0):
    rng = np.random.default_rng(seed)
    nodes = []
    source, stream = INPUT_TENSOR, UINT8
    if binarised:
        at_128 = Thresholds(steps=np.array([[128]], np.int64))
        nodes.append(Thresholding(name="thresholding_0", input=source, in_type=UINT8, thresholds=at_128))
        source, stream = "thresholding_0", BIPOLAR
    nodes.append(Flatten(name="flatten_0", input=source, in_type=stream))
    source = "flatten_0"
    for index, (mw, mh) in enumerate(itertools.pairwise(sizes)):
        thresholds = None
        if index < len(sizes) - 2:
            thresholds = Thresholds(steps=rng.integers(-20, 20, (mh, 1)))
        weights = rng.choice(np.array([-1, 1], np.int8), (mh, mw))
        name = f"mvau_{index}"
        nodes.append(Mvau(name=name, input=source, in_type=stream, weights=weights, thresholds=thresholds))
        source, stream = name, BIPOLAR
    return DataflowGraph(input_shape=(sizes[0], 1, 1), nodes=tuple(nodes))


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    graph=graphs(),
    count=st.sampled_from([0, 1, 2, 3, 4, 5, 9]),
    threads=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_equals_the_golden_model(library, isa, graph, count, threads, seed):
    images = _images(graph, count, seed)
    golden = ReferenceTarget(graph)
    target = EmulatorTarget(graph, isa=isa, threads=threads, library=library)
    np.testing.assert_array_equal(target.infer(images).logits, golden.infer(images).logits)
    expected, traced = golden.trace(images), target.trace(images)
    assert list(traced) == list(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(traced[name], values, err_msg=name)
        assert traced[name].dtype == np.int64


@pytest.mark.parametrize("binarised", [True, False], ids=["binary", "uint8"])
@pytest.mark.parametrize(
    "sizes",
    [(1, 1, 1), (784, 64, 64, 64, 10), (65, 63, 2), (64, 8, 8), (2048, 33, 10), (2000, 7, 257, 12)],
    ids=str,
)
def test_multilayer_perceptrons(library, isa, sizes, binarised):
    graph = _mlp(sizes, binarised=binarised)
    images = _images(graph, 133)
    target = EmulatorTarget(graph, isa=isa, threads=2, library=library)
    np.testing.assert_array_equal(target.infer(images).logits, ReferenceTarget(graph).infer(images).logits)


def test_extreme_inputs_and_weights(library, isa):
    for sign in (-1, 1):
        weights = np.full((9, 4000), sign, np.int8)
        for level in (0, 255):
            graph = DataflowGraph(
                input_shape=(1, 1, 4000),
                nodes=(
                    Flatten(name="flat", input=INPUT_TENSOR, in_type=UINT8),
                    Mvau(name="last", input="flat", in_type=UINT8, weights=weights),
                ),
            )
            images = np.full((5, 1, 1, 4000), level, np.uint8)
            target = EmulatorTarget(graph, isa=isa, library=library)
            assert np.all(target.infer(images).logits == sign * level * 4000)


def test_input_thresholds_at_the_ends_of_the_byte(library, isa):
    steps = np.array([[-5], [0], [1], [255], [256], [1 << 40]], np.int64)
    graph = DataflowGraph(
        input_shape=(17, 16, 6),
        nodes=(
            Thresholding(
                name="binary", input=INPUT_TENSOR, in_type=UINT8, thresholds=Thresholds(steps=steps)
            ),
            Flatten(name="flat", input="binary", in_type=BIPOLAR),
        ),
    )
    values = (
        ((np.arange(272) + 240) % 256).astype(np.uint8).reshape(1, 17, 16, 1)
    )  # 255 in the last half word
    images = np.ascontiguousarray(np.broadcast_to(values, (3, 17, 16, 6)))
    logits = EmulatorTarget(graph, isa=isa, library=library).infer(images).logits
    np.testing.assert_array_equal(logits, ReferenceTarget(graph).infer(images).logits)
    assert (logits > 0).reshape(3, 272, 6).sum(axis=1).tolist() == [[272, 272, 271, 2, 0, 0]] * 3


def test_scale_and_bias_may_wrap_on_the_way(library, isa):
    """Offset and factor leave 64 bits here, the logits do not."""
    weights = np.ones((3, 3), np.int8)
    scale = np.array([1 << 58, -(1 << 58), 1], np.int64)
    bias = np.array([-(1 << 59), 1 << 59, 7], np.int64)
    graph = DataflowGraph(
        input_shape=(1, 1, 3),
        nodes=(
            Thresholding(
                name="binary",
                input=INPUT_TENSOR,
                in_type=UINT8,
                thresholds=Thresholds(steps=np.array([[128]], np.int64)),
            ),
            Flatten(name="flat", input="binary", in_type=BIPOLAR),
            Mvau(name="last", input="flat", in_type=BIPOLAR, weights=weights, scale=scale, bias=bias),
        ),
    )
    images = _images(graph, 50)
    target = EmulatorTarget(graph, isa=isa, library=library)
    np.testing.assert_array_equal(target.infer(images).logits, ReferenceTarget(graph).infer(images).logits)


@pytest.mark.parametrize("count", [1, 127, 128, 129, 1000])
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_any_batch_on_any_number_of_threads(library, count, threads):
    graph = _mlp((20, 24, 10), binarised=True)
    images = _images(graph, count)
    target = EmulatorTarget(graph, threads=threads, library=library)
    np.testing.assert_array_equal(target.infer(images).logits, ReferenceTarget(graph).infer(images).logits)


def test_one_target_serves_several_python_threads(library):
    graph = _mlp((100, 64, 10), binarised=True)
    target = EmulatorTarget(graph, threads=2, library=library)
    batches = [_images(graph, 700, seed) for seed in range(4)]
    results = {}

    def work(index):
        for _ in range(10):
            results[index] = target.infer(batches[index]).logits

    workers = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for index, images in enumerate(batches):
        np.testing.assert_array_equal(results[index], ReferenceTarget(graph).infer(images).logits)


def test_trace_shows_what_the_native_layers_computed(library):
    """A defect in the native constants must appear in the trace: nothing is recomputed in Python."""
    graph = _mlp((100, 64, 32, 10), binarised=True)
    target = EmulatorTarget(graph, library=library)
    images = _images(graph, 20)
    weights = graph.nodes[2].weights
    original = weights.copy()
    weights *= -1
    try:
        traced = target.trace(images)
    finally:
        weights[:] = original
    golden = ReferenceTarget(graph).trace(images)
    np.testing.assert_array_equal(traced["flatten_0"], golden["flatten_0"])
    assert np.any(traced["mvau_0"] != golden["mvau_0"])


def test_is_a_tracing_target(library):
    target = EmulatorTarget(_mlp((4, 3), binarised=True), library=library)
    assert isinstance(target, TracingTarget)
    assert (target.name, target.kind) == ("emulator", TargetKind.SIMULATION)


def test_refuses_float_images_and_wrong_shapes(library):
    graph = _mlp((4, 3), binarised=True)
    target = EmulatorTarget(graph, library=library)
    with pytest.raises(InputError, match="uint8"):
        target.infer(np.zeros((1, 4, 1, 1)))
    with pytest.raises(InputError, match="shape"):
        target.infer(np.zeros((1, 4, 2, 1), np.uint8))


def test_accepts_strided_images(library):
    graph = _mlp((10, 5), binarised=False)
    images = _images(graph, 14)
    target = EmulatorTarget(graph, library=library)
    np.testing.assert_array_equal(target.infer(images[::2]).logits, target.infer(images).logits[::2])


def test_misuse_is_refused(library):
    graph = _mlp((4, 3), binarised=True)
    with pytest.raises(ValueError, match="threads"):
        EmulatorTarget(graph, threads=0, library=library)
    with pytest.raises(ValueError, match="sse9"):
        EmulatorTarget(graph, isa="sse9", library=library)


def test_an_instruction_set_that_is_not_there_is_an_input_error(library, monkeypatch):
    monkeypatch.setattr(type(library), "supports", lambda self, isa: isa == "portable")
    assert library.choose_isa(None) == "portable"
    with pytest.raises(InputError, match="avx512"):
        library.choose_isa("avx512")


def test_steps_match_the_header():
    header = files("hw.emulator").joinpath("native/steps.hpp").read_text()
    struct = header[header.index("struct Step {") : header.index("};", header.index("struct Step {"))]
    assert tuple(re.findall(r"int64_t (\w+);", struct)) == STEP_FIELDS
    kinds = re.findall(r"^  k(\w+) = (\d+),", header, re.MULTILINE)
    names = [re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name, _ in kinds]
    assert tuple(names) == STEP_KINDS
    assert [int(number) for _, number in kinds] == list(range(len(STEP_KINDS)))


def test_the_limit_of_the_machine_can_be_timed(library, isa):
    macs = library.popcount_macs(isa, 1000)
    assert macs > 0
    assert library.popcount_macs(isa, 3000) == 3 * macs
    start = time.perf_counter()
    library.popcount_macs(isa, 3_000_000_000 // macs * 1000)
    # A loop that the compiler has thrown away would be faster than any machine.
    assert 3e9 / (time.perf_counter() - start) < 1e13


def test_the_clock_can_be_timed(library):
    start = time.perf_counter()
    adds = library.dependent_adds(1_000_000)
    assert adds / (time.perf_counter() - start) < 1e10
