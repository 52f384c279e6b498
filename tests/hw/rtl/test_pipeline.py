"""Whole generated accelerators: random stalls, back-to-back frames, resets, and their rate."""

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.reference import ReferenceTarget
from hw.rtlgen import generate_rtl
from hw.timing import predict

FRAMES = 30
SETTLE_FRAMES = 12

# name: input shape, binarised input, type between layers, layer sizes, (PE, SIMD) of each, scale and bias
NETWORKS = {
    "ragged": ((4, 3, 2), True, BIPOLAR, (12, 10, 6), ((4, 6), (5, 3), (3, 5)), True),
    "bytes": ((2, 2, 3), False, BIPOLAR, (8, 4), ((4, 3), (1, 8)), False),
    "unrolled": ((2, 4, 1), True, BIPOLAR, (6, 3), ((6, 8), (3, 6)), False),
    "serial": ((1, 3, 2), True, BIPOLAR, (4, 2), ((1, 1), (1, 1)), True),
    "narrowing": ((2, 2, 2), True, BIPOLAR, (16, 16, 4), ((16, 8), (1, 2), (4, 1)), False),
    "slow_end": ((4, 4, 1), True, BIPOLAR, (16, 8), ((8, 16), (1, 1)), False),
    "two_bits": ((2, 3, 1), False, DataType("UINT2"), (6, 6, 3), ((2, 3), (3, 2), (1, 6)), False),
}


@pytest.fixture
def rng():
    return np.random.default_rng(20261124)


def make_network(rng, name):
    shape, binary, hidden, sizes, folds, scaled = NETWORKS[name]
    nodes, dtype, last = [], UINT8, "images"
    if binary:
        thresholds = Thresholds(steps=np.array([[128]], np.int64))
        nodes.append(Thresholding(name="thresholding_0", input=last, in_type=dtype, thresholds=thresholds))
        last, dtype = "thresholding_0", BIPOLAR
    nodes.append(Flatten(name="flatten_0", input=last, in_type=dtype))
    last, width = "flatten_0", int(np.prod(shape))
    for k, size in enumerate(sizes):
        final = k == len(sizes) - 1
        reach = int(np.sqrt(width) * dtype.maximum) + 1
        levels = 1 if hidden.is_bipolar else hidden.maximum
        steps = np.sort(rng.integers(-reach, reach + 1, (size, levels)), axis=1)
        node = Mvau(
            name=f"mvau_{k}",
            input=last,
            in_type=dtype,
            weights=(2 * rng.integers(0, 2, (size, width)) - 1).astype(np.int8),
            thresholds=None if final else Thresholds(steps=steps, out_type=hidden),
            scale=rng.integers(-9, 90, size) if final and scaled else None,
            bias=rng.integers(-500, 500, size) if final and scaled else None,
        )
        nodes.append(node)
        last, dtype, width = node.name, node.out_type, size
    folding = Folding({f"mvau_{k}": LayerFolding(pe=pe, simd=simd) for k, (pe, simd) in enumerate(folds)})
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes)), folding


def expected_beats(design, logits, pack_beats):
    """Output beats of the frames: logits, and above them the label of the logits so far."""
    out = design.output
    low = pack_beats(logits.reshape(-1, out.lanes), out.element_w)
    labels = [int(row[: (b + 1) * out.lanes].argmax()) for row in logits for b in range(out.beats)]
    return [label << out.width_bits | beat for label, beat in zip(labels, low, strict=True)]


def test_pipelines(run_bench, unit, pack_beats, rng, tmp_path):
    units, memories, tops = [], {}, {}
    for name in NETWORKS:
        graph, folding = make_network(rng, name)
        design = generate_rtl(graph, folding, tmp_path / name)
        images = rng.integers(0, 256, (FRAMES, *graph.input_shape)).astype(np.uint8)
        logits = ReferenceTarget(graph).infer(images).logits
        timing = predict(graph, folding)
        assert timing.ii_cycles == folding.ii_cycles(graph)
        # One simulation holds all networks, so each gets a top and memories of its own name.
        text = design.top_text.replace("bnn_top", f"top_{name}")
        tops[f"top_{name}"] = text
        memories |= {f"{name}_{file}": memory for file, memory in design.memories.items()}
        units.append(
            unit(
                name=name,
                module=f"top_{name}",
                parameters={"MEM_DIR": f"./{name}_"},
                in_width=design.input.width_bits,
                out_width=design.output.width_bits + design.label_w,
                inputs=pack_beats(images.reshape(-1, design.input.lanes), 8),
                outputs=expected_beats(design, logits, pack_beats),
                out_beats=design.output.beats,
                completes=0,
                # The model counts the first and the last cycle.
                latency=timing.latency_cycles - 1,
                measured=design.output.beats - 1,
                ii=timing.ii_cycles,
                settle_frames=SETTLE_FRAMES,
                last_every=design.output.beats,
            )
        )
    run_bench(units, memories, tops)
