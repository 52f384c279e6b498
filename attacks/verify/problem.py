"""One image's question: can the integers inside its ball give another class?

Pixels that can't change what the network sees, and neurons whose sign the bounds fix, are put in as
constants. What stays are small integer matrices. Every variable is a number from 0 to a limit: a free pixel
counts how many of its levels it has climbed above the lowest one in the ball, a free neuron is 0 or 1 for its
sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from attacks.verify.bounds import Relaxation, interval, reach, relax
from attacks.verify.network import InputLevels, SignNetwork
from export.graph import IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FreePixel:
    """A pixel that can take several levels.

    Attributes:
        pixel: Index in the flattened image.
        counts: Values of its variable, ascending from 0.
        first: Lowest grey level for each count.
        last: Highest grey level for each count.
    """

    pixel: int
    counts: tuple[int, ...]
    first: tuple[int, ...]
    last: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Conditions ``weights @ variables >= need``.

    Attributes:
        weights: int64 ``(rows, variables)``.
        need: int64 ``(rows,)``.
    """

    weights: IntArray
    need: IntArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What is left of the network inside one ball.

    Attributes:
        image: The original's pixels, uint8, flat.
        pixels: The free ones.
        layers: Neurons that are not fixed; a neuron is 1 where its row's condition holds, else 0.
        targets: Classes that might win, ascending.
        margins: One row a target: where its condition holds, the class is not the true one.
    """

    image: npt.NDArray[np.uint8]
    pixels: tuple[FreePixel, ...]
    layers: tuple[Rows, ...]
    targets: tuple[int, ...]
    margins: Rows

    @property
    def limits(self) -> IntArray:
        """Greatest value of each free pixel's variable, int64."""
        return np.array([pixel.counts[-1] for pixel in self.pixels], np.int64)

    @property
    def choices(self) -> int:
        """Number of different inputs that the first layer can see."""
        product = 1
        for pixel in self.pixels:
            product *= len(pixel.counts)
        return product

    @property
    def neurons(self) -> int:
        """Neurons that are not fixed."""
        return sum(len(layer.need) for layer in self.layers)

    def image_of(self, counts: IntArray) -> npt.NDArray[np.uint8]:
        """Return an image that gives these counts, uint8 flat: each pixel moves as little as possible."""
        image = self.image.copy()
        for free, count in zip(self.pixels, counts.tolist(), strict=True):
            place = free.counts.index(count)
            image[free.pixel] = min(max(int(image[free.pixel]), free.first[place]), free.last[place])
        return image

    def counts_of_image(self) -> IntArray:
        """Return the counts of the original, int64."""
        grey = self.image
        found = [
            next(c for c, last in zip(p.counts, p.last, strict=True) if grey[p.pixel] <= last)
            for p in self.pixels
        ]
        return np.array(found, np.int64)


@dataclass(slots=True)
class _Vector:
    """Values of a layer's outputs: fixed ones, and free ones that rise by a step for each unit."""

    lowest: IntArray
    free: IntArray
    step: int


def pose(
    network: SignNetwork, image: npt.NDArray[np.uint8], label: int, radius: int, *, substitute: bool = True
) -> Problem:
    """Return the problem of one image.

    Args:
        network: The network.
        image: uint8, of the network's input shape.
        label: The class that the network gives it.
        radius: L∞ radius in grey levels.
        substitute: Use back-substituted bounds, not intervals alone.
    """
    flat = image.ravel()
    low = np.maximum(flat.astype(np.int64) - radius, 0)
    high = np.minimum(flat.astype(np.int64) + radius, 255)
    vector, pixels = _enter(network.levels, low, high)
    inputs = np.array([pixel.counts[-1] for pixel in pixels], np.int64)
    limits = inputs
    rows: list[Rows] = []
    lines: list[Relaxation] = []
    for layer in network.layers:
        weights, need = _reduced(layer.weights, layer.thresholds, vector)
        least, most = reach(weights, limits, lines, inputs) if substitute else interval(weights, limits)
        free = (least < need) & (most >= need)
        rows.append(Rows(weights=weights[free], need=need[free]))
        if substitute:
            lines.append(relax(weights[free], need[free], least[free], most[free]))
        vector = _Vector(lowest=np.where((least >= need) & ~free, 1, -1), free=np.flatnonzero(free), step=2)
        limits = np.ones(len(vector.free), np.int64)
    targets, margins = _margins(network, vector, label)
    bounds = reach if substitute else None
    most = (
        bounds(margins.weights, limits, lines, inputs)[1] if bounds else interval(margins.weights, limits)[1]
    )
    alive = most >= margins.need
    return _pruned(
        Problem(
            image=flat.copy(),
            pixels=pixels,
            layers=tuple(rows),
            targets=tuple(np.array(targets, np.int64)[alive].tolist()),
            margins=Rows(weights=margins.weights[alive], need=margins.need[alive]),
        )
    )


