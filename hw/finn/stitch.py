"""FINN's modules and ours joined into one top, which Verilator simulates.

FINN joins modules with the vendor's tools only. A network of ±1 layers is a chain, so a few wires do.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from export.errors import InputError
from hw.rtlgen.generate import RTL_DIR
from hw.target import ImageArray
from hw.verilator import Design, Simulation, StreamResult, build_library

TOP = "bnn_top"
SOURCES = "stitched"
_LABEL_W = 16
_CHOOSER = "LabelSelect_rtl"
# What Verilator says of FINN's modules that it does not take; a module of ours stands in their place.
REPLACED: Mapping[str, str] = {
    "StreamingFIFO_rtl": "bnn_fifo for fifo.sv: Verilator can't evaluate the constant function INIT_ABITS"
}
_OURS = ("XnorMVAU_rtl", "Pool_rtl", _CHOOSER)
_DEADLINE_FACTOR = 8
_DEADLINE_MIN_CYCLES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One node of an all-RTL graph of FINN.

    Attributes:
        name: FINN's name of it, and of the instance.
        op_type: Operator.
        module: Its top module.
        files: SystemVerilog files.
        in_bits: Width of its input stream, whole bytes [bits].
        out_bits: Width of its output stream, whole bytes [bits].
        beats: Input beats of a frame.
        lanes: Elements of an input beat.
        cycles: FINN's estimate for a frame.
        logit_bytes: Bytes of a logit that the last one shows; 0 for the others.
        depth: Words of a FIFO; 0 for the others.
    """

    name: str
    op_type: str
    module: str
    files: tuple[str, ...]
    in_bits: int
    out_bits: int
    beats: int
    lanes: int
    cycles: int
    logit_bytes: int = 0
    depth: int = 0

    @property
    def is_ours(self) -> bool:
        """Whether it wraps a module of ours."""
        return self.op_type in _OURS

    @property
    def is_replaced(self) -> bool:
        """Whether a module of ours stands in the place of FINN's, which Verilator does not take."""
        return self.op_type in REPLACED


@dataclass(frozen=True, slots=True, kw_only=True)
class Stitched:
    """An all-RTL graph of FINN as one design.

    Attributes:
        directory: Sources, memories and the top.
        modules: In the order in which data flows, up to the one that chooses the label.
        scale: Of a logit on the last stream, and
        offset: what is added to it, to make it the network's.
    """

    directory: Path
    modules: tuple[Module, ...]
    scale: int
    offset: int

    @property
    def design(self) -> Design:
        """What the simulator needs to know."""
        first, last = self.modules[0], self.modules[-1]
        files = (module.files for module in self.modules if not module.is_replaced)
        names = dict.fromkeys(["bnn_fifo.sv", *(name for part in files for name in part)])
        return Design(
            sources=tuple(self.directory / name for name in (*names, f"{TOP}.sv")),
            input_beats=first.beats,
            input_beat_bytes=first.lanes,
            output_beats=last.beats,
            output_pe=last.lanes,
            logit_bytes=last.logit_bytes,
            label_bytes=_LABEL_W // 8,
        )

    def simulate(self, images: ImageArray, *, cache_dir: Path | None = None) -> StreamResult:
        """Send images as one stream; the logits are the network's, int64 ``(N, K)``.

        Raises:
            CheckFailedError: It hangs, or gives a label that is not that of its logits.
            ToolError: Verilator or the compiler fails.
        """
        design = self.design
        library = build_library(design, cache_dir=cache_dir)
        deadline = _DEADLINE_FACTOR * sum(m.cycles + m.beats for m in self.modules) + _DEADLINE_MIN_CYCLES
        with Simulation(library, design, self.directory) as simulation:
            result = simulation.stream(images, deadline_cycles=deadline)
        return replace(result, logits=result.logits * self.scale + self.offset)


