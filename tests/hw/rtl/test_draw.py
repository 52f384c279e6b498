"""Drawn weights in hardware: what the reference draws, with stalls and from any frame, and the registers."""

import contextlib
import json
from dataclasses import dataclass

import numpy as np
import pytest
from cocotb_tools.check_results import get_results

from export.datatypes import BIPOLAR, TERNARY, UINT8, DataType
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, FmPadding, Mvau, Swg, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.reference import ReferenceTarget
from hw.rtl_target import RtlTarget
from hw.rtlgen import generate_rtl
from hw.timing_target import TimingTarget
from hw.verilator import Stalls

_LAST_FRAME = (1 << 32) - 1
_BENCH_TESTS = 4


@dataclass(frozen=True, kw_only=True)
class Case:
    graph: DataflowGraph
    folding: Folding


def _means(rng, rows, columns):
    return rng.integers(-128, 128, (rows, columns)).astype(np.int8)


def _convolution(pe, simd, last_pe, last_simd):
    """A drawn convolution on 8-bit pixels and a drawn last layer whose rows end within a block."""
    rng = np.random.default_rng(4)
    steps = rng.integers(-300, 300, (6, 1)).astype(np.int64)
    nodes = (
        Swg(name="swg_0", input=INPUT_TENSOR, in_type=UINT8, kernel=(2, 2), stride=(2, 1)),
        Mvau(
            name="mvau_0",
            input="swg_0",
            in_type=UINT8,
            weights=_means(rng, 6, 16),
            draw=0,
            thresholds=Thresholds(steps=steps),
        ),
        Flatten(name="flatten_0", input="mvau_0", in_type=BIPOLAR),
        Mvau(name="mvau_1", input="flatten_0", in_type=BIPOLAR, weights=_means(rng, 4, 36), draw=3),
    )
    folds = {"mvau_0": LayerFolding(pe, simd), "mvau_1": LayerFolding(last_pe, last_simd)}
    return Case(graph=DataflowGraph(input_shape=(4, 4, 4), nodes=nodes), folding=Folding(folds))


def _padded():
    """A fixed layer before a drawn one that sees zeros around its feature map, in words of two blocks."""
    rng = np.random.default_rng(6)
    rows = Thresholds(steps=rng.integers(-4, 5, (16, 1)).astype(np.int64))
    steps = np.sort(rng.integers(-9, 9, (4, 3)).astype(np.int64), axis=1)
    drawn = Thresholds(steps=steps, out_type=DataType("UINT2"))
    signs = rng.choice(np.array([-1, 1], np.int8), (16, 2))
    nodes = (
        Thresholding(
            name="thresholding_0",
            input=INPUT_TENSOR,
            in_type=UINT8,
            thresholds=Thresholds(steps=np.array([[128]])),
        ),
        Mvau(name="mvau_0", input="thresholding_0", in_type=BIPOLAR, weights=signs, thresholds=rows),
        FmPadding(name="fmpadding_0", input="mvau_0", in_type=BIPOLAR, pads=(1, 0, 0, 1), value=0),
        Swg(name="swg_0", input="fmpadding_0", in_type=TERNARY, kernel=(2, 2), stride=(1, 1)),
        Mvau(
            name="mvau_1",
            input="swg_0",
            in_type=TERNARY,
            weights=_means(rng, 4, 64),
            draw=_LAST_FRAME,
            thresholds=drawn,
        ),
        Flatten(name="flatten_0", input="mvau_1", in_type=DataType("UINT2")),
        Mvau(
            name="mvau_2",
            input="flatten_0",
            in_type=DataType("UINT2"),
            weights=rng.integers(-7, 8, (3, 24)).astype(np.int8),
            weight_type=DataType("INT4"),
        ),
    )
    graph = DataflowGraph(input_shape=(2, 3, 2), nodes=nodes)
    folds = {"mvau_0": LayerFolding(4, 2), "mvau_1": LayerFolding(2, 16), "mvau_2": LayerFolding(1, 4)}
    return Case(graph=graph, folding=Folding(folds))


def _images(graph, count):
    return np.random.default_rng(8).integers(0, 256, (count, *graph.input_shape), dtype=np.uint8)


@pytest.mark.parametrize(
    "case", [_convolution(2, 8, 1, 2), _convolution(3, 2, 4, 4), _padded()], ids=["8", "parts", "padded"]
)
def test_hardware_draws_what_the_reference_draws(case, monkeypatch):
    images = _images(case.graph, 9)
    target = RtlTarget(case.graph, case.folding, seed=0xDEADBEEF, workers=1)
    golden = ReferenceTarget(case.graph, seed=0xDEADBEEF)
    # Streams of four images: each starts with a frame index of its own.
    monkeypatch.setattr("hw.rtl_target.STREAM_IMAGES", 4)
    for first in (0, 41, _LAST_FRAME - 4):
        expected = golden.infer(images, first).logits
        assert np.array_equal(target.infer(images, first).logits, expected)
        for seed in range(3):
            stalled = target.stream(images, Stalls(seed=seed), first_frame=first)
            assert np.array_equal(stalled.logits, expected)
    assert not np.array_equal(golden.infer(images, 0).logits, golden.infer(images, 1).logits)


