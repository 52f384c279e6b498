"""How far the images that fool a network are from their originals, in the unit of each norm's budget."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from attacks.threat import Budget, Norm
from hw.target import ImageArray

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Curve = tuple[tuple[float, float], ...]

_MOST_POINTS = 200
_SIGNS = {Norm.LINF: "L∞", Norm.L2: "L2", Norm.L0: "L0"}
_UNITS = {
    Norm.LINF: "largest change of a pixel",
    Norm.L2: "Euclidean distance, pixels from 0 to 1",
    Norm.L0: "share of the pixels that change",
}


def norm_sign(norm: str) -> str:
    """Return how people write a norm."""
    return _SIGNS[Norm(norm)]


def norm_unit(norm: str) -> str:
    """Return what a budget of this norm measures, in words."""
    return _UNITS[Norm(norm)]


def distances(originals: ImageArray, adversarial: ImageArray, norm: str) -> FloatArray:
    """Return each image's distance from its original, float64 ``(N,)``, in the unit of a budget's eps.

    Args:
        originals: uint8 ``(N, H, W, C)``.
        adversarial: The same shape.
        norm: Name of the norm.
    """
    chosen = Norm(norm)
    spent = Budget(norm=chosen, eps=0).spent(originals, adversarial).astype(np.float64)
    match chosen:
        case Norm.LINF:
            return spent / 255
        case Norm.L2:
            return np.sqrt(spent) / 255
        case Norm.L0:
            return spent / (originals.shape[1] * originals.shape[2])


def breaking_distances(found: FloatArray, *, clean_wrong: BoolArray, wrong: BoolArray) -> FloatArray:
    """Return the distance at which each image is lost, float64 ``(N,)``.

    It is 0 for an image that was wrong before the attack, infinite for one that is right after it.
    """
    return np.where(clean_wrong, 0.0, np.where(wrong, found, np.inf))


def accuracy_over_distance(broken: FloatArray, *, most: int = _MOST_POINTS) -> Curve:
    """Return accuracy as a staircase over distance: from each distance on, the share of images still right.

    Args:
        broken: Distance at which each image is lost, ``(N,)``; infinite for one that is not.
        most: Most points; of more, evenly chosen ones are kept, the first and the last among them.
    """
    finite = np.unique(np.concatenate([[0.0], broken[np.isfinite(broken)]]))
    if len(finite) > most:
        finite = finite[np.unique(np.linspace(0, len(finite) - 1, most).round().astype(np.int64))]
    ordered = np.sort(broken)
    lost = np.searchsorted(ordered, finite, side="right")
    return tuple(
        (float(distance), float(1 - count / len(broken)))
        for distance, count in zip(finite, lost, strict=True)
    )


def median_distance(broken: FloatArray) -> float | None:
    """Return the distance at which half of the images are lost, or None where half never are."""
    middle = float(np.sort(broken)[(len(broken) - 1) // 2])
    return middle if np.isfinite(middle) else None
