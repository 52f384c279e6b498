from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

RNG = np.random.default_rng(7)
WEIGHTS = RNG.normal(size=(5, 8))
LAST = RNG.normal(size=(4, 5))


def network(tail: Callable[[Any, str], str], scale: Any = 1.0) -> Callable[[Any], list[str]]:
    def write(b: Any) -> list[str]:
        x = b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5)))
        hidden = b.bipolar(b.node("Add", b.dense(x, WEIGHTS), b.const(0.5)))
        return [hidden, tail(b, b.dense(hidden, LAST, scale))]

    return write


def last(lowered: Any) -> Any:
    return lowered.graph.nodes[-1]


@pytest.mark.parametrize(
    ("tail", "exponent", "kept"),
    [
        (lambda b, x: x, 0, False),
        (lambda b, x: b.node("Mul", x, b.const(2.0**-5)), 5, True),
        (lambda b, x: b.node("Div", x, b.const(0.125)), -3, True),
        (lambda b, x: b.node("Mul", x, b.const([0.5] * 4)), 1, True),
        (lambda b, x: b.node("Add", b.node("Mul", x, b.const(0.7341181)), b.const(-1.1436615)), 0, False),
        (lambda b, x: b.node("Div", b.node("Sub", x, b.const([0.4488643])), b.const([17.8])), 0, False),
        (lambda b, x: b.batch_norm(x, [2] * 4, [3] * 4, [4] * 4, [5] * 4), 0, False),
        (lambda b, x: b.node("Add", x, b.const(3.0)), 0, False),
    ],
)
def test_one_rising_tail_for_all_classes(
    agree: Any, all_patterns: Any, tail: Any, exponent: int, kept: bool
) -> None:
    write = network(tail)
    lowered = agree(write, all_patterns)
    node = last(lowered)
    assert (node.scale, node.bias, node.source.exponent) == (None, None, exponent)
    assert node.source.tensor.startswith("matmul") != kept


def test_a_falling_tail_negates_the_weights(agree: Any, all_patterns: Any) -> None:
    plain = agree(network(lambda b, x: x), all_patterns)
    lowered = agree(network(lambda b, x: b.node("Mul", x, b.const(-0.25))), all_patterns)
    np.testing.assert_array_equal(last(lowered).weights, -last(plain).weights)
    assert last(lowered).source.exponent == 2


def test_a_scale_and_an_offset_for_each_class(agree: Any, all_patterns: Any) -> None:
    scale, offset = [0.5, 1.25, -3.0, 0.0625], [0.0, -7.75, 1.5, 100.0]
    lowered = agree(
        network(lambda b, x: b.node("Add", b.node("Mul", x, b.const(scale)), b.const(offset))), all_patterns
    )
    node = last(lowered)
    assert node.scale.tolist() == [8, 20, -48, 1]
    assert node.bias.tolist() == [0, -124, 24, 1600]
    assert node.source.exponent == 4


def test_an_offset_alone(agree: Any, all_patterns: Any) -> None:
    node = last(agree(network(lambda b, x: b.node("Add", x, b.const([1.0, 2.0, -3.0, 0.0]))), all_patterns))
    assert node.scale is None
    assert node.bias.tolist() == [1, 2, -3, 0]


def test_half_of_even_sums_is_exact(agree: Any, all_patterns: Any) -> None:
    """Odd fan-in: sums are odd, so a quarter more for one class needs the grid of quarters."""
    node = last(agree(network(lambda b, x: b.node("Mul", x, b.const([1.0, 1.0, 1.0, 0.75]))), all_patterns))
    assert node.scale.tolist() == [4, 4, 4, 3]


def test_scaled_weights_of_the_last_layer(agree: Any, all_patterns: Any) -> None:
    scale = np.reshape([0.5, 1.0, 2.0, 0.25], (4, 1))
    node = last(agree(network(lambda b, x: x, scale), all_patterns))
    assert node.scale.tolist() == [2, 4, 8, 1]


def test_the_largest_grid(agree: Any, all_patterns: Any) -> None:
    offsets = [0.0, 2.0**-15, 1.0, -3.0]
    node = last(agree(network(lambda b, x: b.node("Add", x, b.const(offsets))), all_patterns))
    assert node.scale.tolist() == [2**15] * 4


