"""Branches that fork and are added, averages and groups: each stream and logit equals qonnx's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from export.errors import LoweringError
from export.graph import Add, Mvau, Pool, Swg, Thresholding
from export.lowering import lower_model

QONNX = "qonnx.custom_op.general"


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def quant(b: Any, x: str, scale: float = 1.0, bits: int = 4, signed: int = 1) -> str:
    parameters = [b.const(value) for value in (scale, 0.0, bits)]
    return b.node("Quant", x, *parameters, domain=QONNX, signed=signed, narrow=0, rounding_mode="ROUND")


def conv(b: Any, x: str, outputs: int, inputs: int, kernel: int = 3, seed: int = 0, **attributes: Any) -> str:
    latent = rng(seed).normal(size=(outputs, inputs // attributes.get("group", 1), kernel, kernel))
    pads = [kernel // 2] * 4 if kernel % 2 else [0] * 4
    return b.node("Conv", x, b.bipolar(b.const(latent)), **{"pads": pads, **attributes})


def norm(b: Any, x: str, channels: int, seed: int = 1, *, rising: bool = True) -> str:
    draw = rng(seed)
    gamma = draw.uniform(0.3, 1.5, channels) * (1 if rising else draw.choice([-1, 1], channels))
    return b.batch_norm(
        x, gamma, draw.normal(size=channels), draw.normal(size=channels), np.full(channels, 4.0)
    )


def stem(b: Any, channels: int = 4) -> str:
    """An integer stream of four bits on the step 1/2."""
    image = b.bipolar(b.node("Sub", "x", b.const(0.5)))
    return quant(b, norm(b, conv(b, image, channels, 3), channels), 0.5)


def block(b: Any, x: str, channels: int = 4, seed: int = 3) -> str:
    inner = conv(b, b.bipolar(norm(b, x, channels, seed)), channels, channels, seed=seed)
    return quant(b, norm(b, inner, channels, seed + 1), 0.5)


def end(b: Any, x: str, features: int) -> str:
    return b.dense(b.flatten(b.bipolar(x)), rng(9).normal(size=(5, features)))


def kinds(lowered: Any) -> list[str]:
    return [node.name for node in lowered.graph.nodes]


def test_a_residual_block(exact: Any) -> None:
    def write(b: Any) -> str:
        x = stem(b)
        x = b.node("Add", x, block(b, x))
        return end(b, b.node("Add", x, block(b, x, seed=5)), 4 * 42)

    lowered = exact(write)
    first, second = (node for node in lowered.graph.nodes if isinstance(node, Add))
    assert (first.in_type.name, first.out_type.name, second.out_type.name) == ("INT4", "INT5", "INT6")
    assert first.source is not None
    assert first.source.exponent == 1
    assert len(lowered.graph.readers("add_0")) == 2
    assert lowered.notes == ()


def test_falling_channels_before_a_sign_are_turned_back_by_the_next_layer(exact: Any) -> None:
    def write(b: Any) -> str:
        x = stem(b)
        inner = b.bipolar(norm(b, x, 4, 21, rising=False))
        y = quant(b, conv(b, inner, 4, 4), 0.5)
        return end(b, b.node("Add", x, y), 4 * 42)

    assert isinstance(exact(write).graph.nodes[4], Thresholding)


def test_a_shortcut_with_its_own_layer_and_requantised_sums(exact: Any) -> None:
    def write(b: Any) -> str:
        x = stem(b)
        down = quant(b, conv(b, b.bipolar(x), 6, 4, 1, seed=2, strides=[2, 2]), 0.5)
        y = quant(b, conv(b, b.bipolar(norm(b, x, 4, 4)), 6, 4, strides=[2, 2]), 0.5)
        total = quant(b, b.node("Add", y, down), 1.0, 3)
        return end(b, b.node("Add", total, quant(b, conv(b, b.bipolar(total), 6, 6), 1.0, 3)), 6 * 12)

    lowered = exact(write)
    assert sum(isinstance(node, Add) for node in lowered.graph.nodes) == 2


def test_averages_are_sums_on_a_finer_step(exact: Any) -> None:
    def write(b: Any) -> str:
        x = b.node("AveragePool", stem(b), kernel_shape=[2, 2], strides=[2, 2])
        return b.dense(b.flatten(x), rng(2).normal(size=(4, 4 * 9)))

    lowered = exact(write)
    pool = next(node for node in lowered.graph.nodes if isinstance(node, Pool))
    assert (pool.mode, pool.out_type.name) == ("sum", "INT6")
    assert pool.source is not None
    assert pool.source.exponent == 3


def test_a_global_average_before_the_classifier(exact: Any) -> None:
    def write(b: Any) -> str:
        x = b.node("GlobalAveragePool", stem(b))
        return b.dense(b.flatten(x), rng(2).normal(size=(4, 4)))

    images = rng(5).integers(0, 256, (12, 8, 4, 3), dtype=np.uint8)
    assert [node.op_type for node in exact(write, images).graph.nodes[-3:]] == ["Pool", "Flatten", "Mvau"]


@pytest.mark.parametrize("groups", [3, 1])
def test_groups(exact: Any, groups: int) -> None:
    def write(b: Any) -> str:
        x = b.bipolar(
            norm(
                b,
                b.node(
                    "Mul",
                    conv(b, b.bipolar(b.node("Sub", "x", b.const(0.5))), 6, 3, group=groups),
                    b.const(1.0),
                ),
                6,
            )
        )
        x = b.bipolar(norm(b, conv(b, x, 6, 6, group=2 * groups), 6, rising=False))
        return end(b, x, 6 * 42)

    first = next(exact(write).graph.mvaus)
    assert first.groups == groups


def test_groups_on_channels_with_offsets_of_their_own(exact: Any) -> None:
    def write(b: Any) -> str:
        whole = b.node("Round", b.node("Mul", "x", b.const(255.0)))
        shifted = b.node("Sub", whole, b.const(np.reshape([3.0, 100.0, 128.0], (1, 3, 1, 1))))
        x = b.node("Mul", shifted, b.const(2.0**-7))
        x = b.bipolar(norm(b, conv(b, x, 6, 3, group=3, pads=[0] * 4), 6))
        return end(b, x, 6 * 20)

    assert any(isinstance(node, Swg) and node.groups == 3 for node in exact(write).graph.nodes)


def test_a_fork_of_signs_is_scaled_on_one_side(exact: Any) -> None:
    def write(b: Any) -> str:
        x = b.bipolar(norm(b, conv(b, b.bipolar(b.node("Sub", "x", b.const(0.5))), 4, 3), 4))
        y = quant(b, conv(b, x, 4, 4), 2.0, 2)
        return end(b, b.node("Add", b.node("Mul", x, b.const(2.0)), y), 4 * 42)

    add = next(node for node in exact(write).graph.nodes if isinstance(node, Add))
    assert {add.in_type.name, add.other_type.name} == {"BIPOLAR", "INT2"}


@settings(max_examples=8, deadline=None)
@given(
    channels=st.integers(1, 5),
    bits=st.integers(2, 5),
    depth=st.integers(1, 3),
    bypass=st.sampled_from(["identity", "layer", "pool"]),
    seed=st.integers(0, 999),
)
def test_any_chain_of_blocks(
    exact: Any, channels: int, bits: int, depth: int, bypass: str, seed: int
) -> None:
    def write(b: Any) -> str:
        image = b.bipolar(b.node("Sub", "x", b.const(0.5)))
        x = quant(b, norm(b, conv(b, image, channels, 3, seed=seed), channels, seed), 0.5, bits)
        for index in range(depth):
            y = conv(b, b.bipolar(norm(b, x, channels, seed + index, rising=False)), channels, channels)
            y = quant(b, norm(b, y, channels, seed + 50 + index), 0.5, bits)
            if bypass == "layer":
                x = quant(b, conv(b, b.bipolar(x), channels, channels, 1, seed=index), 0.5, bits)
            elif bypass == "pool":
                window = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [1] * 4}
                x, y = b.node("MaxPool", x, **window), y
            x = b.node("Add", y, x)
        return end(b, norm(b, x, channels, 7), channels * 42)

    try:
        lowered = exact(write)
    except LoweringError as error:
        # A random layer may be constant.
        if "gives every activation the value" not in str(error):
            raise
        reject()
    assert sum(isinstance(node, Add) for node in lowered.graph.nodes) == depth
    assert all(isinstance(node, Mvau) for node in lowered.graph.nodes[-1:])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (
            lambda b: end(b, b.node("Add", stem(b), quant(b, stem(b), 0.25)), 168),
            "in steps of 0.5 to integers",
        ),
        (lambda b: end(b, b.node("Mul", stem(b), stem(b)), 168), "other than by adding two"),
        (lambda b: end(b, b.node("Add", "x", "x"), 126), "takes the image itself"),
        (lambda b: b.node("Add", stem(b), stem(b)), "is not followed by a layer"),
        (lambda b: end(b, b.node("Add", conv(b, stem(b), 4, 4), stem(b)), 168), "without a sign"),
        (
            lambda b: end(b, b.node("Add", stem(b), b.node("Transpose", stem(b), perm=[0, 1, 3, 2])), 168),
            "of other orders",
        ),
        (
            lambda b: end(b, b.node("AveragePool", stem(b), kernel_shape=[3, 3]), 80),
            "divides by 3x3, no power of two",
        ),
        (
            lambda b: end(b, b.node("AveragePool", stem(b), kernel_shape=[2, 2], pads=[1] * 4), 168),
            "averages windows that hold padding",
        ),
        (lambda b: end(b, conv(b, stem(b), 4, 8, group=2), 168), "for 4 channels in 2 groups"),
    ],
)
def test_what_has_no_integer_form_is_refused(builder: Any, tmp_path: Any, write: Any, message: str) -> None:
    b = builder(shape=(1, 3, 7, 6))
    path = b.save(tmp_path / "m.onnx", write(b))
    with pytest.raises(LoweringError, match=message):
        lower_model(path)
