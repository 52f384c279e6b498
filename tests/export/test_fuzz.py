"""Whatever the bytes of an ONNX file are, only our errors come out of loading and lowering it."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, numpy_helper

from export.errors import BitsiegeError
from export.lowering import lower_model

OPERATORS = [
    *("Add", "Mul", "Sub", "Div", "Neg", "Pow", "Relu", "Clip", "Flatten", "Reshape", "Transpose", "Squeeze"),
    *(
        "Unsqueeze",
        "Identity",
        "Dropout",
        "Round",
        "TopK",
        "ArgMax",
        "Softmax",
        "MatMul",
        "Gemm",
        "Conv",
        "Sign",
    ),
    *(
        "BatchNormalization",
        "BipolarQuant",
        "Quant",
        "Shape",
        "Gather",
        "Concat",
        "Constant",
        "Cast",
        "Slice",
    ),
    *("MaxPool", "Pad", "Sqrt", "Abs", "Floor", "Ceil", "If", "Loop", ""),
]
DOMAINS = ["", "onnx.brevitas", "qonnx.custom_op.general", "ai.onnx", "evil"]
SIZES = [-(2**62), -(2**31), -1, 0, 1, 2, 3, 7, 8, 10**9, 2**31, 2**62]
NUMBERS = [0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e38, -1e38, float("inf"), float("-inf"), float("nan")]

Mutation = Callable[[Any, random.Random], None]


def pick(rng: random.Random, items: Any) -> Any:
    items = list(items)
    return rng.choice(items) if items else None


def drop_node(model: Any, rng: random.Random) -> None:
    del model.graph.node[rng.randrange(len(model.graph.node))]


def repeat_node(model: Any, rng: random.Random) -> None:
    node = model.graph.node.add()
    node.CopyFrom(rng.choice(list(model.graph.node)[:-1] or [node]))


def swap_nodes(model: Any, rng: random.Random) -> None:
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in model.graph.node]
    rng.shuffle(nodes)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def change_operator(model: Any, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    node.op_type = rng.choice(OPERATORS)
    if rng.random() < 0.4:
        node.domain = rng.choice(DOMAINS)


def rename_tensor(model: Any, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    names = [name for n in model.graph.node for name in (*n.input, *n.output)] + ["", "ghost"]
    names += [tensor.name for tensor in model.graph.initializer]
    side = node.input if rng.random() < 0.7 else node.output
    if side:
        side[rng.randrange(len(side))] = rng.choice(names)


def change_inputs(model: Any, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    if node.input and rng.random() < 0.5:
        del node.input[rng.randrange(len(node.input))]
    else:
        node.input.append(pick(rng, [t.name for t in model.graph.initializer]) or "ghost")


def change_dims(model: Any, rng: random.Random) -> None:
    tensor = pick(rng, model.graph.initializer)
    if tensor is None:
        return
    if tensor.dims and rng.random() < 0.7:
        tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
    else:
        tensor.dims.append(rng.choice(SIZES))


def reshape_data(model: Any, rng: random.Random) -> None:
    tensor = pick(rng, model.graph.initializer)
    if tensor is not None:
        shape = [rng.choice([0, 1, 2, 3, 5, 8]) for _ in range(rng.randrange(4))]
        dtype = rng.choice([np.float32, np.float64, np.int64, np.int32, np.bool_, np.float16])
        values = np.asarray(rng.choices(NUMBERS[:7], k=int(np.prod(shape))), np.float64).reshape(shape)
        with np.errstate(all="ignore"):
            tensor.CopyFrom(numpy_helper.from_array(values.astype(dtype), tensor.name))


def change_values(model: Any, rng: random.Random) -> None:
    tensor = pick(rng, model.graph.initializer)
    if tensor is None or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return
    try:
        array = numpy_helper.to_array(tensor).copy()
    except (ValueError, TypeError, KeyError):
        return
    if array.size:
        number = rng.choice(NUMBERS if array.dtype.kind == "f" else SIZES[2:9])
        array.reshape(-1)[rng.randrange(array.size)] = number
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def change_type(model: Any, rng: random.Random) -> None:
    tensor = pick(rng, model.graph.initializer)
    if tensor is not None:
        tensor.data_type = rng.randrange(30)


def make_external(model: Any, rng: random.Random) -> None:
    tensor = pick(rng, model.graph.initializer)
    if tensor is not None:
        tensor.data_location = onnx.TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key = rng.choice(["location", "offset", "length", "basepath"])
        entry.value = rng.choice(["/etc/passwd", "../secret", "m.onnx", "", ".", "-1", "\0", "9" * 40])


def change_attribute(model: Any, rng: random.Random) -> None:
    node = rng.choice(model.graph.node)
    attribute = pick(rng, node.attribute) if rng.random() < 0.6 else node.attribute.add()
    if attribute is None:
        return
    names = [
        "axis",
        "axes",
        "perm",
        "alpha",
        "beta",
        "transA",
        "transB",
        "epsilon",
        "to",
        "value",
        "group",
        "pads",
        "strides",
        "dilations",
        "kernel_shape",
        "auto_pad",
        "ceil_mode",
        "signed",
        "min",
    ]
    attribute.name = attribute.name or rng.choice(names)
    attribute.type = rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 11])
    attribute.i = rng.choice(SIZES)
    attribute.f = rng.choice(NUMBERS)
    if attribute.type == AttributeProto.INTS:
        attribute.ints.extend(rng.choices(SIZES, k=rng.randrange(4)))


def change_input(model: Any, rng: random.Random) -> None:
    value = rng.choice([*model.graph.input, *model.graph.output])
    dims = value.type.tensor_type.shape.dim
    choice = rng.randrange(5)
    if choice == 0 and dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(SIZES)
    elif choice == 1 and dims:
        del dims[rng.randrange(len(dims))]
    elif choice == 2:
        dims.add().dim_value = rng.choice(SIZES)
    elif choice == 3:
        value.type.tensor_type.elem_type = rng.randrange(20)
    else:
        model.graph.input.add().name = rng.choice(["x", "y", ""])


def change_output(model: Any, rng: random.Random) -> None:
    names = [name for node in model.graph.node for name in node.output] + ["x", "ghost", ""]
    if rng.random() < 0.7 and model.graph.output:
        model.graph.output[0].name = rng.choice(names)
    else:
        model.graph.output.add().name = rng.choice(names)


def change_opset(model: Any, rng: random.Random) -> None:
    if model.opset_import:
        rng.choice(model.opset_import).version = rng.choice([-1, 0, 1, 6, 7, 9, 11, 13, 21, 99, 2**40])


MUTATIONS: list[Mutation] = [
    *(drop_node, repeat_node, swap_nodes, change_operator, rename_tensor, change_inputs, change_dims),
    *(reshape_data, change_values, change_type, make_external, change_attribute, change_input, change_output),
    change_opset,
]


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        kind = rng.randrange(4)
        at = rng.randrange(len(changed) or 1)
        if kind == 0 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and changed:
            changed[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
        elif kind == 2:
            changed[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        else:
            del changed[at : at + rng.randrange(1, 40)]
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def mutate_model(data: bytes, rng: random.Random) -> bytes:
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        if not model.graph.node:
            break
        rng.choice(MUTATIONS)(model, rng)
    return model.SerializeToString()


def zoo_like(b: Any) -> str:
    """The public model zoo's structure: reshape by computed shape, old domain, a tail of scalars."""
    rng = np.random.default_rng(3)
    batch = b.node("Gather", b.node("Shape", "x"), b.const(0, np.int64), axis=0)
    shape = b.node("Concat", b.node("Unsqueeze", batch, axes=[0]), b.const([-1], np.int64), axis=0)
    x = b.node("Sub", b.node("Mul", b.node("Reshape", "x", shape), b.const(2.0)), b.const([1.0]))
    x = b.dense(b.bipolar(x), rng.normal(size=(6, 8)))
    x = b.batch_norm(x, *rng.normal(size=(3, 6)), rng.uniform(1, 9, size=6))
    x = b.node("Sub", b.dense(b.bipolar(x), rng.normal(size=(3, 6))), b.const([0.4488643]))
    x = b.node("Div", x, b.node("Pow", b.const([318.19666]), b.const(0.5)))
    return b.node("Add", b.node("Mul", x, b.const([0.7341181])), b.const([-1.1436615]))


