"""Compiling tells what executors of the float network may disagree about."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from bitsiege.building import export_checkpoint
from bitsiege.cli.app import app
from export.errors import InputError
from quant_models.checkpoint import CheckpointMetadata, save_checkpoint
from quant_models.mlp import build_model
from quant_models.paperspec import PAPER_PRESETS


def inexact_network(path: Path) -> None:
    """One ±1 layer with a weight scale of 0.1, whose float sums are rounded."""
    constants = {
        "half": np.float32(0.5),
        "one": np.ones(1, np.float32),
        "tenth": np.full(1, 0.1, np.float32),
        "w": np.random.default_rng(0).choice(np.float32([-1, 1]), (4, 3)),
    }
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node("Sub", ["flat", "half"], ["centred"]),
        helper.make_node("BipolarQuant", ["centred", "one"], ["bits"], domain="qonnx.custom_op.general"),
        helper.make_node("BipolarQuant", ["w", "tenth"], ["scaled"], domain="qonnx.custom_op.general"),
        helper.make_node("MatMul", ["bits", "scaled"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "inexact",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 1, 2, 2))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 3))],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("qonnx.custom_op.general", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)


def test_compile_shows_the_notes(tmp_path: Path) -> None:
    inexact_network(tmp_path / "m.onnx")
    command = ["compile", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "build")]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0
    assert "note: " in shown.stdout
    told = CliRunner().invoke(app, [*command, "--json"])
    assert "no power of two" in json.loads(told.stdout)["notes"][0]


def test_network_without_integer_form_is_not_exported(tmp_path: Path) -> None:
    spec = PAPER_PRESETS["paper-c-64"]
    checkpoint, output = tmp_path / "m.safetensors", tmp_path / "m.onnx"
    save_checkpoint(checkpoint, build_model(spec).eval(), CheckpointMetadata())
    with pytest.raises(InputError, match="no exact integer form") as caught:
        export_checkpoint(checkpoint, output, exporter="torchscript")
    assert "paper-cnn-64-scaled" in caught.value.hint
    assert not output.exists()
