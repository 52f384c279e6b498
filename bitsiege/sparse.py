"""A network trained for verification as a dataflow graph: its integers are all there is to lower."""

from __future__ import annotations

import numpy as np

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Node, Thresholding, Thresholds
from quant_models.verifiable import THRESHOLD, SparseNetwork

# Two bits of two's complement hold -1, 0 and 1.
_WEIGHT_TYPE = DataType("INT2")


def sparse_graph(network: SparseNetwork, input_shape: tuple[int, int, int]) -> DataflowGraph:
    """Return the graph of a network.

    Args:
        network: Its weights see the flattened NHWC image.
        input_shape: ``(H, W, C)``.
    """
    bit = Thresholds(steps=np.array([[THRESHOLD]], np.int64))
    nodes: list[Node] = [
        Thresholding(name="thresholding_0", input=INPUT_TENSOR, in_type=UINT8, thresholds=bit),
        Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
    ]
    stream = "flatten_0"
    for place, weights in enumerate(network.weights):
        is_last = place == len(network.thresholds)
        nodes.append(
            Mvau(
                name=f"mvau_{place}",
                input=stream,
                in_type=BIPOLAR,
                weights=weights,
                weight_type=_WEIGHT_TYPE,
                thresholds=None if is_last else Thresholds(steps=network.thresholds[place][:, None]),
                bias=network.bias if is_last else None,
            )
        )
        stream = f"mvau_{place}"
    return DataflowGraph(input_shape=input_shape, nodes=tuple(nodes))
