"""RTL where FINN has only HLS: operators with FINN's RTLBackend interface around the modules of ``hw/rtl``.

The name of this module is the operators' domain, so a graph that holds them finds them here. FINN's own steps
look for RTL in their own table and generate code for their own domain alone; `register` enters the operators
there, and `adopt` moves them to ours when the steps are done.

- ``XnorMVAU_rtl``: ±1 inputs and ±1 weights, bnn_mvau. Its stream is that of FINN's MVAU in its XNOR mode:
  bits, and without activation the number of agreeing positions.
- ``Pool_rtl``: the greatest of each window, bnn_pool.
- ``LabelSelect_rtl``: the lowest index of the largest, bnn_label_select; the logits can be watched.
"""
# This runs in FINN's environment, whose packages the type checker does not see.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import finn.custom_op.fpgadataflow as hardware_ops
import finn.custom_op.fpgadataflow.rtl as rtl_ops
import numpy as np
from finn.custom_op.fpgadataflow.labelselect import LabelSelect
from finn.custom_op.fpgadataflow.matrixvectoractivation import MVAU
from finn.custom_op.fpgadataflow.pool import Pool
from finn.custom_op.fpgadataflow.rtlbackend import RTLBackend
from qonnx.core.datatype import DataType

DOMAIN = "bitsiege_rtl"
_HARDWARE, _RTL = "finn.custom_op.fpgadataflow", "finn.custom_op.fpgadataflow.rtl"
_MODULES = Path(__file__).resolve().parents[2] / "rtl"
_LABEL_W = 16

_WRAPPER = """\
// {comment}
`default_nettype none

module {name} {parameters}(
    input  wire logic ap_clk,
    input  wire logic ap_rst_n,
    input  wire logic [{in_high}:0] in0_V_TDATA,
    input  wire logic in0_V_TVALID,
    output wire logic in0_V_TREADY,
    output wire logic [{out_high}:0] out0_V_TDATA,
    output wire logic out0_V_TVALID,
    input  wire logic out0_V_TREADY{ports}
);
    wire logic [{inner_high}:0] inner;
    {module} #(
        {values}
    ) unit (
        .clk(ap_clk),
        .rst_n(ap_rst_n),
        .s_axis_tdata({source}),
        .s_axis_tvalid(in0_V_TVALID),
        .s_axis_tready(in0_V_TREADY),
        .m_axis_tdata(inner),
        .m_axis_tvalid(out0_V_TVALID),
        .m_axis_tready(out0_V_TREADY){pins}
    );
    assign out0_V_TDATA = {width}'({sink});{more}
endmodule

`default_nettype wire
"""


class _OurRtl(RTLBackend):
    """What the three have in common: a module of ours in a wrapper with FINN's ports."""

    module = ""

    def get_rtl_file_list(self, abspath: bool = False) -> list[str]:
        """Our modules, and the wrapper last."""
        here = Path(str(self.get_nodeattr("code_gen_dir_ipgen"))) if abspath else Path()
        folder = _MODULES if abspath else Path()
        files = [str(folder / name) for name in modules_below(self.module)]
        return [*files, str(here / f"{self.get_nodeattr('gen_top_module')}.sv")]

    def code_generation_ipi(self) -> list[str]:
        """Commands for Vivado's IP integrator."""
        top = self.get_nodeattr("gen_top_module")
        files = [f"add_files -norecurse {name}" for name in self.get_rtl_file_list(abspath=True)]
        return [*files, f"create_bd_cell -type module -reference {top} {self.onnx_node.name}"]

    def wrap(self, values: dict[str, Any], **parts: Any) -> None:
        """Write the wrapper into the node's directory."""
        name = self.get_verilog_top_module_name()
        folder = str(self.get_nodeattr("code_gen_dir_ipgen"))
        texts = {"parameters": "", "ports": "", "pins": "", "more": ""} | parts
        text = _WRAPPER.format(
            comment=f"{self.onnx_node.op_type}: {self.module} with FINN's ports",
            name=name,
            module=self.module,
            in_high=self.get_instream_width_padded(0) - 1,
            out_high=self.get_outstream_width_padded(0) - 1,
            width=self.get_outstream_width_padded(0),
            values=",\n        ".join(f".{key}({value})" for key, value in values.items()),
            **texts,
        )
        Path(folder, f"{name}.sv").write_text(text, encoding="utf-8")
        for attribute, value in (("gen_top_module", name), ("ipgen_path", folder), ("ip_path", folder)):
            self.set_nodeattr(attribute, value)


