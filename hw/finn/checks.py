"""FINN's logits against ours, and why they differ where the reason is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from export.graph import (
    INPUT_TENSOR,
    DataflowGraph,
    FmPadding,
    IntArray,
    Mvau,
    Node,
    Thresholding,
    inputs_of,
)
from hw.finn.flow import StageResult
from hw.reference import compute_node
from hw.target import ImageArray


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCheck:
    """One of FINN's graphs on one set of images.

    Attributes:
        graph: Which.
        images: Name of the set.
        count: Images.
        wrong_images: Images with any other logit.
        wrong_logits: Logits that differ.
        wrong_labels: Images that FINN puts into another class.
        largest_difference: Of a logit; None where their number differs.
        reason: Why they differ, where that is known; else empty.
    """

    graph: str
    images: str
    count: int
    wrong_images: int
    wrong_logits: int
    wrong_labels: int
    largest_difference: float | None
    reason: str = ""

    @property
    def equal(self) -> bool:
        """Whether everything is the same."""
        return self.wrong_images == 0 and self.wrong_labels == 0

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self) | {"equal": self.equal}


def check_stage(
    stage: StageResult, expected: IntArray, images: str, explanations: Mapping[str, IntArray]
) -> GraphCheck:
    """Compare the logits and labels of one graph.

    Args:
        stage: What FINN computed.
        expected: Our logits, int64 ``(N, K)``.
        images: Name of the set.
        explanations: From `explain`; a reason is given where its logits are FINN's, all of them.
    """
    found = stage.logits
    fits = found.shape == expected.shape
    different: npt.NDArray[np.bool_] = found != expected if fits else np.ones(expected.shape, np.bool_)
    known = (reason for reason, logits in explanations.items() if np.array_equal(found, logits))
    return GraphCheck(
        graph=stage.name,
        images=images,
        count=len(expected),
        wrong_images=int(different.any(axis=1).sum()),
        wrong_logits=int(different.sum()),
        wrong_labels=int((stage.labels != expected.argmax(axis=1)).sum()),
        largest_difference=float(np.abs(found - expected).max(initial=0)) if fits else None,
        reason=next(known, "") if different.any() else "",
    )


def explain(graph: DataflowGraph, images: ImageArray, padding: Sequence[str] = ()) -> dict[str, IntArray]:
    """Compute the network as FINN would where it is known to do something else.

    Args:
        graph: The network.
        images: uint8 ``(N, H, W, C)``.
        padding: FINN's nodes that pad with -1, to be named.

    Returns:
        Logits, int64 ``(N, K)``, by the sentence that explains them; empty where nothing is known to apply.
    """
    where = f" in {', '.join(padding)}" if padding else ""
    border = (
        f"FINN pads ±1 activations with -1{where}, where the network pads with 0: "
        "with a border of -1 the network's integers are FINN's logits, all of them"
    )
    rounding = (
        "FINN rounds a quantised activation that lies halfway up, where the network rounds it to even: "
        "with those thresholds the network's integers are FINN's logits, all of them"
    )
    borders = {node.name for node in one_bit_borders(graph)}
    rounded = {node.name: lower for node in graph.nodes if (lower := _half_up(node)) is not None}
    padded: dict[str, Node] = {
        node.name: replace(node, value=-1)
        for node in graph.nodes
        if isinstance(node, FmPadding) and node.name in borders
    }
    found: dict[str, IntArray] = {}
    if padded:
        found[border] = _logits(graph, images, padded)
    if rounded:
        found[rounding] = _logits(graph, images, rounded)
    if padded and rounded:
        found[f"{border}; and {rounding}"] = _logits(graph, images, padded | rounded)
    return found


def _logits(graph: DataflowGraph, images: ImageArray, others: Mapping[str, Node]) -> IntArray:
    """Return the logits with some nodes replaced."""
    streams = {INPUT_TENSOR: images.astype(np.int64)}
    for node in graph.nodes:
        inputs = (streams[name] for name, _ in inputs_of(node))
        streams[node.name] = compute_node(others.get(node.name, node), *inputs)
    return streams[graph.nodes[-1].name]


def _half_up(node: Node) -> Node | None:
    """Return a node whose activation rounds halves up, or None where nothing changes.

    Levels are a scale S apart. Rounded to even, the thresholds ``S/2, 3S/2, 5S/2, ...`` themselves belong to
    the even neighbour, so every other one, from the first on, stands one attainable sum higher.
    """
    if not isinstance(node, Mvau | Thresholding) or node.thresholds is None:
        return None
    steps = node.thresholds.steps.copy()
    if steps.shape[1] < 3:
        return None
    gaps = np.diff(steps, axis=1)
    raised = (gaps[:, 1] - gaps[:, 0]) // 2
    steps[:, ::2] -= np.maximum(raised, 0)[:, None]
    if np.array_equal(steps, node.thresholds.steps) or (np.diff(steps, axis=1) < 0).any():
        return None
    return replace(node, thresholds=replace(node.thresholds, steps=steps))


def one_bit_borders(graph: DataflowGraph) -> list[FmPadding]:
    """Nodes that pad ±1 activations with zeros."""
    return [
        node
        for node in graph.nodes
        if isinstance(node, FmPadding) and node.value == 0 and _reads_bipolar(graph, node)
    ]


def _reads_bipolar(graph: DataflowGraph, node: FmPadding) -> bool:
    return any(other.name == node.input and other.out_type.is_bipolar for other in graph.nodes)


def images_counting_past(graph: DataflowGraph, images: ImageArray, index: int, holds: int) -> int:
    """Return on how many images a ±1 layer counts more agreeing positions than a type holds.

    Args:
        graph: The network.
        images: uint8 ``(N, H, W, C)``.
        index: Of the layer among those with weights.
        holds: Largest value of the type.
    """
    streams = {INPUT_TENSOR: images.astype(np.int64)}
    layer = list(graph.mvaus)[index]
    for node in graph.nodes:
        if node.name == layer.name:
            break
        streams[node.name] = compute_node(node, *(streams[name] for name, _ in inputs_of(node)))
    sums = compute_node(replace(layer, thresholds=None, scale=None, bias=None), streams[layer.input])
    counts = (sums + layer.mw) // 2
    return int((counts > holds).reshape(len(images), -1).any(axis=1).sum())
