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

from export.errors import BitsiegeError, GraphFileError
from export.files import atomic_file
from export.graph import DataflowGraph
from export.nodefile import Arrays, decode_node, encode_node

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


def _read(path: Path) -> tuple[dict[str, str], Arrays]:
    with cast(Any, safe_open(path, framework="numpy")) as handle:
        names = cast("list[str]", handle.keys())
        return handle.metadata() or {}, {name: handle.get_tensor(name) for name in names}


def _encode(graph: DataflowGraph, *, with_sources: bool) -> tuple[dict[str, Any], Arrays]:
    arrays: Arrays = {}
    nodes: list[dict[str, Any]] = []
    for node in graph.nodes:
        entry = encode_node(node, arrays)
        if with_sources and node.source is not None:
            entry["source"] = {"tensor": node.source.tensor, "exponent": node.source.exponent}
        nodes.append(entry)
    return {"version": FORMAT_VERSION, "input_shape": list(graph.input_shape), "nodes": nodes}, arrays


def _decode(header: dict[str, Any], arrays: Arrays) -> DataflowGraph:
    height, width, channels = (int(size) for size in header["input_shape"])
    nodes = tuple(decode_node(entry, arrays) for entry in header["nodes"])
    return DataflowGraph(input_shape=(height, width, channels), nodes=nodes)
