"""From an ONNX node with constant arguments to elementwise operations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from export.lowering import attributes, operations
from export.lowering.operations import FloatArray, Operation
from export.lowering.refusal import refuse
from export.onnxfile import OnnxNode
from export.onnxtensor import Array

QUANT_DOMAINS = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")

_Arguments = list[Array | None]
_MAX_QUANT_BITS = 24

_UNARY: dict[str, operations.Function] = {
    "Neg": operations.negate,
    "Relu": operations.relu,
    "Abs": operations.absolute,
    "Sqrt": operations.square_root,
    "Floor": operations.floor,
    "Ceil": operations.ceil,
    "Round": operations.round_half_even,
}
_ROUNDING: dict[str, operations.Function] = {
    "ROUND": operations.round_half_even,
    "HALF_EVEN": operations.round_half_even,
    "CEIL": operations.ceil,
    "FLOOR": operations.floor,
    "UP": operations.round_up,
    "DOWN": operations.truncate,
    "HALF_UP": operations.round_half_up,
    "HALF_DOWN": operations.round_half_down,
}


def bind(node: OnnxNode, arguments: _Arguments, position: int, rank: int) -> tuple[Operation, ...] | None:
    """Return the elementwise operations of a node, or None where its operator is not elementwise.

    Args:
        node: The node.
        arguments: Constants by input position; None at ``position``.
        position: Which input is the activation.
        rank: Number of the activation's dimensions.

    Raises:
        LoweringError: The operator is elementwise and its attributes or constants can't be used.
    """
    if node.domain in QUANT_DOMAINS:
        binder = {"BipolarQuant": _bipolar_quant, "Quant": _quant, "IntQuant": _quant}.get(node.op_type)
        if binder is None:
            return None
        if position != 0:
            raise refuse(node, "quantises by a computed scale", hint="fix the scale before exporting")
        return binder(node, arguments)
    if node.domain:
        return None
    if node.op_type in _UNARY:
        return (Operation(function=_UNARY[node.op_type]),)
    if node.op_type in _BINARY:
        return _binary(node, arguments, position)
    other: dict[str, Callable[[], tuple[Operation, ...]]] = {
        "Identity": tuple,
        "Dropout": lambda: _dropout(node, arguments),
        "Cast": lambda: _cast(node),
        "Pow": lambda: _power(node, arguments, position),
        "Clip": lambda: _clip(node, arguments),
        "BatchNormalization": lambda: _batch_norm(node, arguments, rank),
    }
    if node.op_type not in other:
        return None
    if position != 0:
        raise refuse(node, "takes the activation where a constant is expected")
    return other[node.op_type]()


_BINARY: dict[str, tuple[operations.Function, operations.Function | None]] = {
    "Add": (operations.add, operations.add),
    "Mul": (operations.multiply, operations.multiply),
    "Sub": (operations.subtract, operations.subtract_from),
    "Div": (operations.divide, None),
}


def _binary(node: OnnxNode, arguments: _Arguments, position: int) -> tuple[Operation, ...]:
    if len(node.inputs) != 2:
        raise refuse(node, f"has {len(node.inputs)} inputs, not 2")
    function = _BINARY[node.op_type][position]
    if function is None:
        raise refuse(node, "divides a constant by an activation", hint="divide by constants only")
    return (Operation(function=function, parameters=(_constant(node, arguments, 1 - position),)),)


def _constant(node: OnnxNode, arguments: _Arguments, position: int) -> FloatArray:
    value = arguments[position] if position < len(arguments) else None
    if value is None:
        raise refuse(node, f"needs a constant as input {position}")
    if value.dtype != np.float32:
        raise refuse(
            node, f"has an operand of type {value.dtype}; float32 is expected", hint="export in float32"
        )
    return value


def _dropout(node: OnnxNode, arguments: _Arguments) -> tuple[Operation, ...]:
    if len(arguments) > 2 and node.inputs[2] and attributes.scalar(node, arguments[2], "training mode"):
        raise refuse(node, "drops activations at random", hint="call eval() before exporting")
    return ()


def _cast(node: OnnxNode) -> tuple[Operation, ...]:
    if attributes.integer(node, "to", 0) != 1:
        raise refuse(node, "converts an activation to another type than float32", hint="export in float32")
    return ()


def _power(node: OnnxNode, arguments: _Arguments, position: int) -> tuple[Operation, ...]:
    exponent = attributes.scalar(node, arguments[1] if len(arguments) > 1 else None, "exponent")
    known = {1.0: (), 2.0: (Operation(function=operations.square),)}
    if exponent == 0.5:
        return (Operation(function=operations.square_root),)
    if exponent not in known or position != 0:
        raise refuse(node, f"raises an activation to the power {exponent:g}", hint="use 1, 2 or 0.5")
    return known[exponent]


def _clip(node: OnnxNode, arguments: _Arguments) -> tuple[Operation, ...]:
    limits: list[FloatArray] = []
    for index, name in ((1, "min"), (2, "max")):
        if index < len(node.inputs) and node.inputs[index]:
            value = _constant(node, arguments, index)
            if value.size != 1:
                raise refuse(node, f"has {value.size} values as {name}; one is expected")
            limits.append(value.reshape(()))
        else:
            default = -np.inf if name == "min" else np.inf
            limits.append(np.asarray(attributes.real(node, name, default), np.float32))
    return (Operation(function=operations.clip, parameters=tuple(limits)),)


def _batch_norm(node: OnnxNode, arguments: _Arguments, rank: int) -> tuple[Operation, ...]:
    if attributes.integer(node, "training_mode", 0) or not attributes.integer(node, "spatial", 1):
        raise refuse(node, "normalises by the batch's own statistics", hint="call eval() before exporting")
    if len(node.inputs) != 5 or rank < 2:
        raise refuse(node, f"has {len(node.inputs)} inputs and an activation of {rank} dimensions")
    constants = [_constant(node, arguments, index) for index in range(1, 5)]
    if any(value.ndim != 1 or value.shape != constants[0].shape for value in constants):
        raise refuse(node, "has scale, bias, mean and variance of different shapes")
    shape = (1, -1, *([1] * (rank - 2)))
    epsilon = np.asarray(attributes.real(node, "epsilon", 1e-5), np.float32)
    return (
        Operation(
            function=operations.batch_norm,
            parameters=(*(value.reshape(shape) for value in constants), epsilon),
            alternatives=operations.BATCH_NORM_ALTERNATIVES,
        ),
    )


def _bipolar_quant(node: OnnxNode, arguments: _Arguments) -> tuple[Operation, ...]:
    scale = _constant(node, arguments, 1)
    return (
        Operation(function=operations.bipolar_sign),
        Operation(function=operations.multiply, parameters=(scale,)),
    )


def _quant(node: OnnxNode, arguments: _Arguments) -> tuple[Operation, ...]:
    scale, zero_point = _constant(node, arguments, 1), _constant(node, arguments, 2)
    bits = attributes.scalar(node, arguments[3] if len(arguments) > 3 else None, "bit width")
    if not 1 <= bits <= _MAX_QUANT_BITS or bits != int(bits):
        raise refuse(node, f"quantises to {bits:g} bits; 1 to {_MAX_QUANT_BITS} are accepted")
    before = (
        Operation(function=operations.divide, parameters=(scale,)),
        Operation(function=operations.add, parameters=(zero_point,)),
    )
    after = (
        Operation(function=operations.subtract, parameters=(zero_point,)),
        Operation(function=operations.multiply, parameters=(scale,)),
    )
    return (*before, *_to_integer(node, int(bits)), *after)


def _to_integer(node: OnnxNode, bits: int) -> tuple[Operation, ...]:
    signed = attributes.integer(node, "signed", 1)
    if bits == 1 and signed:
        return (Operation(function=operations.bipolar_sign),)
    narrow = int(attributes.integer(node, "narrow", 1) != 0)
    low, high = (
        (narrow - (1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1 - narrow)
    )
    mode = attributes.text(node, "rounding_mode", "ROUND").upper()
    if mode not in _ROUNDING:
        raise refuse(node, f"rounds by {mode[:20]!r}", hint=f"known: {', '.join(_ROUNDING)}")
    limits = (np.asarray(low, np.float32), np.asarray(high, np.float32))
    return (
        Operation(function=operations.clip_as_quant, parameters=limits),
        Operation(function=_ROUNDING[mode]),
    )
