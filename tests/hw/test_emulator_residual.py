"""Sums of streams, groups and summed windows of the emulator against the golden model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8, DataType
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
from hw.reference import ReferenceTarget


def _divisors(number):
    return [part for part in range(1, number + 1) if number % part == 0]


class _Dag:
    """Appends nodes that read any stream before them."""

    def __init__(self, draw, shape):
        self.draw, self.shape = draw, shape
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.nodes, self.streams = [], [(INPUT_TENSOR, UINT8, shape)]

    def add(self, make, source, **fields):
        name, stream, shape = source
        node = make(name=f"node_{len(self.nodes)}", input=name, in_type=stream, **fields)
        if node.out_type.width_bits > 20:
            return
        self.nodes.append(node)
        self.streams.append((node.name, node.out_type, node.out_shape(shape)))

    def thresholds(self, channels, low, high, types):
        out_type = DataType(self.draw(st.sampled_from(types)))
        levels = 1 if out_type.is_bipolar else int(self.rng.integers(1, out_type.maximum - out_type.minimum))
        rows = self.draw(st.sampled_from([1, channels]))
        steps = np.sort(self.rng.integers(low, high + 1, (rows, levels)), axis=1)
        bias = 0 if out_type.is_bipolar else out_type.minimum
        return Thresholds(steps=steps, out_type=out_type, out_bias=bias)

    def product(self, source, *, last=False):
        channels = source[2][-1]
        groups = 1 if last else self.draw(st.sampled_from(_divisors(channels)))
        mh = groups * self.draw(st.sampled_from([1, 2, 5, 8, 9, 17] if groups < 9 else [1, 2]))
        kind = DataType(self.draw(st.sampled_from(["BIPOLAR", "BIPOLAR", "INT4", "INT8"])))
        weights = self.rng.integers(kind.minimum, kind.maximum + 1, (mh, channels // groups)).astype(np.int8)
        weights[weights == 0] = 1
        fields = {"weights": weights, "weight_type": kind, "groups": groups}
        if not last and self.draw(st.booleans()):
            spread = int(np.abs(weights.astype(int)).sum() / mh) + 1
            fields["thresholds"] = self.thresholds(
                mh, -spread, spread, ["BIPOLAR", "BIPOLAR", "UINT2", "INT3"]
            )
        elif self.draw(st.booleans()):
            fields["scale"], fields["bias"] = self.rng.integers(-3, 4, mh), self.rng.integers(-50, 50, mh)
        self.add(Mvau, source, **fields)

    def grow(self, kind):
        source = (
            self.streams[-1] if self.draw(st.integers(0, 2)) else self.draw(st.sampled_from(self.streams))
        )
        _, stream, shape = source
        match kind:
            case "product":
                self.product(source)
            case "windows":
                kernel = tuple(min(size, self.draw(st.integers(1, 3))) for size in shape[:2])
                if np.prod(kernel) * shape[2] <= 700:
                    groups = self.draw(st.sampled_from(_divisors(shape[2])))
                    stride = self.draw(st.sampled_from([(1, 1), (2, 1), (2, 2)]))
                    self.add(Swg, source, kernel=kernel, stride=stride, groups=groups)
                    self.product(self.streams[-1])
            case "pool":
                kernel = tuple(min(size, self.draw(st.integers(1, 3))) for size in shape[:2])
                mode = self.draw(st.sampled_from(["sum", "sum", "max"]))
                self.add(Pool, source, kernel=kernel, stride=(1, 2), mode=mode)
            case "pad":
                value = self.draw(st.sampled_from([0, stream.minimum, stream.maximum]))
                self.add(FmPadding, source, pads=(1, 0, 0, 1), value=value)
            case "sum":
                others = [other for other in self.streams if other[2] == shape]
                other = self.draw(st.sampled_from(others))
                self.add(Add, source, other=other[0], other_type=other[1])
            case _:
                low, high = max(stream.minimum, -99), min(stream.maximum, 99)
                thresholds = self.thresholds(shape[-1], low, high, ["BIPOLAR", "BIPOLAR", "UINT3", "INT2"])
                self.add(Thresholding, source, thresholds=thresholds)

    def finish(self):
        self.add(Flatten, self.streams[-1])
        self.product(self.streams[-1], last=True)
        return DataflowGraph(input_shape=self.shape, nodes=tuple(self.nodes))


@st.composite
def residual_graphs(draw):
    """Any graph of feature maps, with branches that come together again."""
    channels = draw(st.sampled_from([1, 2, 6, 12, 64, 128]))
    dag = _Dag(draw, (draw(st.integers(2, 6)), draw(st.integers(2, 6)), channels))
    kinds = ["product", "windows", "pool", "pad", "sum", "sum", "threshold", "threshold"]
    for _ in range(draw(st.integers(1, 6))):
        dag.grow(draw(st.sampled_from(kinds)))
    return dag.finish()


def _images(graph, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *graph.input_shape)).astype(np.uint8)


def _check(graph, count, isa, library):
    images = _images(graph, count)
    golden = ReferenceTarget(graph).trace(images)
    target = EmulatorTarget(graph, isa=isa, threads=2, library=library)
    np.testing.assert_array_equal(target.infer(images).logits, golden[graph.nodes[-1].name])
    traced = target.trace(images)
    assert list(traced) == list(golden)
    for name, stream in golden.items():
        np.testing.assert_array_equal(traced[name], stream, err_msg=name)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(graph=residual_graphs(), count=st.sampled_from([1, 3, 6]))
def test_every_stream_equals_the_golden_model(library, isa, graph, count):
    _check(graph, count, isa, library)


@pytest.mark.parametrize("groups", [2, 3])
@pytest.mark.parametrize("channels", [64, 60])
def test_grouped_convolutions_of_bits(library, isa, groups, channels):
    """Whole words of a group move as they are; other channels go by integers."""
    rng = np.random.default_rng(0)
    total, neurons = channels * groups, 10 * groups
    at_half = Thresholds(steps=np.array([[128]], np.int64))
    nodes = (
        Thresholding(name="binary", input=INPUT_TENSOR, in_type=UINT8, thresholds=at_half),
        Swg(name="windows", input="binary", in_type=BIPOLAR, kernel=(2, 3), groups=groups),
        Mvau(
            name="grouped",
            input="windows",
            in_type=BIPOLAR,
            weights=rng.choice(np.array([-1, 1], np.int8), (neurons, 6 * channels)),
            groups=groups,
            thresholds=Thresholds(steps=rng.integers(-9, 9, (neurons, 1))),
        ),
        Flatten(name="flat", input="grouped", in_type=BIPOLAR),
        Mvau(
            name="last",
            input="flat",
            in_type=BIPOLAR,
            weights=rng.choice(np.array([-1, 1], np.int8), (3, 4 * 3 * neurons)),
        ),
    )
    _check(DataflowGraph(input_shape=(5, 5, total), nodes=nodes), 5, isa, library)