def test_gemm_with_all_its_options(builder: Any, tmp_path: Any, all_patterns: Any, ort: Any) -> None:
    from export.lowering import lower_model
    from hw.reference import ReferenceTarget

    def write(b: Any) -> str:
        x = b.node("Transpose", b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5))), perm=[1, 0])
        weights, bias = b.bipolar(b.const(WEIGHTS.T)), b.const([0.5, -0.5, 1.0, 0.0, 2.0])
        x = b.node("Gemm", x, weights, bias, alpha=0.5, beta=-2.0, transA=1)
        return b.node("Gemm", b.bipolar(x), b.bipolar(b.const(LAST)), b.const([[0.25]]), transB=1)

    b, portable = builder(), builder(portable=True, shape=(1, 1, 2, 4))
    name = write(portable)
    model = portable.model(name)
    graph = lower_model(b.save(tmp_path / "m.onnx", write(b)))
    expected = np.concatenate([ort(model, image[None])[name] for image in all_patterns[::7]])
    logits = ReferenceTarget(graph).infer(all_patterns[::7]).logits
    np.testing.assert_array_equal(logits, expected - 0.25)


@pytest.mark.parametrize(
    "tail",
    [
        lambda b, x: b.node("TopK", x, b.const([1], np.int64), outputs=2),
        lambda b, x: b.node("ArgMax", x, axis=1, keepdims=0),
        lambda b, x: b.node("Softmax", x, axis=-1),
        lambda b, x: b.node("ArgMax", b.node("LogSoftmax", x), axis=-1),
        lambda b, x: b.node("Squeeze", b.node("ArgMax", x, axis=1), b.const([1], np.int64)),
    ],
)
def test_labels_and_softmax_leave_the_logits(builder: Any, tmp_path: Any, tail: Any) -> None:
    from export.lowering import lower_model

    b = builder()
    node = last_of(lower_model(b.save(tmp_path / "m.onnx", network(tail)(b)[-1])))
    assert (node.scale, node.bias) == (None, None)
    assert node.source.tensor.startswith("matmul")


def last_of(graph: Any) -> Any:
    return graph.nodes[-1]


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (lambda b, x: b.node("Mul", x, b.const([0.1, 0.2, 0.3, 0.4])), "rounds the logit of class"),
        (lambda b, x: b.node("Add", x, b.const([0.0, 2.0**-24, 0.0, 0.0])), "rounds the logit"),
        (lambda b, x: b.node("Mul", x, b.const([1.0, 2.0**-45, 1.0, 1.0])), "power-of-two grid"),
        (lambda b, x: b.node("Relu", x), "does not keep the order"),
        (lambda b, x: b.node("Clip", x, b.const(-1.0), b.const(1.0)), "does not keep the order"),
        (lambda b, x: b.node("Mul", x, b.const(0.0)), "does not keep the order"),
        (lambda b, x: b.node("Add", x, b.const(1e9)), "does not keep the order"),
        (lambda b, x: b.node("Div", x, b.const(0.0)), "infinite or not a number"),
        (lambda b, x: b.node("Div", x, b.const([1.0, 1.0, 0.0, 1.0])), "infinite or not a number"),
        (lambda b, x: b.node("TopK", x, b.const([2], np.int64), outputs=2), "keeps 2 classes"),
        (lambda b, x: b.node("TopK", x, b.const([1], np.int64), outputs=2, largest=0), "largest"),
        (lambda b, x: b.node("ArgMax", x, axis=0), "along the classes"),
        (lambda b, x: b.node("ArgMax", x, axis=1, select_last_index=1), "last of equal"),
        (lambda b, x: b.node("Mul", b.node("Softmax", x), b.const(2.0)), "computes with the result"),
        (lambda b, x: b.node("Softmax", b.node("ArgMax", x, axis=1)), "with the label"),
        (lambda b, x: b.node("Flatten", x, axis=7), "does not fit its input"),
    ],
)
def test_refusals(refused: Any, tail: Any, reason: str) -> None:
    assert reason in refused(lambda b: network(tail)(b)[-1]).message


def test_non_power_of_two_weights_leave_a_note_and_no_source(builder: Any, tmp_path: Any) -> None:
    from export.lowering import lower_with_notes

    b = builder()
    lowered = lower_with_notes(b.save(tmp_path / "m.onnx", network(lambda b, x: x, 0.1)(b)[-1]))
    assert last(lowered).source is None
    assert "no power of two" in lowered.notes[0]


def test_a_single_layer_on_pixels(agree: Any) -> None:
    images = RNG.integers(0, 256, (200, 2, 4, 1), dtype=np.uint8)

    def write(b: Any) -> list[str]:
        x = b.node("Round", b.node("Mul", b.flatten("x"), b.const(255.0)))
        x = b.node("Mul", b.node("Sub", x, b.const(128.0)), b.const(2.0**-7))
        return [b.node("Mul", b.dense(x, LAST[:, [0, 1, 2, 3, 4, 0, 1, 2]]), b.const(0.5))]

    lowered = agree(write, images)
    assert last(lowered).source.exponent == 8
    assert last(lowered).bias is not None
