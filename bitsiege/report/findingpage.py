"""Drawings of findings: curves of the masking checks, bars of verdicts, maps of faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from markupsafe import Markup

from bitsiege.report.findingmodels import Certification, FaultAttack, Faults, Findings, Masking
from bitsiege.report.plot import Frame, Series, decade_ticks, key, plot, round_ticks
from bitsiege.report.svg import element, picture, png_data_uri, text

_STATUSES = ("certified", "unknown", "attacked", "misclassified")
_BAR_WIDTH, _BAR_HEIGHT = 500.0, 26.0


def finding_views(findings: Findings) -> dict[str, Any]:
    """Return what the template of the findings needs beside the findings."""
    return {
        "findings": findings,
        "masking_curves": [masking_curves(item) for item in findings.masking],
        "verify_bars": [verdict_bar(item) for item in findings.verify],
        "fault_curves": [fault_curve(item) for item in findings.faults],
        "fault_maps": [fault_maps(item) for item in findings.faults],
    }


def verdict_bar(item: Certification) -> Markup:
    """Draw how many images are certified, attacked, unknown and misclassified, as one bar."""
    parts: list[Markup] = []
    left, told = 0.0, []
    for index, status in enumerate(_STATUSES):
        share = item.counts.get(status, 0) / item.images
        width = share * _BAR_WIDTH
        told.append(f"{status} {100 * share:.1f} %")
        if width > 0:
            parts.append(
                element("rect", x=left, y=4, width=width, height=_BAR_HEIGHT, class_=f"verdict v{index}")
            )
        left += width
    words = ", ".join(told)
    label = text(0, _BAR_HEIGHT + 22, words, class_="t-tick")
    return picture(_BAR_WIDTH, _BAR_HEIGHT + 30, f"Verdicts at radius {item.radius}", words, *parts, label)


def fault_curve(item: Faults) -> Markup | None:
    """Draw accuracy over the number of bits that a greedy search strikes; None without a search."""
    series = [
        Series(
            name=f"{' and '.join(sorted({memory.kind for memory in attack.memories}))} bits",
            points=tuple(_struck(attack)),
            colour=index,
        )
        for index, attack in enumerate(item.attacks)
        if attack.steps
    ]
    if not series:
        return None
    largest = max(point[0] for line in series for point in line.points)
    frame = Frame(largest=largest, ticks=round_ticks(largest), caption="bits struck together")
    return Markup("").join((plot("The bits that harm most", frame, series), key(series)))


def _struck(attack: FaultAttack) -> Iterator[tuple[float, float]]:
    """Yield bits and accuracy: on images that the search did not see, where there are some."""
    if attack.clean_held_out is not None:
        yield 0.0, attack.clean_held_out
    for step in attack.steps:
        other = step.accuracy_held_out
        yield float(step.bits), step.accuracy_search if other is None else other


def fault_maps(item: Faults) -> list[tuple[str, str]]:
    """Return a name and an image for each memory whose every bit was struck: darker harms more."""
    found: list[tuple[str, str]] = []
    for layer in item.layers:
        if layer.map is None or not layer.map.worst or item.clean_accuracy == 0:
            continue
        share = np.array(layer.map.worst, np.float64) / item.clean_accuracy
        pixels = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)[:, :, None]
        found.append(
            (f"{layer.node} {layer.kind}s, {layer.map.rows} x {layer.map.columns}", png_data_uri(pixels))
        )
    return found


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
