from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save

from export.datatypes import BIPOLAR, UINT8, DataType
from export.errors import GraphFileError, InputError
from export.graph import (
    INPUT_TENSOR,
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Pool,
    Source,
    Swg,
    Thresholding,
    Thresholds,
)
from export.graphfile import graph_hash, load_graph, save_graph
from hw.reference import ReferenceTarget


def build(seed: int, *, sources: bool = True) -> DataflowGraph:
    rng = np.random.default_rng(seed)
    height, width, hidden, classes = (int(v) for v in rng.integers(1, 7, 4))
    kernel = (int(rng.integers(1, height + 3)), int(rng.integers(1, width + 2)))
    source = Source(tensor="t", exponent=3) if sources else None
    first = Thresholding(
        name="thresholding_0",
        input=INPUT_TENSOR,
        in_type=UINT8,
        thresholds=Thresholds(
            steps=np.sort(rng.integers(0, 257, (1, 3))), out_type=DataType("INT4"), out_bias=-2
        ),
        source=source,
    )
    window = (
        FmPadding(name="p", input="thresholding_0", in_type=DataType("INT4"), pads=(0, 1, 2, 0), value=-3),
        Pool(name="pool", input="p", in_type=DataType("INT4"), kernel=kernel, stride=(1, 2)),
        Swg(name="s", input="pool", in_type=DataType("INT4"), kernel=(1, 1), stride=(2, 1)),
    )
    flatten = Flatten(name="flatten_0", input="s", in_type=DataType("INT4"))
    rows, columns = (height + 2 - kernel[0]) // 1 + 1, (width + 1 - kernel[1]) // 2 + 1
    dense = Mvau(
        name="mvau_0",
        input="flatten_0",
        in_type=DataType("INT4"),
        weights=rng.integers(-3, 4, (hidden, (rows + 1) // 2 * columns)).astype(np.int8),
        weight_type=DataType("INT3"),
        thresholds=Thresholds(steps=rng.integers(-9, 10, (hidden, 1))),
        source=source,
    )
    last = Mvau(
        name="mvau_1",
        input="mvau_0",
        in_type=BIPOLAR,
        weights=np.where(rng.random((classes, hidden)) < 0.5, -1, 1).astype(np.int8),
        scale=rng.integers(-4, 5, classes),
        bias=rng.integers(-99, 99, classes),
    )
    return DataflowGraph(input_shape=(height, width, 1), nodes=(first, *window, flatten, dense, last))


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_round_trip(seed: int, tmp_path: Any) -> None:
    graph, path = build(seed), tmp_path / "graph.safetensors"
    save_graph(graph, path)
    loaded = load_graph(path)
    assert graph_hash(loaded) == graph_hash(graph)
    assert loaded.summary() == graph.summary()
    assert [node.source for node in loaded.nodes] == [node.source for node in graph.nodes]
    images = np.random.default_rng(seed).integers(0, 256, (20, *graph.input_shape), dtype=np.uint8)
    np.testing.assert_array_equal(
        ReferenceTarget(loaded).infer(images).logits, ReferenceTarget(graph).infer(images).logits
    )


def test_the_hash_covers_what_is_computed_and_no_more() -> None:
    graph = build(1)
    assert graph_hash(graph) == graph_hash(build(1, sources=False))
    last = graph.nodes[-1]
    assert isinstance(last, Mvau)
    assert last.bias is not None
    for other in (
        replace(last, weights=-last.weights),
        replace(last, bias=last.bias + 1),
        replace(last, scale=None),
    ):
        changed = DataflowGraph(input_shape=graph.input_shape, nodes=(*graph.nodes[:-1], other))
        assert graph_hash(changed) != graph_hash(graph)


def test_the_hash_is_stable_across_versions() -> None:
    """Builds and attack archives name a network by it."""
    nodes = (
        Flatten(name="flatten_0", input=INPUT_TENSOR, in_type=UINT8),
        Mvau(name="mvau_0", input="flatten_0", in_type=UINT8, weights=np.asarray([[1, -1]], np.int8)),
    )
    assert graph_hash(DataflowGraph(input_shape=(1, 2, 1), nodes=nodes)).startswith("c70f2d8bfa30e0fc")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "graph.safetensors"
    save_graph(build(2), path)
    return path


def rewrite(path: Path, change: Any) -> None:
    with safe_open(path, framework="numpy") as handle:
        header = json.loads(handle.metadata()["bitsiege"])
        arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118
    text = change(header, arrays)
    path.write_bytes(save(arrays, metadata={"bitsiege": json.dumps(header) if text is None else text}))


def set_in(*keys: Any, value: Any) -> Any:
    def change(header: Any, _: Any) -> None:
        for key in keys[:-1]:
            header = header[key]
        header[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        set_in("version", value=2),
        set_in("input_shape", value=[1, 2]),
        set_in("input_shape", value="abc"),
        set_in("input_shape", 0, value=float("inf")),
        set_in("nodes", value=[]),
        set_in("nodes", value="abc"),
        set_in("nodes", 0, "op_type", value="Conv"),
        set_in("nodes", 0, "in_type", value=7),
        set_in("nodes", 0, "source", value={}),
        set_in("nodes", 0, "source", "exponent", value=float("inf")),
        set_in("nodes", 5, "weight_type", value="BIPOLAR"),
        set_in("nodes", 6, "weight_shape", value=[2**40, 2**40]),
        set_in("nodes", 6, "weight_shape", value=[-1, -1]),
        set_in("nodes", 6, "in_type", value="UINT64"),
        set_in("nodes", 1, "pads", value=[1, 2, 3]),
        set_in("nodes", 1, "value", value=8),
        set_in("nodes", 2, "kernel", value=[99, 1]),
        set_in("nodes", 3, "stride", value=[0, 1]),
        set_in("nodes", 3, "stride", value=None),
        lambda header, arrays: arrays.__delitem__("mvau_0.weights"),
        lambda header, arrays: arrays.update({"mvau_0.thresholds": np.zeros((1, 1))}),
        lambda header, arrays: "[" * 100_000,
        lambda header, arrays: "[]",
        lambda header, arrays: "not json",
    ],
)
def test_inconsistent_files(path: Path, change: Any) -> None:
    rewrite(path, change)
    with pytest.raises(GraphFileError, match=r"graph\.safetensors") as caught:
        load_graph(path)
    assert caught.value.hint or caught.value.message


@pytest.mark.parametrize("size", [0, 1, 8, 100, -1])
def test_truncated_files(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(GraphFileError):
        load_graph(path)


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(GraphFileError, match="not a dataflow graph"):
        load_graph(tmp_path / "none")
    foreign = tmp_path / "weights.safetensors"
    foreign.write_bytes(save({"a": np.zeros(3)}))
    with pytest.raises(GraphFileError, match="not a dataflow graph"):
        load_graph(foreign)


def test_mutated_bytes_give_our_errors_only(path: Path) -> None:
    data = path.read_bytes()
    for number in range(400):
        rng = random.Random(number)
        changed = bytearray(data)
        for _ in range(rng.choice([1, 2, 8])):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        path.write_bytes(changed)
        try:
            load_graph(path)
        except GraphFileError:
            continue


def test_unwritable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't write"):
        save_graph(build(0), Path("/dev/full"))


def test_sums_groups_and_drawn_weights_come_back(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    int9 = DataType("INT9")
    swg = Swg(name="s", input=INPUT_TENSOR, in_type=UINT8, kernel=(1, 1), groups=2)
    first = Mvau(
        name="m",
        input="s",
        in_type=UINT8,
        weights=np.array([[1], [-1]], np.int8),
        groups=2,
    )
    add = Add(name="a", input="m", in_type=int9, other="m", other_type=int9)
    pool = Pool(name="p", input="a", in_type=add.out_type, kernel=(2, 2), stride=(2, 2), mode="sum")
    flatten = Flatten(name="f", input="p", in_type=pool.out_type)
    means = rng.integers(-128, 128, (3, 2)).astype(np.int8)
    last = Mvau(name="d", input="f", in_type=pool.out_type, weights=means, draw=1)
    graph = DataflowGraph(input_shape=(2, 2, 2), nodes=(swg, first, add, pool, flatten, last))
    save_graph(graph, tmp_path / "g")
    loaded = load_graph(tmp_path / "g")
    assert graph_hash(loaded) == graph_hash(graph)
    images = rng.integers(0, 256, (3, 2, 2, 2)).astype(np.uint8)
    expected = ReferenceTarget(graph).infer(images).logits
    assert ReferenceTarget(loaded).infer(images).logits.tolist() == expected.tolist()
    assert graph.readers("m") == (add,)
    assert graph.is_stochastic
