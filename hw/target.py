"""The protocol that every implementation of a compiled network speaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

from export.errors import InputError
from export.graph import DataflowGraph, IntArray

ImageArray = npt.NDArray[np.uint8]


class TargetKind(StrEnum):
    """What stands behind a target; a simulated result is never called hardware."""

    SIMULATION = "simulation"
    CYCLE_ACCURATE = "cycle-accurate"
    HARDWARE = "hardware"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inference:
    """What a target returns for N images.

    Attributes:
        logits: int64 ``(N, K)``.
        cycles: int64 ``(N,)``: clock cycles from an image's first input beat to its last output beat, both
            included, in the batch as it was sent; None where the target has no clock.
    """

    logits: IntArray
    cycles: IntArray | None = None

    @property
    def labels(self) -> IntArray:
        """Predicted classes, int64 ``(N,)``; the lowest index on a tie."""
        return self.logits.argmax(axis=1).astype(np.int64)


class Target(Protocol):
    """Anything that computes a compiled network."""

    @property
    def name(self) -> str:
        """Short name, such as ``emulator``."""
        ...

    @property
    def kind(self) -> TargetKind:
        """Simulation, cycle-accurate simulation, or hardware."""
        ...

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``; N may be 0.

        ``first_frame`` is the frame index of the first image, the others follow: drawn weights depend on it
        and on the target's seed, and nothing else does.
        """
        ...


@runtime_checkable
class TracingTarget(Target, Protocol):
    """A target that can also show what flows between the layers."""

    def trace(self, images: ImageArray, first_frame: int = 0) -> dict[str, IntArray]:
        """Return each node's output, int64 ``(N, ...)``, under the node's name in the graph.

        A target may leave out nodes that it does not have, such as Flatten.
        """
        ...


def check_images(images: object, graph: DataflowGraph) -> ImageArray:
    """Return ``images`` if it is a uint8 NHWC array that fits the graph.

    Raises:
        InputError: Wrong type, dtype or shape; the message names what was expected.
    """
    if not isinstance(images, np.ndarray):
        raise InputError(f"images must be a NumPy array, not {type(images).__name__}")
    array = cast("npt.NDArray[Any]", images)
    if array.dtype != np.uint8:
        raise InputError(
            f"images must be uint8, not {array.dtype}",
            hint="hardware sees 8-bit images: round(255 * x) of a float image in [0, 1]",
        )
    if array.ndim != 4 or array.shape[1:] != graph.input_shape:
        expected = ", ".join(map(str, graph.input_shape))
        raise InputError(f"images must have shape (N, {expected}), not {array.shape}", hint="NHWC order")
    return np.ascontiguousarray(array)
