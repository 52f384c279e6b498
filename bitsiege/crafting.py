"""Crafting an attack on a build: which module gives the gradients, and the archive that comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from attacks.archive import make_archive, save_attack
from attacks.base import Attack, AttackResult
from attacks.catalog import make_attack
from attacks.gradient import DEFAULT_BATCH, GradientAttack
from attacks.query import QueryAttack
from attacks.substitute import SubstituteAttack
from attacks.substitutefile import Trained
from bitsiege.progress import Progress, Task
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gradient:
    """What is differentiated.

    Attributes:
        module: Takes float32 ``(N, C, H, W)`` in [0, 1], returns logits ``(N, K)``.
        origin: What it is, in words.
        source_hash: Names its network; the archive is bound to that one.
    """

    module: Any
    origin: str
    source_hash: str


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
    trained: Trained | None = None,
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
        trained: The substitute of an attack by one; None to train it on the first images.

    Returns:
        JSON values: attack, eps, norm, goal, images, succeeded (at the goal), origin (what gave gradients or
        answers), queries (mean of an image, None with gradients), graph_hash.

    Raises:
        InputError: Parameters, images or labels that don't fit, or a file that can't be written.
    """
    attack = make_attack(name, **parameters)
    if isinstance(attack, GradientAttack):
        module, origin = differentiable(build, gradients)
        gradient = Gradient(module=module, origin=origin, source_hash=build.graph_hash)
        return craft_on(
            gradient,
            name,
            parameters,
            images,
            labels,
            output,
            progress=progress,
            label=label,
            first_index=first_index,
        )
    if not isinstance(attack, QueryAttack):
        raise TypeError(f"{name} is neither a gradient nor a query attack")
    check_images(images)
    pixels = np.ascontiguousarray(images)
    target = open_any_target(oracle, build, cache_dir=cache_dir, draw_seed=draw_seed)
    try:
        with progress.task(label or announce(attack), total=len(images)) as task:
            more: dict[str, Any] = {"trained": trained} if isinstance(attack, SubstituteAttack) else {}
            result = attack.craft(
                target, pixels, labels, first_index=first_index, progress=partial(tell, task), **more
            )
    finally:
        close_targets([target])
    return write_result(
        attack,
        result,
        pixels,
        labels,
        output,
        first_index=first_index,
        source_hash=build.graph_hash,
        origin=f"answers of {oracle}",
    )


def craft_on(
    gradient: Gradient,
    name: str,
    parameters: Mapping[str, Any],
    images: ImageArray,
    labels: IntArray,
    output: Path,
    *,
    progress: Progress,
    label: str = "",
    first_index: int = 0,
) -> dict[str, Any]:
    """Craft one adversarial image for each original on a module, and write the archive.

    Args:
        gradient: What is differentiated.
        name: Name of an attack that needs gradients.
        parameters: As `craft` takes them.
        images: uint8 ``(N, H, W, C)``, N at least 1.
        labels: int64 ``(N,)``.
        output: ATTACK.npz to write.
        progress: Who listens.
        label: How the work is announced.
        first_index: Index of the first image in its data set.

    Returns:
        As `craft` does.

    Raises:
        InputError: As `craft` says, or the attack takes no gradients.
    """
    check_images(images)
    attack = make_attack(name, **parameters)
    if not isinstance(attack, GradientAttack):
        raise InputError(f"{name} asks a target, it takes no gradients", hint="attack a build with it")
    pixels = np.ascontiguousarray(images)
    with progress.task(label or announce(attack), total=len(images)) as task:
        result = attack.craft(
            gradient.module,
            pixels,
            labels,
            first_index=first_index,
            batch_size=getattr(gradient.module, "batch_size", DEFAULT_BATCH),
            progress=partial(tell, task),
        )
    return write_result(
        attack,
        result,
        pixels,
        labels,
        output,
        first_index=first_index,
        source_hash=gradient.source_hash,
        origin=gradient.origin,
    )


def check_images(images: ImageArray) -> None:
    """Raise `InputError` unless there are any."""
    if len(images) == 0:
        raise InputError("there are no images to attack")


def announce(attack: Attack) -> str:
    """Return what an attack is called while it works."""
    return attack.name if attack.eps is None else f"{attack.name} eps {attack.eps:g}"


def tell(task: Task, done: int, total: int) -> None:
    """Pass on how many images are done."""
    task.update(done, total=total)


def write_result(
    attack: Attack,
    result: AttackResult,
    pixels: ImageArray,
    labels: IntArray,
    output: Path,
    *,
    first_index: int = 0,
    source_hash: str,
    origin: str,
) -> dict[str, Any]:
    """Write what an attack found; returns what `craft` does."""
    archive = make_archive(
        attack,
        result,
        originals=pixels,
        labels=labels,
        graph_hash=source_hash,
        origin=origin,
        first_index=first_index,
    )
    save_attack(output, archive)
    return {
        "attack": attack.name,
        "eps": archive.eps,
        "norm": str(attack.norm),
        "images": len(pixels),
        "goal": str(attack.goal),
        "succeeded": int(result.success.sum()),
        "origin": origin,
        "queries": None if result.queries is None else float(result.queries.mean()),
        "graph_hash": source_hash,
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
