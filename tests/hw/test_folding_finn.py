"""Folding files as FINN's examples have them: operators of every kind, attributes that mean nothing here."""

import json
from pathlib import Path

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.errors import InputError
from export.graph import DataflowGraph, Flatten, Mvau, Node, Pool, Swg, Thresholds
from hw.folding.finn import read_finn_file

# Of FINN's network for 32x32 colour images: channels and whether a pool follows; then the dense layers.
STAGES = ((64, False), (64, True), (128, False), (128, True), (256, False), (256, False))
DENSE = (512, 512, 10)
FOLDS = [(16, 3), (32, 32), (16, 32), (16, 32), (4, 32), (1, 32), (1, 4), (1, 8), (1, 4)]


def cnv() -> DataflowGraph:
    """Six 3x3 convolutions, two pools, three dense layers, all weights +1."""
    nodes: list[Node] = []
    shape: tuple[int, ...] = (32, 32, 3)

    def add(kind, **options) -> None:
        nonlocal shape
        name, in_type = (nodes[-1].name, nodes[-1].out_type) if nodes else ("images", UINT8)
        nodes.append(kind(name=f"node_{len(nodes)}", input=name, in_type=in_type, **options))
        shape = nodes[-1].out_shape(shape)

    def add_layer(rows: int, *, last: bool = False) -> None:
        weights = np.ones((rows, shape[-1]), np.int8)
        steps = None if last else Thresholds(steps=np.zeros((rows, 1), np.int64))
        add(Mvau, weights=weights, thresholds=steps)

    for rows, pooled in STAGES:
        add(Swg, kernel=(3, 3))
        add_layer(rows)
        if pooled:
            add(Pool, kernel=(2, 2), stride=(2, 2))
    add(Flatten)
    for rows in DENSE:
        add_layer(rows, last=rows == DENSE[-1])
    assert nodes[-2].out_type == BIPOLAR
    return DataflowGraph(input_shape=(32, 32, 3), nodes=tuple(nodes))


CNV = cnv()


def write(path: Path, mvau: str, generator: str, **extra: object) -> Path:
    """A file with an entry for every operator, in the order in which data flows."""
    entries: dict[str, object] = {"Defaults": {}, "Thresholding_0": {"PE": 1, "ram_style": "distributed"}}
    for index, (pe, simd) in enumerate(FOLDS):
        if index < len(STAGES):
            entries[f"{generator}_{index}"] = {"SIMD": simd, "ram_style": "distributed"}
        entries[f"{mvau}_{index}"] = {"PE": pe, "SIMD": simd, "ram_style": "auto"} | extra
        entries[f"StreamingFIFO_{index}"] = {"depth": 32, "impl_style": "rtl"}
    entries["LabelSelect_0"] = {"PE": 1}
    path.write_text(json.dumps(entries))
    return path


@pytest.mark.parametrize(
    ("mvau", "generator"),
    [
        ("MatrixVectorActivation", "ConvolutionInputGenerator"),
        ("MVAU_hls", "ConvolutionInputGenerator_rtl"),
        ("MVAU_rtl", "ConvolutionInputGenerator_hls"),
        ("StreamingFCLayer_Batch", "ConvolutionInputGenerator"),
    ],
)
def test_a_network_of_convolutions_gets_the_file_s_factors(tmp_path, mvau, generator):
    read = read_finn_file(write(tmp_path / "folding.json", mvau, generator), CNV)
    layers = [read.folding[node.name] for node in CNV.mvaus]
    assert [(layer.pe, layer.simd) for layer in layers] == FOLDS
    assert {layer.ram_style for layer in layers} == {"auto"}
    assert read.folding.ii_cycles(CNV) == 32_768
    (note,) = read.notes
    assert "other operators" in note
    assert "Thresholding_0" in note
    assert "more" in note


def test_attributes_without_a_meaning_here_are_noted(tmp_path):
    path = write(
        tmp_path / "folding.json",
        "MVAU_hls",
        "ConvolutionInputGenerator_rtl",
        mem_mode="internal_decoupled",
        inFIFODepths=[32],
        ram_style="ultra",
    )
    read = read_finn_file(path, CNV)
    assert {read.folding[node.name].ram_style for node in CNV.mvaus} == {"block"}
    assert any("inFIFODepths, mem_mode" in note for note in read.notes)
    assert any("ultra is taken as block" in note for note in read.notes)


def test_a_file_of_defaults_folds_every_layer_alike(tmp_path):
    path = tmp_path / "folding.json"
    defaults = {"PE": [2, ["MVAU_hls"]], "SIMD": [1, ["all"]], "ram_style": ["block", ["all"]]}
    path.write_text(json.dumps({"Defaults": defaults}))
    read = read_finn_file(path, CNV)
    found = {(read.folding[n.name].pe, read.folding[n.name].simd) for n in CNV.mvaus}
    assert found == {(2, 1)}
    assert {read.folding[n.name].ram_style for n in CNV.mvaus} == {"block"}
    assert read.notes == ()
    path.write_text(json.dumps({"Defaults": {"PE": [4, ["all"]], "SIMD": [1, ["all"]]}}))
    with pytest.raises(InputError, match="PE 4 does not divide MH 10"):
        read_finn_file(path, CNV)
    path.write_text('{"Defaults": {"PE": [1, ["all"]]}}')
    with pytest.raises(InputError, match="folds 0 MVAUs, the network has 9"):
        read_finn_file(path, CNV)
