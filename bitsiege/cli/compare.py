"""``bitsiege compare``: two runs, and whether the second one is worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitsiege.cli.options import Json

if TYPE_CHECKING:
    from rich.table import Table

    from bitsiege.comparing.difference import Comparison, Difference

_RUN = "Folder of `bitsiege campaign` or `bitsiege run`, or its campaign.json or report.json."


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help=f"Before. {_RUN}", show_default=False)],
    after: Annotated[Path, typer.Argument(metavar="B", help="After.", show_default=False)],
    max_accuracy_drop: Annotated[
        float, typer.Option("--max-accuracy-drop", metavar="X", min=0, max=1, help="On clean images.")
    ] = 0.0,
    max_robustness_drop: Annotated[
        float, typer.Option("--max-robustness-drop", metavar="X", min=0, max=1, help="Under attack.")
    ] = 0.0,
    max_cycles_increase: Annotated[
        float, typer.Option("--max-cycles-increase", metavar="X", min=0, help="II and latency; 0.05 is 5 %.")
    ] = 0.0,
    max_resource_increase: Annotated[
        float,
        typer.Option("--max-resource-increase", metavar="X", min=0, help="LUTs and other estimates."),
    ] = 0.0,
    max_divergence_increase: Annotated[
        int,
        typer.Option("--max-divergence-increase", metavar="N", min=0, help="Images more on one target."),
    ] = 0,
    alpha: Annotated[
        float,
        typer.Option(
            "--alpha",
            metavar="P",
            min=0,
            max=1,
            help="A drop counts if chance makes one as large with at most this probability; 1 counts all.",
        ),
    ] = 0.05,
    allow_missing: Annotated[bool, typer.Option("--allow-missing", help="B may lack what A has.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Show also what is the same.")] = False,
    json: Json = False,
) -> int:
    """Compare accuracy, robustness, exactness, cycles and resources of two runs.

    The exit status is 1 if B is worse by more than is allowed. Accuracies are compared image by image
    (McNemar's exact test) where both runs have folders with answers on the same images, else as independent
    shares (Fisher's exact test).

    [bold]Example[/bold]: bitsiege compare runs/main runs/branch --max-accuracy-drop 0.005
    """
    from bitsiege.cli.console import show, show_json
    from bitsiege.comparing.difference import Tolerances
    from bitsiege.comparing.judging import compare as judge
    from bitsiege.comparing.reading import read_snapshot

    comparison = judge(
        read_snapshot(before),
        read_snapshot(after),
        Tolerances(
            accuracy_drop=max_accuracy_drop,
            robustness_drop=max_robustness_drop,
            cycles_increase=max_cycles_increase,
            resources_increase=max_resource_increase,
            divergences_increase=max_divergence_increase,
            alpha=alpha,
            allow_missing=allow_missing,
        ),
    )
    if json:
        show_json(comparison.to_json())
    else:
        show(_table(comparison, every=every))
    return 1 if comparison.failures else 0


def _table(comparison: Comparison, *, every: bool) -> Table:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    shown = [d for d in comparison.differences if every or d.verdict != "same"]
    failures = len(comparison.failures)
    table = Table(
        box=box.SIMPLE_HEAD,
        min_width=100,
        title=escape(f"{comparison.before} → {comparison.after}"),
        title_justify="left",
        caption=(
            f"{len(comparison.differences)} numbers compared, {len(comparison.differences) - len(shown)} "
            f"of them equal and not shown; {failures or 'no'} regression{'s' if failures != 1 else ''}"
        ),
        caption_justify="left",
    )
    for heading in ("what", "where"):
        table.add_column(heading)
    for heading in ("A", "B", "change", "p"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    bad = set(comparison.failures)
    for difference in shown:
        verdict = str(difference.verdict)
        table.add_row(
            difference.what,
            escape(difference.where),
            _number(difference, difference.before),
            _number(difference, difference.after),
            _change(difference),
            "–" if difference.p_adjusted is None else f"{difference.p_adjusted:.2g}",
            f"[red]{verdict}[/]" if difference in bad else verdict,
        )
    return table


def _is_share(difference: Difference) -> bool:
    return difference.what in ("accuracy", "robustness")


def _number(difference: Difference, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{100 * value:.2f} %" if _is_share(difference) else f"{value:,.10g}"


def _change(difference: Difference) -> str:
    if difference.before is None or difference.after is None:
        return "–"
    change = difference.after - difference.before
    if _is_share(difference):
        return f"{100 * change:+.2f} points"
    return f"{100 * change / difference.before:+.1f} %" if difference.before else f"{change:+g}"
