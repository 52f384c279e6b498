"""Reading untrusted ONNX files into a small, checked description that holds no protobuf.

What comes out is one live graph: nodes in topological order, each tensor written once, every initialiser
complete. Nothing that the file says is executed, and no path outside its folder is opened.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto

from export.errors import BitsiegeError, InputError
from export.onnxtensor import Array, inline_external, tensor_array

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | Array

MAX_FILE_BYTES = 256 << 20
MAX_NODES = 20_000
LOGIT_EXPONENT = "bitsiege.logit_exponent"
"""Key in a file's metadata: see `OnnxModel.logit_exponent`."""
_OLDEST_OPSET = 7
_STANDARD_DOMAINS = ("", "ai.onnx")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxNode:
    """One operator.

    Attributes:
        name: Its name, or its first output's where it has none.
        op_type: Operator.
        domain: Operator set; empty for ONNX's own.
        inputs: Tensors read; an absent optional input is empty.
        outputs: Tensors written.
        attributes: By name.
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnnxModel:
    """The part of an ONNX file that its outputs depend on.

    Attributes:
        opset: Version of ONNX's own operator set.
        nodes: In topological order.
        initializers: By tensor name.
        input_name: The one input that is no initialiser.
        input_type: Its `TensorProto` element type.
        input_shape: Its dimensions; None where the file leaves one open.
        outputs: The graph's outputs.
        logit_exponent: The network's integer logits are its outputs times ``2**logit_exponent``, where the
            file says so under `LOGIT_EXPONENT`; else None.
    """

    opset: int
    nodes: tuple[OnnxNode, ...]
    initializers: Mapping[str, Array]
    input_name: str
    input_type: int
    input_shape: tuple[int | None, ...]
    outputs: tuple[str, ...]
    logit_exponent: int | None = None


def load_proto(path: Path) -> onnx.ModelProto:
    """Parse an ONNX file and bring external weights into it.

    Raises:
        InputError: The file is missing, too large, no ONNX, or keeps weights outside its folder.
    """
    model = onnx.ModelProto()
    try:
        model.ParseFromString(_read_bytes(path))
        for tensor in model.graph.initializer:
            inline_external(tensor, path.parent)
    except BitsiegeError as error:
        raise _with_path(error, path) from error
    except (DecodeError, UnicodeDecodeError, ValueError) as error:
        raise _not_onnx(path) from error
    if not model.graph.node:
        raise _not_onnx(path)
    return model


def load_model(path: Path) -> OnnxModel:
    """Read an ONNX file and check everything that does not depend on the operators.

    Raises:
        InputError: The file is damaged, hostile or not a network; the message names file and place.
    """
    proto = load_proto(path)
    try:
        return _describe(proto)
    except BitsiegeError as error:
        raise _with_path(error, path) from error
    except (UnicodeDecodeError, ValueError, TypeError) as error:
        raise _not_onnx(path) from error


def _with_path(error: BitsiegeError, path: Path) -> InputError:
    return InputError(f"{path}: {error.message}", hint=error.hint, path=str(path), **error.context)


def _not_onnx(path: Path) -> InputError:
    return InputError(
        f"{path} is not a readable ONNX file: damaged or truncated",
        hint="export the model again",
        path=str(path),
    )


def _read_bytes(path: Path) -> bytes:
    try:
        if not path.is_file():
            reason = "it is not a regular file" if path.exists() else "no such file"
            raise InputError(f"can't be read: {reason}", hint="name an ONNX file")
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(f"can't be read: {error.strerror or error}", hint="name an ONNX file") from error
    if len(data) > MAX_FILE_BYTES:
        raise InputError(f"larger than {MAX_FILE_BYTES >> 20} MiB", hint="keep only one network in the file")
    return data


def _describe(proto: onnx.ModelProto) -> OnnxModel:
    graph = proto.graph
    if len(graph.node) > MAX_NODES:
        raise InputError(f"{len(graph.node)} nodes; at most {MAX_NODES} are accepted")
    initializers = _unique(((tensor.name, tensor) for tensor in graph.initializer), "initialiser")
    inputs = _unique(((value.name, value) for value in graph.input), "input")
    free = [name for name in inputs if name not in initializers]
    if len(free) != 1:
        raise InputError(
            f"the graph has {len(free)} inputs ({', '.join(free[:5])}); one image input is expected",
            hint="merge or remove the others before exporting",
        )
    outputs = tuple(value.name for value in graph.output)
    if not outputs:
        raise InputError("the graph has no output", hint="export the model again")
    order = _live_order(graph, {*initializers, free[0]}, outputs)
    nodes = tuple(_node(graph.node[index]) for index in order)
    used = {name for node in nodes for name in node.inputs} | set(outputs)
    arrays = {name: tensor_array(tensor) for name, tensor in initializers.items() if name in used}
    for name, array in arrays.items():
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise InputError(
                f"tensor {name!r} holds NaN", hint="train or export the model again", tensor=name
            )
    input_type, input_shape = _value_type(inputs[free[0]])
    return OnnxModel(
        opset=_opset(proto),
        nodes=nodes,
        initializers=arrays,
        input_name=free[0],
        input_type=input_type,
        input_shape=input_shape,
        outputs=outputs,
        logit_exponent=_logit_exponent(proto),
    )


def _logit_exponent(proto: onnx.ModelProto) -> int | None:
    """Read the grid of the logits from the file's metadata."""
    for entry in proto.metadata_props:
        if entry.key == LOGIT_EXPONENT:
            if not re.fullmatch(r"-?[0-9]{1,2}", entry.value):
                raise InputError(
                    f"the metadata {LOGIT_EXPONENT} is {entry.value[:20]!r}, not a small integer",
                    hint="export the model again",
                )
            return int(entry.value)
    return None


