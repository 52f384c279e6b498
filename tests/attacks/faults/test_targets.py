"""The emulator with faults computes what the definition says, on random networks with random faults."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.faults.codes import threshold_bits, threshold_codes, weight_bits
from attacks.faults.model import ActivationFault, Effect, ThresholdFault, WeightFault
from attacks.faults.targets import FaultyEmulator, FaultyReference
from export.datatypes import UINT8, DataType
from export.graph import (
    INPUT_TENSOR,
    DataflowGraph,
    Flatten,
    Mvau,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
)

effects = st.sampled_from(list(Effect))


def network(seed: int, hidden: DataType, *, convolution: bool, weights: str = "BIPOLAR") -> DataflowGraph:
    """A small network with every kind of memory."""
    draw = np.random.default_rng(seed)
    kind = DataType(weights)
    values = [-1, 1] if kind.is_bipolar else np.arange(kind.minimum, kind.maximum + 1)

    def mvau(name: str, source: str, in_type: DataType, shape: tuple[int, int], out: DataType | None) -> Mvau:
        spread = max(2, in_type.maximum * shape[1] // 4)
        levels = 1 if out is None or out.is_bipolar else out.maximum - out.minimum
        steps = np.sort(draw.integers(-spread, spread + 1, (shape[0], levels)), axis=1)
        return Mvau(
            name=name,
            input=source,
            in_type=in_type,
            weights=draw.choice(values, shape).astype(np.int8),
            weight_type=kind,
            thresholds=None if out is None else Thresholds(steps=steps, out_type=out, out_bias=out.minimum),
        )

    steps = np.sort(draw.integers(1, 255, (2, 3)), axis=1)
    first = Thresholds(steps=steps, out_type=DataType("UINT2"))
    nodes = [Thresholding(name="quantise", input=INPUT_TENSOR, in_type=UINT8, thresholds=first)]
    source, dtype, size = "quantise", DataType("UINT2"), 4 * 4 * 2
    if convolution:
        nodes.append(Swg(name="windows", input="quantise", in_type=dtype, kernel=(2, 2), stride=(1, 1)))
        nodes.append(mvau("conv", "windows", dtype, (6, 8), hidden))
        nodes.append(
            Pool(name="pool", input="conv", in_type=hidden, kernel=(3, 3), stride=(3, 3), mode="max")
        )
        source, dtype, size = "pool", hidden, 6
    nodes.append(Flatten(name="flat", input=source, in_type=dtype))
    nodes.append(mvau("dense", "flat", dtype, (9, size), hidden))
    nodes.append(mvau("logits", "dense", hidden, (4, 9), None))
    return DataflowGraph(input_shape=(4, 4, 2), nodes=tuple(nodes))


graphs = st.builds(
    network,
    seed=st.integers(0, 99),
    hidden=st.sampled_from(["BIPOLAR", "UINT2", "INT3"]).map(DataType),
    convolution=st.booleans(),
    weights=st.sampled_from(["BIPOLAR", "INT3"]),
)


@st.composite
def cases(draw):
    """A network and faults of every kind; none in the logits' weights, which could widen them."""
    graph = draw(graphs)
    mvaus = [node for node in graph.mvaus if node.thresholds is not None]
    thresholded = [node for node in graph.nodes if getattr(node, "thresholds", None) is not None]
    streams = [node for node in graph.nodes if not isinstance(node, Flatten)]

    def weight():
        node = draw(st.sampled_from(mvaus))
        row, column = draw(st.integers(0, node.mh - 1)), draw(st.integers(0, node.mw - 1))
        bit = draw(st.integers(0, weight_bits(node) - 1))
        return WeightFault(node=node.name, row=row, column=column, bit=bit, effect=draw(effects))

    def threshold():
        node = draw(st.sampled_from(thresholded))
        channels = graph.shapes[node.name][-1]
        levels = threshold_codes(node, channels).shape[1]
        return ThresholdFault(
            node=node.name,
            channel=draw(st.integers(0, channels - 1)),
            level=draw(st.integers(0, levels - 1)),
            bit=draw(st.integers(0, threshold_bits(node) - 1)),
            effect=draw(effects),
        )

    def activation():
        node = draw(st.sampled_from(streams))
        element = draw(st.integers(0, int(np.prod(graph.shapes[node.name])) - 1))
        bit = draw(st.integers(0, node.out_type.width_bits - 1))
        return ActivationFault(node=node.name, element=element, bit=bit, effect=draw(effects))

    kinds = draw(st.lists(st.sampled_from([weight, threshold, activation]), min_size=1, max_size=5))
    return graph, [kind() for kind in kinds]


@settings(max_examples=40)
@given(case=cases(), seed=st.integers(0, 99))
def test_the_emulator_computes_what_the_definition_says(case, seed):
    graph, faults = case
    images = np.random.default_rng(seed).integers(0, 256, (7, 4, 4, 2), dtype=np.uint8)
    reference = FaultyReference(graph, faults)
    emulator = FaultyEmulator(graph, faults, threads=1)
    expected = reference.trace(images)
    assert np.array_equal(emulator.infer(images).logits, expected["logits"])
    found = emulator.trace(images)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(found[name], values), name
