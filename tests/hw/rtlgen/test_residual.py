"""Networks with branches, groups and sums: hardware against the golden model, FIFOs that never lock up."""

import subprocess
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import (
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
)
from hw.folding import Folding, LayerFolding, divisors, simd_values, solve_folding
from hw.reference import ReferenceTarget
from hw.rtl_target import RtlTarget
from hw.rtlgen import generate_rtl, plan_rtl
from hw.timing import TimingChain, TimingEngine, simulate_frames
from hw.timing.engine import HangError
from hw.timing.fifos import throughput_ii
from hw.verilator import Stalls
from hw.verilator.tools import find_verilator

UINT2, INT3, INT4 = DataType("UINT2"), DataType("INT3"), DataType("INT4")


class Net:
    """Appends nodes of random content to streams by name, and folds layers at random."""

    def __init__(self, seed, shape):
        self.rng = np.random.default_rng(seed)
        self.input_shape = shape
        self.nodes = []
        self.shapes, self.types = {"images": shape}, {"images": UINT8}

    def add(self, kind, source, **fields):
        name = f"{kind.__name__.lower()}_{len(self.nodes)}"
        node = kind(name=name, input=source, in_type=self.types[source], **fields)
        self.nodes.append(node)
        self.shapes[name], self.types[name] = node.out_shape(self.shapes[source]), node.out_type
        return name

    def threshold(self, source, out_type=BIPOLAR):
        """Thresholds within the stream's values."""
        kind, channels = self.types[source], self.shapes[source][-1]
        low, high = max(kind.minimum, -9), min(kind.maximum, 9)
        if kind == UINT8:
            low, high = 60, 200
        levels = 1 if out_type == BIPOLAR else out_type.maximum - out_type.minimum
        steps = np.sort(self.rng.integers(low, high + 1, (channels, levels)), axis=1)
        thresholds = Thresholds(steps=steps, out_type=out_type, out_bias=out_type.minimum)
        return self.add(Thresholding, source, thresholds=thresholds)

    def binary(self, source):
        return source if self.types[source] == BIPOLAR else self.threshold(source)

    def layer(self, source, rows, *, groups=1, weight_type=BIPOLAR, out_type=None):
        """A layer; without a type its sums leave."""
        columns = self.shapes[source][-1] // groups
        if weight_type == BIPOLAR:
            weights = 2 * self.rng.integers(0, 2, (rows, columns)) - 1
        else:
            weights = self.rng.integers(weight_type.minimum, weight_type.maximum + 1, (rows, columns))
        thresholds = None
        if out_type is not None:
            reach = int(np.sqrt(columns) * max(1, self.types[source].maximum / 2)) + 1
            levels = 1 if out_type == BIPOLAR else out_type.maximum - out_type.minimum
            steps = np.sort(self.rng.integers(-reach, reach, (rows, levels)), axis=1)
            thresholds = Thresholds(steps=steps, out_type=out_type, out_bias=out_type.minimum)
        return self.add(
            Mvau,
            source,
            weights=weights.astype(np.int8),
            weight_type=weight_type,
            groups=groups,
            thresholds=thresholds,
        )

    def conv(self, source, rows, kernel=3, *, stride=1, pad=None, value=0, groups=1, **layer):
        pad = kernel // 2 if pad is None else pad
        if pad:
            source = self.add(FmPadding, source, pads=(pad,) * 4, value=value)
        windows = {"kernel": (kernel, kernel), "stride": (stride, stride), "groups": groups}
        return self.layer(self.add(Swg, source, **windows), rows, groups=groups, **layer)

    def join(self, source, other):
        return self.add(Add, source, other=other, other_type=self.types[other])

    def pool(self, source, kernel, stride=None, mode="sum"):
        return self.add(Pool, source, kernel=kernel, stride=stride or kernel, mode=mode)

    def build(self):
        graph = DataflowGraph(input_shape=self.input_shape, nodes=tuple(self.nodes))
        folds = {}
        for node in graph.mvaus:
            pe = int(self.rng.choice(divisors(node.mh // node.groups)))
            folds[node.name] = LayerFolding(pe=pe, simd=int(self.rng.choice(simd_values(graph, node))))
        return graph, Folding(folds)


def resnet(seed):
    """A first convolution on bytes, a block with identity, one with a 1x1 shortcut of stride 2, a mean."""
    net = Net(seed, (8, 8, 3))
    x = net.conv("images", 4, value=0, weight_type=INT4)
    bits = net.threshold(x)
    a = net.conv(net.conv(bits, 4, out_type=BIPOLAR), 4)
    x = net.join(a, x)
    bits = net.threshold(x)
    a = net.conv(net.conv(bits, 6, stride=2, out_type=BIPOLAR), 6)
    x = net.join(a, net.conv(bits, 6, 1, stride=2))
    x = net.pool(x, net.shapes[x][:2])
    net.layer(net.add(Flatten, x), 5, weight_type=INT4)
    return net.build()


def grouped(seed):
    """Groups in windows and layers, a depthwise convolution, integers and ±1 added, a sum of ±1."""
    net = Net(seed, (6, 7, 4))
    bits = net.threshold("images")
    a = net.conv(bits, 8, groups=2, out_type=BIPOLAR)
    a = net.conv(net.threshold(a, UINT2), 4, 1, groups=4)
    x = net.threshold(net.join(a, bits), UINT2)
    b = net.conv(x, 4, 3, groups=4, value=1, out_type=BIPOLAR)
    x = net.threshold(net.join(b, net.join(x, bits)))
    x = net.pool(x, (2, 3), (2, 2))
    net.layer(net.add(Flatten, net.threshold(x, INT3)), 4)
    return net.build()


def crossing(seed):
    """Skips that cross, one over the whole network, a fork of the images, a stream twice in a sum."""
    net = Net(seed, (5, 4, 2))
    bits = net.threshold("images")
    a = net.conv(bits, 2, out_type=BIPOLAR)
    b = net.conv(a, 2, value=-1, out_type=BIPOLAR)
    c = net.threshold(net.join(net.join(b, bits), net.threshold("images", INT3)), UINT2)
    d = net.conv(c, 2, out_type=BIPOLAR)
    x = net.join(net.join(d, a), net.join(bits, bits))
    x = net.pool(net.threshold(x), (2, 2), mode="max")
    flat = net.add(Flatten, x)
    hidden = net.layer(flat, 8, out_type=BIPOLAR)
    both = net.join(hidden, flat)
    net.layer(both, 3)
    return net.build()


NETWORKS = {"resnet": resnet, "grouped": grouped, "crossing": crossing}


def random_network(seed):
    """Two or three blocks of random kinds."""
    rng = np.random.default_rng([seed, 1])
    net = Net([seed, 2], (int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.choice([1, 2, 4]))))
    x = net.threshold("images") if rng.random() < 0.5 else net.conv("images", 4, weight_type=INT4)
    for _ in range(rng.integers(1, 4)):
        bits = net.binary(x) if rng.random() < 0.7 else net.threshold(net.join(x, x), UINT2)
        channels = net.shapes[x][-1]
        kernel, stride = int(rng.choice([1, 3, 5])), int(rng.choice([1, 2]))
        match rng.integers(0, 5):
            case 0:
                x = net.join(net.conv(net.conv(bits, 4, kernel, out_type=BIPOLAR), channels, 3), x)
            case 1:
                a = net.conv(net.conv(bits, 2, 3, stride=stride, out_type=BIPOLAR), 4, kernel)
                x = net.join(a, net.conv(bits, 4, 1, stride=stride))
            case 2:
                x = net.conv(bits, 2 * channels, kernel, stride=stride, groups=channels)
            case 3:
                x = net.join(x, net.join(bits, net.conv(bits, channels, kernel)))
            case _:
                x = net.pool(bits, (min(2, net.shapes[x][0]), min(2, net.shapes[x][1])))
    net.layer(net.add(Flatten, net.binary(x)), 3)
    return net.build()


@pytest.fixture(scope="session")
def engine(simulator_cache):
    return TimingEngine(simulator_cache)


@pytest.mark.parametrize("name", NETWORKS)
def test_hardware_computes_what_the_golden_model_does(name, simulator_cache):
    graph, folding = NETWORKS[name](7)
    images = np.random.default_rng(3).integers(0, 256, (6, *graph.input_shape), np.uint8)
    expected = ReferenceTarget(graph).infer(images).logits
    target = RtlTarget(graph, folding, workers=1, cache_dir=simulator_cache)
    result = target.infer(images)
    np.testing.assert_array_equal(result.logits, expected)
    np.testing.assert_array_equal(result.cycles, simulate_frames(graph, folding, len(images)).cycles)
    for seed, (source, sink) in enumerate(((0.3, 0.4), (0.0, 0.8), (0.8, 0.0))):
        stalled = target.stream(images, Stalls(source=source, sink=sink, seed=seed))
        np.testing.assert_array_equal(stalled.logits, expected)


def test_a_trace_shows_every_node(simulator_cache):
    graph, folding = grouped(7)
    images = np.random.default_rng(3).integers(0, 256, (3, *graph.input_shape), np.uint8)
    expected = ReferenceTarget(graph).trace(images)
    target = RtlTarget(graph, folding, workers=1, cache_dir=simulator_cache)
    for node, values in target.trace(images).items():
        np.testing.assert_array_equal(values, expected[node], err_msg=node)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 1 << 20))
