"""From a folder to its report: a run's, a campaign's, or findings alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bitsiege.pipeline.digests import distribution_version
from bitsiege.report.checklist import fill_checklist
from bitsiege.report.evaluation import Evaluation
from bitsiege.report.findings import find_findings
from bitsiege.report.gather import gather_campaign, is_campaign
from export.errors import InputError


def evaluate_folder(directory: Path, given: Sequence[Path] = ()) -> Evaluation:
    """Return the evaluation in a campaign's folder, finished or not, or in a folder with findings.

    Args:
        directory: The folder.
        given: Files with findings that lie elsewhere.

    Raises:
        InputError: There is nothing to report, or a file is damaged.
    """
    findings = find_findings(directory, given)
    title, campaign = directory.resolve().name, None
    if is_campaign(directory):
        title, campaign = gather_campaign(directory)
    elif not (findings.masking or findings.verify or findings.faults):
        raise InputError(
            f"{directory} holds nothing to report",
            hint="give the folder of bitsiege run or bitsiege campaign, or findings by --with FILE",
        )
    return Evaluation(
        title=title,
        campaign=campaign,
        findings=findings,
        checklist=fill_checklist(campaign, findings),
        version=distribution_version("bitsiege"),
    )
