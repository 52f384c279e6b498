"""The qonnx package behind one small class: quiet, lazily imported, its failures as our errors."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from export.errors import ToolError
from export.onnxfile import load_model, load_proto

Tensors = dict[str, npt.NDArray[Any]]

_P = ParamSpec("_P")
_T = TypeVar("_T")
_ORT_FATAL_ONLY = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class QonnxExecutor:
    """One QONNX file, ready to execute.

    Attributes:
        path: The file.
        input_name: Its image input.
        frame: Shape of one image in the file, without the batch.
        batch: Images at a time.
        model: The qonnx package's ModelWrapper.
    """

    path: Path
    input_name: str
    frame: tuple[int, ...]
    batch: int
    model: Any

    def run(self, images: npt.NDArray[np.float32]) -> Tensors:
        """Execute the file on ``(batch, *frame)`` floats; returns every tensor by name.

        Raises:
            ToolError: The qonnx package failed.
        """
        return _guarded(self.path, _execute, self.model, self.input_name, images)

    def with_batch(self, batch: int) -> QonnxExecutor:
        """Return an executor of the same file for another batch size.

        The batch dimension of the input is replaced and all shapes are inferred anew; a constant reshape
        target that begins with 1 gets an open first dimension. Whether the operators then compute the same is
        for the caller to try.

        Raises:
            ToolError: The file does not allow it.
        """
        model = _guarded(self.path, _rebatched, self.model, self.input_name, batch)
        return QonnxExecutor(
            path=self.path, input_name=self.input_name, frame=self.frame, batch=batch, model=model
        )


def open_executor(path: Path) -> QonnxExecutor:
    """Open a QONNX file, computing once what depends on constants only.

    Raises:
        InputError: The file can't be read.
        ToolError: The qonnx package can't execute it.
    """
    described = load_model(path)
    frame = tuple(size or 0 for size in described.input_shape[1:])
    proto = load_proto(path)
    # Nodes that no output depends on were not checked when the file was read, so they are not executed.
    live = {name for node in described.nodes for name in node.outputs}
    for node in [node for node in proto.graph.node if live.isdisjoint(node.output)]:
        proto.graph.node.remove(node)
    model = _guarded(path, _prepare, proto, described.input_name, (1, *frame))
    return QonnxExecutor(path=path, input_name=described.input_name, frame=frame, batch=1, model=model)


def _prepare(proto: onnx.ModelProto, input_name: str, shape: tuple[int, ...]) -> Any:
    model = _infer_shapes(_with_input_batch(proto, input_name, shape[0]))
    context = _execute(model, input_name, np.zeros(shape, np.float32))
    computed = {input_name}
    constant: list[onnx.NodeProto] = []
    for node in model.graph.node:
        if computed.isdisjoint(node.input):
            constant.append(node)
        else:
            computed.update(node.output)
    for node in constant:
        for name in node.output:
            model.set_initializer(name, context[name])
        model.graph.node.remove(node)
    return model


def _rebatched(model: Any, input_name: str, batch: int) -> Any:
    proto = onnx.ModelProto()
    proto.CopyFrom(model.model)
    constants = {tensor.name: tensor for tensor in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants:
            target = numpy_helper.to_array(constants[node.input[1]]).copy()
            if target.size and target[0] == 1 and not np.any(target[1:] == -1):
                target[0] = -1
                constants[node.input[1]].CopyFrom(numpy_helper.from_array(target, node.input[1]))
    del proto.graph.value_info[:]
    for output in proto.graph.output:
        output.type.tensor_type.ClearField("shape")
    return _infer_shapes(_with_input_batch(proto, input_name, batch))


def _with_input_batch(proto: onnx.ModelProto, input_name: str, batch: int) -> onnx.ModelProto:
    for value in proto.graph.input:
        if value.name == input_name:
            value.type.tensor_type.shape.dim[0].dim_value = batch
    return proto


def _infer_shapes(proto: onnx.ModelProto) -> Any:
    wrapper: Any = importlib.import_module("qonnx.core.modelwrapper").ModelWrapper
    transform: Any = importlib.import_module("qonnx.transformation.infer_shapes").InferShapes
    return wrapper(proto).transform(transform())


def _execute(model: Any, input_name: str, images: npt.NDArray[np.float32]) -> Tensors:
    execute: Any = importlib.import_module("qonnx.core.onnx_exec").execute_onnx
    return execute(model, {input_name: images}, return_full_exec_context=True)


def _guarded(path: Path, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    with _quiet():
        try:
            return call(*args, **kwargs)
        except Exception as error:
            # The package signals with bare Exception, AssertionError and onnxruntime's own types alike.
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ToolError(
                f"the qonnx package can't execute {path}: {first[:300]}",
                hint="use the other targets, or export the model again",
                path=str(path),
            ) from error


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    onnxruntime: Any = importlib.import_module("onnxruntime")
    onnxruntime.set_default_logger_severity(_ORT_FATAL_ONLY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
