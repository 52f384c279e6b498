"""Every module of hw/rtl against NumPy, under random stalls, at its stated latency and II."""

import math

import numpy as np
import pytest

from export.datatypes import BIPOLAR, TERNARY, UINT8, DataType
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.reference import compute_node
from hw.rtlgen import plan_rtl
from hw.rtlgen.latency import (
    FIFO_LATENCY_CYCLES,
    LABEL_SELECT_LATENCY_CYCLES,
    MVAU_LATENCY_CYCLES,
    SCALE_BIAS_LATENCY_CYCLES,
    THRESHOLDING_LATENCY_CYCLES,
    dwc_latency_cycles,
)
from hw.rtlgen.memory import hex_words

FRAMES = 24


@pytest.fixture
def rng():
    return np.random.default_rng(20261124)


def bits_of(values: np.ndarray, dtype: DataType) -> np.ndarray:
    """Elements as hardware carries them: ±1 become one bit."""
    return (values > 0).astype(np.int64) if dtype.is_bipolar else values


def random_values(rng, dtype: DataType, shape) -> np.ndarray:
    if dtype.is_bipolar:
        return 2 * rng.integers(0, 2, shape) - 1
    values = rng.integers(dtype.minimum, dtype.maximum + 1, shape)
    # Whole frames at the ends of the range show an accumulator that is too narrow.
    values[0], values[-1] = dtype.minimum, dtype.maximum
    return values


def fifo_units(unit, pack_beats, rng):
    for width, depth, registered in ((8, 2, 0), (13, 5, 0), (70, 64, 0), (8, 2, 1), (13, 5, 1), (20, 64, 1)):
        beats = pack_beats(rng.integers(0, 1 << 30, (150, 1)), width)
        yield unit(
            name=f"fifo_{depth}_{registered}",
            module="bnn_fifo",
            parameters={"DATA_W": width, "DEPTH": depth, "REGISTERED": registered},
            in_width=width,
            out_width=width,
            inputs=beats,
            outputs=beats,
            out_beats=1,
            completes=0,
            latency=FIFO_LATENCY_CYCLES,
            ii=1,
        )


