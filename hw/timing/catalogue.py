"""Which model belongs to which module of hw/rtl."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hw.rtlgen import Instance
from hw.rtlgen.latency import (
    LABEL_SELECT_LATENCY_CYCLES,
    SCALE_BIAS_LATENCY_CYCLES,
    THRESHOLDING_LATENCY_CYCLES,
)
from hw.timing.joins import Duplicate, Sum
from hw.timing.modules import Fifo, Module, Mvau, Pipeline, WidthConverter
from hw.timing.windows import Padding, Pool, SlidingWindow

# bnn_draw's first word is there in this cycle after a reset, and from then on there always is one.
_DRAW_CYCLES = 18
_Parameters = Mapping[str, int]


def _mvau(p: _Parameters) -> Mvau:
    turns = p["MH"] // p["PE"] // p.get("GROUPS", 1)
    return Mvau(p["MW"] // p["SIMD"], turns, _DRAW_CYCLES if p.get("DRAW", 0) else 0)


_MODELS: dict[str, Callable[[_Parameters], Module]] = {
    "bnn_mvau": _mvau,
    "bnn_fifo": lambda p: Fifo(p["DEPTH"]),
    "bnn_dwc": lambda p: WidthConverter(p["IN_LANES"], p["OUT_LANES"]),
    "bnn_thresholding": lambda p: Pipeline(THRESHOLDING_LATENCY_CYCLES),
    "bnn_scale_bias": lambda p: Pipeline(SCALE_BIAS_LATENCY_CYCLES),
    "bnn_label_select": lambda p: Pipeline(LABEL_SELECT_LATENCY_CYCLES),
    "bnn_fmpadding": Padding,
    "bnn_swg": SlidingWindow,
    "bnn_pool": Pool,
    "bnn_duplicate": lambda p: Duplicate(p["COPIES"]),
    "bnn_add": lambda p: Sum(),
}


def build_module(instance: Instance) -> Module:
    """Return the model of an instance, in the state after a reset.

    Raises:
        ValueError: There is no model of its module.
    """
    if instance.module not in _MODELS:
        raise ValueError(f"{instance.name}: no timing model of {instance.module}")
    integers = {name: int(value) for name, value in instance.parameters.items() if isinstance(value, int)}
    return _MODELS[instance.module](integers)
