"""``bitsiege package``: a build becomes an overlay for a board."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import BuildDir, Json

if TYPE_CHECKING:
    from bitsiege.packaging import Packaged


def package(
    build: BuildDir,
    board: Annotated[
        str,
        typer.Option(
            "--board",
            metavar="NAME",
            help="The board, such as Pynq-Z1, or the path of a board file.",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Directory to write.", show_default=False)
    ],
    clock_mhz: Annotated[
        float | None,
        typer.Option("--clock-mhz", metavar="F", help="Clock [[MHz]; the board's default if left out."),
    ] = None,
    bitstream: Annotated[
        bool | None,
        typer.Option(
            "--bitstream/--no-bitstream",
            help="Build the bitstream, or don't; if left out, where Vivado is on the PATH.",
            show_default=False,
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="X.npy", help="Images of the data set for the known answers, 32 are taken."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Name of the network in names of files.")
    ] = None,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", metavar="S", min=1, help="How long one step of Vivado may take.")
    ] = 14_400.0,
    json: Json = False,
) -> int:
    """Write an overlay for PYNQ: RTL, Vivado project, hardware description, driver, known answers.

    Where Vivado is on the PATH, the bitstream is built too, and its timing checked. Names of files carry the
    hash of the circuit, because PYNQ does not load a changed file under an old name.

    [bold]Example[/bold]: bitsiege package build --board Pynq-Z1 -o overlay
    """
    from bitsiege.cli.console import progress, show, show_json
    from bitsiege.packaging import package_build

    with progress() as listener:
        packaged = package_build(
            build,
            output,
            board=board,
            clock_mhz=clock_mhz,
            bitstream=bitstream,
            images=images,
            name=name,
            timeout_s=timeout_s,
            listener=listener,
        )
    if json:
        show_json(_summary(packaged))
    else:
        show(_text(packaged))
    return 0


def _summary(packaged: Packaged) -> dict[str, Any]:
    plan, timing = packaged.plan, packaged.timing
    return {
        "output": str(packaged.path),
        "name": plan.name,
        "board": plan.board.name,
        "part": plan.board.part,
        "graph_hash": plan.graph_hash,
        "design_hash": plan.design_hash,
        "asked_mhz": plan.asked_mhz,
        "planned_mhz": plan.planned_mhz,
        "achieved_mhz": None if timing is None else timing.clock_mhz,
        "slacks_ns": None if timing is None else timing.slacks_ns,
        "note": packaged.note or None,
    }


def _text(packaged: Packaged) -> str:
    plan, timing = packaged.plan, packaged.timing
    clock = f"{plan.planned_mhz:g} MHz"
    if abs(plan.planned_mhz / plan.asked_mhz - 1) > 1e-3:
        clock += f" (the nearest below {plan.asked_mhz:g} that the processor's PLL gives)"
    lines = [f"{packaged.path}: {plan.name} for {plan.board.name} ({plan.board.part}), {clock}"]
    if timing is None:
        lines += [
            f"no bitstream: {packaged.note}. The project is complete; where Vivado is:",
            f"  make -C {packaged.path}/project",
        ]
    else:
        slack = min(timing.slacks_ns.values())
        lines.append(f"{plan.name}.bit: timing is met at {timing.clock_mhz:g} MHz, worst slack {slack:g} ns")
    return "\n".join(lines)
