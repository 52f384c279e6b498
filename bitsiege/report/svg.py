"""A few lines of SVG, and pixel images as PNG: everything that the report draws is built from these."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

_PNG_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}


def element(name: str, *children: str, **attributes: object) -> Markup:
    """Return one element; text and attribute values are escaped unless they are `Markup`.

    Args:
        name: Name of the tag.
        children: Elements or text.
        attributes: ``stroke_width=2`` becomes ``stroke-width="2"``; ``class_`` becomes ``class``; numbers are
            shortened to two decimals; None leaves the attribute out.
    """
    pairs = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_short(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup(f"<{name}{pairs}/>")
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{pairs}>{inner}</{name}>")


def text(x: float, y: float, content: str, **attributes: object) -> Markup:
    """Return a text element at a place; its ``class_`` decides size and colour."""
    return element("text", content, x=x, y=y, **attributes)


def line(x1: float, y1: float, x2: float, y2: float, **attributes: object) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, **attributes)


def picture(width: float, height: float, title: str, description: str, *children: str) -> Markup:
    """Return a whole drawing that scales with the page and that a screen reader can tell about.

    Args:
        width: Width of its coordinate system.
        height: Height of its coordinate system.
        title: A few words.
        description: What a reader sees in it, with the numbers that matter.
        children: Elements.
    """
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *children,
        viewBox=f"0 0 {_short(width)} {_short(height)}",
        role="img",
        aria_label=title,
        class_="drawing",
        style=f"max-width:{_short(width * 1.15)}px",
    )


def png_data_uri(pixels: npt.NDArray[np.uint8]) -> str:
    """Return uint8 pixels ``(H, W, C)``, C = 1, 3 or 4, as a ``data:`` address of a PNG file.

    Raises:
        ValueError: Another shape or dtype.
    """
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[2] not in _PNG_COLOUR_TYPES:
        raise ValueError(f"pixels must be uint8 (H, W, 1, 3 or 4), not {pixels.dtype} {pixels.shape}")
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, _PNG_COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def difference_pixels(
    original: npt.NDArray[np.uint8], adversarial: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8]:
    """Show where pixels became brighter (orange) or darker (blue), the largest change opaque.

    Args:
        original: uint8 ``(H, W, C)``.
        adversarial: The same shape.

    Returns:
        uint8 ``(H, W, 4)``, transparent where nothing changed.
    """
    change = (adversarial.astype(np.int64) - original.astype(np.int64)).sum(axis=2)
    largest = max(1, int(np.abs(change).max()))
    colour = np.where(change[..., None] > 0, np.array([230, 126, 34]), np.array([41, 128, 205]))
    alpha = 255 * np.abs(change) // largest
    return np.concatenate([colour, alpha[..., None]], axis=2).astype(np.uint8)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _short(value: object) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
