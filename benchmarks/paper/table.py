"""The cells as one table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.paper.cells import cell_path
from benchmarks.paper.models import Model, open_model
from benchmarks.paper.rows import EPS, Row


def read_cells(
    folder: Path, models: Iterable[Model], rows: Iterable[Row], counts: Mapping[str, int]
) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the cells that are there, by model and row, with the hash of what was attacked."""
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for model in models:
        opened = open_model(model.key)
        for row in rows:
            path = cell_path(folder, opened, row, counts[row.key])
            if path.is_file():
                cell = json.loads(path.read_text(encoding="utf-8"))
                cells[model.key, row.key] = cell | {"hash": opened.hash}
    return cells


def as_json(cells: Mapping[tuple[str, str], Mapping[str, Any]]) -> str:
    """Return a list with a cell in each line."""
    return "[\n" + ",\n".join(json.dumps(cell) for _, cell in sorted(cells.items())) + "\n]"


def markdown(
    cells: Mapping[tuple[str, str], Mapping[str, Any]], models: Iterable[Model], rows: Iterable[Row]
) -> str:
    """Return accuracies in percent, a row an attack and a column a model.

    The distance of L2 attacks' images, mean over all of them, stands in parentheses.
    """
    models, rows = list(models), list(rows)
    lines = [
        "| attack | images | " + " | ".join(model.key for model in models) + " |",
        "|---|---:|" + "---:|" * len(models),
    ]
    for row in rows:
        found = [cells.get((model.key, row.key)) for model in models]
        counts = {cell["images"] for cell in found if cell is not None}
        if counts:
            count = "/".join(f"{count:,}" for count in sorted(counts))
            lines.append(f"| {row.title} | {count} | " + " | ".join(map(_accuracy, found)) + " |")
    lines.append(
        "| lowest at ε 0.3 |  | " + " | ".join(_lowest(cells, model, rows) for model in models) + " |"
    )
    return "\n".join(lines)


def targets_markdown(
    cells: Mapping[tuple[str, str], Mapping[str, Any]], models: Iterable[Model], rows: Iterable[Row]
) -> str:
    """Return, for the models that hardware computes, each target's accuracy and differing logits."""
    lines = [
        "| model | attack | torch | emulator | rtl (images) | differing logits |",
        "|---|---|" + "---:|" * 4,
    ]
    for model in models:
        for row in rows:
            cell = cells.get((model.key, row.key))
            if cell is None or not model.in_hardware:
                continue
            by_name = {target["target"]: target for target in cell["targets"]}
            rtl = by_name["rtl"]
            differing = sum(target["differing_logits"] for target in cell["targets"])
            lines.append(
                f"| {model.key} | {row.title} | {_share(by_name['torch'])} | {_share(by_name['emulator'])} "
                f"| {_share(rtl)} ({rtl['images']}) | {differing} |"
            )
    return "\n".join(lines)


def _accuracy(cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return ""
    share = _share(cell["targets"][0])
    return f"{share} ({cell['l2_mean']:.1f})" if cell["row"].startswith("cw") else share


def _lowest(cells: Mapping[tuple[str, str], Mapping[str, Any]], model: Model, rows: Iterable[Row]) -> str:
    """Return what the strongest of the attacks in the L∞ ball of 0.3 leaves."""
    there = [cells.get((model.key, row.key)) for row in rows if row.parameters.get("eps") == EPS]
    targets = [cell["targets"][0] for cell in there if cell is not None]
    return min((_share(target) for target in targets), key=float, default="")


def _share(target: Mapping[str, Any]) -> str:
    return f"{100 * target['correct'] / target['images']:.1f}"
