"""Accuracy over epsilon: one panel an attack, one marker a target, nested so that agreement is visible.

Exact targets fall on each other. So each has a ring of its own radius: rings around one centre mean
agreement, and a target that disagrees leaves the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from markupsafe import Markup

from bitsiege.report.distance import norm_sign, norm_unit
from bitsiege.report.model import Example, Point, Report, TargetResult
from bitsiege.report.plot import Frame, Series, plot, round_ticks
from bitsiege.report.svg import element, line, picture, text

_WIDTH, _HEIGHT = 500, 340
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 26, 34, 72
_INNER_RADIUS, _RING_STEP = 2.6, 2.7
_COLOURS = 8


def ring_radius(index: int, count: int) -> float:
    """Radius of the marker of target ``index`` of ``count``; the first target's is the largest."""
    return _INNER_RADIUS + _RING_STEP * (count - 1 - index)


def marker(x: float, y: float, index: int, count: int) -> Markup:
    """Return the marker of one target: a ring, or a dot for the last one."""
    last = index == count - 1
    return element(
        "circle",
        cx=x,
        cy=y,
        r=ring_radius(index, count),
        class_=f"{'dot' if last else 'ring'} c{index % _COLOURS}",
    )


def attack_names(report: Report) -> list[str]:
    """Names of the attacks, in order."""
    return list(dict.fromkeys(point.attack for point in report.points))


def accuracy_chart(report: Report, attack: str) -> Markup:
    """Draw accuracy for one attack: over epsilon on all targets, or over distance where it had no budget."""
    found = [point for point in report.points if point.attack == attack]
    if not all(point.bounded for point in found):
        return distance_chart(found[0], 1 / report.hardware.layers[-1].outputs)
    points = [report.clean, *found]
    names = [target.name for target in report.targets]
    largest = max(point.epsilon for point in points)
    xs = [_LEFT + 14 + (_WIDTH - _LEFT - _RIGHT - 28) * (p.epsilon / largest) for p in points]
    title = f"Accuracy under {attack} over epsilon"
    return picture(
        _WIDTH,
        _HEIGHT,
        title,
        _description(points, names),
        text(_LEFT, 18, _heading(points[-1]), class_="t-head"),
        *_axes(points, xs, 1 / report.hardware.layers[-1].outputs),
        *_curves(points, xs, names),
        *_value_labels(points, xs),
    )


def distance_chart(point: Point, chance: float) -> Markup:
    """Draw accuracy over the distance that an attack without a budget needed, by the first target."""
    largest = max((distance for distance, _ in point.distances), default=0.0) or 1.0
    frame = Frame(
        largest=1.05 * largest,
        ticks=round_ticks(largest),
        caption=f"distance: {norm_unit(point.norm)}",
        chance=chance,
    )
    curve = Series(name=point.results[0].target, points=point.distances, staircase=True)
    return plot(_heading(point), frame, [curve])


def _heading(point: Point) -> str:
    """The attack, and its norm where that isn't the usual one."""
    sign = "" if point.norm == "linf" and point.bounded else f" · {norm_sign(point.norm)}"
    return point.attack.upper() + sign + ("" if point.bounded else ", smallest change")


def legend(report: Report) -> Markup:
    """Draw each target's ring beside its name, as a row that wraps with the page."""
    count = len(report.targets)
    size = 2 * ring_radius(0, count) + 4
    entries = [
        element(
            "span",
            element(
                "svg",
                marker(size / 2, size / 2, index, count),
                viewBox=f"0 0 {size} {size}",
                width=size,
                height=size,
                aria_hidden="true",
            ),
            f" {target.name}" + (f" (first {target.first_images} images)" if target.first_images else ""),
            class_="key",
        )
        for index, target in enumerate(report.targets)
    ]
    return element("div", *entries, class_="legend")


def grid_text(point: Point) -> str:
    """Return a budget in whole numbers, as people write it."""
    match point.norm:
        case "linf":
            return f"{point.pixel_steps}/255"
        case "l0":
            return f"{point.pixel_steps:,} pixels"
        case _:
            return f"√{point.pixel_steps:,}/255"


