"""The top that joins modules: each stream of one goes to the next, what Verilator can't take is replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from export.errors import InputError
from hw.finn.stitch import stitch


def entry(name: str, operator: str, in_bits: int, out_bits: int, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "op_type": operator,
        "module": f"{name}_top",
        "files": [f"{name}.v"],
        "in_bits": in_bits,
        "out_bits": out_bits,
        "beats": 4,
        "lanes": 1,
        "cycles": 4,
        **more,
    }


@pytest.fixture
def document() -> dict[str, Any]:
    nodes = [
        entry("fifo", "StreamingFIFO_rtl", 8, 8, depth=1),
        entry("threshold", "Thresholding_rtl", 8, 8),
        entry("layer", "XnorMVAU_rtl", 16, 24),
        entry("choice", "LabelSelect_rtl", 24, 8, logit_bytes=2),
        entry("behind", "StreamingFIFO_rtl", 8, 8, depth=2),
    ]
    return {"hls": [], "stitch": nodes, "logits": {"scale": 2.0, "offset": -9.0}}


def test_a_chain(tmp_path: Path, document: dict[str, Any]) -> None:
    stitched = stitch(tmp_path, document)
    text = (tmp_path / "bnn_top.sv").read_text()
    assert (stitched.scale, stitched.offset) == (2, -9)
    assert [module.name for module in stitched.modules] == ["fifo", "threshold", "layer", "choice"]
    assert [module.is_ours for module in stitched.modules] == [False, False, True, True]
    assert "bnn_fifo #(.DATA_W(8), .DEPTH(2)) i_fifo" in text
    # The label's 16 bits stand above a logit of two bytes.
    assert "output wire logic [31:0] m_axis_tdata" in text
    for source, sink in (("s_axis", "s_axis"), ("fifo", "in0_V"), ("threshold", "in0_V"), ("layer", "in0_V")):
        assert re.search(rf"\.{sink}_t?valid\({source}_tvalid\)", text, re.IGNORECASE)
    assert "16'(threshold_tdata)" in text


def test_the_design_has_each_file_once_and_no_replaced_one(tmp_path: Path, document: dict[str, Any]) -> None:
    document["stitch"][2]["files"] = ["threshold.v", "layer.sv"]
    design = stitch(tmp_path, document).design
    assert [path.name for path in design.sources] == [
        "bnn_fifo.sv",
        "threshold.v",
        "layer.sv",
        "choice.v",
        "bnn_top.sv",
    ]
    assert (design.output_pe, design.logit_bytes, design.label_bytes) == (1, 2, 2)
    assert (tmp_path / "bnn_fifo.sv").is_file()


def test_hls_that_is_left_is_named(tmp_path: Path, document: dict[str, Any]) -> None:
    document["hls"] = ["MVAU_hls_0"]
    with pytest.raises(InputError, match="no RTL for MVAU_hls_0"):
        stitch(tmp_path, document)
