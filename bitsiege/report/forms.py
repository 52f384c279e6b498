"""Attacks as published beside the same attacks on the 8-bit grid."""

from __future__ import annotations

import json
from collections.abc import Iterable

from bitsiege.report.evaluation import CellResult, Forms

_FLOAT, _GRID = "float", "grid"


def pair_forms(cells: Iterable[CellResult]) -> tuple[Forms, ...]:
    """Return each attack that was crafted between the grid's values, with its grid form where there is one.

    Several seeds count as one attack, by their mean.
    """
    groups: dict[str, dict[str, list[CellResult]]] = {}
    for cell in cells:
        if cell.success is not None and not cell.source:
            form = _FLOAT if cell.float_success is not None else _GRID
            groups.setdefault(_key(cell), {}).setdefault(form, []).append(cell)
    return tuple(_forms(group[_FLOAT], group.get(_GRID, [])) for group in groups.values() if _FLOAT in group)


def _key(cell: CellResult) -> str:
    parameters = {key: value for key, value in cell.parameters.items() if key != "form"}
    return json.dumps([cell.model, cell.attack, cell.norm, cell.epsilon, parameters], sort_keys=True)


def _forms(published: list[CellResult], grid: list[CellResult]) -> Forms:
    first = published[0]
    return Forms(
        model=first.model,
        attack=first.attack,
        norm=first.norm,
        epsilon=first.epsilon,
        float_success=_mean([cell.float_success for cell in published]),
        rounded_success=_mean([cell.success for cell in published]),
        grid_success=_mean([cell.success for cell in grid]) if grid else None,
    )


def _mean(values: list[float | None]) -> float:
    known = [value for value in values if value is not None]
    return sum(known) / len(known)
