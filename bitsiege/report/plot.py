"""Curves of shares between 0 and 1: a frame with axes, lines, staircases, whiskers and rings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup

from bitsiege.report.svg import element, line, picture, text

WIDTH, HEIGHT = 500, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 26, 34, 56
_COLOURS = 8
_DOT, _RING = 3.0, 2.6


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One curve.

    Attributes:
        name: What it shows.
        points: Pairs of place and share, by place.
        whiskers: Lower and upper end of each point's interval; empty for none.
        rings: For each point the shares that other targets gave, drawn as rings around the place.
        colour: Which of the eight colours.
        style: ``solid``, ``dashed``, ``dotted`` or ``dashdot``.
        staircase: Each share holds until the next point; such a curve has no dots.
        strong: Drawn thicker, in the colour of text.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    whiskers: tuple[tuple[float, float], ...] = ()
    rings: tuple[tuple[float, ...], ...] = ()
    colour: int = 0
    style: str = "solid"
    staircase: bool = False
    strong: bool = False

    @property
    def css(self) -> str:
        """Classes of its lines."""
        colour = "cink" if self.strong else f"c{self.colour % _COLOURS}"
        return f"curve {colour} {self.style}" + (" strong" if self.strong else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where a plot's places lie.

    Attributes:
        largest: Right end of the axis.
        smallest: Left end; above 0 where the axis is logarithmic.
        logarithmic: Whether equal steps are equal factors.
        ticks: Places with a label.
        caption: What the axis shows.
        vertical: What the shares are, for the description.
        chance: Share that guessing reaches, or None.
    """

    largest: float
    smallest: float = 0.0
    logarithmic: bool = False
    ticks: tuple[float, ...] = ()
    caption: str = ""
    vertical: str = "accuracy"
    chance: float | None = None

    def x(self, place: float) -> float:
        """Return the horizontal position of a place, at most that of the right end."""
        span = WIDTH - _LEFT - _RIGHT - 28
        low, high, at = self.smallest, self.largest, min(max(place, self.smallest), self.largest)
        if self.logarithmic:
            low, high, at = math.log(low), math.log(high), math.log(at)
        return _LEFT + 14 + span * ((at - low) / (high - low) if high > low else 0.0)


def round_ticks(largest: float, count: int = 5) -> tuple[float, ...]:
    """Return round places from 0 to ``largest``, about ``count`` of them."""
    if largest <= 0:
        return (0.0,)
    raw = largest / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * 0.999)
    return tuple(round(step * index, 12) for index in range(math.floor(largest / step + 1e-9) + 1))


def decade_ticks(smallest: float, largest: float) -> tuple[float, ...]:
    """Return powers of ten between two places, and the ends."""
    first, last = math.ceil(math.log10(smallest)), math.floor(math.log10(largest))
    inner = [10.0**power for power in range(first, last + 1)]
    return tuple(sorted({smallest, *inner, largest}))


def plot(heading: str, frame: Frame, series: Sequence[Series]) -> Markup:
    """Draw curves in a frame; what leaves it on the right is cut off."""
    title = f"{heading}: {frame.vertical}"
    # The first one lies on top.
    drawn = [part for item in reversed(series) for part in _curve(item, frame)]
    marks = [part for item in reversed(series) for part in _marks(item, frame)]
    return picture(
        WIDTH,
        HEIGHT,
        title,
        _description(frame, series),
        text(_LEFT, 18, heading, class_="t-head"),
        *_axes(frame),
        *drawn,
        *marks,
    )


def key(series: Sequence[Series]) -> Markup:
    """Return each curve's look beside its name, as a row that wraps with the page."""
    return element("div", *(_entry(item) for item in series), class_="legend")


def _entry(item: Series) -> Markup:
    parts = [line(1, 8, 29, 8, class_=item.css)]
    if not item.staircase:
        parts.append(element("circle", cx=15, cy=8, r=_DOT, class_=f"dot {item.css.split()[1]}"))
    picture_ = element("svg", *parts, viewBox="0 0 30 16", width=30, height=16, aria_hidden="true")
    return element("span", picture_, f" {item.name}", class_="key")


def share_y(share: float) -> float:
    """Return the vertical position of a share."""
    return _TOP + (HEIGHT - _TOP - _BOTTOM) * (1 - share)


def _axes(frame: Frame) -> list[Markup]:
    right, base = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts: list[Markup] = []
    for percent in (0, 25, 50, 75, 100):
        y = share_y(percent / 100)
        parts.append(line(_LEFT, y, right, y, class_="axis" if percent == 0 else "grid"))
        parts.append(text(_LEFT - 8, y + 4, f"{percent} %", class_="t-tick", text_anchor="end"))
    if frame.chance is not None:
        y = share_y(frame.chance)
        parts.append(line(_LEFT, y, right, y, class_="chance"))
        parts.append(text(right, y - 5, "chance", class_="t-small", text_anchor="end"))
    last = -math.inf
    for tick in frame.ticks:
        x = frame.x(tick)
        parts.append(line(x, base, x, base + 5, class_="axis"))
        if x - last >= 34:
            parts.append(text(x, base + 20, f"{tick:,.4g}", class_="t-tick", text_anchor="middle"))
            last = x
    middle = (_LEFT + right) / 2
    parts.append(text(middle, HEIGHT - 8, frame.caption, class_="t-small", text_anchor="middle"))
    return parts


def _curve(item: Series, frame: Frame) -> list[Markup]:
    inside = [point for point in item.points if point[0] <= frame.largest]
    places = [(frame.x(x), share_y(y)) for x, y in inside]
    if not item.staircase:
        return [line(*a, *b, class_=item.css) for a, b in pairwise(places)]
    if not places:
        return []
    path = f"M{places[0][0]:.1f} {places[0][1]:.1f}"
    path += "".join(f"H{x:.1f}V{y:.1f}" for x, y in places[1:])
    path += f"H{frame.x(frame.largest):.1f}"
    return [element("path", d=path, class_=f"{item.css} stairs")]


def _marks(item: Series, frame: Frame) -> list[Markup]:
    if item.staircase:
        return []
    parts: list[Markup] = []
    colour = item.css.split()[1]
    for index, (place, share) in enumerate(item.points):
        if place > frame.largest:
            continue
        x = frame.x(place)
        if item.whiskers:
            low, high = item.whiskers[index]
            parts.append(line(x, share_y(low), x, share_y(high), class_=f"whisker {colour}"))
            for end in (low, high):
                parts.append(line(x - 3, share_y(end), x + 3, share_y(end), class_=f"whisker {colour}"))
        parts.append(element("circle", cx=x, cy=share_y(share), r=_DOT, class_=f"dot {colour}"))
        for ring, other in enumerate(item.rings[index] if item.rings else ()):
            radius = _DOT + _RING * (ring + 1)
            parts.append(element("circle", cx=x, cy=share_y(other), r=radius, class_=f"ring {colour}"))
    return parts


def _description(frame: Frame, series: Sequence[Series]) -> str:
    parts: list[str] = []
    for item in series:
        shown = item.points if len(item.points) <= 8 else item.points[:: max(1, len(item.points) // 6)]
        values = ", ".join(f"{100 * share:.1f} % at {place:.4g}" for place, share in shown)
        parts.append(f"{item.name}: {values}.")
    return f"Horizontal: {frame.caption}. " + " ".join(parts)
