"""``bitsiege doctor``: what is installed, what is missing, and what for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitsiege.cli.options import Json

if TYPE_CHECKING:
    from rich.table import Table

    from bitsiege.diagnosis import Finding

_MISSING = 3


def doctor(json: Json = False) -> int:
    """List every dependency and tool with its version, what it is for, and how to get it.

    The exit status is 0 when `bitsiege run` can do its whole job, 3 otherwise.

    [bold]Example[/bold]: bitsiege doctor
    """
    from bitsiege.cli.console import show, show_json
    from bitsiege.diagnosis import examine

    findings = examine()
    healthy = all(finding.found for finding in findings if finding.required)
    if json:
        show_json({"healthy": healthy, "findings": [finding.to_dict() for finding in findings]})
    else:
        show(_table(findings))
        missing = [finding.name for finding in findings if finding.required and not finding.found]
        show("Everything for `bitsiege run` is here." if healthy else f"Missing: {', '.join(missing)}.")
    return 0 if healthy else _MISSING


def _table(findings: list[Finding]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for heading in ("", "what", "version", "what it is for", "how to get it"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = "[green]✓[/]" if finding.found else "[red]✗[/]" if finding.required else "[yellow]–[/]"
        name = finding.name if finding.required else f"{finding.name} (optional)"
        table.add_row(
            mark, name, finding.version or "missing", finding.purpose, "" if finding.found else finding.remedy
        )
    return table
