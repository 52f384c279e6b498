from __future__ import annotations

import logging
import stat
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from export.errors import InputError
from export.graphfile import graph_hash
from export.lowering import lower_with_notes
from export.qonnx_export import export_qonnx
from hw.reference import ReferenceTarget
from quant_models.mlp import build_model
from quant_models.spec import MlpSpec

EXPORTERS = ("torchscript", "dynamo")


def network(input_mode: str, channels: int = 1, *, affine: bool = False) -> Any:
    torch.manual_seed(channels)
    spec = MlpSpec(
        name="small",
        input_shape=(4, 5, channels),
        hidden=(12, 9),
        classes=4,
        input_mode=input_mode,
        output_affine=affine,
    )
    model = build_model(spec)
    for _ in range(4):
        model(torch.rand(32, channels, 4, 5))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".weight") and parameter.ndim == 1 and "affine" not in name:
                parameter[::3] *= -1
            if name.startswith("affine"):
                parameter += torch.rand_like(parameter)
    return model.eval()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Path]]:
    """A colour network with per-class scale and offset, in both exporters' words."""
    model = network("uint8", 3, affine=True)
    folder = tmp_path_factory.mktemp("exported")
    paths = {name: folder / f"{name}.onnx" for name in EXPORTERS}
    for name, path in paths.items():
        export_qonnx(model, path, input_shape=(4, 5, 3), exporter=name, metadata={"seed": "3", "a": "b"})
    return model, paths


def floats(images: np.ndarray[Any, Any]) -> torch.Tensor:
    return torch.from_numpy(images.astype(np.float32).transpose(0, 3, 1, 2) / np.float32(255))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_one_file_with_weights_and_metadata(exported: Any, exporter: str) -> None:
    path = exported[1][exporter]
    assert sorted(file.name for file in path.parent.iterdir()) == ["dynamo.onnx", "torchscript.onnx"]
    proto = onnx.load(path, load_external_data=False)
    assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in proto.graph.initializer)
    entries = {entry.key: entry.value for entry in proto.metadata_props}
    exponent = str(exported[0].logit_exponent)
    assert entries == {"seed": "3", "a": "b", "bitsiege.logit_exponent": exponent}
    assert not stat.S_IMODE(path.stat().st_mode) & 0o111


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_lowers_to_the_models_own_logits(exported: Any, exporter: str) -> None:
    model, paths = exported
    lowered = lower_with_notes(paths[exporter])
    images = np.random.default_rng(0).integers(0, 256, (300, 4, 5, 3), dtype=np.uint8)
    with torch.no_grad():
        expected = model(floats(images)).numpy().astype(np.float64)
    source = lowered.graph.nodes[-1].source
    assert source is not None
    assert lowered.notes == ()
    np.testing.assert_array_equal(
        ReferenceTarget(lowered.graph).infer(images).logits, expected * 2.0**source.exponent
    )


def test_both_exporters_give_one_graph(exported: Any) -> None:
    assert len({graph_hash(lower_with_notes(path).graph) for path in exported[1].values()}) == 1


@pytest.mark.parametrize(("mode", "channels"), [("binary", 1), ("binary", 3), ("uint8", 1)])
def test_hidden_signs_equal_torchs(tmp_path: Path, mode: str, channels: int) -> None:
    from quant_models.layers import BinaryActivation

    model = network(mode, channels)
    path = tmp_path / "m.onnx"
    export_qonnx(model, path, input_shape=(4, 5, channels))
    graph = lower_with_notes(path).graph
    images = np.random.default_rng(1).integers(0, 256, (200, 4, 5, channels), dtype=np.uint8)
    seen: list[Any] = []
    for module in model.modules():
        if isinstance(module, BinaryActivation):
            module.register_forward_hook(lambda _m, _i, out: seen.append(out.detach().numpy()))
    with torch.no_grad():
        model(floats(images))
    streams = ReferenceTarget(graph).trace(images)
    nodes = [node for node in graph.nodes if getattr(node, "thresholds", None) is not None]
    for node, values in zip(nodes, seen, strict=True):
        expected = values.transpose(0, 2, 3, 1) if values.ndim == 4 else values
        np.testing.assert_array_equal(streams[node.name], expected, err_msg=node.name)


def test_says_nothing_and_leaves_the_mode(tmp_path: Path, capfd: Any, caplog: Any) -> None:
    model = network("binary").train()
    export_qonnx(model, tmp_path / "m.onnx", input_shape=(4, 5, 1))
    assert model.training
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


def test_dynamo_says_nothing_either(tmp_path: Path, capfd: Any, caplog: Any) -> None:
    class Sign(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    export_qonnx(Sign(), tmp_path / "m.onnx", input_shape=(2, 2, 1), exporter="dynamo")
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno >= logging.INFO]


def test_export_is_reproducible(tmp_path: Path) -> None:
    model = network("binary")
    for name in "ab":
        export_qonnx(model, tmp_path / f"{name}.onnx", input_shape=(4, 5, 1))
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize("target", ["/dev/full", "/proc/none/m.onnx"])
def test_unwritable_outputs(target: str) -> None:
    with pytest.raises(InputError, match="can't write"):
        export_qonnx(network("binary"), Path(target), input_shape=(4, 5, 1))


def test_a_wrong_image_shape(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Brevitas can't export"):
        export_qonnx(network("binary"), tmp_path / "m.onnx", input_shape=(9, 9, 1))
    assert not list(tmp_path.iterdir())


def test_an_unknown_exporter(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="exporter must be one of"):
        export_qonnx(network("binary"), tmp_path / "m.onnx", input_shape=(4, 5, 1), exporter="caffe")  # pyright: ignore
