"""Small networks whose modules, synthesised, are what a resource model is fitted to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import (
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
    WeightArray,
)
from hw.folding import Folding, LayerFolding
from hw.rtlgen import Instance, RtlDesign

_INT8 = DataType("INT8")
_LONGEST_FIFO = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A network to take instances from.

    Attributes:
        graph: The network, with random weights.
        folding: Its folding.
        modules: Which modules of it are of interest.
    """

    graph: DataflowGraph
    folding: Folding
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """A matrix-vector unit: parallelism, folds, bits in, bits of a weight, levels out, drawn or not."""

    pe: int
    simd: int
    sf: int
    nf: int
    in_bits: int = 1
    weight_bits: int = 1
    levels: int = 1
    ram_style: str = "auto"
    draws: bool = False


_UNITS = (
    _Unit(pe=1, simd=8, sf=16, nf=16),
    _Unit(pe=4, simd=16, sf=4, nf=8),
    _Unit(pe=1, simd=32, sf=36, nf=32),
    _Unit(pe=8, simd=3, sf=9, nf=4, in_bits=8),
    _Unit(pe=4, simd=16, sf=16, nf=16, ram_style="block"),
    _Unit(pe=8, simd=64, sf=2, nf=2),
    _Unit(pe=4, simd=192, sf=3, nf=8),
    _Unit(pe=8, simd=32, sf=1, nf=1),
    _Unit(pe=4, simd=32, sf=9, nf=4),
    _Unit(pe=1, simd=1, sf=32, nf=10, levels=0),
    _Unit(pe=16, simd=16, sf=1, nf=1),
    _Unit(pe=8, simd=32, sf=9, nf=8, ram_style="block"),
    _Unit(pe=2, simd=16, sf=8, nf=8),
    _Unit(pe=4, simd=8, sf=8, nf=4, in_bits=8),
    _Unit(pe=5, simd=8, sf=4, nf=2, levels=0),
    _Unit(pe=8, simd=8, sf=8, nf=8),
    _Unit(pe=4, simd=100, sf=2, nf=4),
    _Unit(pe=2, simd=8, sf=8, nf=2, in_bits=4, weight_bits=8, levels=0),
    _Unit(pe=2, simd=4, sf=16, nf=4, in_bits=4, levels=3),
    _Unit(pe=1, simd=32, sf=36, nf=32, ram_style="distributed"),
    _Unit(pe=8, simd=3, sf=9, nf=8, in_bits=8, ram_style="block"),
    _Unit(pe=8, simd=16, sf=16, nf=8),
    _Unit(pe=4, simd=4, sf=4, nf=4, weight_bits=8),
    _Unit(pe=2, simd=8, sf=8, nf=4, levels=15),
    _Unit(pe=16, simd=16, sf=8, nf=4, ram_style="block"),
    _Unit(pe=8, simd=32, sf=4, nf=2),
    _Unit(pe=2, simd=4, sf=16, nf=4, in_bits=8, weight_bits=8, levels=3),
    _Unit(pe=16, simd=4, sf=8, nf=4),
    _Unit(pe=4, simd=8, sf=4, nf=4, in_bits=2, levels=3),
    _Unit(pe=2, simd=8, sf=8, nf=4, draws=True),
    _Unit(pe=4, simd=16, sf=4, nf=4, draws=True),
)
# Lanes out of a layer, lanes into the next one.
_CONVERSIONS = ((16, 32), (1, 8), (4, 1), (32, 8), (6, 4), (64, 16))


