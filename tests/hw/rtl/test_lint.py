"""The SystemVerilog is clean for Verilator -Wall and Verible, and illegal parameters do not elaborate."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.graph import DataflowGraph, Flatten, Mvau, Thresholds
from hw.folding import Folding, LayerFolding
from hw.rtlgen import generate_rtl
from hw.verilator.tools import find_verilator

RTL_DIR = Path(__file__).resolve().parents[3] / "hw" / "rtl"
MODULES = sorted(path.stem for path in RTL_DIR.glob("*.sv"))
COLUMNS = "--column_limit=110"

SUMS = [
    {"SUM": 1, "OUT_W": 3},
    {"SUM": 1, "BIPOLAR": 1, "OUT_W": 4},
    {"SUM": 1, "SIGNED": 1, "ELEMENT_W": 4, "OUT_W": 6},
]
VARIANTS = {
    "bnn_count6": [{}],
    "bnn_match3": [{}, {"AGREE": 0}],
    "bnn_compress": [{}],
    "bnn_popcount": [{"WIDTH": 1}, {"WIDTH": 100}],
    "bnn_dot": [{}, {"IN_BIPOLAR": 0, "IN_W": 8}, {"IN_BIPOLAR": 0, "IN_W": 4, "IN_SIGNED": 1}],
    "bnn_mvau": [
        {},
        {"SIMD": 8, "PE": 4},
        {"SIMD": 1, "PE": 1, "LEVELS": 3, "OUT_W": 2},
        {"IN_BIPOLAR": 0, "IN_W": 8},
        {"IN_BIPOLAR": 0, "IN_W": 8, "IN_SIGNED": 1, "THRESHOLD_EN": 0, "OUT_W": 20},
        {"THRESHOLD_EN": 0, "OUT_W": 8},
        {"WEIGHT_W": 4},
        {"DRAW": 1},
        {"DRAW": 1, "SIMD": 8, "IN_BIPOLAR": 0, "IN_W": 8, "VECTORS": 3},
        {"WEIGHT_W": 8, "IN_BIPOLAR": 0, "IN_W": 8, "THRESHOLD_EN": 0, "OUT_W": 24},
        {"WEIGHT_W": 2, "IN_BIPOLAR": 0, "IN_W": 2, "IN_SIGNED": 1},
        {"GROUPS": 2},
        {"GROUPS": 2, "PE": 1, "SIMD": 1},
    ],
    "bnn_multiply_add": [{}, {"SIMD": 1, "WEIGHT_W": 2, "IN_SIGNED": 1}, {"IN_BIPOLAR": 1, "IN_W": 1}],
    "bnn_swg": [
        {},
        {"KERNEL_H": 1, "KERNEL_W": 1, "LANES": 2},
        {"STRIDE_H": 2, "STRIDE_W": 3},
        {"KERNEL_H": 4, "KERNEL_W": 4, "ELEMENT_W": 8},
        {"HEIGHT": 1, "WIDTH": 1, "KERNEL_H": 1, "KERNEL_W": 1, "CHANNELS": 1},
        {"GROUPS": 2},
        {"GROUPS": 2, "CHANNELS": 12, "LANES": 2},
    ],
    "bnn_fmpadding": [{}, {"TERNARY": 1}, {"TOP": 0, "LEFT": 0}, {"LANES": 2, "ELEMENT_W": 8, "VALUE": -1}],
    "bnn_pool": [{}, {"PIXELS": 1, "LANES": 2}, {"SIGNED": 1, "ELEMENT_W": 4}, *SUMS],
    "bnn_duplicate": [{}, {"COPIES": 5, "DATA_W": 1}],
    "bnn_add": [
        {},
        {"LANES": 3, "IN0_BIPOLAR": 1, "IN0_W": 1, "IN1_SIGNED": 1, "IN1_W": 4, "OUT_W": 5},
        {"IN0_BIPOLAR": 1, "IN0_W": 1, "IN1_BIPOLAR": 1, "IN1_W": 1, "OUT_W": 3},
    ],
    "bnn_threefry": [{}, {"LANES": 3}],
    "bnn_draw": [{}, {"SIMD": 16}, {"SIMD": 4, "PE": 1}, {"SIMD": 1, "VECTORS": 5}],
    "bnn_control": [{}, {"IN_BEATS": 1}],
    "bnn_fifo": [{"DEPTH": 2}, {"DEPTH": 7, "DATA_W": 1}, {"DEPTH": 2, "REGISTERED": 1}, {"DEPTH": 513}],
    "bnn_dwc": [{}, {"IN_LANES": 2}, {"IN_LANES": 6}, {"IN_LANES": 4, "ELEMENT_W": 3}],
    "bnn_thresholding": [{}, {"DEPTH": 3, "LANES": 1}, {"IN_SIGNED": 1, "LEVELS": 3, "OUT_W": 2}],
    "bnn_scale_bias": [{}, {"PE": 3, "DEPTH": 5}],
    "bnn_label_select": [{}, {"PE": 1, "DEPTH": 1}, {"PE": 5, "LOGITS_EN": 0}, {"LOGIT_W": 16}],
    "bnn_axil": [{}, {"ADDR_W": 6}],
    "bnn_axi3_bridge": [{}, {"ID_W": 1, "ADDR_W": 32}],
    "bnn_identity": [{}],
    "bnn_dma_length": [{}, {"FRAME_LENGTH": 1, "FRAMES_W": 3}],
    "bnn_dma_read": [{}, {"FRAME_BYTES": 1, "ADDR_W": 32}, {"ADDR_W": 64, "FIFO_DEPTH": 16, "FRAMES_W": 3}],
    "bnn_dma_write": [{}, {"FRAME_WORDS": 1, "ADDR_W": 32}, {"ADDR_W": 64, "FIFO_DEPTH": 64, "FRAMES_W": 3}],
    "bnn_dma_unpack": [{}, {"LANES": 1}, {"FRAME_BYTES": 48, "LANES": 12}, {"FRAME_BYTES": 9, "LANES": 9}],
    "bnn_dma_pack": [
        {},
        {"PE": 10, "BEATS": 1},
        {"PE": 3, "BEATS": 1, "LOGIT_W": 32},
        {"PE": 1, "BEATS": 3},
        {"PE": 2, "BEATS": 1},
    ],
    "bnn_dma_registers": [{}, {"ADDR_W": 64}],
    "bnn_dma_reset": [{}, {"CLEAR_CYCLES": 1}],
}

ILLEGAL = [
    ("bnn_popcount", {"WIDTH": 0}, "WIDTH is 0"),
    ("bnn_mvau", {"PE": 3}, "PE 3 must divide MH 4"),
    ("bnn_mvau", {"SIMD": 5}, "SIMD 5 must divide MW 8"),
    ("bnn_mvau", {"IN_W": 8}, "bipolar inputs have one bit"),
    ("bnn_mvau", {"LEVELS": 2}, "LEVELS is 2"),
    ("bnn_mvau", {"IN_W": 33, "IN_BIPOLAR": 0}, "IN_W is 33"),
    ("bnn_mvau", {"WEIGHT_W": 9}, "WEIGHT_W is 9"),
    ("bnn_mvau", {"WEIGHT_W": 2, "DRAW": 1}, "drawn weights have one bit"),
    ("bnn_threefry", {"LANES": 0}, "LANES must be at least 1"),
    ("bnn_draw", {"MW": 12, "SIMD": 6}, "SIMD 6 must divide 8 or be a multiple of 8"),
    ("bnn_draw", {"SIMD": 5}, "SIMD 5 must divide MW 16"),
    ("bnn_draw", {"PE": 3}, "PE 3 must divide MH 4"),
    ("bnn_draw", {"VECTORS": 0}, "VECTORS must be at least 1"),
    ("bnn_control", {"IN_BEATS": 0}, "IN_BEATS must be at least 1"),
    ("bnn_mvau", {"GROUPS": 4}, "GROUPS 4 of PE 2 must divide MH 4"),
    ("bnn_multiply_add", {"WEIGHT_W": 1}, "WEIGHT_W 1 from 2 to 8"),
    ("bnn_swg", {"LANES": 3}, "LANES 3 must divide CHANNELS 2"),
    ("bnn_swg", {"GROUPS": 2, "LANES": 2}, "GROUPS 2 of LANES 2 must divide CHANNELS 2"),
    ("bnn_swg", {"KERNEL_H": 5}, "a window of 5x3 does not fit 4x4"),
    ("bnn_swg", {"DEPTH": 21}, "DEPTH 21 is less than a window's 22 beats"),
    ("bnn_fmpadding", {"LANES": 3}, "LANES 3 must divide CHANNELS 2"),
    ("bnn_fmpadding", {"TERNARY": 1, "ELEMENT_W": 2}, "bipolar inputs have one bit"),
    ("bnn_fmpadding", {"WIDTH": 0}, "WIDTH 0"),
    ("bnn_pool", {"LANES": 3}, "LANES 3 must divide CHANNELS 2"),
    ("bnn_pool", {"PIXELS": 0}, "PIXELS is 0"),
    ("bnn_pool", {"OUT_W": 2}, "OUT_W is 2, but the greatest has ELEMENT_W 1 bits"),
    ("bnn_pool", {"BIPOLAR": 1, "SUM": 1, "ELEMENT_W": 2}, "bipolar inputs have one bit"),
    ("bnn_fifo", {"DEPTH": 1}, "DEPTH is 1"),
    ("bnn_duplicate", {"COPIES": 1}, "COPIES is 1"),
    ("bnn_duplicate", {"DATA_W": 0}, "DATA_W is 0"),
    ("bnn_add", {"LANES": 0}, "LANES 0"),
    ("bnn_add", {"IN1_W": 33}, "IN1_W 33 must be 1 to 32"),
    ("bnn_add", {"IN0_BIPOLAR": 1}, "IN0_W is 8 and IN1_W 8, but bipolar inputs have one bit"),
    ("bnn_dwc", {"OUT_LANES": 0}, "OUT_LANES 0"),
    ("bnn_thresholding", {"DEPTH": 0}, "DEPTH 0"),
    ("bnn_scale_bias", {"PE": 0}, "must be at least 1"),
    ("bnn_label_select", {"IN_W": 9}, "LOGIT_W 8 is less than IN_W 9"),
    ("bnn_label_select", {"LABEL_W": 1}, "LABEL_W 1 can't number 4 classes"),
    ("bnn_axil", {"ADDR_W": 2}, "ADDR_W is 2, it must be at least 3"),
    ("bnn_axi3_bridge", {"ADDR_W": 33}, "ADDR_W 33 from 3 to 32"),
    ("bnn_dma_length", {"FRAME_LENGTH": 0}, "FRAME_LENGTH is 0"),
    ("bnn_dma_read", {"FRAME_BYTES": 0}, "FRAME_BYTES is 0"),
    ("bnn_dma_read", {"FIFO_DEPTH": 8}, "FIFO_DEPTH is 8, it must hold a burst of 16"),
    ("bnn_dma_read", {"ADDR_W": 65}, "ADDR_W is 65, it must be 13 to 64"),
    ("bnn_dma_write", {"FRAME_WORDS": 0}, "FRAME_WORDS is 0"),
    ("bnn_dma_write", {"FIFO_DEPTH": 16}, "FIFO_DEPTH is 16, it must hold two bursts of 16"),
    ("bnn_dma_write", {"ADDR_W": 12}, "ADDR_W is 12, it must be 13 to 64"),
    ("bnn_dma_unpack", {"LANES": 5}, "LANES 5 must divide FRAME_BYTES 784"),
    ("bnn_dma_pack", {"LOGIT_W": 33}, "LOGIT_W is 33, it must be 1 to 32"),
    ("bnn_dma_pack", {"PE": 0}, "PE 0, BEATS 10 and LABEL_W 16 must be at least 1"),
    ("bnn_dma_registers", {"ADDR_W": 65}, "ADDR_W is 65, it must be 13 to 64"),
    ("bnn_dma_reset", {"CLEAR_CYCLES": 0}, "CLEAR_CYCLES is 0"),
]


def verilator_lint(sources, top, parameters=None):
    overrides = [f"-G{name}={value}" for name, value in (parameters or {}).items()]
    command = [*find_verilator().command, "--lint-only", "-Wall", "-y", str(RTL_DIR), "--top-module", top]
    return subprocess.run(
        [*command, *overrides, *map(str, sources)], capture_output=True, text=True, check=False
    )


def verible(tool, *arguments):
    program = Path(sys.executable).parent / f"verible-verilog-{tool}"
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_every_module_has_variants():
    assert sorted(VARIANTS) == MODULES


@pytest.mark.parametrize("module", MODULES)
def test_verilator_has_no_warnings(module):
    for parameters in VARIANTS[module]:
        done = verilator_lint([RTL_DIR / f"{module}.sv"], module, parameters)
        assert done.returncode == 0, (parameters, done.stderr)


@pytest.mark.parametrize(("module", "parameters", "sentence"), ILLEGAL)
def test_illegal_parameters_are_named(module, parameters, sentence):
    done = verilator_lint([RTL_DIR / f"{module}.sv"], module, parameters)
    assert done.returncode != 0
    assert f"{module}: " in done.stderr
    assert sentence in done.stderr


def test_verible_has_no_complaints():
    done = verible("lint", "--rules_config", RTL_DIR / ".rules.verible_lint", *RTL_DIR.glob("*.sv"))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_formatted(module):
    path = RTL_DIR / f"{module}.sv"
    assert verible("format", COLUMNS, path).stdout == path.read_text()


def test_a_generated_top_is_clean(tmp_path):
    weights = np.ones((4, 12), np.int8)
    thresholds = Thresholds(steps=np.zeros((4, 1), np.int64))
    nodes = (
        Flatten(name="flatten_0", input="images", in_type=UINT8),
        Mvau(name="mvau_0", input="flatten_0", in_type=UINT8, weights=weights, thresholds=thresholds),
        Mvau(
            name="mvau_1",
            input="mvau_0",
            in_type=BIPOLAR,
            weights=weights[:, :4].copy(),
            scale=np.array([3, -1, 2, 7]),
        ),
    )
    graph = DataflowGraph(input_shape=(2, 2, 3), nodes=nodes)
    folding = Folding({"mvau_0": LayerFolding(pe=2, simd=3), "mvau_1": LayerFolding(pe=4, simd=1)})
    design = generate_rtl(graph, folding, tmp_path / "rtl")
    top = tmp_path / "rtl" / design.sources[-1]
    done = verilator_lint([tmp_path / "rtl" / name for name in design.sources], design.top)
    assert done.returncode == 0, done.stderr
    assert verible("lint", "--rules_config", RTL_DIR / ".rules.verible_lint", top).stdout == ""
    assert verible("format", COLUMNS, top).stdout == top.read_text()
