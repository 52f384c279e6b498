"""The one ONNX operator that is ours, weights drawn for each frame; see docs/stochastic.md."""

from __future__ import annotations

DRAW_DOMAIN = "bitsiege.custom"
DRAW_OPERATOR = "BernoulliQuant"
DRAW_LAYER = "layer"
"""Its attribute: the number of the layer in the key of `export.draws`."""