def test_default_fifos_never_lock_up_and_keep_the_rate(seed, engine):
    graph, folding = random_network(seed)
    chain = TimingChain.of(plan_rtl(graph, folding, with_contents=False))
    deep = chain.with_fifo_depths({key: 4 * depth + 64 for key, depth in chain.fifo_depths.items()})
    assert throughput_ii(chain, engine) == throughput_ii(deep, engine)


def test_a_fifo_that_is_too_small_locks_up(engine):
    graph, folding = resnet(7)
    chain = TimingChain.of(plan_rtl(graph, folding, with_contents=False))
    bypasses = [key for key in chain.fifo_depths if key.endswith(".other")]
    assert len(bypasses) == 2
    with pytest.raises(HangError):
        engine.run(chain.with_fifo_depths(dict.fromkeys(bypasses, 2)), 2)


def test_the_bare_bound_is_enough(engine, monkeypatch):
    monkeypatch.setattr("hw.rtlgen.joins.stored_frames", lambda instance: 0.0)
    for seed in range(40):
        graph, folding = random_network(seed)
        chain = TimingChain.of(plan_rtl(graph, folding, with_contents=False))
        engine.run(chain, 5)


def test_forks_and_joins_of_a_design():
    graph, folding = crossing(7)
    design = plan_rtl(graph, folding, with_contents=False)
    written = {design.input.name}
    for instance in design.instances:
        assert {source.name for source in instance.sources} <= written
        written |= {sink.name for sink in instance.sinks}
    read = [source.name for instance in design.instances for source in instance.sources]
    assert len(read) == len(set(read))
    assert set(read) == written - {design.output.name}
    keys = [i.fifo_key for i in design.instances if i.module == "bnn_fifo"]
    assert len(keys) == len(set(keys))
    adds = [node.name for node in graph.nodes if isinstance(node, Add)]
    assert {f"{name}.{side}" for name in adds for side in ("input", "other")} <= set(keys)
    deeper = plan_rtl(graph, folding, fifo_depths={f"{adds[0]}.other": 77}, with_contents=False)
    depths = {i.fifo_key: i.parameters["DEPTH"] for i in deeper.instances if i.module == "bnn_fifo"}
    assert depths[f"{adds[0]}.other"] == 77


