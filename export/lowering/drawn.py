"""Weights that are drawn for each frame: their way from the operator that draws them to a layer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from export.draws import MEAN_EXPONENT
from export.lowering import attributes
from export.lowering.layout import LAYOUT_OPERATORS, move
from export.lowering.refusal import refuse
from export.lowering.steps import Activation, LinearStep
from export.onnxdraws import DRAW_DOMAIN, DRAW_LAYER, DRAW_OPERATOR
from export.onnxfile import OnnxNode
from export.onnxtensor import Array

_PRODUCTS = ("Conv", "MatMul", "Gemm")
_WEIGHTS_INPUT = 1
_MAX_LAYER = (1 << 32) - 1


@dataclass(slots=True)
class DrawnWeights:
    """Which constants of a file stand for drawn weights.

    Such a constant holds the means of the weights. Layout operators move it like any other; the only thing
    that may be computed with it is a layer.
    """

    _layers: dict[str, int] = field(default_factory=dict[str, int])

    def follow(self, node: OnnxNode, values: dict[str, Array | Activation]) -> bool:
        """Compute a node that draws weights or moves drawn ones; tell whether it was such a node.

        Raises:
            LoweringError: It computes something else with drawn weights, or draws what no hardware draws.
        """
        if (node.domain, node.op_type) == (DRAW_DOMAIN, DRAW_OPERATOR):
            self._draw(node, values)
            return True
        marked = [index for index, name in enumerate(node.inputs) if name in self._layers]
        if not marked or (marked == [_WEIGHTS_INPUT] and node.op_type in _PRODUCTS and not node.domain):
            return False
        if marked != [0] or node.op_type not in LAYOUT_OPERATORS or node.domain or not node.outputs:
            raise refuse(
                node,
                "computes with weights that are drawn for each frame",
                hint="a layer may read them, and nothing else",
            )
        found = [values.get(name) if name else None for name in node.inputs]
        arguments = [value if isinstance(value, np.ndarray) else None for value in found]
        if arguments[0] is None:
            raise refuse(node, "has no first input")
        values[node.outputs[0]] = move(node, arguments[0], arguments)
        self._layers[node.outputs[0]] = self._layers[node.inputs[0]]
        return True

    def mark_product(self, node: OnnxNode, values: dict[str, Array | Activation]) -> None:
        """Tell the step of a layer, just computed, that its weights are drawn."""
        layer = self._layers.get(node.inputs[_WEIGHTS_INPUT]) if len(node.inputs) > _WEIGHTS_INPUT else None
        result = values.get(node.outputs[0]) if node.outputs else None
        if layer is None or not isinstance(result, Activation):
            return
        index = max(index for index, step in enumerate(result.steps) if isinstance(step, LinearStep))
        linear = result.steps[index]
        if isinstance(linear, LinearStep):
            steps = (*result.steps[:index], replace(linear, draw=layer), *result.steps[index + 1 :])
            values[node.outputs[0]] = replace(result, steps=steps)

    def _draw(self, node: OnnxNode, values: dict[str, Array | Activation]) -> None:
        means = values.get(node.inputs[0]) if len(node.inputs) == 1 else None
        if not isinstance(means, np.ndarray) or means.dtype != np.float32 or not node.outputs:
            raise refuse(node, "needs one constant float32 tensor of means")
        layer = attributes.integer(node, DRAW_LAYER, -1)
        if not 0 <= layer <= _MAX_LAYER:
            raise refuse(node, f"has {layer} as {DRAW_LAYER}; 0 to 2**32 - 1 are accepted")
        steps = means * np.float32(1 << MEAN_EXPONENT)
        low, high = -(1 << MEAN_EXPONENT), (1 << MEAN_EXPONENT) - 1
        if not np.array_equal(np.rint(steps), steps) or steps.min() < low or steps.max() > high:
            raise refuse(
                node,
                "has means that are no multiples of 1/128 from -1 to 127/128",
                hint="round them in training",
            )
        values[node.outputs[0]] = means
        self._layers[node.outputs[0]] = layer
