"""The commands by name. Everything heavy is imported when its command runs, not here."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bitsiege.cli import (
    attack,
    board,
    campaign,
    compare,
    compile_,
    doctor,
    export_,
    faults,
    finn,
    infer,
    masking,
    package,
    replay,
    report,
    run,
    synth,
    timing,
    train,
    verify,
)
from bitsiege.cli.command import invocation

_SECTIONS = (
    ("The whole job", (("run", run.run), ("report", report.report), ("doctor", doctor.doctor))),
    ("At scale", (("campaign", campaign.campaign), ("compare", compare.compare))),
    ("Step by step", (("train", train.train), ("export", export_.export), ("compile", compile_.compile_))),
    (
        "With a compiled network",
        (
            ("infer", infer.infer),
            ("attack", attack.attack),
            ("replay", replay.replay),
            ("faults", faults.faults),
            ("verify", verify.verify),
            ("masking", masking.masking),
            ("synth", synth.synth),
            ("timing", timing.timing),
            ("finn", finn.finn),
        ),
    ),
    ("Towards a board", (("package", package.package),)),
)


app = typer.Typer(
    name="bitsiege",
    help="Deploy ±1 neural networks to FPGAs, and attack the hardware itself, bit for bit.",
    epilog="Start with: bitsiege run",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _panel, _commands in _SECTIONS:
    for _name, _function in _commands:
        app.command(_name, rich_help_panel=_panel)(_function)
app.add_typer(board.board, name="board", rich_help_panel="Towards a board")


def _version(wanted: bool) -> None:
    if wanted:
        from bitsiege.pipeline.digests import distribution_version

        sys.stdout.write(f"bitsiege {distribution_version('bitsiege')}\n")
        raise typer.Exit


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version
    invocation.debug = debug
    # A result may hold characters that an odd terminal encoding lacks; they are no reason to fail.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
