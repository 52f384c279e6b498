"""``bitsiege replay``: an attack on every implementation of the network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitsiege.cli.options import BoardsFile, CacheDir, DrawSeed, Json

if TYPE_CHECKING:
    from rich.table import Table

    from attacks.replay import ReplayReport


def replay(
    archive: Annotated[
        Path, typer.Argument(metavar="ATTACK.npz", help="What `bitsiege attack` wrote.", show_default=False)
    ],
    build: Annotated[
        Path,
        typer.Option("--build", metavar="BUILD", help="The network that computes.", show_default=False),
    ],
    targets: Annotated[
        str,
        typer.Option(
            "--targets",
            metavar="A,B,...",
            help="Who computes; the first is what the others are compared with.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="REPLAY.json", help="What to write.", show_default=False)
    ],
    trace: Annotated[
        bool, typer.Option("--trace", help="Name layer and channel of the first difference.")
    ] = False,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            "--limit", metavar="NAME=N", help="A slow target sees the first N images only; repeatable."
        ),
    ] = None,
    transfer: Annotated[
        bool,
        typer.Option("--transfer", help="Let BUILD judge an attack that was made for another network."),
    ] = False,
    draw_seed: DrawSeed = 0,
    boards: BoardsFile = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Replay clean and adversarial images on several targets and compare every integer logit.

    The exit status is 1 when a target differs from the first one; REPLAY.json is written all the same. It has
    the hash of the network that computes and of the one that the attack was made for.

    [bold]Example[/bold]: bitsiege replay attack.npz --build build --targets torch,emulator,rtl -o replay.json
    """
    from attacks.archive import load_attack
    from bitsiege.boardreplay import examine, finish, remembered
    from bitsiege.boards import hash_file, partial_folder
    from bitsiege.cli.console import progress, say, show, show_json
    from bitsiege.outputs import check_output
    from bitsiege.pipeline.store import write_json
    from bitsiege.replaying import check_judge, replay_limited
    from bitsiege.targets import (
        close_targets,
        draws_weights,
        open_any_target,
        parse_limits,
        parse_targets,
    )
    from hw.build import load_build

    names = parse_targets(targets)
    limits = parse_limits(limit or [], names)
    check_output(output, archive)
    loaded = load_build(build)
    attack = load_attack(archive)
    check_judge(attack, loaded.graph)
    drawn = draws_weights(loaded.graph)
    subject = hash_file(archive)
    opened = []
    try:
        opened.extend(
            open_any_target(
                name,
                loaded,
                cache_dir=cache_dir,
                draw_seed=draw_seed,
                boards=boards,
                journal=partial_folder(output, name),
                subject=subject,
            )
            for name in names
        )
        listened = remembered(opened)
        with progress() as listener:
            report = replay_limited(
                attack,
                listened,
                graph_hash=loaded.graph_hash,
                limits=limits,
                trace=trace,
                transfer=transfer,
                progress=listener,
                label=f"replay {attack.attack}",
                draw_seed=draw_seed if drawn else None,
            )
        findings = examine(attack, report, listened, draws=drawn)
        document = report.to_json()
        if findings:
            document["boards"] = [found.to_json() for found in findings]
        write_json(output, document)
        finish(listened)
    finally:
        close_targets(opened)
    if json:
        show_json(document)
    else:
        show(_table(report))
        for found in findings:
            if found.summary:
                say(found.summary)
    report.check()
    return 0


def _table(report: ReplayReport) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=f"{report.attack}, eps {report.eps:g}", title_justify="left")
    table.add_column("target")
    for heading in ("images", "clean", "under attack", "divergences", "latency [cycles]", "images/s"):
        table.add_column(heading, justify="right")
    for result in report.targets:
        cycles = result.adversarial.steady_latency_cycles
        table.add_row(
            result.target,
            f"{result.clean.count:,}",
            f"{100 * result.clean.accuracy:.1f} %",
            f"{100 * result.adversarial.accuracy:.1f} %",
            str(result.divergences),
            "–" if cycles is None else f"{cycles:,}",
            f"{result.adversarial.images_per_second:,.0f}",
        )
    return table
