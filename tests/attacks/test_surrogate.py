from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.catalog import make_attack
from attacks.pgd import Pgd
from attacks.surrogate import Surrogate
from attacks.torch_target import TorchTarget
from export.datatypes import BIPOLAR, UINT8, DataType
from export.errors import InputError
from export.graph import (
    INPUT_TENSOR,
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
from hw.reference import ReferenceTarget


def _thresholds(draw, rows: int, low: int, high: int) -> Thresholds:
    """±1, or two bits signed or unsigned; some thresholds past the range."""
    out_type, levels, bias = draw(
        st.sampled_from([(BIPOLAR, 1, 0), (DataType("UINT2"), 3, 0), (DataType("INT3"), 4, -2)])
    )
    values = draw(st.lists(st.integers(low - 3, high + 4), min_size=rows * levels, max_size=rows * levels))
    steps = np.sort(np.array(values, np.int64).reshape(rows, levels), axis=1)
    return Thresholds(steps=steps, out_type=out_type, out_bias=bias)


@st.composite
def graphs(draw) -> DataflowGraph:
    shape = draw(st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)))
    nodes, stream, stream_type, width = [], INPUT_TENSOR, UINT8, int(np.prod(shape))
    if draw(st.booleans()):
        rows = draw(st.sampled_from([1, shape[2]]))
        node = Thresholding(
            name="thresholding_0", input=stream, in_type=UINT8, thresholds=_thresholds(draw, rows, 0, 255)
        )
        nodes.append(node)
        stream, stream_type = node.name, node.out_type
    nodes.append(Flatten(name="flatten_0", input=stream, in_type=stream_type))
    stream = "flatten_0"
    layers = draw(st.integers(1, 3))
    for index in range(layers):
        rows, weight_type = draw(st.integers(1, 6)), draw(st.sampled_from([BIPOLAR, DataType("INT4")]))
        seed = draw(st.integers(0, 1000))
        if weight_type == BIPOLAR:
            weights = np.random.default_rng(seed).choice(np.array([-1, 1], np.int8), (rows, width))
        else:
            weights = np.random.default_rng(seed).integers(-8, 8, (rows, width), dtype=np.int8)
        fields = {
            "name": f"mvau_{index}",
            "input": stream,
            "in_type": stream_type,
            "weights": weights,
            "weight_type": weight_type,
        }
        node = Mvau(**fields)
        if index < layers - 1:
            node = Mvau(**fields, thresholds=_thresholds(draw, rows, *node.accumulator_range))
        elif draw(st.booleans()):
            numbers = np.random.default_rng(seed + 1)
            node = Mvau(
                **fields, scale=numbers.integers(-20, 20, rows), bias=numbers.integers(-(10**5), 10**5, rows)
            )
        nodes.append(node)
        stream, stream_type, width = node.name, node.out_type, rows
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes))


@given(graph=graphs(), seed=st.integers(0, 1000))
@settings(max_examples=150)
def test_logits_and_layers_equal_the_reference(graph, seed):
    images = np.random.default_rng(seed).integers(0, 256, (7, *graph.input_shape), dtype=np.uint8)
    images[0], images[1] = 0, 255
    target = TorchTarget(Surrogate(graph), graph)
    expected = ReferenceTarget(graph).trace(images)
    np.testing.assert_array_equal(target.infer(images).logits, expected[graph.nodes[-1].name])
    for name, values in target.trace(images).items():
        np.testing.assert_array_equal(values, expected[name])


@given(graph=graphs())
@settings(max_examples=30)
def test_gradient_is_finite(graph):
    height, width, channels = graph.input_shape
    x = torch.rand(3, channels, height, width, requires_grad=True)
    Surrogate(graph)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


