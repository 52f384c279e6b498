"""Surveys as JSON values: accuracies by neuron and bit, and maps that are small enough to draw."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from attacks.faults.model import fault_to_json
from attacks.faults.sampling import estimate
from attacks.faults.score import Score
from attacks.faults.survey import Survey

MAP_SIDE = 64
_WORST = 10

FloatArray = npt.NDArray[np.float64]


def survey_to_json(survey: Survey, *, clean: Score, images: int) -> dict[str, Any]:
    """Return what a report draws of one memory or stream.

    Args:
        survey: The scores.
        clean: The score without faults.
        images: Images of each score.

    Returns:
        ``node``, ``kind``, ``effect``, ``shape`` (rows, columns, bits), ``bits``, ``exhaustive``,
        ``estimate``, ``worst`` (faults with their accuracies), and where all bits were tried ``by_row``,
        ``by_bit`` (mean accuracies) and ``map``; see `shrink`.
    """
    accuracy = survey.scores.correct.astype(np.float64) / images
    found: dict[str, Any] = {
        "node": survey.node,
        "kind": survey.kind,
        "effect": str(survey.effect),
        "shape": list(survey.shape),
        "bits": survey.size,
        "exhaustive": survey.exhaustive,
        "estimate": asdict(estimate(survey.scores, clean=clean, images=images, exhaustive=survey.exhaustive)),
        "worst": [
            {"fault": fault_to_json(fault), "accuracy": score.correct / images}
            for fault, score in survey.worst(_WORST)
        ],
        "by_row": None,
        "by_bit": None,
        "map": None,
    }
    if survey.exhaustive:
        grid = accuracy.reshape(survey.shape)
        found["by_row"] = _rounded(grid.mean(axis=(1, 2)))
        found["by_bit"] = _rounded(grid.mean(axis=(0, 1)))
        found["map"] = shrink(grid)
    return found


def shrink(accuracy: FloatArray, side: int = MAP_SIDE) -> dict[str, Any]:
    """Return a map of rows by columns with at most ``side`` blocks each way.

    Args:
        accuracy: float64 ``(rows, columns, bits)``.
        side: Most blocks a side.

    Returns:
        ``rows`` and ``columns`` of the memory, ``row_starts`` and ``column_starts`` of the blocks, and
        of each block the ``mean`` and the ``worst`` accuracy over its faults, lists of rows.
    """
    rows, columns = accuracy.shape[:2]
    row_starts, column_starts = _starts(rows, side), _starts(columns, side)
    lowest = np.minimum.reduceat(accuracy.min(axis=2), row_starts, axis=0)
    totals = np.add.reduceat(
        np.add.reduceat(accuracy.mean(axis=2), row_starts, axis=0), column_starts, axis=1
    )
    counts = np.outer(np.diff([*row_starts, rows]), np.diff([*column_starts, columns]))
    return {
        "rows": rows,
        "columns": columns,
        "row_starts": row_starts.tolist(),
        "column_starts": column_starts.tolist(),
        "mean": _rounded(totals / counts),
        "worst": _rounded(np.minimum.reduceat(lowest, column_starts, axis=1)),
    }


def _starts(count: int, side: int) -> npt.NDArray[np.int64]:
    blocks = min(count, side)
    return (np.arange(blocks, dtype=np.int64) * count) // blocks


def _rounded(values: FloatArray) -> list[Any]:
    # Six digits tell one image in a million apart, and keep the file small.
    return np.round(values, 6).tolist()
