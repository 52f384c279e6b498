from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

RNG = np.random.default_rng(6)
WEIGHTS = RNG.normal(size=(6, 8))
LAST = RNG.normal(size=(3, 6))
CENTRED = 2.0 * RNG.integers(0, 2, (4, 8)) - 1


def network(middle: Callable[[Any, str], str], scale: Any = 1.0) -> Callable[[Any], list[str]]:
    """±1 pixels, a layer, ``middle``, a sign, a layer."""

    def write(b: Any) -> list[str]:
        x = b.dense(b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5))), WEIGHTS, scale)
        hidden = b.bipolar(middle(b, x))
        return [hidden, b.dense(hidden, LAST)]

    return write


def steps(lowered: Any) -> list[int]:
    return next(iter(lowered.graph.mvaus)).thresholds.steps[:, 0].tolist()


def rows(lowered: Any) -> Any:
    return next(iter(lowered.graph.mvaus)).weights


@pytest.mark.parametrize(
    "middle",
    [
        lambda b, x: x,
        lambda b, x: b.node("Mul", x, b.const([1, -1, 0.5, -2, 3, 1e-30])),
        lambda b, x: b.node("Sub", b.const([0, 1, -2, 2, 4, -8]), x),
        lambda b, x: b.node("Neg", b.node("Sub", x, b.const(2.0))),
        lambda b, x: b.node("Sub", b.node("Relu", x), b.const([0, 1, 2, -1, 9, 4])),
        lambda b, x: b.node(
            "Sub", b.node("Clip", x, b.const(-1.0), b.const(1.0)), b.const([0, 1, 1.5, -1, -2, 0.5])
        ),
        lambda b, x: b.node("Div", b.node("Sub", x, b.const([0.4, 2, 0, 1, 1, -3])), b.const(-0.3)),
        lambda b, x: b.node("Round", b.node("Mul", x, b.const(0.25))),
        lambda b, x: b.node("Pow", b.node("Floor", b.node("Ceil", x)), b.const(1.0)),
        lambda b, x: b.node("Sub", b.node("Sqrt", b.node("Relu", x)), b.const(1.5)),
        lambda b, x: b.bipolar(b.bipolar(x), -1.0),
        lambda b, x: b.node(
            "Identity",
            b.node("Squeeze", b.node("Unsqueeze", x, b.const([1], np.int64)), b.const([1], np.int64)),
        ),
        lambda b, x: b.node("Add", x, b.const(-0.0)),
    ],
)
def test_elementwise_operators_before_a_sign(agree: Any, all_patterns: Any, middle: Any) -> None:
    assert agree(network(middle), all_patterns).notes == ()


def test_thresholds_are_canonical(agree: Any, all_patterns: Any) -> None:
    """Every accumulator of 8 ±1 products is even: the smallest one that fires is the threshold."""
    shift = [0.0, 1.0, 1.5, -3.0, 100.0, -100.0]
    lowered = agree(network(lambda b, x: b.node("Sub", x, b.const(shift))), all_patterns)
    assert steps(lowered) == [0, 2, 2, -2, 9, -8]


def test_a_negative_slope_negates_the_row(agree: Any, all_patterns: Any) -> None:
    gamma = [1.0, -1.0, -0.5, 2.0, -3.0, -0.0]
    plain = agree(network(lambda b, x: b.node("Add", x, b.const(0.5))), all_patterns)
    lowered = agree(
        network(lambda b, x: b.node("Add", b.node("Mul", x, b.const(gamma)), b.const(0.5))), all_patterns
    )
    signs = [1, -1, -1, 1, -1, 1]
    np.testing.assert_array_equal(rows(lowered), rows(plain) * np.asarray(signs)[:, None])


def test_a_constant_neuron_keeps_its_row(agree: Any, all_patterns: Any) -> None:
    beta = [0.0, -1.0, 1e-45, -1e-45, -0.0, 1.0]
    lowered = agree(
        network(lambda b, x: b.batch_norm(x, [0.0] * 6, beta, [3.0] * 6, [2.0] * 6)), all_patterns
    )
    assert steps(lowered) == [-8, 9, -8, 9, -8, -8]
    np.testing.assert_array_equal(rows(lowered), np.where(WEIGHTS >= 0, 1, -1))


