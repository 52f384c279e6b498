"""The layout of images, and what makes a graph a chain."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from export.errors import LoweringError
from export.lowering import lower_model, lower_with_notes
from hw.reference import ReferenceTarget

RNG = np.random.default_rng(8)
COLOUR = RNG.integers(0, 256, (300, 3, 2, 3), dtype=np.uint8)
WEIGHTS = RNG.normal(size=(5, 18))
LAST = RNG.normal(size=(3, 5))


def behind(flatten: Any) -> Any:
    """Signs of a colour image, ``flatten``, two layers."""

    def write(b: Any) -> list[str]:
        signs = b.bipolar(b.node("Sub", "x", b.const(0.5)))
        hidden = b.bipolar(b.node("Add", b.dense(flatten(b, signs), WEIGHTS), b.const(0.5)))
        return [hidden, b.dense(hidden, LAST)]

    return write


def ints(b: Any, *values: int) -> str:
    return b.const(list(values), np.int64)


@pytest.mark.parametrize(
    "flatten",
    [
        lambda b, x: b.flatten(x),
        lambda b, x: b.node("Flatten", x, axis=-3),
        lambda b, x: b.node("Reshape", x, ints(b, 0, -1)),
        lambda b, x: b.node("Reshape", x, ints(b, -1, 18)),
        lambda b, x: b.flatten(b.node("Transpose", x, perm=[0, 2, 3, 1])),
        lambda b, x: b.flatten(b.node("Transpose", x, perm=[0, 3, 1, 2])),
        lambda b, x: b.node("Reshape", b.node("Transpose", x, perm=[0, 2, 1, 3]), ints(b, 0, 18)),
        lambda b, x: b.flatten(b.node("Reshape", x, ints(b, 0, 2, 9))),
        lambda b, x: b.flatten(b.node("Unsqueeze", x, ints(b, 2))),
    ],
)
def test_columns_follow_every_layout(agree: Any, flatten: Any) -> None:
    agree(behind(flatten), COLOUR)


def test_columns_are_permuted_to_channels_last(agree: Any) -> None:
    lowered = agree(behind(lambda b, x: b.flatten(x)), COLOUR)
    signs = np.where(WEIGHTS >= 0, 1, -1).reshape(5, 3, 3, 2).transpose(0, 2, 3, 1).reshape(5, 18)
    np.testing.assert_array_equal(next(iter(lowered.graph.mvaus)).weights, signs)


def test_a_source_is_named_only_in_plain_order(agree: Any) -> None:
    plain = agree(behind(lambda b, x: b.flatten(x)), COLOUR)
    assert plain.graph.nodes[0].source is not None

    def moved_first(b: Any) -> list[str]:
        x = b.node("Transpose", "x", perm=[0, 2, 3, 1])
        signs = b.flatten(b.bipolar(b.node("Sub", x, b.const(0.5))))
        hidden = b.bipolar(b.node("Add", b.dense(signs, WEIGHTS), b.const(0.5)))
        return [hidden, b.dense(hidden, LAST)]

    assert agree(moved_first, COLOUR).graph.nodes[0].source is None


def test_a_weight_with_leading_dimensions_on_the_activation(agree: Any) -> None:
    """MatMul broadcasts: (N, 1, 18) times (18, 5)."""

    def flatten(b: Any, x: str) -> str:
        return b.node("Reshape", x, ints(b, 0, 1, 18))

    def write(b: Any) -> list[str]:
        names = behind(flatten)(b)
        return [b.node("Squeeze", name, ints(b, 1)) for name in names]

    agree(write, COLOUR)


@pytest.mark.parametrize("shape", [(1, 8), (1, 2, 4), ("N", 1, 2, 4), (7, 1, 2, 4)])
def test_shapes_of_the_input(builder: Any, tmp_path: Any, shape: Any, all_patterns: Any) -> None:
    b = builder(shape=shape)
    batch = shape[0] if isinstance(shape[0], int) else -1
    x = b.node("Reshape", "x", ints(b, batch, 8))
    x = b.dense(b.bipolar(b.node("Sub", x, b.const(0.5))), WEIGHTS[:, :8])
    graph = lower_model(b.save(tmp_path / "m.onnx", x))
    assert graph.input_shape == ((1, 8, 1) if shape == (1, 8) else (2, 4, 1))
    logits = ReferenceTarget(graph).infer(all_patterns.reshape(-1, *graph.input_shape)).logits
    signs = np.where(all_patterns.reshape(-1, 8) > 127, 1, -1)
    np.testing.assert_array_equal(logits, signs @ np.where(WEIGHTS[:, :8] >= 0, 1, -1).T)


def test_the_public_zoos_structure(builder: Any, agree: Any, all_patterns: Any) -> None:
    """Computed reshape target, the old domain, an old operator set, a tail of scalars."""

    def write(b: Any) -> list[str]:
        batch = b.node("Gather", b.node("Shape", "x"), b.const(0, np.int64), axis=0)
        shape = b.node("Concat", b.node("Unsqueeze", batch, axes=[0]), ints(b, -1), axis=0)
        x = b.node("Sub", b.node("Mul", b.node("Reshape", "x", shape), b.const(2.0)), b.const([1.0]))
        x = b.dense(b.bipolar(x), WEIGHTS[:, :8])
        hidden = b.bipolar(b.batch_norm(x, *RNG_TABLE, np.arange(1.0, 6.0)))
        x = b.node("Sub", b.dense(hidden, LAST), b.const([0.4488643]))
        x = b.node("Div", x, b.node("Pow", b.const([318.19666]), b.const(0.5)))
        return [hidden, b.node("Add", b.node("Mul", x, b.const([0.7341181])), b.const([-1.1436615]))]

    lowered = agree(write, all_patterns, opset=12, quant_domain="onnx.brevitas")
    assert lowered.notes == ()
    assert lowered.graph.nodes[-1].source.tensor.startswith("matmul")


RNG_TABLE = RNG.normal(size=(3, 5))


def test_constants_computed_in_the_file(agree: Any, all_patterns: Any) -> None:
    def write(b: Any) -> list[str]:
        two = b.node("Constant", value_float=2.0)
        size = b.node("Mul", b.node("Constant", value_ints=[1, 4]), ints(b, -1, 2))
        x = b.node("Sub", b.node("Mul", b.node("Reshape", "x", size), two), b.node("Sqrt", b.const([1.0])))
        half = b.node("Slice", b.const(WEIGHTS), ints(b, 0), ints(b, 8), ints(b, 1))
        x = b.dense_from(b.bipolar(x), half)
        hidden = b.bipolar(b.node("Add", x, b.node("Neg", b.node("Abs", b.const([0.5])))))
        return [hidden, b.dense(hidden, LAST)]

    agree(write, all_patterns)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda b: b.flatten("x"), "no layer with weights"),
        (lambda b: b.node("Add", b.const(1.0), b.const(2.0)), "does not depend on the image"),
        (lambda b: b.node("MatMul", "x", b.const(np.ones((4, 3)))), "activation of shape 1x1x2x4"),
        (lambda b: b.node("MatMul", b.const(np.ones((8, 8))), b.flatten("x")), "put the weights second"),
        (lambda b: b.node("Reshape", "x", ints(b, 3, 5)), "does not fit its input of shape 1x1x2x4"),
        (lambda b: b.node("Reshape", "x", ints(b, 2**62, -1)), "does not fit"),
        (lambda b: b.node("Reshape", "x", b.const([1.0, 8.0])), "constant list of integers"),
        (lambda b: b.node("Transpose", "x", perm=[0, 0, 1, 2]), "does not fit"),
        (lambda b: b.node("Squeeze", "x", ints(b, 3)), "does not fit"),
        (lambda b: b.node("Unsqueeze", "x", ints(b, 99)), "does not fit"),
        (lambda b: b.node("Unsqueeze", "x", ints(b, 0, 1, 2, 3, 4, 5)), "dimensions"),
        (lambda b: b.node("Gemm", b.flatten("x"), b.const(np.ones((8, 3))), alpha=2), "no float"),
        (lambda b: b.node("Gemm", b.flatten("x"), b.const(np.ones((8, 3))), transB="yes"), "no integer"),
        (lambda b: b.node("Gather", b.const([1.0]), ints(b, 5)), "does not fit its constant inputs"),
        (lambda b: b.node("Tile", b.const([1.0]), ints(b, 5)), "not known"),
        (
            lambda b: b.node("Add", "x", b.node("Add", b.const([1.0, 2.0]), b.const([1.0, 2.0, 3.0]))),
            "does not fit",
        ),
    ],
)
def test_refusals(builder: Any, tmp_path: Any, write: Any, reason: str) -> None:
    b = builder()
    with pytest.raises(LoweringError) as caught:
        lower_model(b.save(tmp_path / "m.onnx", write(b)))
    assert reason in str(caught.value)


def test_an_outer_product_of_constants_is_not_computed(builder: Any, tmp_path: Any) -> None:
    b = builder()
    wide = b.const(np.zeros((1 << 15, 1)))
    x = b.node("Add", "x", b.node("Add", wide, b.const(np.zeros((1, 1 << 15)))))
    with pytest.raises(LoweringError, match="makes a constant of 1073741824 elements"):
        lower_model(b.save(tmp_path / "m.onnx", x))


@pytest.mark.parametrize(
    "shape", [(1, 3, 10**6, 10**6), (1, 2**40, 2**40, 1), (1,), (1, 1, 2, "W"), (1, 1, 1, 1, 8)]
)
def test_absurd_image_shapes(builder: Any, tmp_path: Any, shape: Any) -> None:
    b = builder(shape=shape)
    with pytest.raises(LoweringError):
        lower_model(b.save(tmp_path / "m.onnx", b.dense(b.bipolar(b.flatten("x")), np.ones((3, 8)))))


def test_several_outputs(builder: Any, tmp_path: Any) -> None:
    b = builder()
    hidden = b.bipolar(b.dense(b.bipolar(b.flatten("x")), WEIGHTS[:, :8]))
    logits = b.dense(hidden, LAST)
    with pytest.raises(LoweringError, match="2 outputs"):
        lower_model(b.save(tmp_path / "m.onnx", logits, hidden))


def test_a_second_output_in_use(builder: Any, tmp_path: Any) -> None:
    b = builder()
    x = b.bipolar(b.flatten("x"))
    dropped = b.node("Dropout", x, outputs=2)
    mask = f"dropout_{int(dropped.split('_')[1]) + 1}"
    with pytest.raises(LoweringError, match="second output"):
        lower_model(b.save(tmp_path / "m.onnx", b.dense(b.node("Relu", mask), WEIGHTS[:, :8])))


def test_a_wide_type_of_input(builder: Any, tmp_path: Any) -> None:
    b = builder()
    model = b.model(b.dense(b.bipolar(b.flatten("x")), WEIGHTS[:, :8]))
    model.graph.input[0].type.tensor_type.elem_type = 2
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(LoweringError, match="is not float32"):
        lower_model(path)


def test_sums_without_a_quantiser_are_not_added(builder: Any, tmp_path: Any) -> None:
    b = builder()
    x = b.dense(b.bipolar(b.flatten("x")), WEIGHTS[:, :8])
    with pytest.raises(LoweringError, match="without a sign"):
        lower_model(b.save(tmp_path / "m.onnx", b.node("Add", x, b.bipolar(x))))


@pytest.mark.parametrize(
    "tail",
    [
        lambda b, x: x,
        lambda b, x: b.node("Mul", x, b.const([1.0, 2.0, 3.0, 4.0])),
        lambda b, x: b.node("ArgMax", x, axis=1),
        lambda b, x: b.node("Softmax", x, axis=-1),
    ],
)
def test_permuted_logits_are_refused(builder: Any, tmp_path: Any, tail: Any) -> None:
    def permuted(b: Any, x: str) -> str:
        square = b.node("Transpose", b.node("Reshape", x, ints(b, 1, 2, 2)), perm=[0, 2, 1])
        return b.node("Reshape", square, ints(b, 1, 4))

    before, after = builder(), builder()
    for b in (before, after):
        x = b.dense(b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5))), RNG.normal(size=(4, 8)))
        end = tail(b, permuted(b, x)) if b is before else permuted(b, b.node("Softmax", x, axis=-1))
        with pytest.raises(LoweringError, match="another order"):
            lower_model(b.save(tmp_path / "m.onnx", end))


def test_a_bias_inside_of_a_product_is_noted_where_its_order_matters(builder: Any, tmp_path: Any) -> None:
    def notes(bias: float) -> tuple[str, ...]:
        b = builder()
        x = b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5)))
        weights = b.node("Transpose", b.bipolar(b.const(WEIGHTS[:, :8])), perm=[1, 0])
        hidden = b.bipolar(b.node("Gemm", x, weights, b.const([bias] * 5)))
        return lower_with_notes(b.save(tmp_path / "m.onnx", b.dense(hidden, LAST))).notes

    assert notes(1.0) == ()
    assert "off its grid" in notes(float(np.nextafter(np.float32(-2), np.float32(-3))))[0]