@st.composite
def convolutions(draw) -> DataflowGraph:
    """Pads, windows and a pool between thresholds of any kind, then a dense layer."""
    shape = (draw(st.integers(4, 7)), draw(st.integers(4, 7)), draw(st.integers(1, 3)))
    numbers = np.random.default_rng(draw(st.integers(0, 1000)))
    nodes, stream, stream_type, frame = [], INPUT_TENSOR, UINT8, shape

    def append(node):
        nonlocal stream, stream_type, frame
        nodes.append(node)
        stream, stream_type, frame = node.name, node.out_type, node.out_shape(frame)

    for index in range(2):
        if draw(st.booleans()):
            pads = draw(st.tuples(*[st.integers(0, 2)] * 4))
            value = draw(st.integers(stream_type.minimum, stream_type.maximum))
            append(
                FmPadding(
                    name=f"fmpadding_{index}", input=stream, in_type=stream_type, pads=pads, value=value
                )
            )
        kernel = tuple(draw(st.integers(1, min(3, side))) for side in frame[:2])
        stride = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        groups = draw(st.sampled_from([1, frame[2]]))
        append(
            Swg(
                name=f"swg_{index}",
                input=stream,
                in_type=stream_type,
                kernel=kernel,
                stride=stride,
                groups=groups,
            )
        )
        rows = groups * draw(st.integers(1, 3))
        weights = numbers.choice(np.array([-1, 1], np.int8), (rows, frame[-1] // groups))
        fields = {
            "name": f"mvau_{index}",
            "input": stream,
            "in_type": stream_type,
            "weights": weights,
            "groups": groups,
        }
        reach = Mvau(**fields).accumulator_range
        append(Mvau(**fields, thresholds=_thresholds(draw, rows, *reach)))
        if draw(st.booleans()):
            kernel = tuple(draw(st.integers(1, min(2, side))) for side in frame[:2])
            mode = draw(st.sampled_from(["max", "sum"]))
            append(
                Pool(
                    name=f"pool_{index}",
                    input=stream,
                    in_type=stream_type,
                    kernel=kernel,
                    stride=kernel,
                    mode=mode,
                )
            )
        if draw(st.booleans()) and stream_type.width_bits > 1:
            # A branch with thresholds of its own comes back.
            steps = np.sort(numbers.integers(stream_type.minimum, stream_type.maximum + 2, (1, 3)))
            thresholds = Thresholds(steps=steps, out_type=DataType("INT3"), out_bias=-1)
            fork, kind = stream, stream_type
            append(
                Thresholding(name=f"thresholding_{index}", input=fork, in_type=kind, thresholds=thresholds)
            )
            append(Add(name=f"add_{index}", input=stream, in_type=stream_type, other=fork, other_type=kind))
    append(Flatten(name="flatten_0", input=stream, in_type=stream_type))
    weights = numbers.choice(np.array([-1, 1], np.int8), (3, frame[0]))
    append(Mvau(name="mvau_2", input=stream, in_type=stream_type, weights=weights))
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes))


@given(graph=convolutions(), seed=st.integers(0, 1000))
@settings(max_examples=100)
def test_convolutions_equal_the_reference(graph, seed):
    images = np.random.default_rng(seed).integers(0, 256, (5, *graph.input_shape), dtype=np.uint8)
    target = TorchTarget(Surrogate(graph), graph)
    expected = ReferenceTarget(graph).trace(images)
    np.testing.assert_array_equal(target.infer(images).logits, expected[graph.nodes[-1].name])
    for name, values in target.trace(images).items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)


def _ramp(values: torch.Tensor, node, width: float) -> torch.Tensor:
    """Count thresholds of ``(..., channels)``; the gradient is that of the ramp over all of them."""
    steps = torch.from_numpy(node.thresholds.steps).double()
    low, high = (
        node.accumulator_range if isinstance(node, Mvau) else (node.in_type.minimum, node.in_type.maximum)
    )
    steps = steps.clamp(low, high + 1)
    stride, offset = (2, -1) if node.out_type.is_bipolar else (1, node.thresholds.out_bias)
    count = offset + stride * (values[..., None] >= steps).sum(-1)
    levels = steps.shape[1]
    spread = (steps[:, -1] - steps[:, 0]) / 2 * levels / max(1, levels - 1)
    half_width = spread.clamp_min(width)
    distance = values - ((steps[:, 0] + steps[:, -1]) / 2 - 0.5)
    inside = (distance.float() * (1 / half_width.float())).abs() < 1
    is_input = node.input == INPUT_TENSOR
    slope = (inside | is_input) * stride * levels / (2 * half_width)
    line = slope.detach() * values
    return count + (line - line.detach())