@pytest.mark.parametrize(
    "case", [_convolution(2, 8, 1, 2), _convolution(3, 2, 4, 4), _padded()], ids=["8", "parts", "padded"]
)
def test_the_timing_model_knows_when_weights_are_there(case):
    images = _images(case.graph, 5)
    hardware = RtlTarget(case.graph, case.folding, workers=1)
    model = TimingTarget(case.graph, case.folding, threads=1, seed=3)
    for stalls in (None, Stalls(seed=4), Stalls(seed=5, source=0.0, sink=0.8)):
        found, expected = model.stream(images, stalls), hardware.stream(images, stalls)
        assert np.array_equal(found.first_in_cycle, expected.first_in_cycle)
        assert np.array_equal(found.last_out_cycle, expected.last_out_cycle)
    golden = ReferenceTarget(case.graph, seed=3).infer(images, 8)
    assert np.array_equal(model.infer(images, 8).logits, golden.logits)


def _lone_layer():
    """Nothing but a drawn layer: the first word of weights decides when its pixels are taken."""
    rng = np.random.default_rng(9)
    nodes = (
        Flatten(name="flatten_0", input=INPUT_TENSOR, in_type=UINT8),
        Mvau(name="mvau_0", input="flatten_0", in_type=UINT8, weights=_means(rng, 2, 32), draw=1),
    )
    graph = DataflowGraph(input_shape=(4, 8, 1), nodes=nodes)
    return Case(graph=graph, folding=Folding({"mvau_0": LayerFolding(2, 8)}))


def test_the_first_word_of_weights_is_there_in_cycle_18():
    case = _lone_layer()
    images = _images(case.graph, 8)
    found = RtlTarget(case.graph, case.folding, workers=1).stream(images, beats=True)
    assert found.in_cycles is not None
    assert found.out_cycles is not None
    assert np.array_equal(found.logits, ReferenceTarget(case.graph).infer(images).logits)
    # Four beats from cycle 18 on, four stages, and two of the label; then a frame every four cycles.
    assert found.out_cycles[:, 0].tolist() == [18 + 3 + 4 + 2 + 4 * frame for frame in range(8)]


def test_seeds_and_frames_out_of_range_are_refused():
    case = _convolution(2, 8, 1, 2)
    with pytest.raises(InputError, match="seed"):
        RtlTarget(case.graph, case.folding, seed=-1)
    with pytest.raises(InputError, match="must not be negative"):
        RtlTarget(case.graph, case.folding).infer(_images(case.graph, 1), -1)


def test_a_simd_that_splits_blocks_unevenly_is_refused():
    case = _convolution(2, 8, 1, 3)
    with pytest.raises(InputError, match=r"mvau_1: SIMD 3 .* drawn") as caught:
        case.folding.validate(case.graph)
    assert caught.value.hint == "legal: 1, 2, 4"


def test_registers(run_top):
    case = _convolution(2, 8, 2, 4)
    images = _images(case.graph, 2)
    pairs = {0: ((0, 0), (1, 1), (0, _LAST_FRAME), (1, 0)), 7: ((0, 1), (0, 0))}
    width = 8
    logits = {}
    for seed, wanted in pairs.items():
        golden = ReferenceTarget(case.graph, seed=seed)
        for image, frame in wanted:
            found = golden.infer(images[image : image + 1], frame).logits[0]
            logits[f"{seed} {image} {frame}"] = _output_beats(found, lanes=2, width=width)
    beats = [
        [f"{int.from_bytes(bytes(part), 'little'):x}" for part in image.reshape(-1, 4)] for image in images
    ]
    run_top(case, {"beats": beats, "logits": logits, "out_beats": 2})


def _output_beats(logits, *, lanes, width):
    """The beats of bnn_label_select: logits, and above them the best index so far."""
    beats = []
    for end in range(lanes, len(logits) + 1, lanes):
        fields = [int(value) & ((1 << width) - 1) for value in logits[end - lanes : end]]
        label = int(np.argmax(logits[:end])) << (lanes * width)
        beats.append(f"{label | sum(field << (width * i) for i, field in enumerate(fields)):x}")
    return beats


@pytest.fixture
def run_top(tmp_path, cocotb_runner):
    def run(case, spec):
        design = generate_rtl(case.graph, case.folding, tmp_path / "rtl")
        runner = cocotb_runner()
        runner.build(
            sources=[tmp_path / "rtl" / name for name in design.sources],
            hdl_toplevel=design.top,
            build_dir=tmp_path / "sim",
            build_args=("-Wall", "-Wno-fatal", "-CFLAGS", "-O1"),
            timescale=("1ns", "1ps"),
            log_file=tmp_path / "build.log",
            always=True,
        )
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        with contextlib.suppress(SystemExit):
            runner.test(
                test_module="bench_control",
                hdl_toplevel=design.top,
                hdl_toplevel_lang="verilog",
                build_dir=tmp_path / "sim",
                test_dir=tmp_path / "rtl",
                results_xml=str(tmp_path / "results.xml"),
                plusargs=[f"+spec={tmp_path / 'spec.json'}"],
                log_file=tmp_path / "simulation.log",
                seed=1,
            )
        found = get_results(tmp_path / "results.xml")
        assert found == (_BENCH_TESTS, 0), (tmp_path / "simulation.log").read_text()[-6000:]

    return run
