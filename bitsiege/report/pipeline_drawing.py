"""The network as the pipeline that it is in hardware: a box a layer, its folding, its cycles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from markupsafe import Markup

from bitsiege.report.model import Hardware, Layer
from bitsiege.report.svg import element, line, picture, text

_WIDTH = 1060
_BOX_WIDTH, _PILL_WIDTH, _GAP = 150, 74, 20
_ROW_HEIGHT, _ROW_GAP, _TOP = 238, 34, 10
_MATRIX_SIZE = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a box stands; ``layer`` is None for the two ends of the pipeline."""

    x: float
    y: float
    width: float
    layer: Layer | None
    lines: tuple[str, ...] = ()


def pipeline_drawing(hardware: Hardware, input_shape: tuple[int, int, int]) -> Markup:
    """Draw the layers from the images to the label; the bottleneck stands out."""
    layers = [layer for layer in hardware.layers if layer.op_type != "Flatten"]
    shape = "×".join(map(str, input_shape))
    places = _arrange(
        layers, ("images", shape, "UINT8"), ("label", "argmax of", f"{layers[-1].outputs} logits")
    )
    slowest = max((layer.cycles or 0 for layer in layers), default=1) or 1
    parts: list[Markup] = []
    for before, after in pairwise(places):
        parts.extend(_arrow(before, after))
    for place in places:
        parts.extend(_end(place) if place.layer is None else _box(place, place.layer, slowest))
    height = places[-1].y + _ROW_HEIGHT + 12
    told = "; ".join(f"{layer.name}: {layer.cycles} cycles" for layer in layers if layer.cycles)
    return picture(_WIDTH, height, "The network as a hardware pipeline", told, *parts)


def _arrange(layers: Sequence[Layer], first: tuple[str, ...], last: tuple[str, ...]) -> list[_Place]:
    """Place the boxes from left to right, in as many rows as they need."""
    entries: list[tuple[float, Layer | None, tuple[str, ...]]] = [
        (_PILL_WIDTH, None, first),
        *((_BOX_WIDTH, layer, ()) for layer in layers),
        (_PILL_WIDTH, None, last),
    ]
    places: list[_Place] = []
    x, y = 1.0, float(_TOP)
    for width, layer, lines in entries:
        if x + width > _WIDTH - 1 and places:
            x, y = 1.0, y + _ROW_HEIGHT + _ROW_GAP
        places.append(_Place(x=x, y=y, width=width, layer=layer, lines=lines))
        x += width + _GAP
    return _centred(places) if len({place.y for place in places}) == 1 else places


def _centred(places: list[_Place]) -> list[_Place]:
    shift = (_WIDTH - places[-1].x - places[-1].width) / 2
    return [replace(place, x=place.x + shift) for place in places]


def _arrow(before: _Place, after: _Place) -> list[Markup]:
    start_x, start_y = before.x + before.width, before.y + _ROW_HEIGHT / 2
    end_x, end_y = after.x, after.y + _ROW_HEIGHT / 2
    if before.y == after.y:
        head = f"M{end_x - 8} {end_y - 4.5} L{end_x - 1} {end_y} L{end_x - 8} {end_y + 4.5} Z"
        return [
            line(start_x, start_y, end_x - 7, end_y, class_="stream"),
            element("path", d=head, class_="head"),
        ]
    # Around the corner: down between the rows, back to the left, into the box from above.
    turn_y, target_x = before.y + _ROW_HEIGHT + _ROW_GAP / 2, after.x + after.width / 2
    out_x = min(start_x + _GAP / 2, _WIDTH - 2)
    path = f"M{start_x} {start_y} H{out_x} V{turn_y} H{target_x} V{after.y - 7}"
    head = f"M{target_x - 4.5} {after.y - 8} L{target_x} {after.y - 1} L{target_x + 4.5} {after.y - 8} Z"
    return [element("path", d=path, class_="stream"), element("path", d=head, class_="head")]


def _end(place: _Place) -> list[Markup]:
    y, height = place.y + _ROW_HEIGHT / 2 - 40, 80
    middle = place.x + place.width / 2
    parts = [element("rect", x=place.x, y=y, width=place.width, height=height, rx=12, class_="end")]
    for index, content in enumerate(place.lines):
        style = "t-head" if index == 0 else "t-small"
        parts.append(text(middle, y + 28 + 17 * index, content, class_=style, text_anchor="middle"))
    return parts


def _box(place: _Place, layer: Layer, slowest: int) -> list[Markup]:
    x, y = place.x, place.y
    frame = "node bottleneck" if layer.bottleneck else "node"
    parts = [
        element("rect", x=x, y=y, width=place.width, height=_ROW_HEIGHT, rx=8, class_=frame),
        text(x + 12, y + 24, layer.op_type.upper() if layer.pe else layer.op_type, class_="t-head"),
        text(x + 12, y + 41, layer.name, class_="t-mono"),
    ]
    if layer.pe and layer.simd:
        parts.extend(_matrix(x + 12, y + 56, layer, layer.pe, layer.simd))
        parts.append(text(x + 12, y + 142, f"PE {layer.pe}", class_="t-fact"))
        parts.append(text(x + 12, y + 159, f"SIMD {layer.simd}", class_="t-fact"))
    else:
        parts.append(text(x + 12, y + 74, f"{layer.in_type} →", class_="t-fact"))
        parts.append(text(x + 12, y + 91, layer.out_type, class_="t-fact"))
    parts.extend(_cycles(x + 12, y + 178, place.width - 24, layer, slowest))
    return parts


def _matrix(x: float, y: float, layer: Layer, pe: int, simd: int) -> list[Markup]:
    """The weight matrix, and in it the tile of PE rows and SIMD columns that one cycle computes."""
    longest = max(layer.inputs, layer.outputs)
    width = max(14.0, _MATRIX_SIZE * layer.inputs / longest)
    height = max(14.0, _MATRIX_SIZE * layer.outputs / longest)
    tile_width, tile_height = max(2.0, width * simd / layer.inputs), max(2.0, height * pe / layer.outputs)
    note_x = x + width + 8
    return [
        element("rect", x=x, y=y, width=width, height=height, class_="matrix"),
        element("rect", x=x, y=y, width=tile_width, height=tile_height, class_="tile"),
        text(note_x, y + 11, f"{layer.outputs}×{layer.inputs}", class_="t-small"),
        text(
            note_x,
            y + 25,
            "±1" if layer.weight_type == "BIPOLAR" else str(layer.weight_type),
            class_="t-small",
        ),
    ]


def _cycles(x: float, y: float, width: float, layer: Layer, slowest: int) -> list[Markup]:
    if layer.cycles is None:
        return [text(x, y + 16, "in the stream", class_="t-small")]
    style = "bar hot" if layer.bottleneck else "bar"
    parts = [
        text(x, y + 13, f"{layer.cycles:,}", class_="t-fact"),
        text(x + width, y + 13, "cycles", class_="t-small", text_anchor="end"),
        element("rect", x=x, y=y + 20, width=width, height=7, rx=3.5, class_="track"),
        element(
            "rect",
            x=x,
            y=y + 20,
            width=max(4.0, width * layer.cycles / slowest),
            height=7,
            rx=3.5,
            class_=style,
        ),
    ]
    if layer.bottleneck:
        parts.append(text(x, y + 45, "sets the pace", class_="t-hot"))
    return parts
