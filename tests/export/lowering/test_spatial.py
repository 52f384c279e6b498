"""Convolutions, pools and pads: every stream and every logit equals onnxruntime's and qonnx's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from export.errors import LoweringError
from export.graph import FmPadding, Pool, Swg

RNG = np.random.default_rng(11)
IMAGES = RNG.integers(0, 256, (24, 7, 6, 3), dtype=np.uint8)
QONNX = "qonnx.custom_op.general"

Write = Callable[[Any], str]


def signs(b: Any) -> str:
    return b.bipolar(b.node("Sub", "x", b.const(0.5)))


def codes(b: Any, offset: float = 128.0) -> str:
    whole = b.node("Round", b.node("Mul", "x", b.const(255.0)))
    return b.node("Mul", b.node("Sub", whole, b.const(offset)), b.const(2.0**-7))


def conv(b: Any, x: str, weights: Any, scale: Any = 1.0, **attributes: Any) -> str:
    return b.node("Conv", x, b.bipolar(b.const(weights), scale), **attributes)


def quant(b: Any, x: str, scale: float, bits: int, signed: int = 0) -> str:
    parameters = [b.const(value) for value in (scale, 0.0, bits)]
    return b.node("Quant", x, *parameters, domain=QONNX, signed=signed, narrow=0, rounding_mode="ROUND")


def dense(b: Any, x: str, features: int) -> str:
    return b.dense(b.flatten(x), np.random.default_rng(features).normal(size=(4, features)))


def weights(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def column(*values: float) -> Any:
    return np.reshape(np.asarray(values, np.float32), (1, -1, 1, 1))


def kinds(lowered: Any) -> list[str]:
    return [node.name for node in lowered.graph.nodes]


def test_a_convolution_of_signs_with_zero_pads(exact: Any) -> None:
    def write(b: Any) -> str:
        x = conv(b, signs(b), weights(5, 3, 3, 3), pads=[1, 1, 1, 1])
        x = b.bipolar(b.node("Add", x, b.const(column(0.5, -1.0, 0.0, 3.0, -2.5))))
        return dense(b, x, 5 * 7 * 6)

    lowered = exact(write)
    assert kinds(lowered) == ["thresholding_0", "fmpadding_0", "swg_0", "mvau_0", "flatten_0", "mvau_1"]
    assert lowered.graph.nodes[1].out_type.name == "TERNARY"
    assert lowered.graph.nodes[3].source is not None


def test_columns_are_in_the_order_of_windows(exact: Any) -> None:
    latent = weights(4, 3, 2, 3)

    def write(b: Any) -> str:
        return dense(b, b.bipolar(conv(b, signs(b), latent, strides=[2, 1])), 4 * 3 * 4)

    mvau = next(iter(exact(write).graph.mvaus))
    wanted = np.where(latent >= 0, 1, -1).transpose(0, 2, 3, 1).reshape(4, -1)
    np.testing.assert_array_equal(mvau.weights, wanted)


@st.composite
def networks(draw: st.DrawFn) -> tuple[Any, Write]:
    """Two convolutions with any window, a pool at any place, Relu, BatchNorm of any slope."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    channels = draw(st.integers(1, 3))
    images = rng.integers(0, 256, (6, draw(st.integers(5, 8)), draw(st.integers(5, 8)), channels), np.uint8)
    layers: list[dict[str, Any]] = []
    size, fan_in = images.shape[1:3], channels
    for _ in range(2):
        kernel = [draw(st.integers(1, min(3, side))) for side in size]
        stride = [draw(st.integers(1, 2)) for _ in range(2)]
        pads = [draw(st.integers(0, 2)) for _ in range(4)]
        out = draw(st.integers(1, 5))
        size = [
            (size[axis] + pads[axis] + pads[axis + 2] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1)
        ]
        pool = draw(st.sampled_from(["none", "before", "middle", "after"])) if min(size) >= 2 else "none"
        layers.append(
            {
                "weights": rng.normal(size=(out, fan_in, *kernel)),
                "window": {"strides": stride, "pads": pads},
                "scale": rng.choice([0.5, 1.0, 2.0], (out, 1, 1, 1)) if draw(st.booleans()) else 1.0,
                "bias": rng.integers(-3, 4, out).astype(np.float32) if draw(st.booleans()) else None,
                "gamma": rng.normal(size=(1, out, 1, 1)),
                "beta": rng.normal(size=(1, out, 1, 1)),
                "relu": draw(st.booleans()),
                "pool": pool,
                "levels": draw(st.sampled_from([0, 0, 2, 3, 8])),
                "signed": draw(st.integers(0, 1)),
            }
        )
        if pool != "none":
            size = [side // 2 for side in size]
        fan_in = out
    binary = draw(st.booleans())

    def write(b: Any) -> str:
        x = signs(b) if binary else codes(b, 128.0)
        for layer in layers:
            x = _layer(b, x, layer)
        return dense(b, x, int(np.prod([*size, fan_in])))

    return images, write


def _layer(b: Any, x: str, layer: dict[str, Any]) -> str:
    def pool(place: str, x: str) -> str:
        wanted = layer["pool"] == place
        return b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]) if wanted else x

    bias = [] if layer["bias"] is None else [b.const(layer["bias"])]
    latent = b.bipolar(b.const(layer["weights"]), layer["scale"])
    x = pool("before", b.node("Conv", x, latent, *bias, **layer["window"]))
    if layer["relu"]:
        x = b.node("Relu", x)
    x = b.node("Mul", x, b.const(layer["gamma"]))
    x = pool("middle", b.node("Add", x, b.const(layer["beta"])))
    x = quant(b, x, 0.5, layer["levels"], layer["signed"]) if layer["levels"] else b.bipolar(x)
    return pool("after", x)