def eight_bit(b: Any) -> str:
    rng = np.random.default_rng(4)
    x = b.node("Sub", b.node("Round", b.node("Mul", b.flatten("x"), b.const(255.0))), b.const(128.0))
    x = b.node("Gemm", x, b.bipolar(b.const(rng.normal(size=(4, 8)))), b.const(rng.normal(size=4)), transB=1)
    x = b.node("Clip", b.node("Relu", x), b.const(-1.0), b.const(1.0))
    x = b.bipolar(b.node("Sub", x, b.const([0.5, 0.0, 1.0, -2.0])))
    x = b.node("Add", b.dense(x, rng.normal(size=(3, 4))), b.const([0.5, 0.25, -1.0]))
    return b.node("TopK", x, b.const([1], np.int64), outputs=2)


def convolutional(b: Any) -> str:
    rng = np.random.default_rng(5)
    x = b.node("Pad", b.bipolar(b.node("Sub", "x", b.const(0.5))), pads=[0, 0, 1, 0, 0, 0, 0, 0], value=-1.0)
    x = b.node(
        "Conv", x, b.bipolar(b.const(rng.normal(size=(4, 1, 2, 2)))), pads=[0, 1, 0, 0], strides=[1, 1]
    )
    x = b.node("MaxPool", b.node("Relu", x), kernel_shape=[2, 2], strides=[1, 2], pads=[1, 0, 0, 0])
    parameters = [b.const(value) for value in (0.5, 0.0, 2.0)]
    x = b.node("Quant", b.node("Mul", x, b.const(0.25)), *parameters, domain=b.quant_domain, signed=0)
    return b.node("Conv", x, b.bipolar(b.const(rng.normal(size=(3, 4, 2, 2)))), b.const([0.5, 0.0, -1.0]))


