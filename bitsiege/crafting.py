"""Crafting an attack on a build: which module gives the gradients, and the archive that comes out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from attacks.archive import make_archive, save_attack
from attacks.catalog import make_attack
from bitsiege.progress import Progress
from bitsiege.targets import load_module
from export.errors import InputError
from export.graph import IntArray
from hw.build import Build
from hw.target import ImageArray


def craft(
    build: Build,
    name: str,
    parameters: Mapping[str, Any],
    images: ImageArray,
    labels: IntArray,
    output: Path,
    *,
    progress: Progress,
    label: str = "",
) -> dict[str, Any]:
    """Craft one adversarial image for each original and write the archive.

    Args:
        build: The network to attack.
        name: Name of the attack.
        parameters: What `attacks.catalog.make_attack` takes, eps included.
        images: uint8 ``(N, H, W, C)``, N at least 1.
        labels: int64 ``(N,)``.
        output: ATTACK.npz to write.
        progress: Who listens.
        label: How the work is announced.

    Returns:
        JSON values: attack, eps, goal, images, succeeded (at the goal), gradients (what gave them),
        graph_hash.

    Raises:
        InputError: Parameters, images or labels that don't fit, or a file that can't be written.
    """
    if len(images) == 0:
        raise InputError("there are no images to attack")
    attack = make_attack(name, **parameters)
    module, origin = _differentiable(build)
    with progress.task(label or f"{name} eps {attack.eps:g}", total=len(images)) as task:
        result = attack.craft(
            module,
            np.ascontiguousarray(images),
            labels,
            progress=lambda done, total: task.update(done, total=total),
        )
    archive = make_archive(
        attack,
        result,
        originals=np.ascontiguousarray(images),
        labels=labels,
        graph_hash=build.graph_hash,
        origin=origin,
    )
    save_attack(output, archive)
    return {
        "attack": name,
        "eps": float(attack.eps),
        "images": len(images),
        "goal": str(attack.goal),
        "succeeded": int(result.success.sum()),
        "gradients": origin,
        "graph_hash": build.graph_hash,
    }


def _differentiable(build: Build) -> tuple[Any, str]:
    """Return a module that gives gradients, and what it is."""
    if build.checkpoint_path is not None:
        return load_module(build), "checkpoint"
    from attacks.surrogate import Surrogate

    return Surrogate(build.graph), "surrogate of the dataflow graph"
