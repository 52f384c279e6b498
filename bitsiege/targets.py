"""Opening any target of a build, PyTorch's included: only the front door knows both sides."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from export.errors import InputError
from export.graph import DataflowGraph, IntArray
from hw.build import Build
from hw.target import ImageArray, Target, TargetKind
from hw.targets import HARDWARE_TARGETS, REMOTE_PREFIX, open_target

TORCH = "torch"
# The order in which people read them: from the model to the hardware.
_FIRST = (TORCH, "qonnx", "finn", "reference", "emulator", "timing", "rtl", "netlist")
# Targets that draw weights; qonnx refuses such a network.
_DRAWING = ("reference", "emulator", "timing", "rtl", "netlist")


def parse_targets(text: str) -> tuple[str, ...]:
    """Split ``a,b,c`` into names of targets.

    Raises:
        InputError: A name is unknown, or there twice.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise InputError("no target is named", hint=f"known: {', '.join(known_targets())}")
    for name in names:
        check_target(name)
    if len(set(names)) != len(names):
        raise InputError(f"a target is there twice: {text}")
    return names


def known_targets() -> tuple[str, ...]:
    """Names of all targets."""
    return (*_FIRST, *(name for name in HARDWARE_TARGETS if name not in _FIRST))


def check_target(name: str) -> None:
    """Raise `InputError` unless the target is known."""
    known = (*known_targets(), f"{REMOTE_PREFIX}NAME")
    if name.startswith(REMOTE_PREFIX) and name != REMOTE_PREFIX:
        return
    if name not in known[:-1]:
        near = get_close_matches(name, known, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"there is no target {name!r}", hint=f"{guess}known: {', '.join(known)}")


def open_any_target(
    name: str,
    build: Build,
    *,
    cache_dir: Path | None = None,
    draw_seed: int = 0,
    boards: Path | None = None,
    journal: Path | None = None,
    subject: str = "",
) -> Target:
    """Open a target of a build.

    Args:
        name: Any of `known_targets`.
        build: The compiled network.
        cache_dir: Where native code is kept; None for the user's cache folder.
        draw_seed: Of weights that are drawn for each frame, below 2**32.
        boards: The file that lists boards; None for the user's own.
        journal: Folder in which a board's answers are kept, see `hw.remote.RemoteTarget`.
        subject: What such a journal is about.

    Raises:
        InputError: An unknown target, or the build lacks what it needs, or the target can't draw weights.
        ToolError: A compiler or simulator is missing, or a board can't be reached.
    """
    check_target(name)
    if name == TORCH:
        from attacks.torch_target import TorchTarget

        return TorchTarget(load_module(build), build.graph, seed=draw_seed)
    if name.startswith(REMOTE_PREFIX):
        return open_target(name, build, boards=boards, seed=draw_seed, journal=journal, subject=subject)
    options: dict[str, Any] = {}
    if cache_dir is not None and name in ("emulator", "timing", "rtl", "netlist", "finn"):
        options["cache_dir"] = cache_dir
    if draws_weights(build.graph) and name in _DRAWING:
        options["seed"] = draw_seed
    return open_target(name, build, **options)


def draws_weights(graph: DataflowGraph) -> bool:
    """Whether a network has weights that are drawn for each frame."""
    return any(node.draw is not None for node in graph.mvaus)


def load_module(build: Build) -> Any:
    """Return the trained PyTorch module of a build, in evaluation mode.

    Raises:
        InputError: The build has no checkpoint.
    """
    if build.checkpoint_path is None:
        raise InputError(
            f"{build.path} has no checkpoint, and the target torch is the trained module",
            hint="compile with --checkpoint, or leave torch out of --targets",
        )
    from quant_models.checkpoint import load_checkpoint

    return load_checkpoint(build.checkpoint_path).build()


def close_targets(targets: Iterator[Target] | list[Target]) -> None:
    """Release processes and libraries of targets that hold some."""
    for target in targets:
        close = getattr(target, "close", None)
        if close is not None:
            with suppress(OSError):
                close()


def parse_limits(entries: list[str], names: tuple[str, ...]) -> dict[str, int]:
    """Parse ``NAME=N`` entries: how many images a target sees.

    Raises:
        InputError: An entry has another form, or names a target that takes no part.
    """
    limits: dict[str, int] = {}
    for entry in entries:
        name, _, count = entry.partition("=")
        if not (count.isascii() and count.isdigit() and int(count) > 0):
            raise InputError(f"--limit takes NAME=N with N above 0, not {entry!r}", hint="--limit qonnx=100")
        if name not in names:
            raise InputError(f"--limit names {name!r}, which is not among --targets")
        limits[name] = int(count)
    return limits


def measure_timing(target: Target, images: ImageArray) -> dict[str, Any]:
    """Run images through a target and measure the clock cycles, where it has a clock.

    Args:
        target: It is compiled by this, if it needs to be.
        images: uint8 ``(N, H, W, C)``, N at least 2 for an initiation interval.

    Returns:
        JSON values ``kind``, ``first_latency_cycles`` (first image, empty pipeline), ``latency_cycles`` (last
        image, full pipeline) and ``ii_cycles`` (mean distance of results in the second
        half); None without clock.
    """
    result: dict[str, Any] = {
        "kind": str(target.kind),
        "first_latency_cycles": None,
        "latency_cycles": None,
        "ii_cycles": None,
    }
    has_clock = target.kind is not TargetKind.SIMULATION
    cycles = target.infer(images if has_clock else images[:1]).cycles
    if cycles is not None and len(cycles):
        result["first_latency_cycles"] = int(cycles[0])
        result["latency_cycles"] = int(cycles[-1])
    if isinstance(target, _Streaming) and len(images) > 1:
        ends = target.stream(images).last_out_cycle[len(images) // 2 - 1 :]
        result["ii_cycles"] = float(ends[-1] - ends[0]) / (len(ends) - 1)
    return result


class _StreamEnds(Protocol):
    """When each image's last output left."""

    @property
    def last_out_cycle(self) -> IntArray: ...


@runtime_checkable
class _Streaming(Protocol):
    """A target that can tell when each result of one stream came out."""

    def stream(self, images: ImageArray) -> _StreamEnds:
        """Send a batch as one stream."""
        ...