@settings(max_examples=40)
@given(network=networks())
def test_random_networks(network: tuple[Any, Write], exact: Any) -> None:
    images, write = network
    try:
        lowered = exact(write, images)
    except LoweringError as error:
        # A quantiser may turn all of a small random layer into one or two values, or skip some of its own.
        if not any(reason in error.message for reason in ("the value", "leaves out levels", "no code")):
            raise
        reject()
    assert any(isinstance(node, Swg) for node in lowered.graph.nodes)


@pytest.mark.parametrize(("offset", "code"), [(128.0, 128), (0.0, 0)])
def test_images_are_padded_with_the_code_of_zero(exact: Any, offset: float, code: int) -> None:
    def write(b: Any) -> str:
        x = conv(b, codes(b, offset), weights(4, 3, 3, 3), pads=[1, 0, 2, 1])
        return dense(b, b.bipolar(x), 4 * 8 * 5)

    node = exact(write).graph.nodes[0]
    assert isinstance(node, FmPadding)
    assert (node.value, node.pads, node.out_type.name) == (code, (1, 0, 2, 1), "UINT8")


@pytest.mark.parametrize("value", [-1.0, 1.0])
@pytest.mark.parametrize("opset", [10, 13])
def test_an_explicit_pad_keeps_one_bit(exact: Any, builder: Any, value: float, opset: int) -> None:
    sizes = [0, 0, 1, 2, 0, 0, 1, 0]

    def write(b: Any) -> str:
        b.opset = opset
        x = signs(b)
        if opset < 11:
            x = b.node("Pad", x, pads=sizes, value=value)
        else:
            x = b.node("Pad", x, b.const(sizes, np.int64), b.const(value))
        return dense(b, b.bipolar(conv(b, x, weights(4, 3, 2, 2))), 4 * 8 * 7)

    node = exact(write).graph.nodes[1]
    assert isinstance(node, FmPadding)
    assert (node.value, node.pads, node.out_type.name) == (int(value), (1, 2, 1, 0), "BIPOLAR")


def test_a_pool_with_pads_never_lets_them_win(exact: Any) -> None:
    def write(b: Any) -> str:
        x = b.bipolar(conv(b, signs(b), weights(4, 3, 3, 3)))
        x = b.node("MaxPool", x, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 1, 1, 0])
        return dense(b, x, 4 * 3 * 4)

    node = exact(write).graph.nodes[3]
    assert isinstance(node, FmPadding)
    assert node.value == -1


def test_a_minimum_behind_a_pool_inverts_its_channels(exact: Any) -> None:
    """A BatchNorm with a negative factor between pool and sign: the next layer's weights are turned."""
    latent = weights(4, 2, 1, 1)

    def write(b: Any) -> str:
        x = conv(b, signs(b), weights(2, 3, 3, 3))
        x = b.node("MaxPool", x, kernel_shape=[2, 2])
        x = b.bipolar(b.node("Add", b.node("Mul", x, b.const(column(2.0, -1.0))), b.const(0.5)))
        return dense(b, b.bipolar(conv(b, x, latent)), 4 * 4 * 3)

    lowered = exact(write)
    assert any(isinstance(node, Pool) for node in lowered.graph.nodes)
    second = list(lowered.graph.mvaus)[1]
    turned = np.where(latent[:, :, 0, 0] >= 0, 1, -1) * np.asarray([1, -1])
    np.testing.assert_array_equal(second.weights, turned)


@pytest.mark.parametrize(("bits", "signed", "name"), [(2, 0, "UINT2"), (8, 0, "UINT8"), (4, 1, "INT4")])
def test_activations_of_several_levels(exact: Any, bits: int, signed: int, name: str) -> None:
    images = RNG.integers(0, 256, (60, 4, 4, 3), dtype=np.uint8)

    def write(b: Any) -> str:
        x = conv(b, codes(b), weights(6, 3, 3, 3), pads=[1, 1, 1, 1])
        x = b.node("Mul", x, b.const(column(1.5, -2.0, 0.7, 3.0, 1.0, -0.3)))
        return dense(b, quant(b, x, 0.0625 * 4 / bits, bits, signed), 6 * 16)

    first = next(iter(exact(write, images).graph.mvaus))
    assert first.out_type.name == name
    assert first.source is not None