def _plainly(graph: DataflowGraph, x: torch.Tensor) -> torch.Tensor:
    """Compute the graph in float64 by torch's engine, window by window."""
    pixels = x.double() * 255
    pixels = pixels.detach().round() + (pixels - pixels.detach())
    streams = {INPUT_TENSOR: pixels.permute(0, 2, 3, 1)}
    for node in graph.nodes:
        values = streams[node.input]
        match node:
            case FmPadding():
                top, left, bottom, right = node.pads
                values = torch.nn.functional.pad(values, (0, 0, left, right, top, bottom), value=node.value)
            case Swg() | Pool():
                (high, wide), (down, across) = node.kernel, node.stride
                values = values.unfold(1, high, down).unfold(2, wide, across)
                if isinstance(node, Pool):
                    values = values.amax((4, 5)) if node.mode == "max" else values.sum((4, 5))
                else:
                    groups = values.unflatten(3, (node.groups, -1)).permute(0, 1, 2, 3, 5, 6, 4)
                    values = groups.flatten(3)
            case Add():
                values = values + streams[node.other]
            case Flatten():
                values = values.flatten(1)
            case Thresholding():
                values = _ramp(values, node, 1.0 if node.input != INPUT_TENSOR else 1e3)
            case Mvau():
                weights = torch.from_numpy(node.weights).double()
                parts = zip(values.chunk(node.groups, -1), weights.chunk(node.groups), strict=True)
                values = torch.cat([part @ rows.T for part, rows in parts], -1)
                if node.thresholds is not None:
                    values = _ramp(values, node, _WIDTH)
        streams[node.name] = values
    return streams[graph.nodes[-1].name]


_WIDTH = 2.25


@given(graph=convolutions(), seed=st.integers(0, 1000))
@settings(max_examples=60)
def test_gradients_equal_those_of_the_engine(graph, seed):
    """Directly, through torch's engine, and layer by layer where a hook looks on."""
    widths = {node.name: np.array(_WIDTH) for node in graph.mvaus}
    widths |= {node.name: np.array(1.0) for node in graph.nodes if isinstance(node, Thresholding)}
    surrogate = Surrogate(graph, half_widths=widths)
    height, width, channels = graph.input_shape
    numbers = np.random.default_rng(seed)
    position = torch.from_numpy(numbers.integers(0, 256, (3, channels, height, width))).float()
    rise = torch.from_numpy(numbers.normal(size=(3, graph.classes))).float()
    x = (position / 255).requires_grad_()
    (expected,) = torch.autograd.grad(_plainly(graph, x), x, rise.double() * 2.0**-surrogate.logit_exponent)
    _, (direct, twice) = surrogate.differentiate(position, lambda _: [rise, 2 * rise])
    (engine,) = torch.autograd.grad(surrogate(x), x, rise)
    handles = [sign.register_forward_hook(lambda *_: None) for sign in surrogate._signs]
    (watched,) = torch.autograd.grad(surrogate(x), x, rise)
    assert (surrogate.differentiate(position, lambda _: [rise]) is None) == bool(handles)
    for found in (direct, twice / 2, engine, watched):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)


