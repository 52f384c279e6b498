"""What `bitsiege finn` hands to FINN: the folding, and the images that both compute."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from export.errors import InputError
from hw.build import Build
from hw.finn import Choice
from hw.finn.images import ADVERSARIAL, CLEAN, draw_images
from hw.folding.finn import read_finn_folding
from hw.target import ImageArray


def choose(build: Build, *, folding: Path | None, fps: float | None, rtl: bool = False) -> Choice:
    """Return who chooses the folding: a file, FINN's solver, or else the build.

    Raises:
        InputError: Both are given, the file can't be used, or the rate is none.
    """
    if fps is not None:
        if folding is not None:
            raise InputError("give either a frame rate or a folding file", hint="drop --folding or --fps")
        if fps <= 0:
            raise InputError(f"the frame rate must be above 0, not {fps:g}")
        return Choice(fps=fps, rtl=rtl)
    chosen = build.folding if folding is None else read_finn_folding(folding, build.graph)
    return Choice(folding=chosen, rtl=rtl)


def comparison_images(
    build: Build, archive: Path | None, count: int, *, cache_dir: Path | None = None
) -> Mapping[str, ImageArray]:
    """Return clean and adversarial images, uint8 ``(N, H, W, C)`` by name.

    Args:
        build: The compiled network.
        archive: An attack whose first images are taken; None to draw some, and for each the one nearest to a
            tie among some that an attacker might try.
        count: Images of each kind, fewer where the archive has fewer.
        cache_dir: Where native code is kept.

    Raises:
        InputError: The archive can't be read, or its images don't fit.
    """
    if archive is None:
        return draw_images(build.graph, count, cache_dir=cache_dir)
    from attacks.archive import load_attack

    attack = load_attack(archive)
    if attack.originals.shape[1:] != build.graph.input_shape:
        raise InputError(
            f"the images of {archive} have shape {attack.originals.shape[1:]}, the network takes "
            f"{build.graph.input_shape}",
            hint="give an attack on this network",
        )
    return {CLEAN: attack.originals[:count], ADVERSARIAL: attack.adversarial[:count]}
