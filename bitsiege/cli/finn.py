"""``bitsiege finn``: the network through FINN, compared with ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import CacheDir, Json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Group

    from hw.finn import FinnReport


def finn(
    build: Annotated[
        Path | None, typer.Argument(metavar="BUILD", help="Directory that `bitsiege compile` wrote.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Directory to write.")
    ] = None,
    folding: Annotated[
        Path | None,
        typer.Option("--folding", metavar="F.json", help="A folding of FINN's form, instead of the build's."),
    ] = None,
    fps: Annotated[
        float | None, typer.Option("--fps", metavar="N", help="Let FINN's solver choose a folding.")
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", metavar="ATTACK.npz", help="Images to compare on, clean and adversarial."),
    ] = None,
    images: Annotated[
        int, typer.Option("--images", metavar="N", min=1, help="Images of each kind to compare.")
    ] = 64,
    rtl: Annotated[
        bool,
        typer.Option("--rtl", help="Offer FINN our RTL where it has only HLS, join it all, and simulate it."),
    ] = False,
    setup: Annotated[
        bool, typer.Option("--setup", help="Install FINN into an environment of its own.")
    ] = False,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Build a network with FINN, and compare every integer logit of its graphs with ours.

    FINN goes as far as the machine allows: to estimates and generated sources, with Vivado and Vitis HLS on
    PATH to a bitstream. FINN.json puts its cycles and resources beside those of our hardware at the same
    folding. The exit status is 1 when a logit differs; DIR is written all the same. --setup is needed once.

    With --rtl a network of ±1 layers becomes RTL alone, FINN's modules and ours, without Vitis HLS.

    [bold]Example[/bold]: bitsiege finn build -o finn --archive attack.npz
    """
    from bitsiege.cli.console import say, show, show_json
    from bitsiege.finn import choose, comparison_images
    from export.errors import InputError
    from hw.build import load_build
    from hw.finn import FINN, build_with_finn, finn_python, set_up

    if setup:
        set_up(cache_dir)
        say(f"FINN is set up in {FINN.directory(cache_dir)}")
        if build is None:
            return 0
    if build is None or output is None:
        raise InputError("name a build and an output directory", hint="bitsiege finn BUILD -o DIR")
    python = finn_python(cache_dir)
    loaded = load_build(build)
    choice = choose(loaded, folding=folding, fps=fps, rtl=rtl)
    report = build_with_finn(
        python,
        loaded,
        output,
        choice=choice,
        images=comparison_images(loaded, archive, images, cache_dir=cache_dir),
        cache_dir=cache_dir,
    )
    if json:
        show_json(dict(report.document))
    else:
        show(_text(report))
    report.check()
    return 0


def _text(report: FinnReport) -> Group:
    from rich import box
    from rich.console import Group
    from rich.table import Table

    document = report.document
    table = Table(
        box=box.SIMPLE_HEAD, title=f"our RTL and FINN {document['finn']}, same folding", title_justify="left"
    )
    table.add_column("layer")
    for heading in ("PE x SIMD", "cycles", "FINN", "LUT", "FINN", "BRAM18", "FINN"):
        table.add_column(heading, justify="right")
    for row in document["layers"]:
        table.add_row(row["layer"], f"{row['pe']}x{row['simd']}", *_pairs(row["rtl"], row["finn"], "cycles"))
    network = document["network"]
    table.add_section()
    table.add_row("network", "", *_pairs(network["rtl"], network["finn"], "ii_cycles"))
    return Group(table, *_checks(report), *_notes(document))


def _pairs(ours: dict[str, Any], theirs: dict[str, Any], cycles: str) -> list[str]:
    return [_number(side[key]) for key in (cycles, "lut", "bram18") for side in (ours, theirs)]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _checks(report: FinnReport) -> list[str]:
    lines: list[str] = []
    for check in report.checks:
        verdict = (
            "equal"
            if check.equal
            else f"{check.wrong_images} images differ, {check.wrong_labels} in the label"
        )
        lines.append(f"{check.graph}, {check.count} {check.images} images: {verdict}")
        if check.reason:
            lines.append(f"  {check.reason}")
    return lines


def _notes(document: Mapping[str, Any]) -> list[str]:
    lines = [f"note: {warning}" for warning in document["warnings"]]
    if (joined := document["stitched"]) is not None:
        origins = list(joined["modules"].values())
        theirs = origins.count("FINN's")
        lines.append(
            f"joined: {theirs} modules of FINN's, {origins.count('ours')} of ours, "
            f"II {joined['ii_cycles'] or 0:,.0f} cycles simulated"
        )
        lines += [f"  in place of FINN's: {replaced}" for replaced in joined["replaced"]]
    stopped = document["stopped"]
    end = (
        "FINN took all of its steps"
        if stopped is None
        else (f"FINN stopped before {stopped['step']}: {stopped['reason']}")
    )
    return [*lines, end]
