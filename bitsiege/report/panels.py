"""The curves of a campaign: accuracy over epsilon and distance, success over queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from bitsiege.report.access import STYLES
from bitsiege.report.distance import norm_sign, norm_unit
from bitsiege.report.evaluation import Campaign, CellResult, WorstCase
from bitsiege.report.plot import Frame, Series, decade_ticks, key, plot, round_ticks
from bitsiege.report.worst import share

TOGETHER = "all attacks together"


def accuracy_panels(campaign: Campaign) -> list[Markup]:
    """Draw a panel for each model and norm: every attack, and all together."""
    return [_panel(campaign, case) for case in campaign.worst]


def accuracy_key(campaign: Campaign) -> Markup:
    """Return what the lines of all panels mean."""
    entries = [Series(name=TOGETHER, points=(), strong=True)]
    for title in _titles(campaign):
        cells = [cell for cell in campaign.cells if cell.title == title and cell.attacked and not cell.source]
        if cells:
            smallest = all(cell.epsilon is None for cell in cells)
            entries.append(_series(campaign, cells, staircase=smallest, name=f"{title} ({cells[0].access})"))
    return key(entries)


def query_panels(campaign: Campaign) -> list[Markup]:
    """Draw success over queries, a panel for each model that has such attacks."""
    return [
        _query_panel(campaign, model.name, cells)
        for model in campaign.models
        if (cells := [cell for cell in campaign.cells if cell.model == model.name and cell.queries])
    ]


def mean_accuracy(cells: Sequence[CellResult], target: str) -> float | None:
    """Return the mean over seeds of one target's accuracy, or None where it has not seen all images."""
    shares = [found for cell in cells for found in cell.attacked if found.target == target]
    whole = len(shares) == len(cells) and all(
        found.images == cell.attacked[0].images for cell, found in zip(cells, shares, strict=True)
    )
    return sum(found.accuracy for found in shares) / len(shares) if shares and whole else None


def _panel(campaign: Campaign, case: WorstCase) -> Markup:
    own = [
        cell
        for cell in campaign.cells
        if cell.model == case.model and cell.norm == case.norm and cell.attacked and not cell.source
    ]
    bounded = [cell for cell in own if cell.epsilon is not None]
    epsilons = sorted({cell.epsilon for cell in bounded if cell.epsilon is not None})
    ends = [distance for cell in own for distance, left in cell.distances if left > 0.05]
    largest: float = max(epsilons or ends, default=0.0) or 1.0
    frame = Frame(
        largest=largest,
        ticks=(0.0, *epsilons) if 0 < len(epsilons) <= 8 else round_ticks(largest),
        caption=f"{'ε' if epsilons else 'distance'}: {norm_unit(case.norm)}",
        chance=1 / next(model.classes for model in campaign.models if model.name == case.model),
    )
    series = [_together(case, bool(epsilons))]
    for title in _titles(campaign):
        cells = [cell for cell in own if cell.title == title]
        if any(cell.epsilon is not None for cell in cells):
            series.append(_bounded(campaign, cells))
        series += [
            _series(campaign, [cell], staircase=True, points=cell.distances)
            for cell in cells
            if cell.epsilon is None
        ]
    return plot(f"{case.model} · {norm_sign(case.norm)}", frame, series)


def _together(case: WorstCase, bounded: bool) -> Series:
    if not bounded:
        return Series(name=TOGETHER, points=case.distances, strong=True, staircase=True)
    clean = case.distances[0][1]
    return Series(
        name=TOGETHER,
        points=((0.0, clean), *((point.epsilon, point.accuracy) for point in case.points)),
        whiskers=((clean, clean), *((point.low, point.high) for point in case.points)),
        strong=True,
    )


def _bounded(campaign: Campaign, cells: Sequence[CellResult]) -> Series:
    """One attack over epsilon: means over seeds, Wilson's intervals, rings of targets that saw all images."""
    points: list[tuple[float, float]] = []
    whiskers: list[tuple[float, float]] = []
    rings: list[tuple[float, ...]] = []
    first = campaign.targets[0]
    for epsilon in sorted({cell.epsilon for cell in cells if cell.epsilon is not None}):
        seeds = [cell for cell in cells if cell.epsilon == epsilon]
        accuracy = mean_accuracy(seeds, first)
        if accuracy is None:
            continue
        images = max(found.images for cell in seeds for found in cell.attacked)
        interval = share(round(accuracy * images), images)
        others = (mean_accuracy(seeds, target) for target in campaign.targets[1:])
        points.append((epsilon, accuracy))
        whiskers.append((interval.low, interval.high))
        rings.append(tuple(other for other in others if other is not None))
    clean = [cell.clean[0] for cell in cells if cell.clean]
    start = sum(found.accuracy for found in clean) / len(clean)
    return _series(
        campaign,
        cells,
        points=((0.0, start), *points),
        whiskers=((start, start), *whiskers),
        rings=((), *rings),
    )


def _query_panel(campaign: Campaign, model: str, cells: Sequence[CellResult]) -> Markup:
    largest = max(places[-1][0] for cell in cells if (places := cell.queries))
    largest = max([largest, *(float(cell.parameters.get("max_queries", 1)) for cell in cells), 10.0])
    frame = Frame(
        smallest=1,
        largest=largest,
        logarithmic=True,
        ticks=decade_ticks(1, largest),
        caption="queries of one image",
        vertical="share fooled of the images that were right",
    )
    series = [
        _series(
            campaign,
            [cell],
            staircase=True,
            points=cell.queries,
            name=f"{cell.title}, {norm_sign(cell.norm)} ε {cell.epsilon:g}, seed {cell.seed}"
            if cell.epsilon is not None
            else f"{cell.title}, seed {cell.seed}",
        )
        for cell in cells
    ]
    return plot(f"{model} · queries", frame, series)


def _series(
    campaign: Campaign,
    cells: Sequence[CellResult],
    *,
    name: str = "",
    points: Iterable[tuple[float, float]] = (),
    whiskers: Iterable[tuple[float, float]] = (),
    rings: Iterable[tuple[float, ...]] = (),
    staircase: bool = False,
) -> Series:
    """A curve in the colour of its attack and the style of what the attacker sees."""
    first = cells[0]
    return Series(
        name=name or first.title,
        points=tuple(points),
        whiskers=tuple(whiskers),
        rings=tuple(rings),
        colour=_titles(campaign).index(first.title),
        style=STYLES[first.access],
        staircase=staircase,
    )


def _titles(campaign: Campaign) -> list[str]:
    return list(dict.fromkeys(cell.title for cell in campaign.cells))
