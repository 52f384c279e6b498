from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export import onnxfile
from export.errors import InputError
from export.onnxfile import load_model, load_proto


def write(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


@pytest.fixture
def valid(small_mlp: Callable[..., Any]) -> onnx.ModelProto:
    b, logits = small_mlp()
    return b.model(logits)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "m.onnx"


def test_describes_the_live_graph_in_order(valid: Any, path: Path) -> None:
    valid.graph.node.append(helper.make_node("Relu", ["x"], ["unused"], name="dead"))
    nodes = list(valid.graph.node)
    del valid.graph.node[:]
    valid.graph.node.extend(reversed(nodes))
    model = load_model(write(path, valid))
    assert "dead" not in [node.name for node in model.nodes]
    written = {model.input_name, *model.initializers}
    for node in model.nodes:
        assert written.issuperset(node.inputs)
        written.update(node.outputs)
    assert written.issuperset(model.outputs)
    assert (model.opset, model.input_shape, model.input_type) == (13, (1, 1, 2, 4), TensorProto.FLOAT)


@pytest.mark.parametrize("size", [0, 1, 17, 400, -1])
def test_truncated_files(valid: Any, path: Path, size: int) -> None:
    path.write_bytes(valid.SerializeToString()[:size])
    with pytest.raises(InputError, match=r"m\.onnx"):
        load_model(path)


def test_text_is_no_onnx(path: Path) -> None:
    path.write_text("<html>not found</html>")
    with pytest.raises(InputError, match="not a readable ONNX file"):
        load_model(path)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("missing.onnx", "no such file"), (".", "not a regular file"), ("/dev/zero", "not a regular file")],
)
def test_what_is_no_file(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load_model(tmp_path / name)


def test_unreadable_names(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        load_model(tmp_path / ("n" * 300))


def test_size_limit(valid: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxfile, "MAX_FILE_BYTES", 1000)
    with pytest.raises(InputError, match="larger than"):
        load_model(write(path, valid))


def test_node_limit(valid: Any, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxfile, "MAX_NODES", 3)
    with pytest.raises(InputError, match="at most 3"):
        load_model(write(path, valid))


def test_cycle(valid: Any, path: Path) -> None:
    valid.graph.node[0].input[0] = valid.graph.node[-1].output[0]
    with pytest.raises(InputError, match="part of a cycle"):
        load_model(write(path, valid))


def test_a_long_cycle_needs_no_recursion(path: Path) -> None:
    count = 5000
    nodes = [helper.make_node("Relu", [f"t{i}"], [f"t{(i + 1) % count}"]) for i in range(count)]
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])
    graph = helper.make_graph(nodes, "g", [value], [helper.make_tensor_value_info("t9", 1, None)])
    with pytest.raises(InputError, match="cycle"):
        load_model(write(path, helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])))


def test_duplicate_names(valid: Any, path: Path) -> None:
    valid.graph.node[1].output[0] = valid.graph.node[0].output[0]
    with pytest.raises(InputError, match="written twice"):
        load_model(write(path, valid))


def test_duplicate_initialiser(valid: Any, path: Path) -> None:
    valid.graph.initializer.append(valid.graph.initializer[0])
    with pytest.raises(InputError, match="two initialisers are named"):
        load_model(write(path, valid))


def test_a_node_that_overwrites_an_initialiser(valid: Any, path: Path) -> None:
    valid.graph.node[-1].output[0] = valid.graph.initializer[0].name
    with pytest.raises(InputError, match="written twice"):
        load_model(write(path, valid))


def test_missing_tensor(valid: Any, path: Path) -> None:
    valid.graph.node[3].input[0] = "ghost"
    with pytest.raises(InputError, match="reads tensor 'ghost', which nothing writes"):
        load_model(write(path, valid))


def test_several_inputs(valid: Any, path: Path) -> None:
    valid.graph.input.append(helper.make_tensor_value_info("y", 1, [1]))
    with pytest.raises(InputError, match=r"2 inputs \(x, y\)"):
        load_model(write(path, valid))


def test_no_input(valid: Any, path: Path) -> None:
    del valid.graph.input[:]
    with pytest.raises(InputError, match="0 inputs"):
        load_model(write(path, valid))


def test_initialisers_listed_as_inputs_are_not_inputs(valid: Any, path: Path) -> None:
    tensor = valid.graph.initializer[0]
    valid.graph.input.insert(0, helper.make_tensor_value_info(tensor.name, 1, list(tensor.dims)))
    assert load_model(write(path, valid)).input_name == "x"


@pytest.mark.parametrize("version", [0, 6, 99, 2**40])
def test_unknown_opsets(valid: Any, path: Path, version: int) -> None:
    valid.opset_import[0].version = version
    with pytest.raises(InputError, match="operator set"):
        load_model(write(path, valid))


