import itertools
import json
import shutil

import numpy as np
import pytest

from export.datatypes import UINT8
from export.errors import GraphFileError, InputError
from export.graph import DataflowGraph, Flatten, Mvau, Thresholds
from export.graphfile import graph_hash, save_graph
from hw.build import load_build, write_build
from hw.folding import Folding, LayerFolding

FOLDING = Folding({"mvau_0": LayerFolding(3, 2), "mvau_1": LayerFolding(1, 6)})


def small_graph(threshold: int = 0) -> DataflowGraph:
    rng = np.random.default_rng(5)
    weights = [rng.choice(np.array([-1, 1], np.int8), size) for size in ((6, 4), (3, 6))]
    first = Mvau(
        name="mvau_0",
        input="flatten_0",
        in_type=UINT8,
        weights=weights[0],
        thresholds=Thresholds(steps=np.full((6, 1), threshold, np.int64)),
    )
    return DataflowGraph(
        input_shape=(2, 2, 1),
        nodes=(
            Flatten(name="flatten_0", input="images", in_type=UINT8),
            first,
            Mvau(name="mvau_1", input="mvau_0", in_type=first.out_type, weights=weights[1]),
        ),
    )


def write(path, **options):
    return write_build(path, graph=small_graph(), folding=FOLDING, clock_mhz=100, **options)


def test_round_trip(tmp_path):
    model, checkpoint = tmp_path / "some.onnx", tmp_path / "some.safetensors"
    model.write_bytes(b"model")
    checkpoint.write_bytes(b"checkpoint")
    write(tmp_path / "build", board="pynq-z2", model=model, checkpoint=checkpoint)
    build = load_build(tmp_path / "build")
    assert build.graph_hash == graph_hash(small_graph()) == graph_hash(build.graph)
    assert build.folding == FOLDING
    assert (build.clock_mhz, build.board) == (100, "pynq-z2")
    assert build.model_path is not None
    assert build.model_path.read_bytes() == b"model"
    assert build.checkpoint_path is not None
    assert build.checkpoint_path.read_bytes() == b"checkpoint"


def test_model_and_checkpoint_are_optional(tmp_path):
    build = write(tmp_path / "build")
    assert (build.model_path, build.checkpoint_path, build.board) == (None, None, None)


def test_a_build_can_be_replaced_from_its_own_files(tmp_path):
    model = tmp_path / "some.onnx"
    model.write_bytes(b"model")
    first = write(tmp_path / "build", model=model)
    second = write(tmp_path / "build", model=first.model_path)
    assert second.model_path is not None
    assert second.model_path.read_bytes() == b"model"


def test_another_network_is_noticed(tmp_path):
    write(tmp_path / "build")
    save_graph(small_graph(threshold=1), tmp_path / "build" / "graph.safetensors")
    with pytest.raises(InputError, match="is not the network that was compiled here"):
        load_build(tmp_path / "build")


@pytest.mark.parametrize("name", ["graph.safetensors", "folding.json", "build.json", "model.onnx"])
def test_every_damaged_file_is_noticed(tmp_path, name):
    model = tmp_path / "some.onnx"
    model.write_bytes(b"a model of some length")
    good = tmp_path / "build"
    write(good, model=model)
    for kind, damaged in itertools.product(("truncated", "missing"), [tmp_path / "damaged"]):
        shutil.copytree(good, damaged)
        file = damaged / name
        if kind == "truncated":
            file.write_bytes(file.read_bytes()[:-3])
        else:
            file.unlink()
        with pytest.raises(InputError, match=name):
            load_build(damaged)
        shutil.rmtree(damaged)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "build format 99"),
        ({"clock_mhz": "fast"}, "damaged"),
        ({"graph_hash": None}, "damaged"),
        ({"files": []}, "damaged"),
    ],
)
def test_bad_fields(tmp_path, change, message):
    write(tmp_path / "build")
    about = tmp_path / "build" / "build.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load_build(tmp_path / "build")


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="is not a build"):
        load_build(tmp_path / "none")
    foreign = tmp_path / "home"
    foreign.mkdir()
    (foreign / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something else than a build"):
        write(foreign)
    assert (foreign / "thesis.txt").exists()
    with pytest.raises(InputError, match="a file of that name exists"):
        write(foreign / "thesis.txt")
    with pytest.raises(InputError, match="can't read"):
        write(tmp_path / "new", model=tmp_path / "none.onnx")
    with pytest.raises(InputError, match="PE 4 does not divide MH 6"):
        write_build(
            tmp_path / "new",
            graph=small_graph(),
            folding=Folding({"mvau_0": LayerFolding(4, 2), "mvau_1": LayerFolding(1, 6)}),
            clock_mhz=100,
        )
    with pytest.raises(InputError, match="above 0"):
        write_build(tmp_path / "new", graph=small_graph(), folding=FOLDING, clock_mhz=float("nan"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_graph_errors_are_graph_file_errors(tmp_path):
    write(tmp_path / "build")
    (tmp_path / "build" / "graph.safetensors").write_bytes(b"")
    with pytest.raises(GraphFileError):
        load_build(tmp_path / "build")
