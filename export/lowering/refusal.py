"""One way to say no: every refusal of the lowering names node, operator and reason."""

from __future__ import annotations

from export.errors import LoweringError
from export.onnxfile import OnnxNode


def refuse(
    node: OnnxNode | tuple[str, str], reason: str, *, hint: str = "export the model again", **context: object
) -> LoweringError:
    """Return the error for a node that can't become integer hardware.

    Args:
        node: The node, or its name and operator.
        reason: Completes "node 'x' (Op) ...".
        hint: The way out.
        context: More machine-readable places, such as ``channel=3``.
    """
    name, op_type = (node.name, node.op_type) if isinstance(node, OnnxNode) else node
    return LoweringError(
        f"node {name!r} ({op_type}) {reason}", hint=hint, node=name, operator=op_type, **context
    )
