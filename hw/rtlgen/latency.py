"""Timing of the modules in hw/rtl, as their headers state it. Tests hold the modules to these numbers.

A latency is the number of cycles from the handshake of the input beat that completes an output beat to the
first cycle in which that output beat is valid, with nothing in its way. A module with latency 1 is one
register.
"""

from __future__ import annotations

MVAU_LATENCY_CYCLES = 4
THRESHOLDING_LATENCY_CYCLES = 1
FIFO_LATENCY_CYCLES = 1
SCALE_BIAS_LATENCY_CYCLES = 2
LABEL_SELECT_LATENCY_CYCLES = 2
FMPADDING_LATENCY_CYCLES = 1
SWG_LATENCY_CYCLES = 2
POOL_LATENCY_CYCLES = 1
DUPLICATE_LATENCY_CYCLES = 1
ADD_LATENCY_CYCLES = 1


def dwc_latency_cycles(in_lanes: int, out_lanes: int) -> int:
    """Latency of bnn_dwc: none where both sides have the same number of elements a beat."""
    return 0 if in_lanes == out_lanes else 1