def _enter(levels: InputLevels, low: IntArray, high: IntArray) -> tuple[_Vector, tuple[FreePixel, ...]]:
    below = (levels.steps <= low[:, None]).sum(axis=1)
    reached = (levels.steps <= high[:, None]).sum(axis=1)
    free = np.flatnonzero(reached > below)
    pixels = tuple(
        _free_pixel(int(p), levels.steps[p, below[p] : reached[p]].tolist(), int(low[p]), int(high[p]))
        for p in free
    )
    return _Vector(lowest=levels.base + levels.stride * below, free=free, step=levels.stride), pixels


def _free_pixel(pixel: int, steps: list[int], low: int, high: int) -> FreePixel:
    """Steps at the same grey level are climbed together, so counts may have gaps."""
    first = [low, *sorted(set(steps))]
    counts = [sum(step <= grey for step in steps) for grey in first]
    return FreePixel(
        pixel=pixel,
        counts=tuple(counts),
        first=tuple(first),
        last=(*(grey - 1 for grey in first[1:]), high),
    )


def _reduced(weights: IntArray, thresholds: IntArray, vector: _Vector) -> tuple[IntArray, IntArray]:
    """Put the fixed values in, and divide each row by what its weights have in common."""
    free = weights[:, vector.free] * vector.step
    return _divided(free, thresholds - weights @ vector.lowest)


def _divided(weights: IntArray, need: IntArray) -> tuple[IntArray, IntArray]:
    common = np.gcd.reduce(weights, axis=1, initial=0) if weights.size else np.zeros(len(need), np.int64)
    common = np.maximum(common, 1)
    return weights // common[:, None], -(-need // common)


def _margins(network: SignNetwork, vector: _Vector, label: int) -> tuple[list[int], Rows]:
    """Return for each other class when it wins: more than the true one, or as much and a lower index."""
    targets = [k for k in range(len(network.bias)) if k != label]
    difference = network.weights[targets] - network.weights[label]
    offset = network.bias[targets] - network.bias[label]
    strict = np.array([int(k > label) for k in targets], np.int64)
    weights, need = _reduced(difference, strict - offset, vector)
    return targets, Rows(weights=weights, need=need)


def _pruned(problem: Problem) -> Problem:
    """Leave out variables that nothing after them reads."""
    margins, layers = problem.margins, list(problem.layers)
    used = np.any(margins.weights != 0, axis=0)
    margins = Rows(weights=margins.weights[:, used], need=margins.need)
    for place in range(len(layers) - 1, -1, -1):
        kept = Rows(weights=layers[place].weights[used], need=layers[place].need[used])
        used = np.any(kept.weights != 0, axis=0)
        layers[place] = Rows(weights=kept.weights[:, used], need=kept.need)
    pixels = tuple(pixel for pixel, wanted in zip(problem.pixels, used.tolist(), strict=True) if wanted)
    return Problem(
        image=problem.image,
        pixels=pixels,
        layers=tuple(layers),
        targets=problem.targets,
        margins=margins,
    )
