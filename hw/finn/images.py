"""Images to compare FINN with where no attack is given: drawn ones, and the nearest to a tie around each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from export.graph import DataflowGraph
from hw.emulator import EmulatorTarget
from hw.target import ImageArray, Target

CLEAN, ADVERSARIAL = "clean", "adversarial"
_TRIES = 16


def draw_images(
    graph: DataflowGraph, count: int, *, seed: int = 0, eps: int = 77, cache_dir: Path | None = None
) -> Mapping[str, ImageArray]:
    """Draw images, and look around each for one that the network is least sure of, as an attacker would.

    Args:
        graph: The network.
        count: Images of each kind.
        seed: Image ``i`` depends on it and on ``i`` alone.
        eps: Largest change of a pixel.
        cache_dir: Where the emulator's native code is kept.

    Returns:
        uint8 ``(count, H, W, C)`` by name: clean and adversarial.
    """
    target = EmulatorTarget(graph, cache_dir=cache_dir)
    pairs = [_pair(target, graph, np.random.default_rng([seed, index]), eps) for index in range(count)]
    empty = np.zeros((0, *graph.input_shape), np.uint8)
    return {
        CLEAN: np.stack([clean for clean, _ in pairs]) if pairs else empty,
        ADVERSARIAL: np.stack([near for _, near in pairs]) if pairs else empty,
    }


def _pair(
    target: Target, graph: DataflowGraph, draws: np.random.Generator, eps: int
) -> tuple[ImageArray, ImageArray]:
    clean = draws.integers(0, 256, graph.input_shape, dtype=np.uint8)
    signs = draws.choice(np.array([-eps, eps]), (_TRIES, *graph.input_shape))
    tried = np.clip(clean.astype(np.int64) + signs, 0, 255).astype(np.uint8)
    logits = np.sort(target.infer(tried).logits, axis=1)
    margins = logits[:, -1] - logits[:, -2] if logits.shape[1] > 1 else logits[:, 0]
    return clean, tried[int(margins.argmin())]