def test_a_forking_top_has_no_combinational_loop(tmp_path):
    graph, folding = crossing(7)
    design = generate_rtl(graph, folding, tmp_path / "rtl")
    command = [*find_verilator().command, "--lint-only", "-Wall", "-Wno-fatal", "--top-module", design.top]
    done = subprocess.run(
        [*command, *(str(tmp_path / "rtl" / name) for name in design.sources)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    mine = ("UNOPTFLAT", "bnn_top.sv", "bnn_add.sv", "bnn_duplicate.sv")
    assert not [line for line in done.stderr.splitlines() if line[:1] == "%" and any(m in line for m in mine)]


def resnet18():
    """The shape of ResNet-18 on 224x224 images, with ±1 weights between the first and the last layer."""
    net = Net(18, (224, 224, 3))
    bits = net.threshold(net.conv("images", 64, 7, stride=2, weight_type=DataType("INT8")))
    bits = net.add(FmPadding, bits, pads=(1, 1, 1, 1), value=-1)
    bits = net.pool(bits, (3, 3), (2, 2), mode="max")
    x = bits
    for stage, rows in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            a = net.conv(net.conv(bits, rows, stride=stride, out_type=BIPOLAR), rows)
            x = net.join(a, x if stride == 1 else net.conv(bits, rows, 1, stride=2))
            bits = net.threshold(x)
    net.layer(net.add(Flatten, net.pool(bits, (7, 7))), 1000, weight_type=DataType("INT8"))
    return DataflowGraph(input_shape=net.input_shape, nodes=tuple(net.nodes))


def test_a_network_of_imagenet_size_is_planned():
    graph = resnet18()
    assert round(graph.macs / 1e9, 1) == 1.8
    folding = solve_folding(graph, fps=50, clock_mhz=100)
    design = plan_rtl(graph, folding, with_contents=False)
    modules = Counter(instance.module for instance in design.instances)
    assert (modules["bnn_mvau"], modules["bnn_add"], modules["bnn_duplicate"]) == (21, 8, 8)
    # Rows that wait for a block of two 3x3 convolutions, not whole feature maps of every layer.
    bypasses = [i for i in design.instances if i.fifo_key is not None and "." in i.fifo_key]
    kilobytes = sum(int(i.parameters["DEPTH"]) * i.source.width_bits for i in bypasses) / 8192
    assert kilobytes < 400
