"""Every verdict equals what trying all images of the ball gives, on networks small enough for that."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.verify.network import sign_network
from attacks.verify.verdict import Status, Verdict, verdict_from_shard
from attacks.verify.verifier import SOLVERS, Settings, Verifier
from export.datatypes import BIPOLAR, UINT8, DataType
from export.errors import InputError, LoweringError
from export.graph import (
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

INT2 = DataType("INT2")


def pm1(draw, rows, columns):
    return draw.choice(np.array([-1, 1], np.int8), (rows, columns))


def dense(seed, *, shape=(2, 3, 1), levels=1, ternary=False, affine=False, raw=False):
    """Two hidden layers of 5 and 4 neurons, 3 classes; pixels of 2 or more levels, or raw."""
    draw = np.random.default_rng(seed)
    pixels = int(np.prod(shape))
    nodes, stream, kind = [], "images", UINT8
    if not raw:
        steps = np.sort(draw.integers(90, 170, (1, levels)))
        thresholds = (
            Thresholds(steps=steps)
            if levels == 1
            else Thresholds(steps=steps, out_type=DataType("INT4"), out_bias=-2)
        )
        nodes.append(Thresholding(name="in", input=stream, in_type=kind, thresholds=thresholds))
        stream, kind = "in", thresholds.out_type
    nodes.append(Flatten(name="flat", input=stream, in_type=kind))
    stream = "flat"
    for place, (inputs, neurons) in enumerate(((pixels, 5), (5, 4))):
        weights = pm1(draw, neurons, inputs)
        if ternary:
            weights = weights * draw.integers(0, 2, weights.shape, np.int8)
        spread = 300 if raw and place == 0 else 3
        nodes.append(
            Mvau(
                name=f"hidden_{place}",
                input=stream,
                in_type=kind,
                weights=weights,
                weight_type=INT2 if ternary else BIPOLAR,
                thresholds=Thresholds(steps=draw.integers(-spread, spread, (neurons, 1))),
            )
        )
        stream, kind = f"hidden_{place}", BIPOLAR
    extra = {"scale": draw.integers(-3, 4, 3), "bias": draw.integers(-4, 5, 3)} if affine else {}
    nodes.append(Mvau(name="out", input=stream, in_type=BIPOLAR, weights=pm1(draw, 3, 4), **extra))
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes))


def convolution(seed):
    """Binarised 4x4 image, a border, 3x3 windows at stride 1, a 2x2 maximum, then dense."""
    draw = np.random.default_rng(seed)
    one = Thresholds(steps=np.array([[128]]))
    return DataflowGraph(
        input_shape=(4, 4, 1),
        nodes=(
            Thresholding(name="in", input="images", in_type=UINT8, thresholds=one),
            FmPadding(name="pad", input="in", in_type=BIPOLAR, pads=(1, 1, 1, 1), value=-1),
            Swg(name="swg", input="pad", in_type=BIPOLAR, kernel=(3, 3)),
            Mvau(
                name="conv",
                input="swg",
                in_type=BIPOLAR,
                weights=pm1(draw, 3, 9),
                thresholds=Thresholds(steps=draw.integers(-3, 4, (3, 1))),
            ),
            Pool(name="pool", input="conv", in_type=BIPOLAR, kernel=(2, 2), stride=(2, 2)),
            Flatten(name="flat", input="pool", in_type=BIPOLAR),
            Mvau(name="out", input="flat", in_type=BIPOLAR, weights=pm1(draw, 3, 12)),
        ),
    )


def image_near(draw, shape, free):
    """An image in which ``free`` pixels are near the thresholds and the others far away."""
    image = draw.choice(np.array([0, 255], np.uint8), shape)
    places = draw.choice(image.size, min(free, image.size), replace=False)
    image.ravel()[places] = draw.integers(110, 150, len(places))
    return image


def is_robust(graph, image, radius, values):
    """Try every image of the ball whose pixels keep their value or take one of the given."""
    label = int(ReferenceTarget(graph).infer(image[None]).labels[0])
    flat = image.ravel().astype(int)
    ranges = [sorted({v for v in values if abs(v - p) <= radius} | {p}) for p in flat]
    images = np.array(list(itertools.product(*ranges)), np.uint8).reshape(-1, *image.shape)
    return bool(np.all(ReferenceTarget(graph).infer(images).labels == label)), label


def check(graph, image, radius, values, **options):
    robust, label = is_robust(graph, image, radius, values)
    verdict = Verifier(graph, Settings(**options)).verify(image, label, radius)
    assert verdict.status == (Status.CERTIFIED if robust else Status.ATTACKED), verdict
    if not robust:
        assert verdict.adversarial is not None
        assert np.abs(verdict.adversarial.astype(int) - image.ravel()).max() <= radius


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    solver=st.sampled_from(SOLVERS),
    climb=st.booleans(),
    substitute=st.booleans(),
    ternary=st.booleans(),
    affine=st.booleans(),
)
def test_one_bit_pixels(seed, solver, climb, substitute, ternary, affine):
    graph = dense(seed, shape=(3, 3, 1), ternary=ternary, affine=affine)
    image = image_near(np.random.default_rng(seed), (3, 3, 1), 7)
    step = int(graph.nodes[0].thresholds.steps[0, 0])
    options = {"solvers": (solver, "cpsat"), "climb": climb, "substitute": substitute}
    check(graph, image, 25, (step - 1, step), **options)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), solver=st.sampled_from(("exhaust", "glucose4", "cpsat")))
def test_pixels_of_several_levels(seed, solver):
    graph = dense(seed, levels=3)
    image = np.random.default_rng(seed).integers(100, 160, (2, 3, 1), np.uint8)
    steps = graph.nodes[0].thresholds.steps[0].tolist()
    values = [step + d for step in steps for d in (-1, 0)]
    check(graph, image, 30, values, solvers=(solver,), climb=False)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), solver=st.sampled_from(("exhaust", "glucose4", "cpsat")))
def test_raw_pixels(seed, solver):
    graph = dense(seed, shape=(2, 2, 1), raw=True)
    image = np.random.default_rng(seed).integers(0, 256, (2, 2, 1), np.uint8)
    check(graph, image, 2, range(256), solvers=(solver,), climb=False)


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), solver=st.sampled_from(("exhaust", "minicard", "glucose4", "cpsat")))
def test_convolutions(seed, solver):
    graph = convolution(seed)
    image = image_near(np.random.default_rng(seed), (4, 4, 1), 8)
    check(graph, image, 25, (127, 128), solvers=(solver,), climb=False)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=10)
def test_the_matrices_are_the_network(seed):
    for graph in (dense(seed, levels=2, affine=True), dense(seed, raw=True), convolution(seed)):
        network = sign_network(graph)
        images = np.random.default_rng(seed).integers(0, 256, (20, *graph.input_shape), np.uint8)
        levels = network.levels
        reached = (images.reshape(20, -1, 1) >= levels.steps).sum(axis=2)
        values = levels.base + levels.stride * reached
        for layer in network.layers:
            values = np.where(values @ layer.weights.T >= layer.thresholds, 1, -1)
        found = values @ network.weights.T + network.bias
        np.testing.assert_array_equal(found, ReferenceTarget(graph).infer(images).logits)


def test_a_tie_goes_to_the_lower_class():
    """Both logits are equal after the flip: class 0 wins from class 1, but class 1 not from class 0."""
    one = Thresholds(steps=np.array([[128]]))
    nodes = (
        Thresholding(name="in", input="images", in_type=UINT8, thresholds=one),
        Flatten(name="flat", input="in", in_type=BIPOLAR),
        Mvau(
            name="hidden",
            input="flat",
            in_type=BIPOLAR,
            weights=np.array([[1, 1], [1, -1]], np.int8),
            thresholds=Thresholds(steps=np.array([[1], [1]])),
        ),
        Mvau(name="out", input="hidden", in_type=BIPOLAR, weights=np.array([[1, 1], [1, 1]], np.int8)),
    )
    for bias, label, status in (([0, 1], 1, Status.CERTIFIED), ([0, 0], 0, Status.CERTIFIED)):
        out = Mvau(
            name="out",
            input="hidden",
            in_type=BIPOLAR,
            weights=np.array([[1, 1], [1, 1]], np.int8),
            bias=np.array(bias),
        )
        graph = DataflowGraph(input_shape=(1, 2, 1), nodes=(*nodes[:3], out))
        assert Verifier(graph).verify(np.full((1, 2, 1), 128, np.uint8), label, 5).status is status
    out = Mvau(
        name="out",
        input="hidden",
        in_type=BIPOLAR,
        weights=np.array([[-1, 1], [1, 1]], np.int8),
        bias=np.array([-1, 1]),
    )
    graph = DataflowGraph(input_shape=(1, 2, 1), nodes=(*nodes[:3], out))
    verdict = Verifier(graph).verify(np.full((1, 2, 1), 128, np.uint8), 1, 5)
    # Without the first neuron the logits are (-1 + 1 - 1, -1 - 1 + 1): both -1, and a tie is class 0's.
    assert (verdict.status, verdict.found) == (Status.ATTACKED, 0)


def test_a_misclassified_image_is_called_so(graph, images, labels):
    verdict = Verifier(graph).verify(images[0], (int(labels[0]) + 1) % 5, 3)
    assert verdict.status is Status.MISCLASSIFIED
    assert verdict.adversarial is None


def test_no_time_is_unknown():
    graph = dense(3, shape=(4, 4, 1))
    image = np.full((4, 4, 1), 128, np.uint8)
    label = Verifier(graph).classify(image)
    settings = Settings(time_limit_s=1e-9, climb=False, substitute=False, solvers=("cpsat",))
    verdict = Verifier(graph, settings).verify(image, label, 60)
    assert verdict.status is Status.UNKNOWN
    assert "cpsat" in verdict.reason


def test_what_has_no_signs_is_refused():
    draw = np.random.default_rng(0)
    linear = DataflowGraph(
        input_shape=(2, 2, 1),
        nodes=(
            Flatten(name="flat", input="images", in_type=UINT8),
            Mvau(name="out", input="flat", in_type=UINT8, weights=pm1(draw, 3, 4)),
        ),
    )
    with pytest.raises(LoweringError, match="out is the only layer"):
        sign_network(linear)
    levels = Thresholds(steps=np.array([[0, 2]]), out_type=DataType("UINT2"))
    wide = DataflowGraph(
        input_shape=(2, 2, 1),
        nodes=(
            Flatten(name="flat", input="images", in_type=UINT8),
            Mvau(name="many", input="flat", in_type=UINT8, weights=pm1(draw, 3, 4), thresholds=levels),
            Mvau(name="out", input="many", in_type=DataType("UINT2"), weights=pm1(draw, 3, 3)),
        ),
    )
    with pytest.raises(LoweringError, match=r"many .* more than a sign"):
        sign_network(wide)


def test_settings_are_checked():
    with pytest.raises(InputError, match="time limit"):
        Settings(time_limit_s=0)
    with pytest.raises(InputError, match="no solver 'z3'"):
        Settings(solvers=("z3",))


def test_a_verdict_survives_its_file():
    verdict = Verdict(
        image=3,
        label=1,
        predicted=1,
        radius=9,
        status=Status.ATTACKED,
        method="climb",
        adversarial=np.arange(12, dtype=np.uint8),
        found=2,
    )
    again = verdict_from_shard(verdict.to_shard())
    assert again.to_json() == verdict.to_json()
    np.testing.assert_array_equal(again.adversarial, verdict.adversarial)
    with pytest.raises(InputError, match="damaged"):
        verdict_from_shard({"image": 3})