def stitch(directory: Path, document: Mapping[str, Any]) -> Stitched:
    """Write the top of an all-RTL graph beside the modules that FINN's flow left.

    Args:
        directory: Holds sources and memories.
        document: The flow's result.

    Raises:
        InputError: Some nodes have no RTL.
    """
    if document["hls"]:
        raise InputError(
            f"FINN has no RTL for {', '.join(document['hls'])}, and neither have we",
            hint="only networks of ±1 inputs and weights after the first thresholds are all RTL; drop --rtl",
        )
    modules = [Module(**(entry | {"files": tuple(entry["files"])})) for entry in document["stitch"]]
    # The label leaves together with the logits, so what FINN puts behind the choice is left out.
    last = next(index for index, module in enumerate(modules) if module.op_type == _CHOOSER)
    modules = modules[: last + 1]
    shutil.copy(RTL_DIR / "bnn_fifo.sv", directory)
    (directory / f"{TOP}.sv").write_text(top_text(modules), encoding="utf-8")
    logits = document["logits"]
    return Stitched(
        directory=directory, modules=tuple(modules), scale=int(logits["scale"]), offset=int(logits["offset"])
    )


def top_text(modules: Sequence[Module]) -> str:
    """Return the text of the top: a chain of modules with FINN's ports, and the ports of our own top."""
    first, last = modules[0], modules[-1]
    out_high = _LABEL_W + last.lanes * 8 * last.logit_bytes - 1
    lines = [
        "// FINN's modules and ours, joined: pixels in, logits and above them the label so far out.",
        "`default_nettype none",
        "",
        f"module {TOP} (",
        "    input  wire logic clk,",
        "    input  wire logic rst_n,",
        f"    input  wire logic [{8 * first.lanes - 1}:0] s_axis_tdata,",
        "    input  wire logic s_axis_tvalid,",
        "    output wire logic s_axis_tready,",
        f"    output wire logic [{out_high}:0] m_axis_tdata,",
        "    output wire logic m_axis_tvalid,",
        "    output wire logic m_axis_tlast,",
        "    input  wire logic m_axis_tready",
        ");",
    ]
    source = "s_axis"
    for module in modules[:-1]:
        sink = module.name
        lines += [
            f"    wire logic [{module.out_bits - 1}:0] {sink}_tdata;",
            f"    wire logic {sink}_tvalid, {sink}_tready;",
            *(_fifo(module, source) if module.is_replaced else _instance(module, source)),
        ]
        source = sink
    lines += [
        f"    wire logic [{last.out_bits - 1}:0] label;",
        f"    wire logic [{last.lanes * 8 * last.logit_bytes - 1}:0] logits;",
        f"    {last.module} #(.LOGITS_EN(1'b1)) i_{last.name} (",
        *_pins(last, source),
        "        .out0_V_TDATA(label),",
        "        .out0_V_TVALID(m_axis_tvalid),",
        "        .out0_V_TREADY(m_axis_tready),",
        "        .out0_V_TLAST(m_axis_tlast),",
        "        .logits(logits)",
        "    );",
        f"    assign m_axis_tdata = {{{_LABEL_W}'(label), logits}};",
        "endmodule",
        "",
        "`default_nettype wire",
    ]
    return "\n".join(lines) + "\n"


def _instance(module: Module, source: str) -> list[str]:
    return [
        f"    {module.module} i_{module.name} (",
        *_pins(module, source),
        f"        .out0_V_TDATA({module.name}_tdata),",
        f"        .out0_V_TVALID({module.name}_tvalid),",
        f"        .out0_V_TREADY({module.name}_tready)",
        "    );",
    ]


def _fifo(module: Module, source: str) -> list[str]:
    return [
        f"    bnn_fifo #(.DATA_W({module.in_bits}), .DEPTH({max(2, module.depth)})) i_{module.name} (",
        "        .clk,",
        "        .rst_n,",
        f"        .s_axis_tdata({module.in_bits}'({source}_tdata)),",
        f"        .s_axis_tvalid({source}_tvalid),",
        f"        .s_axis_tready({source}_tready),",
        f"        .m_axis_tdata({module.name}_tdata),",
        f"        .m_axis_tvalid({module.name}_tvalid),",
        f"        .m_axis_tready({module.name}_tready)",
        "    );",
    ]


def _pins(module: Module, source: str) -> list[str]:
    return [
        "        .ap_clk(clk),",
        "        .ap_rst_n(rst_n),",
        f"        .in0_V_TDATA({module.in_bits}'({source}_tdata)),",
        f"        .in0_V_TVALID({source}_tvalid),",
        f"        .in0_V_TREADY({source}_tready),",
    ]