@settings(max_examples=40, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 1000))
def test_images_that_look_alike_are_the_nearest_ones(graph, seed):
    numbers = np.random.default_rng(seed)
    twin, (height, width, channels) = Surrogate(graph), graph.input_shape
    seen, wanted = (
        torch.from_numpy(numbers.integers(0, 256, (2, channels, height, width)).astype(np.float32))
        for _ in range(2)
    )
    alike = twin.nearest_alike(seen, wanted)
    assert torch.equal(twin(alike / 255), twin(seen / 255))
    assert twin.knows_alike == isinstance(graph.nodes[0], Thresholding)
    if not twin.knows_alike:
        assert torch.equal(alike, seen)
        return
    # One level nearer, and a threshold is crossed.
    steps = torch.from_numpy(graph.nodes[0].thresholds.steps).float()[:, :, None, None, None]

    def reached(values):
        planes = values.permute(1, 0, 2, 3)[:, None]
        return (planes >= steps).sum(1)

    assert torch.equal(reached(alike), reached(seen))
    nearer = alike + (wanted - alike).sign()
    assert torch.all(
        (reached(nearer) != reached(seen)) | (nearer.permute(1, 0, 2, 3) == alike.permute(1, 0, 2, 3))
    )


def test_an_image_has_the_same_gradient_in_every_batch():
    """Whichever images come with it, as long as the batch has as many."""
    numbers = np.random.default_rng(3)
    graph = _paper_like(numbers)
    surrogate = Surrogate(graph)
    images = torch.from_numpy(numbers.integers(0, 256, (16, 1, 12, 12))).float()
    rise = torch.from_numpy(numbers.normal(size=(16, 3))).float()
    order = torch.from_numpy(numbers.permutation(16))
    _, (straight,) = surrogate.differentiate(images, lambda _: [rise])
    _, (shuffled,) = surrogate.differentiate(images[order], lambda _: [rise[order]])
    assert straight.abs().sum() > 0
    assert torch.equal(straight[order], shuffled)


def _paper_like(numbers: np.random.Generator) -> DataflowGraph:
    """Two strided convolutions, padding at the image."""

    def signs(*shape: int) -> np.ndarray:
        return numbers.choice(np.array([-1, 1], np.int8), shape)

    def around(rows: int, centre: int) -> Thresholds:
        return Thresholds(steps=np.full((rows, 1), centre, np.int64))

    return DataflowGraph(
        input_shape=(12, 12, 1),
        nodes=(
            FmPadding(name="pad", input=INPUT_TENSOR, in_type=UINT8, pads=(2, 2, 2, 2)),
            Swg(name="swg_0", input="pad", in_type=UINT8, kernel=(6, 6), stride=(2, 2)),
            Mvau(
                name="mvau_0", input="swg_0", in_type=UINT8, weights=signs(16, 36), thresholds=around(16, 0)
            ),
            Swg(name="swg_1", input="mvau_0", in_type=BIPOLAR, kernel=(3, 3), stride=(2, 2)),
            Mvau(
                name="mvau_1", input="swg_1", in_type=BIPOLAR, weights=signs(8, 144), thresholds=around(8, 0)
            ),
            Flatten(name="flatten", input="mvau_1", in_type=BIPOLAR),
            Mvau(name="mvau_2", input="flatten", in_type=BIPOLAR, weights=signs(3, 32)),
        ),
    )


def test_estimators_reach_the_signs(binarised_graph):
    """The hard tanh is the surrogate's own gradient; the identity is another one."""
    images = np.random.default_rng(0).integers(90, 166, (40, 3, 4, 2), dtype=np.uint8)
    labels = ReferenceTarget(binarised_graph).infer(images).labels
    found = {
        name: make_attack("pgd", eps=0.08, steps=5, estimator=name).craft(
            Surrogate(binarised_graph), images, labels
        )
        for name in ("model", "hardtanh", "identity", "bpda")
    }
    np.testing.assert_array_equal(found["model"].adversarial, found["hardtanh"].adversarial)
    for other in ("identity", "bpda"):
        assert np.any(found["model"].adversarial != found[other].adversarial)


