"""The whole job: a configuration in, a run directory with a report out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitsiege.config import RunConfig
from bitsiege.pipeline.digests import distribution_version
from bitsiege.pipeline.engine import Step, StepResult, run_steps
from bitsiege.pipeline.steps import Environment, make_steps
from bitsiege.pipeline.store import FORMAT_VERSION, MARKER, RunDirectory, write_json
from bitsiege.progress import Progress
from bitsiege.report.model import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """A finished run.

    Attributes:
        report: What it found.
        page: The HTML page.
        data: The JSON file.
        steps: How the steps went.
    """

    report: Report
    page: Path
    data: Path
    steps: list[StepResult]


def run_job(
    config: RunConfig,
    path: Path,
    *,
    environment: Environment,
    progress: Progress,
    force: bool = False,
) -> JobResult:
    """Run all steps and write the report.

    Args:
        config: What to do.
        path: The run directory; it is created, or goes on where it stopped.
        environment: What the machine gives.
        progress: Who listens.
        force: Redo every step.

    Raises:
        BitsiegeError: A step failed; those before it keep their results.
    """
    from bitsiege.pipeline.collect import collect
    from bitsiege.report.page import write_report

    steps = make_steps(config, environment)
    directory = RunDirectory(path)
    directory.open()
    with directory.locked():
        _mark(path, config, environment)
        results = run_steps(steps, directory, progress=progress, force=force)
        report = collect(path)
        data, page = write_report(report, path)
    return JobResult(report=report, page=page, data=data, steps=results)


def run_training(
    config: RunConfig,
    path: Path,
    *,
    environment: Environment,
    progress: Progress,
    force: bool = False,
) -> StepResult:
    """Run only the first step, in a run directory that ``run_job`` can complete."""
    directory = RunDirectory(path)
    first: Step = make_steps(config, environment)[0]
    directory.open()
    with directory.locked():
        _mark(path, config, environment)
        return run_steps([first], directory, progress=progress, force=force)[0]


def _mark(path: Path, config: RunConfig, environment: Environment) -> None:
    """Say what the directory is, and what was asked for."""
    about = {
        "version": FORMAT_VERSION,
        "bitsiege": distribution_version("bitsiege"),
        "command": environment.command,
        "config": config.model_dump(mode="json", exclude_none=True),
    }
    write_json(path / MARKER, about)
