from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from export.graph import Flatten, Mvau, Thresholding
from hw.reference import ReferenceTarget

RNG = np.random.default_rng(5)
IMAGES = np.concatenate([np.arange(256).reshape(-1, 2, 4, 1), RNG.integers(0, 256, (300, 2, 4, 1))]).astype(
    np.uint8
)
WEIGHTS = RNG.normal(size=(5, 8))
LAST = RNG.normal(size=(3, 5))


def network(prefix: Callable[[Any], str]) -> Callable[[Any], list[str]]:
    def write(b: Any) -> list[str]:
        hidden = b.bipolar(b.node("Add", b.dense(b.flatten(prefix(b)), WEIGHTS), b.const(0.125)))
        return [hidden, b.dense(hidden, LAST)]

    return write


def first(lowered: Any) -> Thresholding:
    node = lowered.graph.nodes[0]
    assert isinstance(node, Thresholding)
    return node


@pytest.mark.parametrize(
    ("cut", "threshold"), [(0.5, 128), (0.0, 0), (1.0, 255), (128 / 255, 128), (-3.0, 0)]
)
def test_a_sign_becomes_one_threshold(agree: Any, cut: float, threshold: int) -> None:
    lowered = agree(network(lambda b: b.bipolar(b.node("Sub", "x", b.const(cut)))), IMAGES)
    node = first(lowered)
    assert node.thresholds.steps.tolist() == [[threshold]]
    assert node.source is not None
    assert [type(node) for node in lowered.graph.nodes] == [Thresholding, Flatten, Mvau, Mvau]
    assert [node.name for node in lowered.graph.nodes] == ["thresholding_0", "flatten_0", "mvau_0", "mvau_1"]


def test_a_threshold_above_all_pixels(agree: Any) -> None:
    lowered = agree(network(lambda b: b.bipolar(b.node("Sub", "x", b.const(2.0)))), IMAGES)
    assert first(lowered).thresholds.steps.tolist() == [[256]]


def test_every_cut_is_where_float_division_puts_it(agree: Any) -> None:
    for code in (1, 3, 77, 254):
        cut = np.float32(code) / np.float32(255)
        for value, expected in ((cut, code), (np.nextafter(cut, np.float32(1)), code + 1)):
            lowered = agree(network(lambda b, v=value: b.bipolar(b.node("Sub", "x", b.const(v)))), IMAGES)
            assert first(lowered).thresholds.steps.tolist() == [[expected]]


def test_a_falling_sign_negates_the_columns(agree: Any) -> None:
    lowered = agree(network(lambda b: b.bipolar(b.node("Sub", b.const(0.3), "x"))), IMAGES)
    node = first(lowered)
    assert node.source is None
    assert node.thresholds.steps.tolist() == [[77]]


@pytest.mark.parametrize("scale", [0.25, -2.0, 3.0])
def test_scaled_signs(agree: Any, scale: float) -> None:
    agree(network(lambda b: b.bipolar(b.node("Sub", "x", b.const(0.4)), scale)), IMAGES)


def test_zero_and_one_fold_into_the_thresholds(agree: Any) -> None:
    def prefix(b: Any) -> str:
        sign = b.bipolar(b.node("Sub", "x", b.const(0.4)))
        return b.node("Mul", b.node("Add", sign, b.const(1.0)), b.const(0.5))

    assert first(agree(network(prefix), IMAGES)).out_type.is_bipolar


def grid(b: Any) -> str:
    return b.node("Round", b.node("Mul", "x", b.const(255.0)))


@pytest.mark.parametrize(
    "prefix",
    [
        grid,
        lambda b: b.node("Mul", b.node("Sub", grid(b), b.const(128.0)), b.const(2.0**-7)),
        lambda b: b.node("Sub", b.node("Mul", grid(b), b.const(2.0**-7)), b.const(1.0)),
        lambda b: b.node("Sub", b.const(255.0), grid(b)),
        lambda b: b.node("Sub", b.node("Mul", grid(b), b.const(2.0)), b.const(255.0)),
        lambda b: b.node("Div", grid(b), b.const(-4.0)),
        lambda b: b.node("Identity", b.node("Mul", "x", b.const(255.0))),
    ],
)
def test_affine_pixels_enter_the_layer_as_they_are(agree: Any, prefix: Any) -> None:
    lowered = agree(network(prefix), IMAGES)
    assert [type(node) for node in lowered.graph.nodes] == [Flatten, Mvau, Mvau]
    assert lowered.graph.nodes[1].in_type.name == "UINT8"


def quant(b: Any, x: str, scale: float, zero: float, bits: float, **attributes: Any) -> str:
    constants = [b.const(value) for value in (scale, zero, bits)]
    return b.node("Quant", x, *constants, domain="qonnx.custom_op.general", **attributes)