@pytest.mark.parametrize("scale", [0.5, 2.0**-20, 64.0, -1.0])
def test_weight_scales_that_are_exact(agree: Any, all_patterns: Any, scale: float) -> None:
    middle: Any = lambda b, x: b.node("Sub", x, b.const(abs(scale) * 2.0))  # noqa: E731
    assert agree(network(middle, scale), all_patterns).notes == ()


def test_one_scale_for_each_neuron(agree: Any, all_patterns: Any) -> None:
    """XNOR-Net's scales: a column of the quantiser's scale for each row of weights."""
    scale = np.reshape([0.5, 1.0, 0.25, 2.0, 8.0, 0.125], (6, 1))
    lowered = agree(network(lambda b, x: b.node("Sub", x, b.const(1.0)), scale), all_patterns)
    assert steps(lowered) == [2, 2, 4, 2, 2, 8]


def test_a_scale_that_float32_rounds_is_told_where_it_decides(agree: Any, all_patterns: Any) -> None:
    """0.1 times an even number, minus 0.2: the exact sum 0.2 lies on the tie, and float32's may not."""
    safe = agree(network(lambda b, x: b.node("Sub", x, b.const(0.3)), 0.1), all_patterns)
    assert safe.notes == ()
    assert steps(safe) == [4] * 6


def test_a_tie_within_rounding_is_noted(builder: Any, tmp_path: Any) -> None:
    from export.lowering import lower_with_notes

    b = builder()
    shift = np.float32(0.1) * np.float32(2)
    path = b.save(tmp_path / "m.onnx", network(lambda b, x: b.node("Sub", x, b.const(shift)), 0.1)(b)[-1])
    (note,) = lower_with_notes(path).notes
    assert "in 6 of 6 channels" in note
    assert "no power of two" in note


def test_an_order_of_operations_that_matters_is_noted(agree: Any, all_patterns: Any) -> None:
    """Means on accumulators with beta 0: executors that centre first give 0, others a rounding error."""
    rng = np.random.default_rng(1)
    gamma, var = rng.uniform(0.1, 3, 6), rng.uniform(0.1, 50, 6)
    lowered = agree(
        network(lambda b, x: b.batch_norm(x, gamma, [0.0] * 6, [2, -2, 4, 6, -6, 2], var)), all_patterns
    )
    (note,) = lowered.notes
    assert "order of operations in BatchNormalization" in note


def test_an_ordinary_batch_norm_needs_no_note(agree: Any, all_patterns: Any) -> None:
    rng = np.random.default_rng(2)
    statistics = rng.normal(size=6) + 0.05, rng.uniform(0.1, 50, 6)
    assert (
        agree(network(lambda b, x: b.batch_norm(x, [1] * 6, [0.3] * 6, *statistics)), all_patterns).notes
        == ()
    )


def test_zero_one_activations_between_layers(agree: Any, all_patterns: Any) -> None:
    def write(b: Any) -> list[str]:
        x = b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5)))
        first = b.bipolar(b.node("Sub", b.dense(x, WEIGHTS), b.const(1.0)))
        x = b.node("Mul", b.node("Add", first, b.const(1.0)), b.const(0.5))
        second = b.bipolar(b.node("Sub", b.dense(x, CENTRED[:, :6]), b.const(1.0)))
        return [first, second, b.dense(second, LAST[:, :4])]

    assert agree(write, all_patterns).notes == ()


@pytest.mark.parametrize("scale", [0.25, -1.0, 3.0])
def test_scaled_activations_between_layers(agree: Any, all_patterns: Any, scale: float) -> None:
    def write(b: Any) -> list[str]:
        x = b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5)))
        first = b.bipolar(b.node("Sub", b.dense(x, WEIGHTS), b.const(1.0)))
        x = b.node("Mul", first, b.const(scale))
        second = b.bipolar(b.node("Sub", b.dense(x, CENTRED[:, :6]), b.const(scale)))
        return [first, second, b.dense(second, LAST[:, :4])]

    agree(write, all_patterns)


