"""The file form of a `DataflowGraph`, and its content hash.

One safetensors file: a JSON header under the metadata key ``bitsiege`` names the nodes, and each array is a
tensor. ±1 weights are stored as bits, eight to a byte, first element in the least significant bit. Loading
executes nothing.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from export.datatypes import DataType
from export.errors import BitsiegeError, GraphFileError
from export.files import atomic_file
from export.graph import (
    DataflowGraph,
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

FORMAT_VERSION = 1
_KEY = "bitsiege"
# What reading a malformed header can raise: a missing key, text for a number, Infinity, deep nesting.
_MALFORMED = (
    OSError,
    SafetensorError,
    KeyError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    RecursionError,
)
_Arrays = dict[str, np.ndarray[Any, Any]]


def save_graph(graph: DataflowGraph, path: Path) -> None:
    """Write a graph to ``path``; nothing half-written stays.

    Raises:
        InputError: The file can't be written.
    """
    header, arrays = _encode(graph, with_sources=True)
    data = save(arrays, metadata={_KEY: json.dumps(header, sort_keys=True)})
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def load_graph(path: Path) -> DataflowGraph:
    """Read a graph that `save_graph` wrote.

    Raises:
        GraphFileError: The file is missing, truncated, of another version, or inconsistent.
    """
    try:
        metadata, arrays = _read(path)
        header = json.loads(metadata[_KEY])
        if header.get("version") != FORMAT_VERSION:
            raise GraphFileError(
                f"{path}: graph format {header.get('version')}, this program reads {FORMAT_VERSION}",
                hint="compile the network again with this program",
            )
        return _decode(header, arrays)
    except BitsiegeError as error:
        raise GraphFileError(f"{path}: {error.message}", hint=error.hint, path=str(path)) from error
    except _MALFORMED as error:
        raise GraphFileError(
            f"{path} is not a dataflow graph: {error}", hint="write one with bitsiege compile", path=str(path)
        ) from error


def graph_hash(graph: DataflowGraph) -> str:
    """Return the SHA-256 of what the graph computes, in hex.

    It covers structure, types and arrays; it does not cover where the network came from, so one network
    exported in two ways has one hash.
    """
    header, arrays = _encode(graph, with_sources=False)
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, str], _Arrays]:
    with cast(Any, safe_open(path, framework="numpy")) as handle:
        names = cast("list[str]", handle.keys())
        return handle.metadata() or {}, {name: handle.get_tensor(name) for name in names}


def _encode(graph: DataflowGraph, *, with_sources: bool) -> tuple[dict[str, Any], _Arrays]:
    arrays: _Arrays = {}
    nodes: list[dict[str, Any]] = []
    for node in graph.nodes:
        entry: dict[str, Any] = {
            "op_type": node.op_type,
            "name": node.name,
            "input": node.input,
            "in_type": node.in_type.name,
        }
        if with_sources and node.source is not None:
            entry["source"] = {"tensor": node.source.tensor, "exponent": node.source.exponent}
        if isinstance(node, Mvau):
            entry["weight_type"] = node.weight_type.name
            entry["weight_shape"] = list(node.weights.shape)
            arrays[f"{node.name}.weights"] = (
                np.packbits(node.weights > 0, bitorder="little")
                if node.weight_type.is_bipolar
                else node.weights
            )
            for label, values in (("scale", node.scale), ("bias", node.bias)):
                if values is not None:
                    arrays[f"{node.name}.{label}"] = values
        if isinstance(node, FmPadding):
            entry |= {"pads": list(node.pads), "value": node.value}
        if isinstance(node, Swg | Pool):
            entry |= {"kernel": list(node.kernel), "stride": list(node.stride)}
        thresholds = node.thresholds if isinstance(node, Mvau | Thresholding) else None
        if thresholds is not None:
            entry["thresholds"] = {"out_type": thresholds.out_type.name, "out_bias": thresholds.out_bias}
            arrays[f"{node.name}.thresholds"] = thresholds.steps
        nodes.append(entry)
    return {"version": FORMAT_VERSION, "input_shape": list(graph.input_shape), "nodes": nodes}, arrays


def _decode(header: dict[str, Any], arrays: _Arrays) -> DataflowGraph:
    height, width, channels = (int(size) for size in header["input_shape"])
    nodes = tuple(_decode_node(entry, arrays) for entry in header["nodes"])
    return DataflowGraph(input_shape=(height, width, channels), nodes=nodes)


def _decode_node(entry: dict[str, Any], arrays: _Arrays) -> Node:
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
            return Swg(**common, kernel=_pair(entry["kernel"]), stride=_pair(entry["stride"]))
        case Pool.op_type:
            return Pool(**common, kernel=_pair(entry["kernel"]), stride=_pair(entry["stride"]))
        case Thresholding.op_type if thresholds is not None:
            return Thresholding(**common, thresholds=thresholds)
        case Mvau.op_type:
            weight_type = DataType(entry["weight_type"])
            rows, columns = (int(size) for size in entry["weight_shape"])
            weights = arrays[f"{name}.weights"]
            if weight_type.is_bipolar:
                fits = rows > 0 and columns > 0 and weights.size == -(-rows * columns // 8)
                if not fits or weights.dtype != np.uint8:
                    raise GraphFileError(f"{name}: packed weights do not fit {rows}x{columns}")
                bits = np.unpackbits(weights, count=rows * columns, bitorder="little")
                weights = (2 * bits.astype(np.int8) - 1).reshape(rows, columns)
            return Mvau(
                **common,
                weights=weights,
                weight_type=weight_type,
                thresholds=thresholds,
                scale=cast("IntArray | None", arrays.get(f"{name}.scale")),
                bias=cast("IntArray | None", arrays.get(f"{name}.bias")),
            )
        case other:
            raise GraphFileError(f"{name}: unknown operator {other!r}")


def _pair(sizes: Any) -> tuple[int, int]:
    height, width = (int(size) for size in sizes)
    return height, width


def _decode_thresholds(name: str, entry: dict[str, Any], arrays: _Arrays) -> Thresholds | None:
    if "thresholds" not in entry:
        return None
    return Thresholds(
        steps=cast("IntArray", arrays[f"{name}.thresholds"]),
        out_type=DataType(entry["thresholds"]["out_type"]),
        out_bias=int(entry["thresholds"]["out_bias"]),
    )