class XnorMVAU(MVAU):
    """FINN's MVAU in its XNOR mode, under a name of its own: what FINN's steps choose the RTL for."""

    def minimize_accumulator_width(self, model: Any, datatype_only: bool = False) -> Any:
        """Take the type that holds 0 to MW, the counts of agreeing positions.

        FINN's MVAU takes what the sums of ±1 weights over bits need, which is less.
        """
        del model, datatype_only
        dtype = DataType.get_smallest_possible(int(self.get_nodeattr("MW")))
        if self.get_nodeattr("noActivation"):
            self.set_nodeattr("outputDataType", dtype.name)
        self.set_nodeattr("accDataType", dtype.name)
        return dtype


class XnorMVAU_rtl(XnorMVAU, _OurRtl):  # noqa: N801  FINN's names
    """±1 inputs, ±1 weights."""

    module = "bnn_mvau"

    def get_nodeattr_types(self) -> dict[str, Any]:
        """As both."""
        return XnorMVAU.get_nodeattr_types(self) | RTLBackend.get_nodeattr_types(self)

    def execute_node(self, context: Any, graph: Any) -> None:
        """Compute as FINN's MVAU does."""
        XnorMVAU.execute_node(self, context, graph)

    def generate_hdl(self, model: Any, fpgapart: str, clk: float) -> None:
        """Write the memories and the wrapper."""
        del fpgapart, clk
        mw, mh, pe, simd = (int(self.get_nodeattr(key)) for key in ("MW", "MH", "PE", "SIMD"))
        folder = Path(str(self.get_nodeattr("code_gen_dir_ipgen")))
        name = self.get_verilog_top_module_name()
        weights = model.get_initializer(self.onnx_node.input[1]).T > 0
        # Word nf * SF + sf holds for each of PE neurons its weights for SIMD inputs.
        words = weights.reshape(mh // pe, pe, mw // simd, simd).transpose(0, 2, 1, 3).reshape(-1, pe * simd)
        _write_words(folder / f"{name}_weights.mem", words.astype(np.int64), 1)
        out_w = self.get_output_datatype().bitwidth()
        values = {
            "MW": mw,
            "MH": mh,
            "PE": pe,
            "SIMD": simd,
            "RAM_STYLE": f'"{self.get_nodeattr("ram_style")}"',
        }
        values |= {"WEIGHT_FILE": f'"{name}_weights.mem"', "PARAM_FILE": f'"{name}_params.mem"'}
        acc_w = int(mw + 1).bit_length()
        if self.get_nodeattr("noActivation"):
            # The module gives twice the count and the word of its memory; the upper bits are the count.
            inner_w = max(out_w + 1, int(2 * mw).bit_length() + 1)
            params = np.zeros((mh // pe, pe), np.int64)
            _write_words(folder / f"{name}_params.mem", params, inner_w)
            values |= {"THRESHOLD_EN": "1'b0", "OUT_W": inner_w}
            lanes = [f"inner[{lane * inner_w + 1} +: {out_w}]" for lane in reversed(range(pe))]
            sink = f"{{{', '.join(lanes)}}}"
        else:
            inner_w = out_w
            steps = np.ceil(model.get_initializer(self.onnx_node.input[2])).astype(np.int64)
            steps = np.broadcast_to(np.clip(steps, 0, mw + 1), (mh, steps.shape[1]))
            _write_words(folder / f"{name}_params.mem", steps.reshape(mh // pe, -1), acc_w)
            levels, bias = steps.shape[1], self.get_nodeattr("ActVal")
            values |= {"LEVELS": levels, "OUT_BIAS": bias, "OUT_W": out_w, "ACC_W": acc_w}
            sink = "inner"
        self.wrap(values, source=f"in0_V_TDATA[{simd - 1}:0]", inner_high=pe * inner_w - 1, sink=sink)


class Pool_rtl(Pool, _OurRtl):  # noqa: N801  FINN's names
    """The greatest of each window."""

    module = "bnn_pool"

    def get_nodeattr_types(self) -> dict[str, Any]:
        """As both."""
        return Pool.get_nodeattr_types(self) | RTLBackend.get_nodeattr_types(self)

    def execute_node(self, context: Any, graph: Any) -> None:
        """Compute as FINN's Pool does."""
        Pool.execute_node(self, context, graph)

    def generate_hdl(self, model: Any, fpgapart: str, clk: float) -> None:
        """Write the wrapper."""
        del model, fpgapart, clk
        if self.get_nodeattr("Function") != "MaxPool":
            raise NotImplementedError(f"{self.onnx_node.name}: bnn_pool stands for MaxPool alone")
        dtype, pe = self.get_input_datatype(), int(self.get_nodeattr("PE"))
        # FINN's window generator hands on all pixels of PE channels before the next ones come.
        values = {
            "ELEMENT_W": dtype.bitwidth(),
            "SIGNED": f"1'b{int(dtype.min() < 0 and dtype.bitwidth() > 1)}",
        }
        values |= {"CHANNELS": pe, "LANES": pe, "PIXELS": int(np.prod(self.get_nodeattr("KernelSize")))}
        bits = pe * dtype.bitwidth()
        self.wrap(values, source=f"in0_V_TDATA[{bits - 1}:0]", inner_high=bits - 1, sink="inner")


class LabelSelect_rtl(LabelSelect, _OurRtl):  # noqa: N801  FINN's names
    """The lowest index of the largest logit.

    With ``LOGITS_EN`` every beat of logits leaves too, beside the label so far, and ``out0_V_TLAST`` marks
    the last one of a frame, whose label is final.
    """

    module = "bnn_label_select"

    def get_nodeattr_types(self) -> dict[str, Any]:
        """As both."""
        return LabelSelect.get_nodeattr_types(self) | RTLBackend.get_nodeattr_types(self)

    def execute_node(self, context: Any, graph: Any) -> None:
        """Compute as FINN's LabelSelect does."""
        LabelSelect.execute_node(self, context, graph)

    def generate_hdl(self, model: Any, fpgapart: str, clk: float) -> None:
        """Write the wrapper."""
        del model, fpgapart, clk
        if self.get_nodeattr("K") != 1:
            raise NotImplementedError(f"{self.onnx_node.name}: bnn_label_select chooses one label")
        dtype, pe = self.get_input_datatype(), int(self.get_nodeattr("PE"))
        in_w, unsigned = dtype.bitwidth(), dtype.min() >= 0
        inner_w = in_w + 1 if unsigned else in_w
        logit_w = -(-inner_w // 8) * 8
        lanes = [f"in0_V_TDATA[{lane * in_w} +: {in_w}]" for lane in reversed(range(pe))]
        source = ", ".join(f"1'b0, {lane}" if unsigned else lane for lane in lanes)
        values = {"PE": pe, "DEPTH": int(self.get_nodeattr("Labels")) // pe, "IN_W": inner_w}
        values |= {"LOGIT_W": logit_w, "LABEL_W": _LABEL_W, "LOGITS_EN": "LOGITS_EN"}
        self.wrap(
            values,
            source=f"{{{source}}}",
            inner_high=f"{_LABEL_W - 1} + (LOGITS_EN ? {pe * logit_w} : 0)",
            sink=f"inner[$high(inner) -: {_LABEL_W}]",
            parameters="#(parameter bit LOGITS_EN = 1'b0) ",
            ports=",\n    output wire logic out0_V_TLAST"
            f",\n    output wire logic [{pe * logit_w - 1}:0] logits",
            pins=",\n        .m_axis_tlast(out0_V_TLAST)",
            more=f"\n    assign logits = LOGITS_EN ? {pe * logit_w}'(inner) : '0;",
        )

    def logit_bytes(self) -> int:
        """Bytes of a logit on the port ``logits``."""
        dtype = self.get_input_datatype()
        return -(-(dtype.bitwidth() + int(dtype.min() >= 0)) // 8)


custom_op = {cls.__name__: cls for cls in (XnorMVAU, XnorMVAU_rtl, Pool_rtl, LabelSelect_rtl)}


def register() -> None:
    """Enter the operators where FINN's steps look for RTL."""
    hardware_ops.custom_op["XnorMVAU"] = XnorMVAU
    rtl_ops.custom_op.update({name: cls for name, cls in custom_op.items() if name.endswith("_rtl")})


def offer(model: Any) -> None:
    """Give MVAUs in XNOR mode the name that FINN's steps find RTL for."""
    for node in model.graph.node:
        mode = [a.i for a in node.attribute if a.name == "binaryXnorMode"]
        if node.op_type == "MVAU" and mode == [1]:
            node.op_type = "XnorMVAU"


def adopt(model: Any) -> None:
    """Move our nodes from FINN's domains to ours."""
    for node in model.graph.node:
        if node.op_type in custom_op and node.domain in (_HARDWARE, _RTL):
            node.domain = DOMAIN


def modules_below(module: str) -> list[str]:
    """Return the files of a module of ours and of all below it, each after those that it needs."""
    found: list[str] = []

    def visit(name: str) -> None:
        text = (_MODULES / f"{name}.sv").read_text(encoding="utf-8")
        code = re.sub(r"//.*", "", text)
        for other in sorted(set(re.findall(r"\bbnn_\w+", code)) - {name}):
            if f"{other}.sv" not in found and (_MODULES / f"{other}.sv").is_file():
                visit(other)
        if f"{name}.sv" not in found:
            found.append(f"{name}.sv")

    visit(module)
    return found


def _write_words(path: Path, fields: np.ndarray, width: int) -> None:
    """Write words of fields of some bits, the first in the least significant ones, for $readmemh."""
    digits = -(-fields.shape[1] * width // 4)
    words = []
    for row in fields:
        word = 0
        for index, value in enumerate(row):
            word |= (int(value) & ((1 << width) - 1)) << (index * width)
        words.append(f"{word:0{digits}x}\n")
    path.write_text("".join(words), encoding="utf-8")
