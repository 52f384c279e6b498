"""Crafting on networks that are at hand, for one that only judges: transfer, by one or by an ensemble."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from attacks.catalog import make_attack
from attacks.gradient import GradientAttack
from attacks.transfer import craft_by_transfer
from bitsiege.crafting import (
    DEFAULT_ORACLE,
    Gradients,
    announce,
    check_images,
    differentiable,
    tell,
    write_result,
)
from bitsiege.progress import Progress
from bitsiege.targets import close_targets, open_any_target
from export.errors import InputError
from export.graph import DataflowGraph, IntArray
from hw.build import Build, load_build
from hw.target import ImageArray
from quant_models.checkpoint import load_checkpoint


def craft_by_surrogates(
    build: Build,
    name: str,
    parameters: Mapping[str, Any],
    images: ImageArray,
    labels: IntArray,
    output: Path,
    *,
    surrogates: Sequence[Path],
    progress: Progress,
    oracle: str = DEFAULT_ORACLE,
    cache_dir: Path | None = None,
    draw_seed: int = 0,
    first_index: int = 0,
) -> dict[str, Any]:
    """Craft images on surrogates, let the build judge them, and write the archive; it is bound to the build.

    Args:
        build: The network to fool; it is not asked before the end.
        name: Name of an attack that needs gradients.
        parameters: What `attacks.catalog.make_attack` takes.
        images: uint8 ``(N, H, W, C)``, N at least 1.
        labels: int64 ``(N,)``.
        output: ATTACK.npz to write.
        surrogates: Checkpoints, also in full precision, and builds; several are attacked together.
        progress: Who listens.
        oracle: Target that judges.
        cache_dir: Where native code is kept.
        draw_seed: The oracle's.
        first_index: Index of the first image in its data set.

    Returns:
        As `bitsiege.crafting.craft` does.

    Raises:
        InputError: The attack takes no gradients, or a surrogate is no network for these images.
    """
    check_images(images)
    attack = make_attack(name, **parameters)
    if not isinstance(attack, GradientAttack):
        raise InputError(f"{name} asks a target, it takes no gradients", hint="leave --surrogate out")
    modules = [_load(path, build.graph) for path in surrogates]
    pixels = np.ascontiguousarray(images)
    judge = open_any_target(oracle, build, cache_dir=cache_dir, draw_seed=draw_seed)
    try:
        with progress.task(announce(attack), total=len(images)) as task:
            result = craft_by_transfer(
                attack,
                modules,
                judge,
                pixels,
                labels,
                first_index=first_index,
                progress=partial(tell, task),
            )
    finally:
        close_targets([judge])
    names = ", ".join(path.name for path in surrogates)
    return write_result(
        attack,
        result,
        pixels,
        labels,
        output,
        first_index=first_index,
        source_hash=build.graph_hash,
        origin=f"transfer from {names}",
    )


def _load(path: Path, graph: DataflowGraph) -> Any:
    """Return a surrogate's module.

    Raises:
        InputError: It is no network, or none for the graph's images and classes.
    """
    if path.is_dir():
        found = load_build(path)
        module, shape, classes = (
            differentiable(found, Gradients.TWIN)[0],
            found.graph.input_shape,
            found.graph.classes,
        )
    else:
        checkpoint = load_checkpoint(path)
        module, shape, classes = checkpoint.build(), checkpoint.spec.input_shape, checkpoint.spec.classes
    if (shape, classes) != (graph.input_shape, graph.classes):
        raise InputError(
            f"the surrogate {path} takes images of shape {shape} and has {classes} classes, the build "
            f"{graph.input_shape} and {graph.classes}"
        )
    return module
