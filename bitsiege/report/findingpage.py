"""Drawings of findings: curves of the masking checks."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from bitsiege.report.findingmodels import Findings, Masking
from bitsiege.report.plot import Frame, Series, decade_ticks, plot, round_ticks


def finding_views(findings: Findings) -> dict[str, Any]:
    """Return what the template of the findings needs beside the findings."""
    return {
        "findings": findings,
        "masking_curves": [masking_curves(item) for item in findings.masking],
    }


def masking_curves(masking: Masking) -> list[Markup]:
    """Draw accuracy over each setting that ought to help the attack."""
    return [
        _setting_curve(name, sorted(points)) for name, points in masking.curves.items() if len(points) > 1
    ]


def _setting_curve(name: str, points: list[tuple[float, float]]) -> Markup:
    places = [place for place, _ in points]
    logarithmic = name == "steps" and places[0] > 0
    frame = Frame(
        smallest=places[0] if logarithmic else 0.0,
        largest=places[-1],
        logarithmic=logarithmic,
        ticks=tuple(places) if len(places) <= 8 else _ticks(places, logarithmic),
        caption={"eps": "ε: largest change of a pixel", "steps": "steps of PGD"}.get(name, name),
    )
    return plot(f"PGD over {name}", frame, [Series(name="PGD", points=tuple(points))])


def _ticks(places: list[float], logarithmic: bool) -> tuple[float, ...]:
    return decade_ticks(places[0], places[-1]) if logarithmic else round_ticks(places[-1])
