"""Small networks as builds, and FINN's environment, which the first test that needs it sets up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.lowering import lower_model
from hw.build import Build, load_build, write_build
from hw.finn import set_up
from hw.folding import Folding, LayerFolding

_QUANT = "qonnx.custom_op.general"


@pytest.fixture(scope="session")
def finn() -> Path:
    """Python of FINN's environment in the user's cache; one process of the run installs it."""
    return set_up()


@pytest.fixture(scope="session")
def finn_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for FINN's graphs in all test processes, with the user's environments in it."""
    from hw.cache import default_cache_dir

    cache = tmp_path_factory.getbasetemp().parent / "finn-cache"
    cache.mkdir(exist_ok=True)
    link = cache / "environments"
    if not link.is_symlink():
        try:
            link.symlink_to(default_cache_dir() / "environments")
        except FileExistsError:
            assert link.is_symlink()
    return cache


class Writer:
    """Writes a QONNX file of ±1 layers node by node."""

    def __init__(self, shape: tuple[int, int, int], seed: int = 0) -> None:
        height, width, channels = shape
        self.draws = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, channels, height, width])

    def constant(self, value: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **attributes))
        return name

    def sign(self, x: str) -> str:
        return self.node("BipolarQuant", x, self.constant(1.0), domain=_QUANT)

    def weights(self, *shape: int) -> str:
        return self.sign(self.constant(self.draws.choice([-1.0, 1.0], shape)))

    def norm(self, x: str, shape: tuple[int, ...]) -> str:
        """Scale and shift; every third scale is negative."""
        gamma = self.draws.uniform(0.1, 1, shape) * np.where(np.arange(np.prod(shape)) % 3, 1, -1).reshape(
            shape
        )
        return self.node(
            "Add", self.node("Mul", x, self.constant(gamma)), self.constant(self.draws.normal(size=shape))
        )

    def save(self, path: Path, output: str, classes: int) -> Path:
        logits = helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, classes])
        graph = helper.make_graph(self.nodes, "net", [self.image], [logits], self.constants)
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(_QUANT, 1)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
        return path


def _build(folder: Path, model: Path) -> Build:
    graph = lower_model(model)
    folding = Folding({node.name: LayerFolding(1, 1) for node in graph.mvaus})
    write_build(folder / "build", graph=graph, folding=folding, clock_mhz=100.0, board=None, model=model)
    return load_build(folder / "build")


@pytest.fixture(scope="session")
def dense_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """4x4x2 images, a hidden layer of 6, 3 classes."""
    folder = tmp_path_factory.mktemp("dense")
    writer = Writer((4, 4, 2))
    x = writer.node("Flatten", writer.sign(writer.node("Sub", "x", writer.constant(0.5))))
    x = writer.sign(writer.norm(writer.node("MatMul", x, writer.weights(32, 6)), (6,)))
    return _build(folder, writer.save(folder / "m.onnx", writer.node("MatMul", x, writer.weights(6, 3)), 3))


@pytest.fixture(scope="session")
def padded_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A convolution of ±1 activations with a border of zeros."""
    folder = tmp_path_factory.mktemp("padded")
    writer = Writer((4, 4, 2), seed=1)
    x = writer.sign(writer.node("Sub", "x", writer.constant(0.5)))
    x = writer.node("Conv", x, writer.weights(4, 2, 3, 3), kernel_shape=[3, 3], pads=[1] * 4, strides=[1, 1])
    x = writer.node("Flatten", writer.sign(writer.norm(x, (4, 1, 1))))
    return _build(folder, writer.save(folder / "m.onnx", writer.node("MatMul", x, writer.weights(64, 3)), 3))


@pytest.fixture(scope="session")
def pooled_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A convolution of ±1 activations, a pool, and a dense layer."""
    folder = tmp_path_factory.mktemp("pooled")
    writer = Writer((6, 6, 2), seed=2)
    x = writer.sign(writer.node("Sub", "x", writer.constant(0.5)))
    x = writer.node("Conv", x, writer.weights(4, 2, 3, 3), kernel_shape=[3, 3], pads=[0] * 4, strides=[1, 1])
    x = writer.sign(writer.norm(x, (4, 1, 1)))
    x = writer.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], pads=[0] * 4)
    x = writer.node("Flatten", x)
    return _build(folder, writer.save(folder / "m.onnx", writer.node("MatMul", x, writer.weights(16, 3)), 3))
