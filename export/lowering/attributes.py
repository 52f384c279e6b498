"""Typed reads of ONNX attributes and inputs: a wrong type is the file's fault, so it is refused."""

from __future__ import annotations

import numpy as np

from export.lowering.refusal import refuse
from export.onnxfile import OnnxNode
from export.onnxtensor import Array

_HINT = "export the model again"


def integer(node: OnnxNode, name: str, default: int) -> int:
    """Return an INT attribute."""
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise refuse(node, f"has an attribute {name} that is no integer", hint=_HINT)
    return value


def real(node: OnnxNode, name: str, default: float) -> float:
    """Return a FLOAT attribute."""
    value = node.attributes.get(name, default)
    if not isinstance(value, float):
        raise refuse(node, f"has an attribute {name} that is no float", hint=_HINT)
    return value


def text(node: OnnxNode, name: str, default: str) -> str:
    """Return a STRING attribute."""
    value = node.attributes.get(name, default)
    if not isinstance(value, str):
        raise refuse(node, f"has an attribute {name} that is no string", hint=_HINT)
    return value


def integers(node: OnnxNode, name: str) -> tuple[int, ...] | None:
    """Return an INTS attribute, or None where it is absent."""
    value = node.attributes.get(name)
    if value is None:
        return None
    if not isinstance(value, tuple) or not all(isinstance(item, int) for item in value):
        raise refuse(node, f"has an attribute {name} that is no list of integers", hint=_HINT)
    return tuple(int(item) for item in value)


def integer_input(node: OnnxNode, arguments: list[Array | None], position: int) -> tuple[int, ...] | None:
    """Return a constant INT64 input such as a shape or axes, or None where it is absent."""
    if position >= len(node.inputs) or not node.inputs[position]:
        return None
    value = arguments[position]
    if value is None or value.dtype.kind not in "iu" or value.ndim > 1 or value.size > 64:
        raise refuse(node, f"needs a constant list of integers as input {position}", hint=_HINT)
    return tuple(int(item) for item in value.reshape(-1))


def axes(node: OnnxNode, arguments: list[Array | None], position: int = 1) -> tuple[int, ...] | None:
    """Return ``axes``, an attribute in older operator sets and an input in newer ones."""
    listed = integers(node, "axes")
    return listed if listed is not None else integer_input(node, arguments, position)


def scalar(node: OnnxNode, value: Array | None, what: str) -> float:
    """Return a constant of one element."""
    if value is None or value.size != 1 or value.dtype.kind not in "fiub":
        raise refuse(node, f"needs a constant {what} of one element", hint=_HINT)
    return float(np.asarray(value).reshape(-1)[0])
