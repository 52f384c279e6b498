"""The page of an evaluation: one file, no requests, no scripts."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from bitsiege.campaign.plan import attack_text
from bitsiege.report.distance import norm_sign
from bitsiege.report.evaluation import Campaign, CellResult, Evaluation, TransferMatrix, WorstCase
from bitsiege.report.findingpage import finding_views
from bitsiege.report.page import JSON_NAME, PAGE_NAME, picture_card, template
from bitsiege.report.panels import accuracy_key, accuracy_panels, query_panels
from export.files import atomic_file


def write_evaluation(evaluation: Evaluation, directory: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html``; returns their paths."""
    json_path, page_path = directory / JSON_NAME, directory / PAGE_NAME
    with atomic_file(json_path) as temporary:
        temporary.write_text(evaluation.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with atomic_file(page_path) as temporary:
        temporary.write_text(render_evaluation(evaluation), encoding="utf-8")
    return json_path, page_path


def render_evaluation(evaluation: Evaluation) -> str:
    """Return the page."""
    campaign = evaluation.campaign
    return template("evaluation.html.j2").render(
        evaluation=evaluation,
        campaign=campaign,
        answers=Counter(item.answer for item in evaluation.checklist),
        **({} if campaign is None else _campaign_views(campaign)),
        **finding_views(evaluation.findings),
    )


def distance_text(value: float | None) -> str:
    """Return a distance, or what a missing one means."""
    return "more than half resist" if value is None else f"{value:.3g}"


def cell_budget(cell: CellResult | TransferMatrix) -> str:
    """Return the budget of a cell or of a matrix as people write it."""
    return norm_sign(cell.norm) + (" smallest" if cell.epsilon is None else f" ε = {cell.epsilon:g}")


def _campaign_views(campaign: Campaign) -> dict[str, Any]:
    panels = accuracy_panels(campaign)
    return {
        "panels": panels,
        "panel_key": accuracy_key(campaign) if panels else "",
        "query_panels": query_panels(campaign),
        "columns": _columns(campaign),
        "robust": {(case.model, case.norm): case for case in campaign.worst},
        "points": _points(campaign.worst),
        "masked_transfers": _beaten(campaign),
        "attack_text": attack_text,
        "cards": [picture_card(picture) for picture in campaign.pictures],
        "replayed": _targets(campaign),
        "logits": _logits(campaign),
        "config": json.dumps(campaign.config, indent=2),
        "cell_budget": cell_budget,
        "distance_text": distance_text,
        "norm_sign": norm_sign,
    }


def _columns(campaign: Campaign) -> list[tuple[str, float]]:
    """Norms and budgets of the table of all attacks together."""
    found = {(case.norm, point.epsilon) for case in campaign.worst for point in case.points}
    order = list(dict.fromkeys(case.norm for case in campaign.worst))
    return sorted(found, key=lambda pair: (order.index(pair[0]), pair[1]))


def _beaten(campaign: Campaign) -> set[tuple[str, str, float | None, str, str]]:
    """Places of the matrices where images from elsewhere leave less than the attack on the model itself.

    Less than its interval, that is: one image more or less says nothing.
    """
    found: set[tuple[str, str, float | None, str, str]] = set()
    for matrix in campaign.transfers:
        rows = {row.source: row.shares for row in matrix.rows}
        for place, model in enumerate(matrix.models):
            own = rows[model][place] if model in rows else None
            found |= {
                (matrix.title, matrix.norm, matrix.epsilon, source, model)
                for source, shares in rows.items()
                if own is not None and (other := shares[place]) is not None and other.accuracy < own.low
            }
    return found


def _points(cases: tuple[WorstCase, ...]) -> dict[tuple[str, str, float], Any]:
    return {(case.model, case.norm, point.epsilon): point for case in cases for point in case.points}


def _targets(campaign: Campaign) -> list[dict[str, Any]]:
    """Sums over everything for each target."""
    rows: list[dict[str, Any]] = []
    for name in campaign.targets:
        shares = [s for cell in campaign.cells for s in (*cell.clean, *cell.attacked) if s.target == name]
        if shares:
            rows.append(
                {
                    "target": name,
                    "kind": shares[0].kind,
                    "images": sum(found.images for found in shares),
                    "divergences": sum(found.divergences for found in shares),
                }
            )
    return rows


def _logits(campaign: Campaign) -> int:
    """Logits of targets after the first that were compared with the first one's."""
    classes = {model.name: model.classes for model in campaign.models}
    return sum(
        classes[cell.model] * found.images
        for cell in campaign.cells
        for shares in (cell.clean, cell.attacked)
        for found in shares[1:]
    )
