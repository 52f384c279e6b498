"""A network cut into segments without a fork: what lies between the image, forks, joins and averages."""

from __future__ import annotations

from dataclasses import dataclass, field

from export.lowering.steps import AverageStep, Chain, JoinStep, LinearStep, Token


@dataclass(slots=True, kw_only=True, eq=False)
class Segment:
    """Steps one after the other.

    Attributes:
        sources: Indices of the segments whose streams it takes: none for the image, two for a join.
        start: What makes one stream of its sources'; None where that is the source's own.
        steps: What follows.
    """

    sources: tuple[int, ...]
    start: JoinStep | AverageStep | None = None
    steps: list[Token | LinearStep] = field(default_factory=list[Token | LinearStep])


def cut(chain: Chain) -> list[Segment]:
    """Return the segments that the logits depend on.

    The first one begins with the image, the last one ends with the logits, and each stands behind its
    sources. Where nothing forks, joins or averages, it is a single one.
    """
    readers = _readers(chain)
    segments = [Segment(sources=())]
    # None, the image, is the end of the first segment until a step follows it.
    ends: dict[int, int] = {id(None): 0}
    for point in chain.points:
        if id(point.step) not in readers:
            continue
        step, sources = point.step, tuple(ends[id(parent)] for parent in point.parents)
        if isinstance(step, JoinStep | AverageStep):
            segments.append(Segment(sources=sources, start=step))
        elif readers[id(point.parents[0])] > 1:
            segments.append(Segment(sources=sources, steps=[step]))
        else:
            segments[sources[0]].steps.append(step)
            ends[id(step)] = sources[0]
            continue
        ends[id(step)] = len(segments) - 1
    return segments


def _readers(chain: Chain) -> dict[int, int]:
    """Return how many steps take the result of each step that the logits depend on, by the step's id."""
    readers: dict[int, int] = {id(chain.end): 0}
    for point in reversed(chain.points):
        if id(point.step) in readers:
            for parent in point.parents:
                readers[id(parent)] = readers.get(id(parent), 0) + 1
    return readers


def split_layers(segment: Segment) -> tuple[list[Token], list[tuple[LinearStep, list[Token]]]]:
    """Return what stands before a segment's first layer, and each layer with what follows it."""
    head: list[Token] = []
    layers: list[tuple[LinearStep, list[Token]]] = []
    for step in segment.steps:
        if isinstance(step, LinearStep):
            layers.append((step, []))
        else:
            (layers[-1][1] if layers else head).append(step)
    return head, layers