def test_eight_bit_weights(agree: Any, all_patterns: Any) -> None:
    integers = RNG.integers(-127, 128, (6, 8))

    def write(b: Any) -> list[str]:
        x = b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5)))
        weights = b.const((integers * 2.0**-6).T)
        x = b.node("Mul", b.node("MatMul", x, weights), b.const([1, -1, 1, 1, -1, 1]))
        hidden = b.bipolar(b.node("Add", x, b.const(0.25)))
        return [hidden, b.dense(hidden, LAST)]

    lowered = agree(write, all_patterns)
    assert next(iter(lowered.graph.mvaus)).weight_type.name == "INT8"


@pytest.mark.parametrize(
    ("middle", "reason"),
    [
        (lambda b, x: b.node("Sub", b.node("Abs", x), b.const(2.0)), "channel 0 fire in more than one range"),
        (lambda b, x: b.node("Sub", b.node("Pow", x, b.const(2.0)), b.const(2.0)), "more than one range"),
        (
            lambda b, x: b.batch_norm(x, [1] * 6, [0] * 6, [0] * 6, [1, 1, 1, -1, 1, 1]),
            "channel 3 a value that is not",
        ),
        (lambda b, x: b.node("Pow", x, b.const(3.0)), "to the power 3"),
        (lambda b, x: b.node("Sign", x), "BipolarQuant is expected"),
        (lambda b, x: b.node("Sigmoid", x), "integer hardware does not have"),
        (lambda b, x: b.node("Dropout", x, b.const(0.5), b.const(True, np.bool_)), "at random"),
        (lambda b, x: b.node("Cast", x, to=7), "another type"),
        (lambda b, x: b.node("Clip", x, b.const([0.0, 1.0])), "2 values as min"),
        (lambda b, x: b.batch_norm(x, [1] * 6, [0] * 6, [0] * 6, [1] * 5), "different shapes"),
        (lambda b, x: b.batch_norm(x, [1] * 5, [0] * 5, [0] * 5, [1] * 5), "does not fit"),
        (lambda b, x: b.node("Add", x, b.const(np.zeros((2, 6)))), "does not fit"),
        (lambda b, x: b.node("Custom", x, domain="com.example"), "operator set 'com.example'"),
        (lambda b, x: b.node("Conv", x, b.const(np.zeros((1, 1, 1, 1)))), "leaves no feature map"),
        (lambda b, x: b.node("MaxPool", x, kernel_shape=[2]), "leaves no feature map"),
    ],
)
def test_refusals_name_node_and_reason(refused: Any, middle: Any, reason: str) -> None:
    error = refused(lambda b: network(middle)(b)[-1])
    assert reason in error.message
    assert error.context["node"]
    assert error.context["operator"]


def test_no_sign_between_two_layers(refused: Any) -> None:
    def write(b: Any) -> str:
        return b.dense(b.dense(b.bipolar(b.flatten("x")), WEIGHTS), LAST)

    assert "without a sign" in refused(write).message


def test_another_scale_for_each_activation(refused: Any) -> None:
    def write(b: Any) -> str:
        x = b.dense(b.bipolar(b.flatten("x")), WEIGHTS)
        return b.dense(b.bipolar(x, [1, 1, 1, 2, 1, 1]), LAST)

    assert "channel 3" in refused(write).message


def test_an_activation_that_is_always_the_same(refused: Any) -> None:
    def write(b: Any) -> str:
        x = b.bipolar(b.dense(b.bipolar(b.flatten("x")), WEIGHTS), 0.0)
        return b.dense(x, LAST)

    assert "turns -1 and +1 into" in refused(write).message


@pytest.mark.parametrize(
    ("weights", "reason"),
    [
        (np.full((8, 6), np.inf), "infinite"),
        (np.zeros((8, 6)), "neither ±1"),
        (RNG.normal(size=(8, 6)), "neither ±1"),
        (np.ones((7, 6)), "for 8 inputs"),
        (np.ones((8,)), "weights of shape 8"),
        (np.full((8, 6), 3e38), "more than float32 can hold"),
    ],
)
def test_weights_that_are_no_integers(refused: Any, weights: Any, reason: str) -> None:
    def write(b: Any) -> str:
        x = b.node("MatMul", b.bipolar(b.flatten("x")), b.const(weights))
        return b.dense(b.bipolar(x), LAST)

    assert reason in refused(write).message
