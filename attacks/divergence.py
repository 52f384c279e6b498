"""Where two targets of one network first disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.errors import CheckFailedError, DivergenceError
from export.graph import IntArray
from hw.target import ImageArray, Inference, Target, TracingTarget


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDifference:
    """The first node, in the order of the dataflow, whose output differs.

    Attributes:
        node: Name of the node in the graph.
        position: Index of the first differing value in the node's output, without the channel: row and
            column of an image-sized stream, empty for a vector.
        channel: Channel of that value.
        expected: The baseline's value.
        found: The other target's value.
        differing: How many values of this node's output differ.
    """

    node: str
    position: tuple[int, ...]
    channel: int
    expected: int
    found: int
    differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """The first image on which a target differs from the baseline.

    Attributes:
        target: Name of the target.
        baseline: Name of the target that it is compared with.
        images: Which images: ``clean`` or ``adversarial``.
        image: Index of the image.
        channel: First differing logit.
        expected: The baseline's logits.
        found: The target's logits.
        layer: First differing layer; None where it wasn't looked for, or not both targets can tell.
        note: Why there is no layer although it was looked for.
    """

    target: str
    baseline: str
    images: str
    image: int
    channel: int
    expected: tuple[int, ...]
    found: tuple[int, ...]
    layer: LayerDifference | None = None
    note: str = ""

    def __str__(self) -> str:
        text = (
            f"{self.target} differs from {self.baseline} on {self.images} image {self.image}: logit "
            f"{self.channel} is {self.found[self.channel]} instead of {self.expected[self.channel]}"
        )
        if self.layer is not None:
            place = "".join(f"[{index}]" for index in self.layer.position)
            text += (
                f"; first in layer {self.layer.node}{place}, channel {self.layer.channel}: "
                f"{self.layer.found} instead of {self.layer.expected}"
            )
        return f"{text}; {self.note}" if self.note else text

    def error(self) -> DivergenceError:
        """Return the error that ends a command."""
        layer = self.layer
        return DivergenceError(
            str(self),
            hint="" if layer or self.note else "bitsiege replay --trace names the layer",
            target=self.target,
            image=self.image,
            layer=None if layer is None else layer.node,
            channel=self.channel if layer is None else layer.channel,
        )


def differing_images(baseline: Inference, other: Inference) -> IntArray:
    """Return the indices of the images whose logits ``(N, K)`` are not all equal."""
    return np.flatnonzero((baseline.logits != other.logits).any(axis=1)).astype(np.int64)


def describe(
    baseline: Target, other: Target, expected: IntArray, found: IntArray, *, images: str, image: int
) -> Divergence:
    """Describe a difference of the logits ``(K,)`` of one image."""
    return Divergence(
        target=other.name,
        baseline=baseline.name,
        images=images,
        image=image,
        channel=int(np.argmax(expected != found)),
        expected=tuple(int(value) for value in expected),
        found=tuple(int(value) for value in found),
    )


def locate(
    baseline: Target, other: Target, image: ImageArray, *, frame: int = 0
) -> tuple[LayerDifference | None, str]:
    """Find the first layer in which two targets differ on one image ``(1, H, W, C)``, the frame ``frame``.

    Returns:
        The layer and an empty note, or None and the reason.

    Raises:
        CheckFailedError: The two traces of a node have different shapes.
    """
    for target in (baseline, other):
        if not isinstance(target, TracingTarget):
            return None, f"{target.name} cannot trace its layers"
    expected, found = _trace(baseline, image, frame), _trace(other, image, frame)
    common = [name for name in expected if name in found]
    for name in common:
        left, right = expected[name], found[name]
        if left.shape != right.shape:
            raise CheckFailedError(
                f"{other.name} traces {name} as {right.shape}, {baseline.name} as {left.shape}", node=name
            )
        if not np.array_equal(left, right):
            return _first(name, left[0], right[0]), ""
    return None, f"traced alone, the image gives equal values in all {len(common)} layers that both show"


def _trace(target: Target, image: ImageArray, frame: int) -> dict[str, IntArray]:
    if not isinstance(target, TracingTarget):
        raise TypeError(f"{target.name} cannot trace")
    return target.trace(image, frame)


def _first(node: str, expected: IntArray, found: IntArray) -> LayerDifference:
    differences = np.argwhere(expected != found)
    place = tuple(int(index) for index in differences[0])
    return LayerDifference(
        node=node,
        position=place[:-1],
        channel=place[-1],
        expected=int(expected[place]),
        found=int(found[place]),
        differing=len(differences),
    )