def budget_text(point: Point | Example) -> str:
    """Return a budget as people write it; empty for the clean images."""
    if not point.epsilon:
        return ""
    if not point.bounded:
        return f"smallest {norm_sign(point.norm)}"
    return (
        f"{norm_sign(point.norm)} ε = {point.epsilon:g}" if point.norm != "linf" else f"ε = {point.epsilon:g}"
    )


def _y(accuracy: float) -> float:
    return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (1 - accuracy)


def _axes(points: Sequence[Point], xs: Sequence[float], chance: float) -> list[Markup]:
    right = _WIDTH - _RIGHT
    parts: list[Markup] = []
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100)
        parts.append(line(_LEFT, y, right, y, class_="axis" if percent == 0 else "grid"))
        parts.append(text(_LEFT - 8, y + 4, f"{percent} %", class_="t-tick", text_anchor="end"))
    parts.append(line(_LEFT, _y(chance), right, _y(chance), class_="chance"))
    parts.append(text(_LEFT + 4, _y(chance) - 5, "chance", class_="t-small"))
    base = _HEIGHT - _BOTTOM
    parts += [line(x, base, x, base + 5, class_="axis") for x in xs]
    for index in _spaced(xs):
        x, point = xs[index], points[index]
        label = "clean" if point.epsilon == 0 else f"{point.epsilon:g}"
        parts.append(text(x, base + 28, label, class_="t-tick", text_anchor="middle"))
        if point.epsilon and point.norm != "l2":
            steps = grid_text(point)
            parts.append(text(x, base + 42, steps, class_="t-small", text_anchor="middle"))
    middle = (_LEFT + right) / 2
    caption = f"ε: {norm_unit(points[-1].norm)}"
    parts.append(text(middle, _HEIGHT - 8, caption, class_="t-small", text_anchor="middle"))
    return parts


def _spaced(xs: Sequence[float], gap: float = 44) -> list[int]:
    """Indices of the ticks that have room for a label."""
    chosen: list[int] = []
    for index, x in enumerate(xs):
        if not chosen or x - xs[chosen[-1]] >= gap:
            chosen.append(index)
    return chosen


def _curves(points: Sequence[Point], xs: Sequence[float], names: Sequence[str]) -> list[Markup]:
    lines: list[Markup] = []
    markers: list[Markup] = []
    for index, name in enumerate(names):
        results = [_result(point, name) for point in points]
        dots = [(x, _y(r.accuracy)) for x, r in zip(xs, results, strict=True) if r is not None]
        subset = any(
            r is not None and r.images < point.results[0].images
            for r, point in zip(results, points, strict=True)
        )
        style = f"curve c{index % _COLOURS}" + (" subset" if subset else "")
        lines += [line(*a, *b, class_=style) for a, b in pairwise(dots)]
        markers += [marker(x, y, index, len(names)) for x, y in dots]
    # The first target's line lies on top, the others show where they leave it.
    return [*reversed(lines), *markers]


def _value_labels(points: Sequence[Point], xs: Sequence[float]) -> list[Markup]:
    labels: list[Markup] = []
    for index in _spaced(xs, gap=40):
        accuracy = points[index].results[0].accuracy
        above = accuracy < 0.9
        y = _y(accuracy) + (-19 if above else 27)
        label = f"{100 * accuracy:.1f}"
        labels.append(text(xs[index], y, label, class_="t-value", text_anchor="middle"))
    return labels


def _result(point: Point, target: str) -> TargetResult | None:
    return next((result for result in point.results if result.target == target), None)


def _description(points: Sequence[Point], names: Sequence[str]) -> str:
    values = ", ".join(f"{100 * p.results[0].accuracy:.1f} % at {p.epsilon:g}" for p in points)
    return f"{names[0]}: {values}. Targets drawn: {', '.join(names)}."
