"""The HTML page: one file, no requests, no scripts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from bitsiege.report.chart import accuracy_chart, attack_names, budget_text, grid_text, legend
from bitsiege.report.findingpage import finding_views
from bitsiege.report.model import Example, Report, TargetResult
from bitsiege.report.pipeline_drawing import pipeline_drawing
from bitsiege.report.svg import difference_pixels, png_data_uri
from export.files import atomic_file

JSON_NAME = "report.json"
PAGE_NAME = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One entry of the gallery, ready to show."""

    example: Example
    budget: str
    original: str
    adversarial: str
    difference: str


def write_report(report: Report, directory: Path) -> tuple[Path, Path]:
    """Write ``report.json`` and ``report.html``; returns their paths."""
    json_path, page_path = directory / JSON_NAME, directory / PAGE_NAME
    with atomic_file(json_path) as temporary:
        temporary.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
    with atomic_file(page_path) as temporary:
        temporary.write_text(render(report), encoding="utf-8")
    return json_path, page_path


def render(report: Report) -> str:
    """Return the page."""
    return template("report.html.j2").render(
        report=report,
        charts=[accuracy_chart(report, attack) for attack in attack_names(report)],
        legend=legend(report),
        pipeline=pipeline_drawing(report.hardware, report.dataset.input_shape),
        cards=[picture_card(example) for example in report.examples],
        worst=min(
            (point for point in report.points if point.bounded),
            key=lambda point: point.results[0].accuracy,
            default=None,
        ),
        totals=[_totals(report, target.name) for target in report.targets],
        iis={target.name: target.ii_cycles for target in report.targets},
        config=json.dumps(report.config, indent=2),
        **finding_views(report.findings),
    )


def percent(value: float) -> str:
    """Return a share with one decimal."""
    return f"{100 * value:.1f} %"


def quantity(value: float | None, digits: int = 3) -> str:
    """Return a number as people write it, or a dash for None."""
    if value is None:
        return "–"
    if value == int(value) or abs(value) >= 10**digits:
        return f"{value:,.0f}"
    return f"{value:,.{digits}g}"


def duration(seconds: float) -> str:
    """Return a time with a fitting unit."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _totals(report: Report, target: str) -> dict[str, Any]:
    """Sums over all sets of images for one target."""
    results = [r for point in report.all_points for r in point.results if r.target == target]
    return {
        "images": sum(r.images for r in results),
        "divergences": sum(r.divergences for r in results),
        "clean": next((r for r in report.clean.results if r.target == target), None),
        "cycles_per_image": _mean(results, "cycles_per_image"),
        "images_per_second": _rate(results),
    }


def _mean(results: list[TargetResult], field: str) -> float | None:
    pairs = [(getattr(r, field), r.images) for r in results if getattr(r, field) is not None]
    images = sum(count for _, count in pairs)
    return sum(value * count for value, count in pairs) / images if images else None


def _rate(results: list[TargetResult]) -> float | None:
    """Images of all sets over the time of all sets."""
    timed = [r for r in results if r.images_per_second]
    seconds = sum(r.images / (r.images_per_second or 1) for r in timed)
    return sum(r.images for r in timed) / seconds if seconds else None


def picture_card(example: Example) -> Card:
    """Return an image with its pictures as data addresses."""
    original = np.array(example.original, np.uint8)
    adversarial = np.array(example.adversarial, np.uint8)
    return Card(
        example=example,
        budget=budget_text(example),
        original=png_data_uri(_visible(original)),
        adversarial=png_data_uri(_visible(adversarial)),
        difference=png_data_uri(difference_pixels(original, adversarial)),
    )


def _visible(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Show the first channel where an image has neither one nor three."""
    return pixels if pixels.shape[2] in (1, 3) else pixels[..., :1]


@cache
def template(name: str) -> Template:
    """Return a page's template, with what all pages write alike."""
    environment = Environment(
        loader=PackageLoader("bitsiege.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        quantity=quantity,
        duration=duration,
        css=_css,
        budget=budget_text,
        grid=grid_text,
    )
    return environment.get_template(name)


def _css(name: str) -> Markup:
    """Return a style sheet of ours, which needs no escaping."""
    path = Path(__file__).parent / "templates" / name
    return Markup(path.read_text(encoding="utf-8"))
