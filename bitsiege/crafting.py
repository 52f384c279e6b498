"""Crafting an attack on a build: which module gives the gradients, and the archive that comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from attacks.archive import make_archive, save_attack
from attacks.catalog import make_attack
from attacks.gradient import DEFAULT_BATCH, GradientAttack
from attacks.query import QueryAttack
from bitsiege.progress import Progress
from bitsiege.targets import close_targets, load_module, open_any_target
from export.errors import InputError
from export.graph import IntArray
from hw.build import Build
from hw.target import ImageArray

DEFAULT_ORACLE = "emulator"


class Gradients(StrEnum):
    """What is differentiated: the trained module, or the twin of its integer graph, faster and as exact."""

    CHECKPOINT = "checkpoint"
    TWIN = "twin"


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
    first_index: int = 0,
    oracle: str = DEFAULT_ORACLE,
    cache_dir: Path | None = None,
    draw_seed: int = 0,
    gradients: Gradients = Gradients.TWIN,
) -> dict[str, Any]:
    """Craft one adversarial image for each original and write the archive.

    Args:
        build: The network to attack.
        name: Name of the attack.
        parameters: What `attacks.catalog.make_attack` takes, eps included where the attack needs one.
        images: uint8 ``(N, H, W, C)``, N at least 1.
        labels: int64 ``(N,)``.
        output: ATTACK.npz to write.
        progress: Who listens.
        label: How the work is announced.
        first_index: Index of the first image in its data set.
        oracle: Target that a black-box attack asks.
        cache_dir: Where native code is kept; None for the user's cache folder.
        draw_seed: The oracle's, of weights that are drawn for each frame.
        gradients: What a build with a checkpoint is differentiated by.

    Returns:
        JSON values: attack, eps, norm, goal, images, succeeded (at the goal), origin (what gave gradients or
        answers), queries (mean of an image, None with gradients), graph_hash.

    Raises:
        InputError: Parameters, images or labels that don't fit, or a file that can't be written.
    """
    if len(images) == 0:
        raise InputError("there are no images to attack")
    attack = make_attack(name, **parameters)
    pixels = np.ascontiguousarray(images)
    eps = attack.budget(build.graph.input_shape).eps
    bounds = f" eps {eps:g}" if attack.eps is not None else ""
    with progress.task(label or f"{name}{bounds}", total=len(images)) as task:

        def report(done: int, total: int) -> None:
            task.update(done, total=total)

        if isinstance(attack, QueryAttack):
            origin = f"answers of {oracle}"
            target = open_any_target(oracle, build, cache_dir=cache_dir, draw_seed=draw_seed)
            try:
                result = attack.craft(target, pixels, labels, first_index=first_index, progress=report)
            finally:
                close_targets([target])
        elif isinstance(attack, GradientAttack):
            module, origin = differentiable(build, gradients)
            result = attack.craft(
                module,
                pixels,
                labels,
                first_index=first_index,
                batch_size=getattr(module, "batch_size", DEFAULT_BATCH),
                progress=report,
            )
        else:
            raise TypeError(f"{name} is neither a gradient nor a query attack")
    archive = make_archive(
        attack, result, originals=pixels, labels=labels, graph_hash=build.graph_hash, origin=origin
    )
    save_attack(output, archive)
    return {
        "attack": name,
        "eps": float(eps),
        "norm": str(attack.norm),
        "images": len(images),
        "goal": str(attack.goal),
        "succeeded": int(result.success.sum()),
        "origin": origin,
        "queries": None if result.queries is None else float(result.queries.mean()),
        "graph_hash": build.graph_hash,
    }


def parse_parameters(entries: Sequence[str]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` entries: a number, true, false, or else text.

    Raises:
        InputError: An entry has another form, or a key is there twice.
    """
    found: dict[str, Any] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not (equals and key.isidentifier() and text):
            raise InputError(f"a parameter is KEY=VALUE, not {entry!r}", hint="-p momentum=0.9")
        if key in found:
            raise InputError(f"the parameter {key} is there twice")
        try:
            found[key] = json.loads(text)
        except ValueError:
            found[key] = text
    return found


def parse_gradients(name: str) -> Gradients:
    """Return the member of that name.

    Raises:
        InputError: There is none.
    """
    if name not in list(Gradients):
        raise InputError(f"unknown gradients {name!r}", hint=f"known: {', '.join(Gradients)}")
    return Gradients(name)


def differentiable(build: Build, gradients: Gradients = Gradients.CHECKPOINT) -> tuple[Any, str]:
    """Return a module that gives gradients, and what it is.

    A build without a checkpoint has the twin of its graph only. A twin whose sums float32 can't hold is
    replaced by the checkpoint.
    """
    from attacks.surrogate import Surrogate
    from bitsiege.twins import make_twin

    if build.checkpoint_path is None:
        return Surrogate(build.graph), "surrogate of the dataflow graph"
    module = load_module(build)
    if gradients is Gradients.TWIN:
        with suppress(InputError):
            return make_twin(module, build.graph), "twin of the checkpoint"
    return module, "checkpoint"
