"""Images with the logits that the circuit must give: a self-test after loading it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.errors import InputError
from export.graph import DataflowGraph, IntArray
from hw.reference import ReferenceTarget
from hw.target import ImageArray, check_images

SEED = 0x5EED
"""Of drawn weights in the answers."""
_RANDOM = 24
_MOST_CLEAN = 32


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownAnswers:
    """Images and what the reference computes for them.

    Attributes:
        images: uint8 ``(N, H, W, C)``; those of the caller first, then patterns, then noise.
        logits: int64 ``(N, K)``.
        draws: Whether they depend on seed and frame index; the first image is frame 0.
    """

    images: ImageArray
    logits: IntArray
    draws: bool

    def save(self, path: Path) -> None:
        """Write ``known_answers.npz``; the same answers give the same bytes."""
        if self.draws:
            np.savez(path, images=self.images, logits=self.logits, first_frame=0, seed=SEED)
        else:
            np.savez(path, images=self.images, logits=self.logits)


def known_answers(graph: DataflowGraph, clean: ImageArray | None = None) -> KnownAnswers:
    """Compute the answers.

    Args:
        graph: The network.
        clean: Images of its data set, uint8 ``(N, H, W, C)``; the first 32 are taken.

    Raises:
        InputError: The images don't fit the network.
    """
    parts = [_patterns(graph.input_shape), _noise(graph.input_shape)]
    if clean is not None:
        parts.insert(0, check_images(clean, graph)[:_MOST_CLEAN])
    images = np.concatenate(parts)
    logits = ReferenceTarget(graph, seed=SEED).infer(images).logits
    if len(np.unique(logits, axis=0)) == 1:
        raise InputError(
            "the network gives the same logits for every image; no answer could tell a circuit that works",
            hint="train it, or export another one",
        )
    return KnownAnswers(images=images, logits=logits, draws=graph.is_stochastic)


def _patterns(shape: tuple[int, int, int]) -> ImageArray:
    """Black, white, ramps, checks, one pixel, one row: what shows swapped axes, channels and edges."""
    height, width, channels = shape
    rows, columns, planes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    size = height * width * channels
    index = np.arange(size).reshape(shape)
    images = (
        np.zeros(shape),
        np.full(shape, 255),
        rows * 255 // max(height - 1, 1),
        columns * 255 // max(width - 1, 1),
        (rows + columns + planes) % 2 * 255,
        (index == size - 1) * 255,
        (rows == height // 3) * 255,
        index * 37 % 256,
    )
    return np.stack(images).astype(np.uint8)


def _noise(shape: tuple[int, int, int]) -> ImageArray:
    """Uniform noise, each image from a stream of its own."""
    images = [np.random.default_rng((SEED, index)).integers(0, 256, shape) for index in range(_RANDOM)]
    return np.stack(images).astype(np.uint8)
