"""From a build to an overlay for a board, and with Vivado to its bitstream."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import ToolError
from hw.boards import find_board
from hw.build import Build, load_build
from hw.vivado import (
    OverlayPlan,
    Timing,
    build_bitstream,
    find_vivado,
    known_answers,
    plan_overlay,
    write_overlay,
)

if TYPE_CHECKING:
    from bitsiege.progress import Progress

_NETWORK = "bitsiege.network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """An overlay that was written.

    Attributes:
        path: Its directory.
        plan: What it is.
        timing: Timing of its bitstream, or None where none was built.
        note: Why there is no bitstream; empty where there is one.
    """

    path: Path
    plan: OverlayPlan
    timing: Timing | None
    note: str


def package_build(
    build: Path,
    output: Path,
    *,
    board: str,
    clock_mhz: float | None,
    bitstream: bool | None,
    images: Path | None,
    name: str | None,
    timeout_s: float,
    listener: Progress,
) -> Packaged:
    """Write an overlay, and build its bitstream where that is wanted and Vivado is there.

    Args:
        build: Directory of a compiled network.
        output: Directory to write.
        board: Name of a board, or path of its file.
        clock_mhz: Clock [MHz]; None for the board's default.
        bitstream: Whether to build it; None builds it if Vivado is on the PATH.
        images: File of images of the data set for the known answers.
        name: Name of the network; None takes it from the build.
        timeout_s: How long one step of Vivado may take [s].
        listener: Told what happens.

    Raises:
        InputError: A file or option doesn't fit.
        ToolError: The bitstream is wanted and Vivado is missing, or it fails.
        CheckFailedError: The timing is missed.
    """
    from bitsiege.arrays import load_images
    from hw.overlay import design_hash, generate_overlay

    vivado = find_vivado()
    if bitstream and vivado is None:
        raise ToolError(
            "Vivado is not on the PATH, so no bitstream can be built",
            hint="leave out --bitstream for a project without one, or source Vivado's settings64.sh",
        )
    loaded = load_build(build)
    plan = plan_overlay(
        loaded.graph,
        model=network_name(loaded) if name is None else name,
        board=find_board(board),
        graph_hash=loaded.graph_hash,
        design_hash=design_hash(loaded),
        clock_mhz=clock_mhz,
    )
    clean = None if images is None else load_images(images, loaded.graph.input_shape)
    with listener.task("known answers"):
        answers = known_answers(loaded.graph, clean)
    write_overlay(output, plan, answers, lambda folder: generate_overlay(loaded, folder))
    if vivado is None or bitstream is False:
        note = "Vivado is not on the PATH" if vivado is None else "no bitstream was asked for"
        return Packaged(path=output, plan=plan, timing=None, note=note)
    with listener.task("Vivado", total=_STEPS) as task:
        timing = build_bitstream(
            output,
            plan,
            vivado,
            timeout_s=timeout_s,
            on_step=_counting(lambda n, step: task.update(n, note=step)),
        )
    return Packaged(path=output, plan=plan, timing=timing, note="")


def network_name(build: Build) -> str:
    """Return the name of a build's network: the one in its QONNX file, else that of the directory."""
    if build.model_path is not None:
        import onnx

        model = onnx.load(str(build.model_path), load_external_data=False)
        for entry in model.metadata_props:
            if entry.key == _NETWORK and entry.value:
                return entry.value
    return build.path.resolve().name


_STEPS = 4


def _counting(update: Callable[[int, str], None]) -> Callable[[str], None]:
    done = 0

    def count(step: str) -> None:
        nonlocal done
        update(done, step)
        done += 1

    return count
