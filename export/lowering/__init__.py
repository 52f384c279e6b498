"""From a QONNX file to a `DataflowGraph`, exactly.

The stages: `export.onnxfile` reads the file. `chain` follows the image through its nodes and collects steps
(`products`, `spatial`, `pointwise`; folding `constants`, following the `layout`). `segments` cuts them where
branches fork and meet. `prefix` lowers the input, `hidden` a layer, `heads` what follows a sum, an average or
a fork, `joins` these themselves, `logits` the last layer; `layers` puts the graph together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.errors import BitsiegeError, LoweringError
from export.graph import DataflowGraph
from export.lowering.chain import build_chain
from export.lowering.layers import Lowered, lower_chain
from export.onnxfile import load_model

__all__ = ["Lowered", "lower_model", "lower_with_notes"]


def lower_model(path: Path) -> DataflowGraph:
    """Lower a QONNX file, ours or anybody's.

    Args:
        path: The ONNX file; it is not trusted.

    Returns:
        The integer network. Its logits are in the order of the file's own.

    Raises:
        InputError: The file can't be read.
        LoweringError: It holds something that integer hardware can't compute; the message names the node, its
            operator and the reason.
    """
    return lower_with_notes(path).graph


def lower_with_notes(path: Path) -> Lowered:
    """Lower a QONNX file and tell where executors of the float network may disagree; see `lower_model`."""
    model = load_model(path)
    try:
        # Executors overflow to infinity too; what is not a number is refused where it matters.
        with np.errstate(all="ignore"):
            return lower_chain(build_chain(model))
    except BitsiegeError as error:
        raise LoweringError(
            f"{path}: {error.message}", hint=error.hint, path=str(path), **error.context
        ) from error
