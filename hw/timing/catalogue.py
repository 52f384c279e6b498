"""Which model belongs to which module of hw/rtl."""

from __future__ import annotations

from hw.rtlgen import Instance
from hw.rtlgen.latency import (
    LABEL_SELECT_LATENCY_CYCLES,
    SCALE_BIAS_LATENCY_CYCLES,
    THRESHOLDING_LATENCY_CYCLES,
)
from hw.timing.modules import Fifo, Module, Mvau, Pipeline, WidthConverter
from hw.timing.windows import Padding, Pool, SlidingWindow


def build_module(instance: Instance) -> Module:
    """Return the model of an instance, in the state after a reset."""
    p = {name: int(value) for name, value in instance.parameters.items() if isinstance(value, int)}
    match instance.module:
        case "bnn_mvau":
            return Mvau(p["MW"] // p["SIMD"], p["MH"] // p["PE"])
        case "bnn_fifo":
            return Fifo(p["DEPTH"])
        case "bnn_dwc":
            return WidthConverter(p["IN_LANES"], p["OUT_LANES"])
        case "bnn_thresholding":
            return Pipeline(THRESHOLDING_LATENCY_CYCLES)
        case "bnn_scale_bias":
            return Pipeline(SCALE_BIAS_LATENCY_CYCLES)
        case "bnn_label_select":
            return Pipeline(LABEL_SELECT_LATENCY_CYCLES)
        case "bnn_fmpadding":
            return Padding(p)
        case "bnn_swg":
            return SlidingWindow(p)
        case "bnn_pool":
            return Pool(p)
        case other:
            raise ValueError(f"{instance.name}: no timing model of {other}")
