"""Small ONNX files, built node by node, and their independent float evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

QONNX = "qonnx.custom_op.general"


@dataclass
class OnnxBuilder:
    """Builds a graph line by line; `portable` replaces QONNX operators by standard ones for onnxruntime."""

    shape: tuple[int, ...] = (1, 1, 2, 4)
    opset: int = 13
    quant_domain: str = QONNX
    portable: bool = False
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    count: int = 0

    def fresh(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = self.fresh("c")
        self.initializers.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, op_type: str, *inputs: str, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        names = [self.fresh(op_type.lower()) for _ in range(outputs)]
        node = helper.make_node(
            op_type, list(inputs), names, name=f"n_{names[0]}", domain=domain, **attributes
        )
        self.nodes.append(node)
        return names[0]

    def bipolar(self, x: str, scale: Any = 1.0) -> str:
        s = self.const(scale)
        if not self.portable:
            return self.node("BipolarQuant", x, s, domain=self.quant_domain)
        fires = self.node("GreaterOrEqual", x, self.const(0.0))
        return self.node("Mul", self.node("Where", fires, self.const(1.0), self.const(-1.0)), s)

    def flatten(self, x: str) -> str:
        return self.node("Flatten", x, axis=1)

    def dense(self, x: str, weights: Any, scale: Any = 1.0) -> str:
        """MatMul with latent weights ``(MH, MW)`` quantised in the file, as torchscript exports them."""
        return self.dense_from(x, self.const(weights), scale)

    def dense_from(self, x: str, weights: str, scale: Any = 1.0) -> str:
        quantised = self.bipolar(weights, scale)
        return self.node("MatMul", x, self.node("Transpose", quantised, perm=[1, 0]))

    def batch_norm(self, x: str, gamma: Any, beta: Any, mean: Any, var: Any, epsilon: float = 1e-5) -> str:
        parameters = [self.const(value) for value in (gamma, beta, mean, var)]
        return self.node("BatchNormalization", x, *parameters, epsilon=epsilon)

    def model(self, *outputs: str) -> onnx.ModelProto:
        def value(name: str, shape: Any) -> Any:
            return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

        graph = helper.make_graph(
            self.nodes,
            "test",
            [value("x", self.shape)],
            [value(name, None) for name in outputs],
            initializer=self.initializers,
        )
        opsets = [helper.make_opsetid("", self.opset)]
        if not self.portable:
            opsets.append(helper.make_opsetid(self.quant_domain, 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def save(self, path: Path, *outputs: str) -> Path:
        path.write_bytes(self.model(*outputs).SerializeToString())
        return path


def run_portable(model: onnx.ModelProto, images: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """Run a portable model on uint8 NHWC images with onnxruntime, unoptimised; every output by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    frame = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)[1:]
    floats = (images.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2).reshape(-1, *frame)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": np.ascontiguousarray(floats)}), strict=True))


@pytest.fixture(scope="session")
def builder() -> type[OnnxBuilder]:
    return OnnxBuilder


@pytest.fixture(scope="session")
def ort() -> Callable[..., dict[str, np.ndarray[Any, Any]]]:
    return run_portable


@pytest.fixture
def small_mlp(builder: type[OnnxBuilder]) -> Callable[..., Any]:
    """A two-layer network in the standard form: binarised image, BatchNorm, sign, logits."""

    def build(seed: int = 0, **options: Any) -> tuple[OnnxBuilder, str]:
        rng = np.random.default_rng(seed)
        b = builder(**options)
        x = b.node("Sub", b.node("Mul", b.flatten("x"), b.const(2.0)), b.const(1.0))
        x = b.dense(b.bipolar(x), rng.normal(size=(5, 8)))
        x = b.batch_norm(
            x, rng.normal(size=5), rng.normal(size=5), rng.normal(size=5), rng.uniform(0.5, 9, size=5)
        )
        return b, b.dense(b.bipolar(x), rng.normal(size=(3, 5)))

    return build


@pytest.fixture(scope="session")
def all_patterns() -> np.ndarray[Any, Any]:
    """Every black and white image of 2x4 pixels, uint8 ``(256, 2, 4, 1)``."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    return (255 * bits).astype(np.uint8).reshape(-1, 2, 4, 1)


Write = Callable[[OnnxBuilder], list[str]]


@pytest.fixture
def agree(builder: type[OnnxBuilder], tmp_path: Path) -> Callable[..., Any]:
    """Lower a network and compare its hidden signs and logits with onnxruntime's on images.

    ``write`` returns the tensors to compare: the ±1 after each hidden layer, and the logits. Logits may
    differ by a scale and an offset for all classes: equal order is asked for, and equality with the last
    node's source where it has one.
    """

    def compare(write: Write, images: np.ndarray[Any, Any], **options: Any) -> Any:
        from export.lowering import lower_with_notes
        from hw.reference import ReferenceTarget

        height, width, channels = images.shape[1:]
        options = {"shape": (1, channels, height, width), **options}
        b = builder(**options)
        path = b.save(tmp_path / "m.onnx", write(b)[-1])
        portable = builder(**{**options, "shape": (len(images), *options["shape"][1:])}, portable=True)
        names = write(portable)
        expected = run_portable(portable.model(*names), images)
        lowered = lower_with_notes(path)
        streams = ReferenceTarget(lowered.graph).trace(images)
        for name, mvau in zip(names, lowered.graph.mvaus, strict=True):
            if mvau.thresholds is not None:
                np.testing.assert_array_equal(streams[mvau.name], np.sign(expected[name]), err_msg=mvau.name)
        logits, floats = streams[lowered.graph.nodes[-1].name], expected[names[-1]]
        np.testing.assert_array_equal(
            logits.argsort(axis=1, kind="stable"), floats.argsort(axis=1, kind="stable")
        )
        source = lowered.graph.nodes[-1].source
        if source is not None and source.tensor == names[-1]:
            np.testing.assert_array_equal(logits, floats * 2.0**source.exponent)
        return lowered

    return compare


@pytest.fixture
def refused(builder: type[OnnxBuilder], tmp_path: Path) -> Callable[..., Any]:
    """Lower a network that must be refused; returns the error."""

    def lower(write: Callable[[OnnxBuilder], str], **options: Any) -> Any:
        from export.errors import LoweringError
        from export.lowering import lower_model

        b = builder(**options)
        with pytest.raises(LoweringError) as caught:
            lower_model(b.save(tmp_path / "m.onnx", write(b)))
        assert "m.onnx" in caught.value.message
        assert caught.value.hint
        return caught.value

    return lower
