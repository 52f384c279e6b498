"""The file form of one node of a `DataflowGraph`: a JSON-able entry, and its arrays by name.

What has its usual value is left out, so that a network's content hash doesn't depend on options that it does
not use.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from export.datatypes import DataType
from export.errors import GraphFileError
from export.graph import (
    Add,
    Flatten,
    FmPadding,
    IntArray,
    Mvau,
    Node,
    Pool,
    Source,
    Swg,
    Thresholding,
    Thresholds,
)

Arrays = dict[str, np.ndarray[Any, Any]]


def encode_node(node: Node, arrays: Arrays) -> dict[str, Any]:
    """Return the entry of a node, without its source, and add its arrays to ``arrays``."""
    entry: dict[str, Any] = {
        "op_type": node.op_type,
        "name": node.name,
        "input": node.input,
        "in_type": node.in_type.name,
    }
    match node:
        case Mvau():
            entry |= _encode_mvau(node, arrays)
        case FmPadding():
            entry |= {"pads": list(node.pads), "value": node.value}
        case Swg():
            entry |= {"kernel": list(node.kernel), "stride": list(node.stride)}
            entry |= {} if node.groups == 1 else {"groups": node.groups}
        case Pool():
            entry |= {"kernel": list(node.kernel), "stride": list(node.stride)}
            entry |= {} if node.mode == "max" else {"mode": node.mode}
        case Add():
            entry |= {"other": node.other, "other_type": node.other_type.name}
        case Flatten() | Thresholding():
            pass
    thresholds = node.thresholds if isinstance(node, Mvau | Thresholding) else None
    if thresholds is not None:
        entry["thresholds"] = {"out_type": thresholds.out_type.name, "out_bias": thresholds.out_bias}
        arrays[f"{node.name}.thresholds"] = thresholds.steps
    return entry


def _encode_mvau(node: Mvau, arrays: Arrays) -> dict[str, Any]:
    are_bits = node.weight_type.is_bipolar and node.draw is None
    arrays[f"{node.name}.weights"] = (
        np.packbits(node.weights > 0, bitorder="little") if are_bits else node.weights
    )
    for label, values in (("scale", node.scale), ("bias", node.bias)):
        if values is not None:
            arrays[f"{node.name}.{label}"] = values
    entry: dict[str, Any] = {
        "weight_type": node.weight_type.name,
        "weight_shape": list(node.weights.shape),
    }
    entry |= {} if node.groups == 1 else {"groups": node.groups}
    entry |= {} if node.draw is None else {"draw": node.draw}
    return entry


def decode_node(entry: dict[str, Any], arrays: Arrays) -> Node:
    """Return the node of an entry that `encode_node` made; raises what malformed values raise."""
    name = str(entry["name"])
    source = None
    if "source" in entry:
        source = Source(tensor=str(entry["source"]["tensor"]), exponent=int(entry["source"]["exponent"]))
    common: dict[str, Any] = {
        "name": name,
        "input": str(entry["input"]),
        "in_type": DataType(entry["in_type"]),
        "source": source,
    }
    thresholds = _decode_thresholds(name, entry, arrays)
    match entry["op_type"]:
        case Flatten.op_type:
            return Flatten(**common)
        case FmPadding.op_type:
            top, left, bottom, right = (int(size) for size in entry["pads"])
            return FmPadding(**common, pads=(top, left, bottom, right), value=int(entry["value"]))
        case Swg.op_type:
            kernel, stride = _pair(entry["kernel"]), _pair(entry["stride"])
            return Swg(**common, kernel=kernel, stride=stride, groups=int(entry.get("groups", 1)))
        case Pool.op_type:
            mode = entry.get("mode", "max")
            if mode not in ("max", "sum"):
                raise GraphFileError(f"{name}: unknown mode {mode!r} of Pool")
            return Pool(**common, kernel=_pair(entry["kernel"]), stride=_pair(entry["stride"]), mode=mode)
        case Add.op_type:
            return Add(**common, other=str(entry["other"]), other_type=DataType(entry["other_type"]))
        case Thresholding.op_type if thresholds is not None:
            return Thresholding(**common, thresholds=thresholds)
        case Mvau.op_type:
            return _decode_mvau(common, entry, arrays, thresholds)
        case other:
            raise GraphFileError(f"{name}: unknown operator {other!r}")


def _decode_mvau(
    common: dict[str, Any], entry: dict[str, Any], arrays: Arrays, thresholds: Thresholds | None
) -> Mvau:
    name = common["name"]
    draw = None if entry.get("draw") is None else int(entry["draw"])
    weight_type = DataType(entry["weight_type"])
    rows, columns = (int(size) for size in entry["weight_shape"])
    weights = arrays[f"{name}.weights"]
    if weight_type.is_bipolar and draw is None:
        fits = rows > 0 and columns > 0 and weights.size == -(-rows * columns // 8)
        if not fits or weights.dtype != np.uint8:
            raise GraphFileError(f"{name}: packed weights do not fit {rows}x{columns}")
        bits = np.unpackbits(weights, count=rows * columns, bitorder="little")
        weights = (2 * bits.astype(np.int8) - 1).reshape(rows, columns)
    return Mvau(
        **common,
        weights=weights,
        weight_type=weight_type,
        groups=int(entry.get("groups", 1)),
        draw=draw,
        thresholds=thresholds,
        scale=cast("IntArray | None", arrays.get(f"{name}.scale")),
        bias=cast("IntArray | None", arrays.get(f"{name}.bias")),
    )


def _pair(sizes: Any) -> tuple[int, int]:
    height, width = (int(size) for size in sizes)
    return height, width


def _decode_thresholds(name: str, entry: dict[str, Any], arrays: Arrays) -> Thresholds | None:
    if "thresholds" not in entry:
        return None
    return Thresholds(
        steps=cast("IntArray", arrays[f"{name}.thresholds"]),
        out_type=DataType(entry["thresholds"]["out_type"]),
        out_bias=int(entry["thresholds"]["out_bias"]),
    )
