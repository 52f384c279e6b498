"""One piece of work: what travels to whoever computes it, and what its files are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from export.graph import IntArray
from hw.target import ImageArray

FORMAT_VERSION = 2
ARCHIVE = "attack.npz"
SUBSTITUTE = "substitute.npz"
RECORD = "shard.json"
TIMING = "timing.json"
_TIMES = ("seconds", "images_per_second")

Files = dict[str, bytes]


class Role(StrEnum):
    """What a shard does.

    ``attack`` crafts images, or takes those that are crafted, and lets targets judge them; ``clean`` asks
    targets for the originals; ``substitute`` trains one on the answers of a target.
    """

    ATTACK = "attack"
    CLEAN = "clean"
    SUBSTITUTE = "substitute"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What a worker needs beside the build.

    Attributes:
        key: Of the shard.
        build: Digest of the files of the build, or of the source where no target computes.
        role: What to do.
        attack: Name of the attack; empty where nothing is crafted.
        parameters: Its parameters, eps and seed included.
        oracle: Target that a black-box attack asks; empty for an attack that asks none.
        images: uint8 ``(N, H, W, C)``; held-out ones where a substitute is trained.
        labels: int64 ``(N,)``.
        first: Index of the first image in its data set.
        targets: Who computes, and how many of the images; the first one is compared with.
        draw_seed: Of drawn weights.
        code: Digest of the code that made the key; a worker with other code refuses.
        crafted: The archive, where another shard crafted it.
        baseline: Answers of the shard whose first target is compared with, where that is another one's.
        clean: What the targets answered to the originals.
        substitute: The trained substitute that is attacked.
    """

    key: str
    build: str
    role: str
    attack: str
    parameters: Mapping[str, Any]
    oracle: str
    images: ImageArray
    labels: IntArray
    first: int
    targets: tuple[tuple[str, int], ...]
    draw_seed: int
    code: str
    crafted: bytes | None = None
    baseline: bytes | None = None
    clean: bytes | None = None
    substitute: bytes | None = None


def timeless(replay: dict[str, Any]) -> tuple[dict[str, Any], dict[str, float]]:
    """Split a replay's JSON into what follows from the work and the seconds that each target took."""
    seconds: dict[str, float] = {}
    targets: list[dict[str, Any]] = []
    for entry in replay["targets"]:
        seconds[entry["target"]] = entry["clean"]["seconds"] + entry["adversarial"]["seconds"]
        images = {
            name: {key: value for key, value in entry[name].items() if key not in _TIMES}
            for name in ("clean", "adversarial")
        }
        targets.append({**entry, **images})
    return {**replay, "targets": targets}, seconds