@pytest.fixture(scope="module")
def seeds(builder: Any) -> list[bytes]:
    old = builder(opset=9, quant_domain="onnx.brevitas")
    new, windows = builder(), builder(opset=10)
    written = ((old, zoo_like), (new, eight_bit), (windows, convolutional))
    return [b.model(write(b)).SerializeToString() for b, write in written]


@pytest.mark.parametrize(("mutate", "count"), [(mutate_bytes, 1200), (mutate_model, 2000)])
def test_nothing_but_our_errors(
    mutate: Callable[[bytes, random.Random], bytes], count: int, seeds: list[bytes], tmp_path: Path
) -> None:
    path = tmp_path / "m.onnx"
    lowered = 0
    for number in range(count):
        rng = random.Random(number)
        data = mutate(seeds[number % len(seeds)], rng)
        path.write_bytes(data)
        try:
            lower_model(path)
        except BitsiegeError:
            continue
        except BaseException as error:
            raise AssertionError(f"mutation {number} of {mutate.__name__}: {error!r}") from error
        lowered += 1
    # Mutations that leave a working network show that not everything is refused out of hand.
    assert lowered > count // 50


def test_the_seeds_are_accepted(seeds: list[bytes], tmp_path: Path) -> None:
    for data in seeds:
        path = tmp_path / "m.onnx"
        path.write_bytes(data)
        assert lower_model(path).classes == 3