def _unique(pairs: Iterable[tuple[str, _T]], what: str) -> dict[str, _T]:
    into: dict[str, _T] = {}
    for name, value in pairs:
        if name in into:
            raise InputError(f"two {what}s are named {name!r}", hint="export the model again")
        into[name] = value
    return into


def _opset(proto: onnx.ModelProto) -> int:
    versions = [entry.version for entry in proto.opset_import if entry.domain in _STANDARD_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if not versions or not _OLDEST_OPSET <= max(versions) <= newest:
        found = max(versions) if versions else "none"
        raise InputError(
            f"ONNX operator set {found}; {_OLDEST_OPSET} to {newest} are read", hint="export with opset 13"
        )
    return max(versions)


def _value_type(value: onnx.ValueInfoProto) -> tuple[int, tuple[int | None, ...]]:
    tensor_type = value.type.tensor_type
    if not tensor_type.HasField("shape"):
        raise InputError(f"input {value.name!r} has no shape", hint="export with a fixed image size")
    dims = tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None
        for dim in tensor_type.shape.dim
    )
    return tensor_type.elem_type, dims


def _live_order(graph: onnx.GraphProto, given: set[str], outputs: tuple[str, ...]) -> list[int]:
    """Return the indices of the nodes that the outputs need, each after those that it reads."""
    writer: dict[str, int] = {}
    for index, node in enumerate(graph.node):
        for name in node.output:
            if not name:
                continue
            if name in writer or name in given:
                raise InputError(f"tensor {name!r} is written twice", hint="export the model again")
            writer[name] = index
    reads = [{writer[name] for name in node.input if name in writer} for node in graph.node]
    live: set[int] = set()
    todo = [_writer_of(name, writer, given, "the graph's output") for name in outputs if name not in given]
    while todo:
        index = todo.pop()
        if index in live:
            continue
        live.add(index)
        node = graph.node[index]
        for name in node.input:
            if name and name not in given:
                todo.append(_writer_of(name, writer, given, f"node {_name(node)!r}"))
    return _topological(graph, reads, live)


def _writer_of(name: str, writer: dict[str, int], given: set[str], reader: str) -> int:
    if name not in writer:
        raise InputError(
            f"{reader} reads tensor {name!r}, which nothing writes", hint="export the model again"
        )
    return writer[name]


def _topological(graph: onnx.GraphProto, reads: list[set[int]], live: set[int]) -> list[int]:
    waiting = {index: len(reads[index]) for index in live}
    readers: dict[int, list[int]] = {index: [] for index in live}
    for index in sorted(live):
        for source in reads[index]:
            readers[source].append(index)
    ready = deque(index for index in sorted(live) if not waiting[index])
    order: list[int] = []
    while ready:
        index = ready.popleft()
        order.append(index)
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(order) != len(live):
        stuck = graph.node[min(live - set(order))]
        raise InputError(f"node {_name(stuck)!r} is part of a cycle", hint="export the model again")
    return order


def _name(node: onnx.NodeProto) -> str:
    return node.name or (node.output[0] if node.output else node.op_type)


def _node(node: onnx.NodeProto) -> OnnxNode:
    attributes = _unique(((entry.name, _attribute(entry)) for entry in node.attribute), "attribute")
    return OnnxNode(
        name=_name(node),
        op_type=node.op_type,
        domain="" if node.domain in _STANDARD_DOMAINS else node.domain,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
    )


def _attribute(entry: AttributeProto) -> Attribute:
    match entry.type:
        case AttributeProto.INT:
            return entry.i
        case AttributeProto.FLOAT:
            return entry.f
        case AttributeProto.STRING:
            return entry.s.decode("utf-8", errors="replace")
        case AttributeProto.INTS:
            return tuple(entry.ints)
        case AttributeProto.FLOATS:
            return tuple(entry.floats)
        case AttributeProto.TENSOR:
            return tensor_array(entry.t)
        case other:
            raise InputError(f"attribute {entry.name!r} has the type {other}, which is not used here")


FLOAT = TensorProto.FLOAT
