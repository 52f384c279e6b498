"""How many beats reach each stream, whatever the cycles: what decides how deep a bypass must be.

Every module of hw/rtl turns a count of input beats into a count of output beats, and the same in every frame.
"""

from __future__ import annotations

import numpy as np

from export.graph import IntArray
from hw.rtlgen.design import Instance


def beats_after(instance: Instance, received: IntArray) -> IntArray:
    """Return how many beats an instance has sent once it has received so many, and all of them could leave.

    Args:
        instance: A module with one source.
        received: Beats since the reset, int64 of any shape.
    """
    p = {name: value for name, value in instance.parameters.items() if isinstance(value, int)}
    in_beats, out_beats = instance.source.beats, instance.sinks[0].beats
    match instance.module:
        case "bnn_fmpadding":
            return _framewise(received, in_beats, _padding_needs(p))
        case "bnn_swg":
            return _framewise(received, in_beats, _window_needs(p))
        case "bnn_mvau":
            return received // (p["MW"] // p["SIMD"]) * (p["MH"] // p["PE"] // p.get("GROUPS", 1))
        case "bnn_pool":
            pixel = p["CHANNELS"] // p["LANES"]
            window, beat = np.divmod(received, p["PIXELS"] * pixel)
            return window * pixel + np.maximum(0, beat - (p["PIXELS"] - 1) * pixel)
        case "bnn_dwc":
            return received * p["IN_LANES"] // p["OUT_LANES"]
        case _:
            return received * out_beats // in_beats


def stored_frames(instance: Instance) -> float:
    """Return what part of a frame an instance can hold, roughly: beats in its buffers and registers."""
    p = {name: value for name, value in instance.parameters.items() if isinstance(value, int)}
    match instance.module:
        case "bnn_fifo" | "bnn_swg":
            return p["DEPTH"] / instance.source.beats
        case "bnn_mvau":
            # A vector that is replayed, and the pipeline.
            return (p["MW"] // p["SIMD"]) / instance.source.beats + 4 / instance.sinks[0].beats
        case "bnn_pool":
            return p["CHANNELS"] // p["LANES"] / instance.sinks[0].beats
        case _:
            return 2 / instance.sinks[0].beats


def _framewise(received: IntArray, in_beats: int, needs: IntArray) -> IntArray:
    """Count the outputs whose needs are met; ``needs`` ascends, as outputs leave in order."""
    frames, beats = np.divmod(received, in_beats)
    return frames * len(needs) + np.searchsorted(needs, beats, side="right")


def _padding_needs(p: dict[str, int]) -> IntArray:
    """Input beats of a frame that each output beat of bnn_fmpadding waits for."""
    beats = p["CHANNELS"] // p["LANES"]
    y, x = np.divmod(
        np.arange((p["TOP"] + p["HEIGHT"] + p["BOTTOM"]) * (p["LEFT"] + p["WIDTH"] + p["RIGHT"]) * beats),
        (p["LEFT"] + p["WIDTH"] + p["RIGHT"]) * beats,
    )
    row, column = y - p["TOP"], x - p["LEFT"] * beats
    inner = (row >= 0) & (row < p["HEIGHT"]) & (column >= 0) & (column < p["WIDTH"] * beats)
    return np.maximum(1, np.cumsum(inner, dtype=np.int64))


def _window_needs(p: dict[str, int]) -> IntArray:
    """Input beats of a frame that each output beat of bnn_swg waits for, those before it included."""
    rows = (p["HEIGHT"] - p["KERNEL_H"]) // p["STRIDE_H"] + 1
    columns = (p["WIDTH"] - p["KERNEL_W"]) // p["STRIDE_W"] + 1
    pixels = p["CHANNELS"] // p["LANES"]
    groups = p.get("GROUPS", 1)
    shape = (rows, columns, groups, p["KERNEL_H"], p["KERNEL_W"], pixels // groups)
    y, x, group, ky, kx, beat = np.ogrid[tuple(slice(0, size) for size in shape)]
    pixel = (y * p["STRIDE_H"] + ky) * p["WIDTH"] + x * p["STRIDE_W"] + kx
    needs = (pixel * pixels + group * (pixels // groups) + beat + 1).astype(np.int64)
    return np.maximum.accumulate(np.broadcast_to(needs, shape).reshape(-1))