def dwc_units(unit, pack_beats, rng):
    for element, lanes_in, lanes_out in ((1, 64, 8), (1, 8, 64), (1, 6, 4), (3, 4, 10), (1, 7, 5), (8, 3, 3)):
        frame = math.lcm(lanes_in, lanes_out)
        frames = max(FRAMES, 60 * min(lanes_in, lanes_out) // frame)
        elements = rng.integers(0, 1 << element, frame * frames)
        yield unit(
            name=f"dwc_{lanes_in}_{lanes_out}",
            module="bnn_dwc",
            parameters={"ELEMENT_W": element, "IN_LANES": lanes_in, "OUT_LANES": lanes_out},
            in_width=element * lanes_in,
            out_width=element * lanes_out,
            inputs=pack_beats(elements.reshape(-1, lanes_in), element),
            outputs=pack_beats(elements.reshape(-1, lanes_out), element),
            out_beats=frame // lanes_out,
            completes=-(-lanes_out // lanes_in) - 1,
            latency=dwc_latency_cycles(lanes_in, lanes_out),
            ii=frame // min(lanes_in, lanes_out),
        )


def single_node_instance(node, shape, folding):
    """Plan a network around one node, and return that node's instance and the memory files."""
    nodes = [node]
    if isinstance(node, Thresholding) or node.thresholds is not None:
        width = int(np.prod(shape)) if isinstance(node, Thresholding) else node.mh
        last_input = node.name
        if isinstance(node, Thresholding):
            nodes.append(Flatten(name="joined", input=node.name, in_type=node.out_type))
            last_input = "joined"
        weights = np.ones((1, width), np.int8)
        nodes.append(Mvau(name="after", input=last_input, in_type=node.out_type, weights=weights))
        lanes = folding.simd if isinstance(node, Thresholding) else folding.pe
        layers = {"after": LayerFolding(pe=1, simd=lanes)}
    else:
        layers = {}
    if isinstance(node, Mvau):
        layers[node.name] = folding
        if node.in_type != UINT8:
            nodes.insert(0, _input_caster(node))
        nodes.insert(0, Flatten(name="flat", input="images", in_type=UINT8))
    graph = DataflowGraph(input_shape=shape, nodes=tuple(nodes))
    design = plan_rtl(graph, Folding(layers))
    instance = next(i for i in design.instances if i.node == node.name and i.module != "bnn_fifo")
    memories = {k: v for k, v in design.memories.items() if k in instance.parameters.values()}
    return instance, memories


def _input_caster(node):
    """A Thresholding that makes the type that a layer reads, so that a graph around it is valid."""
    levels = 1 if node.in_type.is_bipolar else node.in_type.maximum - node.in_type.minimum
    steps = np.arange(1, levels + 1, dtype=np.int64)[None, :]
    thresholds = Thresholds(steps=steps, out_type=node.in_type, out_bias=node.in_type.minimum)
    return Thresholding(name=node.input, input="flat", in_type=UINT8, thresholds=thresholds)


def mvau_node(
    rng, name, in_type, mw, mh, levels, out_type=BIPOLAR, bias=False, weight_type=BIPOLAR, groups=1
):
    thresholds = None
    if levels:
        reach = max(3, int(2 * math.sqrt(mw) * max(abs(in_type.minimum), in_type.maximum)))
        reach *= max(1, weight_type.maximum // 2)
        steps = np.sort(rng.integers(-reach, reach, (mh, levels)), axis=1)
        # Every layer has a neuron that always fires and one that never does.
        steps[0], steps[-1] = -(10**12), 10**12
        thresholds = Thresholds(steps=steps, out_type=out_type, out_bias=max(-2, out_type.minimum))
    return Mvau(
        name=name,
        input="flat" if in_type == UINT8 else f"{name}_in",
        in_type=in_type,
        weights=random_values(rng, weight_type, (mh, mw)).astype(np.int8),
        weight_type=weight_type,
        groups=groups,
        thresholds=thresholds,
        bias=rng.integers(-99, 99, mh) if bias else None,
    )


def mvau_units(unit, pack_beats, rng, memories):
    cases = [
        # in_type, MW, MH, SIMD, PE, levels, out_type, weight_type or BIPOLAR, groups or 1
        (BIPOLAR, 24, 12, 6, 4, 1, BIPOLAR),
        (BIPOLAR, 9, 5, 9, 5, 0, None),
        (BIPOLAR, 8, 8, 8, 2, 3, DataType("UINT2")),
        (BIPOLAR, 140, 4, 70, 2, 1, BIPOLAR),
        (BIPOLAR, 6, 4, 1, 1, 1, BIPOLAR),
        (BIPOLAR, 6, 40, 2, 2, 1, BIPOLAR),
        (BIPOLAR, 6, 40, 3, 2, 0, None),
        (UINT8, 12, 6, 4, 3, 1, BIPOLAR),
        (UINT8, 12, 2, 3, 2, 0, None),
        (DataType("INT4"), 5, 3, 1, 1, 0, None),
        (DataType("INT4"), 10, 4, 5, 2, 4, DataType("INT4")),
        (DataType("UINT2"), 8, 6, 4, 6, 1, BIPOLAR),
        (TERNARY, 18, 4, 6, 2, 1, BIPOLAR),
        (BIPOLAR, 12, 4, 4, 2, 1, BIPOLAR, DataType("INT4")),
        (UINT8, 12, 4, 3, 2, 3, DataType("UINT2"), DataType("INT8")),
        (DataType("INT4"), 6, 4, 2, 1, 0, None, DataType("INT2")),
        (TERNARY, 8, 2, 8, 1, 0, None, DataType("INT8")),
        (BIPOLAR, 6, 12, 3, 2, 1, BIPOLAR, BIPOLAR, 3),
        (BIPOLAR, 9, 4, 3, 1, 1, BIPOLAR, BIPOLAR, 4),
        (UINT8, 4, 6, 2, 3, 0, None, DataType("INT4"), 2),
        (TERNARY, 4, 8, 4, 1, 0, None, BIPOLAR, 2),
    ]
    for k, (in_type, mw, mh, simd, pe, levels, out_type, *more) in enumerate(cases):
        bias = k % 2 == 0 and not levels
        node = mvau_node(rng, f"mvau_{k}", in_type, mw, mh, levels, out_type or BIPOLAR, bias, *more)
        width = mw * node.groups
        instance, files = single_node_instance(node, (1, 1, width), LayerFolding(pe=pe, simd=simd))
        memories |= files
        values = random_values(rng, in_type, (FRAMES, width))
        # A frame equal to a neuron's own weights reaches the greatest accumulator.
        if in_type.is_bipolar:
            values[0, :mw], values[1, :mw] = node.weights[0], -node.weights[0]
        expected = compute_node(node, values)
        yield unit(
            name=node.name,
            module="bnn_mvau",
            parameters=instance.parameters,
            in_width=simd * in_type.width_bits,
            out_width=pe * node.out_type.width_bits,
            inputs=pack_beats(bits_of(values, in_type).reshape(-1, simd), in_type.width_bits),
            outputs=pack_beats(bits_of(expected, node.out_type).reshape(-1, pe), node.out_type.width_bits),
            out_beats=mh // pe,
            completes=mw // simd - 1,
            latency=MVAU_LATENCY_CYCLES,
            ii=(mw // simd) * (mh // pe),
        )


def thresholding_units(unit, pack_beats, rng, memories):
    cases = [
        # steps, out_type, lanes, channels
        (np.array([[128]]), BIPOLAR, 5, 1),
        (np.array([[-3], [0], [256]]), BIPOLAR, 4, 3),
        (np.sort(rng.integers(0, 256, (6, 5)), axis=1), DataType("INT3"), 3, 6),
    ]
    for k, (steps, out_type, lanes, channels) in enumerate(cases):
        thresholds = Thresholds(steps=steps.astype(np.int64), out_type=out_type, out_bias=-2)
        node = Thresholding(name=f"thresholding_{k}", input="images", in_type=UINT8, thresholds=thresholds)
        shape = (2, lanes, channels)
        instance, files = single_node_instance(node, shape, LayerFolding(pe=1, simd=lanes))
        memories |= files
        values = random_values(rng, UINT8, (FRAMES, *shape))
        expected = bits_of(compute_node(node, values), out_type)
        yield unit(
            name=node.name,
            module="bnn_thresholding",
            parameters=instance.parameters,
            in_width=8 * lanes,
            out_width=lanes * out_type.width_bits,
            inputs=pack_beats(values.reshape(-1, lanes), 8),
            outputs=pack_beats(expected.reshape(-1, lanes), out_type.width_bits),
            out_beats=1,
            completes=0,
            latency=THRESHOLDING_LATENCY_CYCLES,
            ii=1,
        )


def signed_thresholding_units(unit, pack_beats, rng, memories):
    steps = np.sort(rng.integers(-16, 17, (4, 3)), axis=1)
    memories |= {"signed.mem": hex_words(steps.reshape(2, -1), 6)}
    values = random_values(rng, DataType("INT5"), (FRAMES, 4))
    expected = (values[:, :, None] >= steps).sum(axis=2) - 1
    yield unit(
        name="thresholding_signed",
        module="bnn_thresholding",
        parameters={"LANES": 2, "IN_W": 5, "IN_SIGNED": 1, "LEVELS": 3, "OUT_BIAS": -1, "OUT_W": 3}
        | {"DEPTH": 2, "THRESHOLD_FILE": "signed.mem"},
        in_width=10,
        out_width=6,
        inputs=pack_beats(values.reshape(-1, 2), 5),
        outputs=pack_beats(expected.reshape(-1, 2), 3),
        out_beats=2,
        completes=0,
        latency=THRESHOLDING_LATENCY_CYCLES,
        ii=2,
    )


def scale_bias_units(unit, pack_beats, rng, memories):
    pe, depth = 3, 2
    scale, bias = rng.integers(-128, 128, (depth, pe)), rng.integers(-9999, 9999, (depth, pe))
    memories |= {"scale.mem": hex_words(scale, 8), "bias.mem": hex_words(bias, 20)}
    values = random_values(rng, DataType("INT9"), (FRAMES, depth, pe))
    yield unit(
        name="scale_bias",
        module="bnn_scale_bias",
        parameters={"PE": pe, "DEPTH": depth, "IN_W": 9, "SCALE_W": 8, "OUT_W": 20}
        | {"SCALE_FILE": "scale.mem", "BIAS_FILE": "bias.mem"},
        in_width=9 * pe,
        out_width=20 * pe,
        inputs=pack_beats(values.reshape(-1, pe), 9),
        outputs=pack_beats((values * scale + bias).reshape(-1, pe), 20),
        out_beats=depth,
        completes=0,
        latency=SCALE_BIAS_LATENCY_CYCLES,
        ii=depth,
    )


def label_select_units(unit, pack_beats, rng):
    for pe, depth, logits_en in ((1, 7, 1), (5, 2, 0), (10, 1, 1), (3, 4, 1)):
        # Few distinct values, so that most frames have ties.
        logits = rng.integers(-2, 2, (4 * FRAMES, pe * depth))
        logits[0], logits[1] = -16, 15
        labels = logits.argmax(axis=1)
        so_far = np.array([[row[: (b + 1) * pe].argmax() for b in range(depth)] for row in logits])
        if logits_en:
            low = pack_beats(logits.reshape(-1, pe), 8)
            outputs = [int(label) << (8 * pe) | beat for label, beat in zip(so_far.ravel(), low, strict=True)]
        else:
            outputs = [int(label) for label in labels]
        yield unit(
            name=f"label_select_{pe}_{depth}",
            module="bnn_label_select",
            parameters={"PE": pe, "DEPTH": depth, "IN_W": 5, "LOGIT_W": 8, "LOGITS_EN": logits_en},
            in_width=5 * pe,
            out_width=16 + 8 * pe * logits_en,
            inputs=pack_beats(logits.reshape(-1, pe), 5),
            outputs=outputs,
            out_beats=depth if logits_en else 1,
            completes=0 if logits_en else depth - 1,
            latency=LABEL_SELECT_LATENCY_CYCLES,
            ii=depth,
            last_every=depth if logits_en else 1,
        )


def test_stream_modules(run_bench, unit, pack_beats, rng):
    memories: dict[str, str] = {}
    units = [
        *fifo_units(unit, pack_beats, rng),
        *dwc_units(unit, pack_beats, rng),
        *thresholding_units(unit, pack_beats, rng, memories),
        *signed_thresholding_units(unit, pack_beats, rng, memories),
        *scale_bias_units(unit, pack_beats, rng, memories),
        *label_select_units(unit, pack_beats, rng),
    ]
    run_bench(units, memories)


def test_mvau(run_bench, unit, pack_beats, rng):
    memories: dict[str, str] = {}
    run_bench(list(mvau_units(unit, pack_beats, rng, memories)), memories)
