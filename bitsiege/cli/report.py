"""``bitsiege report``: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitsiege.cli.options import Json


def report(
    run_dir: Annotated[
        Path,
        typer.Argument(metavar="RUN_DIR", help="Directory that `bitsiege run` wrote.", show_default=False),
    ],
    json: Json = False,
) -> int:
    """Rebuild report.json and the self-contained page report.html of a run.

    [bold]Example[/bold]: bitsiege report runs/demo
    """
    from bitsiege.cli.console import say, show_json
    from bitsiege.pipeline.collect import collect
    from bitsiege.report.page import write_report

    found = collect(run_dir)
    json_path, page_path = write_report(found, run_dir)
    if json:
        show_json({"report": str(page_path), "data": str(json_path), "divergences": found.divergences})
    else:
        say(f"{page_path}: {len(found.all_points)} sets of images on {len(found.targets)} targets")
    return 0
