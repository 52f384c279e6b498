"""Random small networks of every kind of layer: all targets compute the same, in the predicted cycles."""

import numpy as np
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from export.datatypes import UINT8, DataType
from export.graph import (
    INPUT_TENSOR,
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
from hw.emulator import EmulatorTarget
from hw.folding import Folding, LayerFolding, divisors, simd_values
from hw.reference import ReferenceTarget
from hw.rtl_target import RtlTarget
from hw.timing import TimingChain, TimingEngine
from hw.verilator import Stalls

FRAMES = 5
# Every example is a simulator to build, some seconds; the same ones in every run, so that the cache has them.
EXAMPLES = 6

chance = st.booleans()
small = st.integers(1, 3)
out_types = st.sampled_from(["BIPOLAR", "BIPOLAR", "INT2", "UINT2", "UINT3", "INT4", "UINT8"]).map(DataType)
weight_types = st.sampled_from(["BIPOLAR", "BIPOLAR", *(f"INT{bits}" for bits in range(2, 9))]).map(DataType)
probabilities = st.sampled_from([0.0, 0.1, 0.4, 0.8])
stall_patterns = st.builds(Stalls, seed=st.integers(0, 99), source=probabilities, sink=probabilities)


class Builder:
    """Draws a network node by node."""

    def __init__(self, draw, shape):
        self.draw, self.input_shape, self.shape = draw, shape, shape
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.nodes, self.source, self.dtype = [], INPUT_TENSOR, UINT8

    def add(self, kind, **fields):
        name = f"{kind.__name__.lower()}_{len(self.nodes)}"
        node = kind(name=name, input=self.source, in_type=self.dtype, **fields)
        self.nodes.append(node)
        self.source, self.dtype, self.shape = name, node.out_type, node.out_shape(self.shape)

    def thresholds(self, rows, low, high, out_type):
        """Steps where sums are likely, so that all levels occur."""
        levels = 1 if out_type.is_bipolar else out_type.maximum - out_type.minimum
        levels = self.draw(st.sampled_from([levels, max(1, levels // 2)]))
        middle, spread = (low + high) // 2, max(1, (high - low) // 5)
        steps = self.rng.integers(middle - spread, middle + spread + 2, (rows, levels))
        return Thresholds(steps=np.sort(steps, axis=1), out_type=out_type, out_bias=out_type.minimum)

    def requantise(self, out_type):
        rows = self.draw(st.sampled_from([1, self.shape[-1]]))
        low, high = self.dtype.minimum, self.dtype.maximum
        self.add(Thresholding, thresholds=self.thresholds(rows, low, high, out_type))

    def layer(self, rows, out_type, *, groups=1, weight_type=None):
        """A matrix product; without ``out_type`` with a scale and a bias instead of thresholds."""
        columns = self.shape[-1] // groups
        kind = self.draw(weight_types) if weight_type is None else weight_type
        number = self.draw(st.sampled_from([None, None, 0, 7])) if kind.is_bipolar else None
        if number is not None:
            weights = self.rng.integers(-128, 128, (rows, columns))
        elif kind.is_bipolar:
            weights = self.rng.choice([-1, 1], (rows, columns))
        else:
            weights = self.rng.integers(kind.minimum, kind.maximum + 1, (rows, columns))
        fields = {"weights": weights.astype(np.int8), "weight_type": kind, "draw": number, "groups": groups}
        if out_type is None:
            scale, bias = self.rng.integers(-9, 90, rows), self.rng.integers(-500, 500, rows)
            fields |= self.draw(st.sampled_from([{}, {"scale": scale, "bias": bias}, {"scale": scale}]))
        else:
            largest = max(abs(self.dtype.minimum), self.dtype.maximum)
            reach = int(2 * np.abs(weights if number is None else 1).mean() * largest * columns**0.5) + 1
            fields["thresholds"] = self.thresholds(rows, -reach, reach, out_type)
        self.add(Mvau, **fields)

    def pad(self, pads):
        values = [v for v in (0, -1, 1) if self.dtype.minimum <= v <= self.dtype.maximum]
        self.add(FmPadding, pads=pads, value=self.draw(st.sampled_from(values)))

    def kernel(self):
        height, width, _ = self.shape
        return self.draw(st.tuples(st.integers(1, min(3, height)), st.integers(1, min(3, width))))

    def convolution(self):
        if self.draw(chance):
            self.pad(self.draw(st.tuples(*[st.integers(0, 2)] * 4)))
        groups = self.draw(st.sampled_from(divisors(self.shape[2])))
        self.add(Swg, kernel=self.kernel(), stride=self.draw(st.tuples(small, small)), groups=groups)
        self.layer(groups * self.draw(small), self.draw(out_types), groups=groups)

    def residual(self):
        """A convolution that keeps the shape, and its input added to its output."""
        start, dtype, channels = self.source, self.dtype, self.shape[2]
        self.pad((1, 1, 1, 1))
        self.add(Swg, kernel=(3, 3), stride=(1, 1))
        self.layer(channels, self.draw(out_types))
        self.add(Add, other=start, other_type=dtype)
        self.requantise(self.draw(out_types))

    def pool(self):
        mode = self.draw(st.sampled_from(["max", "sum"]))
        self.add(Pool, kernel=self.kernel(), stride=self.draw(st.tuples(small, small)), mode=mode)
        if mode == "sum":
            self.requantise(self.draw(out_types))

    def build(self):
        return DataflowGraph(input_shape=self.input_shape, nodes=tuple(self.nodes))


@st.composite
def networks(draw):
    """A network and a folding that fits it."""
    net = Builder(draw, draw(st.tuples(st.integers(2, 6), st.integers(2, 6), small)))
    if draw(chance):
        net.requantise(draw(out_types))
    for _ in range(draw(st.integers(0, 2))):
        net.convolution()
        if draw(chance):
            draw(st.sampled_from([net.residual, net.pool, net.pool]))()
    net.add(Flatten)
    if draw(chance):
        net.layer(draw(st.integers(1, 6)), draw(out_types))
    net.layer(draw(st.integers(2, 5)), None)
    graph = net.build()
    layers = {
        node.name: LayerFolding(
            draw(st.sampled_from(divisors(node.mh // node.groups))),
            draw(st.sampled_from(simd_values(graph, node))),
        )
        for node in graph.mvaus
    }
    return graph, Folding(layers)


@settings(max_examples=EXAMPLES, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate))
@given(network=networks(), stalls=stall_patterns, first_frame=st.sampled_from([0, 3]))
def test_all_targets_agree(network, stalls, first_frame):
    check(*network, stalls, first_frame)


def check(graph, folding, stalls, first_frame, seed=11):
    note(graph.summary())
    note(str(folding))
    images = np.random.default_rng(1).integers(0, 256, (FRAMES, *graph.input_shape), np.uint8)
    expected = ReferenceTarget(graph, seed=seed).infer(images, first_frame).logits
    emulated = EmulatorTarget(graph, seed=seed).infer(images, first_frame).logits
    np.testing.assert_array_equal(emulated, expected, err_msg="emulator")
    target = RtlTarget(graph, folding, workers=1, seed=seed)
    chain, engine = TimingChain.of(target.rtl), TimingEngine()
    for pattern in (None, stalls):
        simulated = target.stream(images, pattern, beats=True, first_frame=first_frame)
        np.testing.assert_array_equal(simulated.logits, expected, err_msg="rtl")
        run = engine.run(chain, FRAMES, pattern, beats=True)
        np.testing.assert_array_equal(simulated.in_cycles, run.in_cycles, err_msg="cycles of the input")
        np.testing.assert_array_equal(simulated.out_cycles, run.out_cycles, err_msg="cycles of the output")