def test_a_convolution_that_is_not_exact_is_not_used(monkeypatch):
    graph = _paper_like(np.random.default_rng(1))
    images = np.random.default_rng(2).integers(0, 256, (4, 12, 12, 1), dtype=np.uint8)
    convolve = torch.nn.functional.conv2d
    monkeypatch.setattr(torch.nn.functional, "conv2d", lambda *args, **kw: convolve(*args, **kw) + 2)
    found = TorchTarget(Surrogate(graph), graph).infer(images).logits
    np.testing.assert_array_equal(found, ReferenceTarget(graph).infer(images).logits)


def test_gradient_of_a_window_and_a_pool():
    """Only the window with the greatest pixel gets a gradient, and that is the kernel."""
    weights = np.array([[2, -1, 3, 4]], np.int8)
    graph = DataflowGraph(
        input_shape=(3, 3, 1),
        nodes=(
            Swg(name="swg_0", input=INPUT_TENSOR, in_type=UINT8, kernel=(2, 2)),
            Pool(name="pool_0", input="swg_0", in_type=UINT8, kernel=(2, 2), stride=(1, 1)),
            Flatten(name="flatten_0", input="pool_0", in_type=UINT8),
            Mvau(
                name="mvau_0",
                input="flatten_0",
                in_type=UINT8,
                weights=weights,
                weight_type=DataType("INT4"),
            ),
        ),
    )
    surrogate = Surrogate(graph)
    x = (torch.arange(9.0).reshape(1, 1, 3, 3) / 255).requires_grad_()
    surrogate(x).backward()
    expected = np.zeros((3, 3))
    expected[1:, 1:] = weights.reshape(2, 2) * 255.0 / 2**surrogate.logit_exponent
    np.testing.assert_array_equal(x.grad.numpy()[0, 0], expected)


def test_gradient_of_a_single_layer_is_its_weights():
    weights = np.array([[1, -1, 1]], np.int8)
    graph = DataflowGraph(
        input_shape=(1, 3, 1),
        nodes=(
            Flatten(name="flatten_0", input=INPUT_TENSOR, in_type=UINT8),
            Mvau(name="mvau_0", input="flatten_0", in_type=UINT8, weights=weights),
        ),
    )
    surrogate = Surrogate(graph)
    x = torch.full((1, 1, 1, 3), 0.4, requires_grad=True)
    surrogate(x).backward()
    expected = 255.0 * weights / 2**surrogate.logit_exponent
    np.testing.assert_array_equal(x.grad.numpy().reshape(1, 3), expected)


def test_attack_through_the_surrogate_fools_the_network(binarised_graph):
    images = np.random.default_rng(0).integers(90, 166, (200, 3, 4, 2), dtype=np.uint8)
    reference = ReferenceTarget(binarised_graph)
    labels = reference.infer(images).labels
    result = Pgd(eps=20 / 255).craft(Surrogate(binarised_graph), images, labels)
    fooled = reference.infer(result.adversarial).labels != labels
    np.testing.assert_array_equal(fooled, result.success)
    noise = np.random.default_rng(1).integers(-20, 21, images.shape)
    by_chance = reference.infer(np.clip(images + noise, 0, 255).astype(np.uint8)).labels != labels
    assert fooled.mean() > by_chance.mean() + 0.2


@pytest.mark.parametrize(
    "fields",
    [
        {"weights": np.full((2, 600), 127, np.int8), "weight_type": DataType("INT8")},
        {"weights": np.ones((2, 600), np.int8), "scale": np.array([1, 200])},
        {"weights": np.ones((2, 600), np.int8), "bias": np.array([-(1 << 24), 0])},
    ],
)
def test_sums_past_float32_are_refused(fields):
    node = Mvau(name="mvau_0", input="flatten_0", in_type=UINT8, **fields)
    graph = DataflowGraph(
        input_shape=(20, 30, 1),
        nodes=(Flatten(name="flatten_0", input=INPUT_TENSOR, in_type=UINT8), node),
    )
    with pytest.raises(InputError, match="mvau_0: values up to"):
        Surrogate(graph)


def test_gate_must_be_positive(binarised_graph):
    with pytest.raises(ValueError, match="gate"):
        Surrogate(binarised_graph, gate=0)