# Width of a layer around which a branch goes, PE, and bits of the elements that are added.
_BRANCHES = ((8, 2, 1), (16, 8, 1), (32, 16, 4), (8, 4, 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Windows:
    """A window generator: square map, channels, square kernel, stride, lanes, bits; with a border or pool."""

    size: int
    channels: int
    kernel: int
    simd: int
    stride: int = 1
    bits: int = 1
    pads: int = 0
    pool: bool = False


_WINDOWS = (
    _Windows(size=8, channels=3, kernel=3, simd=3, bits=8),
    _Windows(size=10, channels=32, kernel=3, simd=32, pads=1),
    _Windows(size=14, channels=32, kernel=3, simd=16, pool=True),
    _Windows(size=5, channels=128, kernel=3, simd=32),
    _Windows(size=28, channels=1, kernel=8, simd=1, stride=2, bits=8, pads=2),
    _Windows(size=12, channels=8, kernel=5, simd=4, bits=4, pool=True),
    _Windows(size=20, channels=64, kernel=3, simd=64, pads=1),
    _Windows(size=6, channels=4, kernel=2, simd=2, stride=2, pool=True),
)


def samples(seed: int = 0) -> Iterator[Sample]:
    """Yield the networks, the same ones for the same seed."""
    rng = np.random.default_rng(seed)
    for unit in _UNITS:
        yield _unit_sample(unit, rng)
    for lanes_in, lanes_out in _CONVERSIONS:
        yield _conversion_sample(lanes_in, lanes_out, rng)
    for windows in _WINDOWS:
        yield _window_sample(windows, rng)
    for width, pe, bits in _BRANCHES:
        yield _branch_sample(width, pe, bits, rng)


def chosen(sample: Sample, design: RtlDesign) -> list[Instance]:
    """Return the instances of a sample's design that are worth the time of synthesising them."""
    return [
        i
        for i in design.instances
        if i.module in sample.modules
        and not (i.module == "bnn_mvau" and i.node != "mvau_0")
        and not (i.module == "bnn_fifo" and int(i.parameters["DEPTH"]) > _LONGEST_FIFO)
    ]


def _weights(rng: np.random.Generator, rows: int, columns: int, bits: int) -> WeightArray:
    if bits == 1:
        return rng.choice(np.array([-1, 1], np.int8), (rows, columns))
    return rng.integers(-(1 << (bits - 1)), 1 << (bits - 1), (rows, columns)).astype(np.int8)


def _levels(rng: np.random.Generator, rows: int, levels: int, reach: int) -> Thresholds:
    """Thresholds that all can be reached; one level gives ±1, more an unsigned integer."""
    steps = np.sort(rng.integers(-reach, reach + 1, (rows, levels)), axis=1).astype(np.int64)
    if levels == 1:
        return Thresholds(steps=steps)
    return Thresholds(steps=steps, out_type=DataType(f"UINT{levels.bit_length()}"), out_bias=0)


def _input_nodes(bits: int, channels: int, rng: np.random.Generator) -> list[Node]:
    """Nodes that turn bytes into elements of that many bits; 1 is ±1."""
    if bits == 8:
        return []
    steps = np.linspace(128, 240, (1 << bits) - 1).astype(np.int64)[None]
    kind = BIPOLAR if bits == 1 else DataType(f"UINT{bits}")
    if bits == 2:
        # One threshold row a channel, as a layer's own activation has.
        steps = np.clip(steps + rng.integers(-9, 9, (channels, 1)), 0, 255)
    thresholds = Thresholds(steps=steps) if bits == 1 else Thresholds(steps=steps, out_type=kind, out_bias=0)
    return [Thresholding(name="thresholding_0", input="images", in_type=UINT8, thresholds=thresholds)]


def _last(nodes: list[Node]) -> tuple[str, DataType]:
    return (nodes[-1].name, nodes[-1].out_type) if nodes else ("images", UINT8)


def _mvau(
    nodes: list[Node],
    rng: np.random.Generator,
    mh: int,
    mw: int,
    *,
    bits: int = 1,
    levels: int = 1,
    draws: bool = False,
) -> Mvau:
    name, kind = _last(nodes)
    count = sum(isinstance(node, Mvau) for node in nodes)
    reach = max(1, int(np.sqrt(mw) * max(abs(kind.minimum), kind.maximum) * (1 if bits == 1 else 64)))
    return Mvau(
        name=f"mvau_{count}",
        input=name,
        in_type=kind,
        weights=_weights(rng, mh, mw, 8 if draws else bits),
        draw=0 if draws else None,
        weight_type=BIPOLAR if bits == 1 else _INT8,
        thresholds=_levels(rng, mh, levels, reach) if levels else None,
    )


def _unit_sample(unit: _Unit, rng: np.random.Generator) -> Sample:
    mw, mh = unit.simd * unit.sf, unit.pe * unit.nf
    nodes = _input_nodes(unit.in_bits, mw, rng)
    name, kind = _last(nodes)
    nodes.append(Flatten(name="flatten_0", input=name, in_type=kind))
    nodes.append(_mvau(nodes, rng, mh, mw, bits=unit.weight_bits, levels=unit.levels, draws=unit.draws))
    folds = {"mvau_0": LayerFolding(unit.pe, unit.simd, unit.ram_style)}
    modules = ("bnn_mvau", "bnn_thresholding")
    if unit.levels:
        nodes.append(_mvau(nodes, rng, 4, mh, levels=0))
        folds["mvau_1"] = LayerFolding(4, unit.pe)
    graph = DataflowGraph(input_shape=(1, 1, mw), nodes=tuple(nodes))
    return Sample(graph=graph, folding=Folding(folds), modules=modules)


def _conversion_sample(lanes_in: int, lanes_out: int, rng: np.random.Generator) -> Sample:
    width = int(np.lcm(lanes_in, lanes_out))
    nodes: list[Node] = _input_nodes(1, 1, rng)
    nodes.append(Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR))
    nodes.append(_mvau(nodes, rng, width, 2))
    nodes.append(_mvau(nodes, rng, 10, width, levels=0))
    pe = {1: 10, 4: 5, 8: 2, 16: 1, 32: 5}.get(lanes_out, 1)
    folds = {"mvau_0": LayerFolding(lanes_in, 1), "mvau_1": LayerFolding(pe, lanes_out)}
    graph = DataflowGraph(input_shape=(1, 1, 2), nodes=tuple(nodes))
    return Sample(graph=graph, folding=Folding(folds), modules=("bnn_dwc", "bnn_label_select"))


def _branch_sample(width: int, pe: int, bits: int, rng: np.random.Generator) -> Sample:
    """A branch around a layer, and a scale on the logits."""
    nodes = _input_nodes(1, 1, rng)
    nodes.append(Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR))
    levels = (1 << bits) - 1
    nodes.append(_mvau(nodes, rng, width, 2, levels=levels))
    trunk = nodes[-1]
    nodes.append(_mvau(nodes, rng, width, width, levels=levels))
    around = nodes[-1]
    nodes.append(
        Add(
            name="add_0",
            input=trunk.name,
            in_type=trunk.out_type,
            other=around.name,
            other_type=around.out_type,
        )
    )
    last = _mvau(nodes, rng, 8, width, levels=0)
    scale = rng.integers(1, 1 << (2 * bits + 1), 8).astype(np.int64)
    nodes.append(replace(last, scale=scale, bias=rng.integers(-99, 99, 8).astype(np.int64)))
    folds = {
        "mvau_0": LayerFolding(pe, 1),
        "mvau_1": LayerFolding(pe, pe),
        "mvau_2": LayerFolding(max(1, pe // 4), pe),
    }
    graph = DataflowGraph(input_shape=(1, 1, 2), nodes=tuple(nodes))
    modules = ("bnn_add", "bnn_duplicate", "bnn_scale_bias")
    return Sample(graph=graph, folding=Folding(folds), modules=modules)


def _window_sample(windows: _Windows, rng: np.random.Generator) -> Sample:
    shape = (windows.size, windows.size, windows.channels)
    nodes = _input_nodes(windows.bits, 1, rng)
    if windows.pads:
        name, kind = _last(nodes)
        pads = (windows.pads, windows.pads, windows.pads, windows.pads)
        nodes.append(FmPadding(name="pad_0", input=name, in_type=kind, pads=pads))
    name, kind = _last(nodes)
    square = (windows.kernel, windows.kernel)
    stride = (windows.stride, windows.stride)
    nodes.append(Swg(name="swg_0", input=name, in_type=kind, kernel=square, stride=stride))
    levels = 3 if windows.bits > 1 else 1
    nodes.append(_mvau(nodes, rng, 8, windows.kernel**2 * windows.channels, levels=levels))
    name, kind = _last(nodes)
    if windows.pool:
        nodes.append(Pool(name="pool_0", input=name, in_type=kind, kernel=(2, 2), stride=(2, 2)))
    name, kind = _last(nodes)
    nodes.append(Flatten(name="flatten_0", input=name, in_type=kind))
    for node in nodes:
        shape = node.out_shape(shape)
    nodes.append(_mvau(nodes, rng, 2, shape[0], levels=0))
    pe = 8 if windows.channels > 8 else 2
    folds = {"mvau_0": LayerFolding(pe, windows.simd), "mvau_1": LayerFolding(1, 1)}
    graph = DataflowGraph(input_shape=(windows.size, windows.size, windows.channels), nodes=tuple(nodes))
    return Sample(
        graph=graph, folding=Folding(folds), modules=("bnn_swg", "bnn_pool", "bnn_fmpadding", "bnn_fifo")
    )