def test_giant_initialiser_without_data(valid: Any, path: Path) -> None:
    tensor = valid.graph.initializer[-1]
    tensor.ClearField("raw_data")
    del tensor.dims[:]
    tensor.dims.extend([1000, 1000, 1000])
    with pytest.raises(InputError, match=rf"tensor '{tensor.name}' declares the shape \[1000, 1000, 1000\]"):
        load_model(write(path, valid))


@pytest.mark.parametrize("dims", [[2**31, 2**31, 2**31], [-1, -1], [5], [0], [1] * 20])
def test_absurd_shapes(valid: Any, path: Path, dims: list[int]) -> None:
    tensor = valid.graph.initializer[-1]
    del tensor.dims[:]
    tensor.dims.extend(dims)
    if dims == [1] * 20:
        tensor.raw_data = b"\0\0\0\0"
    with pytest.raises(InputError, match="declares"):
        load_model(write(path, valid))


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.UNDEFINED, 99])
def test_strange_element_types(valid: Any, path: Path, kind: int) -> None:
    valid.graph.initializer[-1].data_type = kind
    with pytest.raises(InputError, match="element type"):
        load_model(write(path, valid))


def test_typed_data_fields(valid: Any, path: Path) -> None:
    expected = load_model(write(path, valid)).initializers
    for tensor in valid.graph.initializer:
        array = numpy_helper.to_array(tensor)
        tensor.CopyFrom(helper.make_tensor(tensor.name, tensor.data_type, array.shape, array.ravel()))
        assert not tensor.HasField("raw_data")
    for name, array in load_model(write(path, valid)).initializers.items():
        np.testing.assert_array_equal(array, expected[name])
    valid.graph.initializer[-1].float_data.append(1.0)
    with pytest.raises(InputError, match=r"declares \d+ elements and holds"):
        load_model(write(path, valid))


def test_nan_weights(valid: Any, path: Path) -> None:
    tensor = valid.graph.initializer[-2]
    array = numpy_helper.to_array(tensor).copy()
    array.reshape(-1)[0] = np.nan
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    with pytest.raises(InputError, match=f"tensor '{tensor.name}' holds NaN"):
        load_model(write(path, valid))


def externalise(model: Any, location: str, *, offset: int = 0) -> tuple[str, bytes]:
    """Move the largest initialiser out of the file; returns its name and data."""
    tensor = max(model.graph.initializer, key=lambda t: len(t.raw_data))
    data = tensor.raw_data
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    tensor.external_data.add(key="offset", value=str(offset))
    tensor.external_data.add(key="length", value=str(len(data)))
    return tensor.name, data


def test_external_data_beside_the_file(valid: Any, path: Path) -> None:
    expected = load_model(write(path, valid)).initializers
    name, data = externalise(valid, "weights/m.bin", offset=3)
    (path.parent / "weights").mkdir()
    (path.parent / "weights" / "m.bin").write_bytes(b"abc" + data + b"more")
    np.testing.assert_array_equal(load_model(write(path, valid)).initializers[name], expected[name])
    assert all(tensor.data_location == TensorProto.DEFAULT for tensor in load_proto(path).graph.initializer)


@pytest.mark.parametrize(
    "location", ["/etc/hostname", "../secret.bin", "a/../../secret.bin", "", ".", "\0", "link"]
)
def test_external_data_elsewhere(valid: Any, tmp_path: Path, location: str) -> None:
    folder = tmp_path / "inside"
    folder.mkdir()
    name, data = externalise(valid, location)
    (tmp_path / "secret.bin").write_bytes(data)
    (folder / "link").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(InputError, match=f"tensor '{name}' keeps its data in") as caught:
        load_model(write(folder / "m.onnx", valid))
    assert "inside the file" in caught.value.hint


def test_external_data_that_is_short(valid: Any, path: Path) -> None:
    _, data = externalise(valid, "m.bin")
    (path.parent / "m.bin").write_bytes(data[:-1])
    with pytest.raises(InputError, match="which ends after"):
        load_model(write(path, valid))


@pytest.mark.parametrize(("key", "value"), [("offset", "-1"), ("length", "9" * 30), ("length", "4")])
def test_external_sizes(valid: Any, path: Path, key: str, value: str) -> None:
    _, data = externalise(valid, "m.bin")
    (path.parent / "m.bin").write_bytes(data)
    for tensor in valid.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == key:
                entry.value = value
    with pytest.raises(InputError, match=r"external|declares"):
        load_model(write(path, valid))


def test_subgraphs_are_refused(valid: Any, path: Path) -> None:
    valid.graph.node[2].attribute.append(
        helper.make_attribute("then_branch", helper.make_graph([], "g", [], []))
    )
    with pytest.raises(InputError, match="attribute 'then_branch'"):
        load_model(write(path, valid))


def test_names_that_are_not_unicode(valid: Any, path: Path) -> None:
    data = valid.SerializeToString().replace(b"matmul", b"\xff\xfe\xfd\xfc\xfb\xfa")
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        load_model(path)