@pytest.mark.parametrize(
    ("scale", "bits", "signed", "narrow", "mode", "out_type"),
    [
        (2.0**-4, 4, 0, 0, "ROUND", "UINT4"),
        (2.0**-3, 4, 1, 0, "FLOOR", "UINT3"),
        (2.0**-7, 8, 0, 0, "CEIL", "UINT8"),
        (2.0**-2, 2, 0, 1, "HALF_UP", "UINT2"),
        (2.0**-5, 3, 1, 1, "DOWN", "UINT2"),
    ],
)
def test_quant_on_a_coarser_grid(
    builder: Any, tmp_path: Any, scale: float, bits: int, signed: int, narrow: int, mode: str, out_type: str
) -> None:
    from export.lowering import lower_model
    from hw.qonnx_target import QonnxTarget

    b = builder()
    x = quant(b, "x", scale, 0.0, bits, signed=signed, narrow=narrow, rounding_mode=mode)
    hidden = b.bipolar(b.node("Add", b.dense(b.flatten(x), WEIGHTS), b.const(0.01)))
    path = b.save(tmp_path / "m.onnx", b.dense(hidden, LAST))
    graph = lower_model(path)
    assert graph.nodes[0].out_type.name == out_type
    reference, target = ReferenceTarget(graph), QonnxTarget(path, graph)
    streams, traced = reference.trace(IMAGES), target.trace(IMAGES)
    assert set(traced) == {"thresholding_0", "mvau_0", "mvau_1"}
    for name, values in traced.items():
        np.testing.assert_array_equal(values, streams[name], err_msg=name)


def test_eight_bits_on_the_pixel_grid_need_no_thresholds(builder: Any, tmp_path: Any) -> None:
    from export.lowering import lower_model

    b = builder()
    x = quant(b, b.node("Mul", "x", b.const(255.0)), 1.0, 0.0, 8, signed=0, narrow=0)
    graph = lower_model(b.save(tmp_path / "m.onnx", b.dense(b.flatten(x), LAST[:, :1] * np.ones((1, 8)))))
    assert [node.op_type for node in graph.nodes] == ["Flatten", "Mvau"]


def test_one_constant_a_channel(agree: Any) -> None:
    images = RNG.integers(0, 256, (400, 2, 3, 3), dtype=np.uint8)
    weights = RNG.normal(size=(5, 18))

    def write(b: Any) -> list[str]:
        shifted = b.node("Sub", "x", b.const(np.reshape([0.1, 0.5, 0.7], (1, 3, 1, 1))))
        signs = b.bipolar(b.node("Mul", shifted, b.const(np.reshape([1.0, -2.0, 3.0], (3, 1, 1)))))
        hidden = b.bipolar(b.node("Add", b.dense(b.flatten(signs), weights), b.const(0.5)))
        return [hidden, b.dense(hidden, LAST)]

    assert first(agree(write, images)).thresholds.steps.tolist() == [[26], [128], [179]]


def test_mean_and_deviation_before_a_sign(agree: Any) -> None:
    def prefix(b: Any) -> str:
        return b.bipolar(b.node("Div", b.node("Sub", "x", b.const(0.1307)), b.const(0.3081)))

    assert first(agree(network(prefix), IMAGES)).thresholds.steps.tolist() == [[34]]


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        (lambda b: "x", "levels to tell pixels apart"),
        (lambda b: b.node("Div", b.node("Sub", "x", b.const(0.1307)), b.const(0.3081)), "levels"),
        (
            lambda b: b.bipolar(b.node("Sub", b.node("Abs", b.node("Sub", "x", b.const(0.5))), b.const(0.2))),
            "monotone",
        ),
        (lambda b: b.node("Abs", b.node("Sub", grid(b), b.const(100.0))), "monotone"),
        (lambda b: b.node("Mul", "x", b.const(0.0)), "is 0 for every pixel"),
        (lambda b: b.node("Sqrt", b.node("Sub", "x", b.const(0.5))), "not a number"),
        (lambda b: b.node("Div", grid(b), b.const(0.0)), "not a number"),
        (lambda b: b.node("Mul", grid(b), b.const(3e38)), "infinite"),
        (lambda b: b.node("Add", "x", b.const(np.arange(8).reshape(1, 1, 2, 4))), "from pixel to pixel"),
        (lambda b: b.node("Add", "x", b.const(np.arange(5))), "does not fit"),
        (lambda b: b.node("Add", "x", b.const(1.0, np.float64)), "float64"),
        (lambda b: b.node("Add", "x", "x"), "takes the image itself"),
        (lambda b: b.node("Div", b.const(1.0), "x"), "divides a constant"),
        (lambda b: b.node("Tanh", "x"), "integer hardware does not have"),
    ],
)
def test_refusals_name_the_node(refused: Any, prefix: Any, reason: str) -> None:
    error = refused(lambda b: network(prefix)(b)[-1])
    assert reason in error.message
