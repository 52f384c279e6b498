"""``bitsiege run``: the whole job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bitsiege.cli.options import CacheDir, DataDir, Json

if TYPE_CHECKING:
    from rich.table import Table

    from bitsiege.report.model import Report, TargetResult


def run(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CONFIG.toml]",
            help="What to do; without it, digits of scikit-learn.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Run directory; runs/NAME without it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Redo every step.")] = False,
    data_dir: DataDir = None,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Train, export, compile, attack, replay on every target, and report.

    Steps whose inputs did not change are reused, and an interrupted run goes on where it stopped. The exit
    status is 1 when two targets disagree.

    [bold]Example[/bold]: bitsiege run --out runs/demo
    """
    from bitsiege.cli.command import invocation
    from bitsiege.cli.console import progress, say, show, show_json
    from bitsiege.config import default_config, load_config
    from bitsiege.pipeline.job import run_job
    from bitsiege.pipeline.steps import Environment

    chosen = default_config() if config is None else load_config(config)
    path = Path("runs") / chosen.name if out is None else out
    environment = Environment(data_dir=data_dir, cache_dir=cache_dir, command=invocation.text)
    with progress() as listener:
        result = run_job(chosen, path, environment=environment, progress=listener, force=force)
    report = result.report
    if json:
        show_json(
            {
                "run": str(path),
                "report": str(result.page),
                "data": str(result.data),
                "divergences": report.divergences,
                "steps": [{"name": step.name, "reused": step.reused} for step in result.steps],
                "results": report.model_dump(mode="json", include={"clean", "points", "targets", "hardware"}),
            }
        )
    else:
        show(_table(report))
        say(f"report: {result.page}")
    for point in report.all_points:
        for divergence in point.divergences:
            say(f"bitsiege: error: {point.attack} eps {point.epsilon:g}: {divergence.text}")
    return 1 if report.divergences else 0


def _table(report: Report) -> Table:
    from rich import box
    from rich.table import Table

    hardware = report.hardware
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"{report.title}: {report.dataset.name}, {report.dataset.replayed_images} attacked test images",
        title_justify="left",
        caption=(
            f"II {hardware.ii_cycles:,} cycles: {hardware.frames_per_second:,.0f} images/s "
            f"on hardware at {hardware.clock_mhz:g} MHz"
        ),
        caption_justify="left",
    )
    table.add_column("")
    for target in report.targets:
        first = f"\nfirst {target.first_images} images" if target.first_images else ""
        table.add_column(target.name + first, justify="right")
    for point in report.all_points:
        label = "clean accuracy" if point.epsilon == 0 else f"{point.attack} eps {point.epsilon:g}"
        table.add_row(label, *(_accuracy(result) for result in point.results))
    table.add_section()
    names = [target.name for target in report.targets]
    columns = {name: [r for p in report.all_points for r in p.results if r.target == name] for name in names}
    table.add_row("divergences", *(_divergences(columns[name], name == names[0]) for name in names))
    table.add_row(r"latency \[cycles]", *(_number(target.first_latency_cycles) for target in report.targets))
    table.add_row("... in a stream", *(_number(columns[name][-1].cycles_per_image) for name in names))
    table.add_row("II \\[cycles]", *(_number(target.ii_cycles) for target in report.targets))
    table.add_row("images/s here", *(_rate(columns[name]) for name in names))
    return table


def _accuracy(result: TargetResult) -> str:
    return f"{100 * result.accuracy:.1f} %" + (
        f" ({result.divergences} differ)" if result.divergences else ""
    )


def _divergences(results: list[TargetResult], is_first: bool) -> str:
    count = sum(result.divergences for result in results)
    return "–" if is_first else f"[red]{count}[/]" if count else "[green]0[/]"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _rate(results: list[TargetResult]) -> str:
    seconds = sum(result.images / result.images_per_second for result in results if result.images_per_second)
    return f"{sum(result.images for result in results) / seconds:,.0f}" if seconds else "–"
