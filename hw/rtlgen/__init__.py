"""Generation of SystemVerilog: a graph and a folding become a top module with its memories."""

from hw.rtlgen.design import LABEL_W, TOP, Instance, RtlDesign, Stream
from hw.rtlgen.generate import check_rtl, generate_rtl, plan_rtl

__all__ = ["LABEL_W", "TOP", "Instance", "RtlDesign", "Stream", "check_rtl", "generate_rtl", "plan_rtl"]
