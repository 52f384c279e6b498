"""``bitsiege report``: the page of a run, of a campaign, or of findings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bitsiege.cli.options import Json


def report(
    directory: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="What bitsiege run or bitsiege campaign wrote, or a folder with findings.",
            show_default=False,
        ),
    ],
    findings: Annotated[
        list[Path] | None,
        typer.Option(
            "--with",
            metavar="FILE.json",
            help="Findings of bitsiege masking, verify or faults that lie elsewhere; again for more.",
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Write report.json and the self-contained page report.html into DIR.

    A campaign may still be running: the page then says how far it is. Findings in DIR get a section each.

    [bold]Example[/bold]: bitsiege report runs/nightly --with masking.json
    """
    from bitsiege.pipeline.store import MARKER

    given = findings or []
    if (directory / MARKER).is_file():
        return _run(directory, given, json=json)
    return _evaluation(directory, given, json=json)


def _run(directory: Path, given: list[Path], *, json: bool) -> int:
    from bitsiege.cli.console import say, show_json
    from bitsiege.pipeline.collect import collect
    from bitsiege.report.findings import find_findings
    from bitsiege.report.page import write_report

    found = collect(directory).model_copy(update={"findings": find_findings(directory, given)})
    json_path, page_path = write_report(found, directory)
    if json:
        show_json({"report": str(page_path), "data": str(json_path), "divergences": found.divergences})
    else:
        say(f"{page_path}: {len(found.all_points)} sets of images on {len(found.targets)} targets")
    return 0


def _evaluation(directory: Path, given: list[Path], *, json: bool) -> int:
    from collections import Counter

    from bitsiege.cli.console import say, show_json
    from bitsiege.report.assemble import evaluate_folder
    from bitsiege.report.evaluationpage import write_evaluation

    found = evaluate_folder(directory, given)
    json_path, page_path = write_evaluation(found, directory)
    answers = Counter(item.answer for item in found.checklist)
    campaign = found.campaign
    if json:
        show_json(
            {
                "report": str(page_path),
                "data": str(json_path),
                "finished": None if campaign is None else campaign.finished,
                "divergences": None if campaign is None else campaign.divergences,
                "checklist": dict(answers),
            }
        )
        return 0
    if campaign is not None:
        say(f"{campaign.shards_done} of {campaign.shards_total} pieces of work are there")
    shown = ", ".join(f"{count} {answer}" for answer, count in answers.items())
    say(f"{page_path}: check-list: {shown}")
    return 0
