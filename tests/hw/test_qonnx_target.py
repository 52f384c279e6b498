from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from export.errors import InputError, ToolError
from export.graph import DataflowGraph, Source
from export.lowering import lower_model
from export.qonnx_export import export_qonnx
from hw.qonnx_executor import open_executor
from hw.qonnx_target import QonnxTarget
from hw.reference import ReferenceTarget
from hw.target import TargetKind
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec

SHAPE = (3, 4, 2)


def export(path: Path, seed: int = 0, **options: Any) -> Path:
    torch.manual_seed(seed)
    spec = MlpSpec(name="small", input_shape=SHAPE, hidden=(10, 7), classes=3, input_mode="binary")
    model = build_model(spec)
    for _ in range(3):
        model(torch.rand(16, 2, 3, 4))
    export_qonnx(model.eval(), path, input_shape=SHAPE, **options)
    return path


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("model") / "m.onnx")


@pytest.fixture(scope="module")
def graph(model_path: Path) -> DataflowGraph:
    return lower_model(model_path)


def images(count: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(count).integers(0, 256, (count, *SHAPE), dtype=np.uint8)


@pytest.mark.parametrize("count", [0, 1, 2, 130])
def test_equals_the_reference(model_path: Path, graph: DataflowGraph, count: int) -> None:
    target = QonnxTarget(model_path, graph)
    result = target.infer(images(count))
    np.testing.assert_array_equal(result.logits, ReferenceTarget(graph).infer(images(count)).logits)
    assert result.logits.dtype == np.int64
    assert result.cycles is None
    assert (target.name, target.kind) == ("qonnx", TargetKind.SIMULATION)


def test_drawn_weights_are_refused(model_path: Path, graph: DataflowGraph) -> None:
    nodes = [replace(node, draw=1) if node.name == "mvau_1" else node for node in graph.nodes]
    with pytest.raises(InputError, match="weights of mvau_1 are drawn"):
        QonnxTarget(model_path, replace(graph, nodes=tuple(nodes)))


def test_trace_equals_the_reference(model_path: Path, graph: DataflowGraph) -> None:
    traced = QonnxTarget(model_path, graph).trace(images(9))
    expected = ReferenceTarget(graph).trace(images(9))
    assert list(traced) == ["thresholding_0", "mvau_0", "mvau_1", "mvau_2"]
    for name, values in traced.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
        assert values.shape == expected[name].shape


def test_dynamos_fixed_reshape_is_batched(tmp_path: Path) -> None:
    path = export(tmp_path / "m.onnx", exporter="dynamo")
    graph = lower_model(path)
    batched = open_executor(path).with_batch(5)
    assert batched.batch == 5
    source = graph.nodes[-1].source
    assert source is not None
    assert batched.run(np.zeros((5, 2, 3, 4), np.float32))[source.tensor].shape == (5, 3)
    np.testing.assert_array_equal(
        QonnxTarget(path, graph).infer(images(3)).logits, ReferenceTarget(graph).infer(images(3)).logits
    )


def test_a_file_that_allows_no_batch_goes_one_by_one(
    model_path: Path, graph: DataflowGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ToolError("no")

    monkeypatch.setattr("hw.qonnx_executor.QonnxExecutor.with_batch", fail)
    np.testing.assert_array_equal(
        QonnxTarget(model_path, graph).infer(images(3)).logits, ReferenceTarget(graph).infer(images(3)).logits
    )


def test_says_nothing(model_path: Path, graph: DataflowGraph, capfd: Any) -> None:
    QonnxTarget(model_path, graph).infer(images(3))
    assert capfd.readouterr() == ("", "")


def test_another_networks_file(graph: DataflowGraph, tmp_path: Path) -> None:
    torch.manual_seed(1)
    spec = MlpSpec(name="other", input_shape=(2, 2, 1), hidden=(4,), classes=3, input_mode="uint8")
    path = tmp_path / "m.onnx"
    export_qonnx(build_model(spec).eval(), path, input_shape=(2, 2, 1))
    with pytest.raises(InputError, match="takes images of shape"):
        QonnxTarget(path, graph)


def with_source(graph: DataflowGraph, source: Source | None) -> DataflowGraph:
    return DataflowGraph(
        input_shape=graph.input_shape, nodes=(*graph.nodes[:-1], replace(graph.nodes[-1], source=source))
    )


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (Source(tensor="ghost"), "no tensor 'ghost'"),
        (Source(tensor="onnx::Mul_0"), "does not hold mvau_2's"),
        (None, "no tensor of .* holds the integer logits"),
    ],
)
def test_sources_that_do_not_fit(
    model_path: Path, graph: DataflowGraph, source: Source | None, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        QonnxTarget(model_path, with_source(graph, source)).infer(images(1))


def test_a_wrong_exponent_is_no_integer(model_path: Path, graph: DataflowGraph) -> None:
    source = graph.nodes[-1].source
    assert source is not None
    wrong = with_source(graph, replace(source, exponent=source.exponent - 3))
    with pytest.raises(InputError, match="does not hold"):
        QonnxTarget(model_path, wrong).infer(images(20))


def test_truncated_file(graph: DataflowGraph, model_path: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model_path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"m\.onnx"):
        QonnxTarget(path, graph)


def test_float_images_are_refused(model_path: Path, graph: DataflowGraph) -> None:
    with pytest.raises(InputError, match="uint8"):
        QonnxTarget(model_path, graph).infer(np.zeros((1, *SHAPE)))  # pyright: ignore[reportArgumentType]


def test_torch_is_not_imported(model_path: Path) -> None:
    program = (
        "import sys, pathlib, numpy as np\n"
        "from export.lowering import lower_model\n"
        "import hw.qonnx_target as q\n"
        "assert 'qonnx' not in sys.modules and 'onnxruntime' not in sys.modules\n"
        f"path = pathlib.Path({str(model_path)!r})\n"
        "graph = lower_model(path)\n"
        f"q.QonnxTarget(path, graph).infer(np.zeros((2, *{SHAPE}), np.uint8))\n"
        "assert 'qonnx' in sys.modules and 'torch' not in sys.modules and 'brevitas' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