def test_small_integer_weights_and_a_scale_for_each_layer(exact: Any) -> None:
    latent = RNG.integers(-3, 4, (4, 3, 3, 3)) * 0.25

    def write(b: Any) -> str:
        x = b.node("Mul", b.node("Conv", signs(b), b.const(latent), pads=[1, 1, 1, 1]), b.const(0.125))
        return dense(b, b.bipolar(b.node("Sub", x, b.const(0.1))), 4 * 7 * 6)

    assert next(iter(exact(write).graph.mvaus)).weight_type.name == "INT3"


def test_a_last_convolution_over_the_whole_map_is_a_dense_layer(exact: Any) -> None:
    def write(b: Any) -> str:
        return b.flatten(conv(b, signs(b), weights(5, 3, 7, 6)))

    assert kinds(exact(write)) == ["thresholding_0", "flatten_0", "mvau_0"]


def refusals() -> list[Any]:
    w = weights(4, 3, 3, 3)

    def end(b: Any, x: str) -> str:
        return dense(b, b.bipolar(x), 4 * 5 * 4)

    def pooled(b: Any, activation: Any, **attributes: Any) -> str:
        x = b.node("MaxPool", conv(b, signs(b), w), kernel_shape=[2, 2], **attributes)
        return dense(b, activation(b, x), 4 * 4 * 3)

    return [
        (lambda b: end(b, conv(b, signs(b), w, dilations=[2, 2])), "dilated"),
        (lambda b: end(b, conv(b, signs(b), weights(3, 1, 3, 3), group=2)), "in 2 groups"),
        (lambda b: end(b, conv(b, signs(b), weights(4, 2, 3, 3))), "for 3 channels"),
        (lambda b: end(b, conv(b, signs(b), weights(4, 3, 8, 3))), "window of 8x3"),
        (lambda b: end(b, conv(b, signs(b), w, pads=[-1, 0, 0, 0])), "has pads"),
        (lambda b: end(b, conv(b, signs(b), w, pads=[4000, 4000, 4000, 4000])), "elements"),
        (lambda b: end(b, conv(b, signs(b), w, strides=[0, 1])), "strides"),
        (lambda b: end(b, conv(b, signs(b), w, auto_pad="ODD")), "auto_pad"),
        (
            lambda b: dense(b, b.bipolar(conv(b, codes(b, 127.5), w, pads=[1, 1, 1, 1], strides=[2, 2])), 48),
            "no code",
        ),
        (lambda b: end(b, conv(b, b.flatten(signs(b)), w)), "no feature map"),
        (lambda b: conv(b, signs(b), w), "leaves a feature map"),
        (lambda b: b.node("MaxPool", dense(b, signs(b), 126), kernel_shape=[1]), "no feature map"),
        (lambda b: pooled(b, lambda b, x: b.bipolar(x), ceil_mode=1), "ceil_mode"),
        (lambda b: pooled(b, lambda b, x: b.bipolar(x), pads=[2, 0, 0, 0]), "as large as its window"),
        (lambda b: pooled(b, lambda b, x: b.bipolar(b.node("Sub", b.node("Abs", x), b.const(5.0)))), "both"),
        (
            lambda b: end(b, b.node("Add", conv(b, signs(b), w), b.const(weights(1, 4, 5, 4)))),
            "pixel to pixel",
        ),
        (lambda b: end(b, b.node("GlobalLpPool", conv(b, signs(b), w))), "does not have"),
        (lambda b: dense(b, quant(b, conv(b, signs(b), w), 0.3, 8), 4 * 5 * 4), "power-of-two scale"),
        (lambda b: dense(b, conv(b, conv(b, signs(b), w), weights(4, 4, 1, 1)), 80), "without a sign"),
        (lambda b: end(b, b.node("Pad", signs(b), mode="reflect", pads=[0] * 8)), "reflect"),
    ]


@pytest.mark.parametrize(("write", "reason"), refusals())
def test_refusals(refused: Any, write: Write, reason: str) -> None:
    error = refused(write, shape=(1, 3, 7, 6))
    assert reason in error.message + error.hint
    assert error.context["node"]


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_automatic_pads(exact: Any, mode: str) -> None:
    def write(b: Any) -> str:
        x = conv(b, signs(b), weights(4, 3, 2, 4), auto_pad=mode, strides=[2, 1])
        return dense(b, b.bipolar(x), 4 * 4 * 6)

    assert exact(write).graph.nodes[1].name == "fmpadding_0"


def test_a_minimum_of_several_levels(exact: Any) -> None:
    def write(b: Any) -> str:
        x = conv(b, signs(b), weights(3, 3, 3, 3))
        x = b.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = b.node("Mul", x, b.const(column(0.25, -0.25, -0.125)))
        return dense(b, quant(b, x, 0.5, 2), 3 * 2 * 2)

    lowered = exact(write)
    assert next(iter(lowered.graph.mvaus)).out_type.name == "UINT2"
