"""The fast twin of a trained module: its integer graph, with gates as wide as its own normalisation says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from attacks.surrogate import Surrogate
    from export.graph import DataflowGraph

GATE = 0.25
"""Half-widths of a twin's gates as a share of the module's own, which was the strongest when measured."""


def make_twin(module: Any, graph: DataflowGraph, *, gate: float = GATE) -> Surrogate:
    """Return the twin of a module whose lowering is a graph.

    The module's straight-through gradient passes where its normalised sums lie in [-1, 1]; the twin's in a
    part of that interval, seen in units of the accumulator. Where the module's layers don't tell it, gates
    follow from the graph alone.

    Args:
        module: The trained network.
        graph: What lowering made of it.
        gate: Half-widths as a share of the module's own.

    Raises:
        InputError: The graph has sums that aren't exact in float32.
    """
    from attacks.surrogate import Surrogate

    signs = [
        node.name
        for node in graph.mvaus
        if node.thresholds is not None and node.thresholds.out_type.is_bipolar
    ]
    widths = sign_widths(module)
    rows = {node.name: node.mh for node in graph.mvaus}
    if [len(width) for width in widths] != [rows[name] for name in signs]:
        return Surrogate(graph, gate=gate)
    half_widths = {name: gate * width for name, width in zip(signs, widths, strict=True)}
    return Surrogate(graph, gate=gate, half_widths=half_widths)


def sign_widths(module: Any) -> list[np.ndarray[Any, Any]]:
    """Return the accumulators that one unit of each sign's normalised argument is worth.

    One array ``(channels,)`` for each normalisation that a sign follows, in the order of a network without
    branches. A residual network's are not in that order; their number tells.
    """
    from quant_models.layers import (
        INT8_LAYERS,
        WEIGHT_EXPONENT,
        BatchNorm,
        BinaryActivation,
        InputGrid,
        Scale,
        UnsignedActivation,
    )

    found: list[np.ndarray[Any, Any]] = []
    exponent, factor, norm = 0, 1.0, None
    for part in module.modules():
        if isinstance(part, InputGrid):
            exponent = part.exponent
        elif isinstance(part, INT8_LAYERS):
            exponent += WEIGHT_EXPONENT
        elif isinstance(part, Scale):
            factor = float(part.weight.detach())
        elif isinstance(part, BatchNorm):
            norm = part
        elif isinstance(part, BinaryActivation | UnsignedActivation):
            if norm is not None and isinstance(part, BinaryActivation):
                slope = np.abs(norm.affine()[0].detach().double().numpy()) * factor
                found.append(2.0**exponent / np.maximum(slope, np.finfo(np.float32).tiny))
            exponent, factor, norm = 0, 1.0, None
            if isinstance(part, UnsignedActivation):
                exponent = part.exponent
    return found
