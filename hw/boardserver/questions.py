"""What a client may ask, checked field by field."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass
from typing import Any, cast

from .errors import BAD_REQUEST, RequestError

MAX_DEADLINE_S = 600.0
_DEFAULT_DEADLINE_S = 30.0
_MOST_S = 1e9
_BATCH = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MAX_FRAME = 1 << 32


def text(header: dict[str, Any], key: str) -> str:
    """Return a text of at most 128 characters.

    Raises:
        RequestError: It is missing or something else.
    """
    value = header.get(key)
    if not isinstance(value, str) or not 0 < len(value) <= 128:
        raise RequestError(BAD_REQUEST, f"{key} must be a text")
    return value


def whole(header: dict[str, Any], key: str, below: int, default: int | None = None) -> int:
    """Return a whole number from 0 to ``below - 1``.

    Raises:
        RequestError: It is missing without a default, or something else.
    """
    value = header.get(key, default)
    if type(value) is not int or not 0 <= value < below:
        raise RequestError(BAD_REQUEST, f"{key} must be a whole number from 0 to {below - 1}")
    return value


def seconds(header: dict[str, Any], key: str, default: float) -> float:
    """Return a number from 0 to 10**9.

    Raises:
        RequestError: It is something else.
    """
    value = header.get(key, default)
    if type(value) not in (int, float) or not 0 <= value <= _MOST_S:
        raise RequestError(BAD_REQUEST, f"{key} must be a number of seconds")
    return float(value)


def deadline_s(header: dict[str, Any]) -> float:
    """Return the seconds in which the client wants its answer, limited to ten minutes.

    Raises:
        RequestError: It is no number.
    """
    return min(seconds(header, "deadline_s", _DEFAULT_DEADLINE_S), MAX_DEADLINE_S)


@dataclass(frozen=True)
class Batch:
    """Images that a client wants computed.

    Attributes:
        name: The client's own number of it; the same number is the same batch.
        token: Of the lease.
        overlay: What computes.
        shape: Images, height, width, channels.
        first_frame: Index of the first image.
        seed: Of drawn weights.
    """

    name: str
    token: int
    overlay: str
    shape: tuple[int, int, int, int]
    first_frame: int
    seed: int

    @property
    def payload_bytes(self) -> int:
        """Bytes of the images."""
        return math.prod(self.shape)

    def question(self, data_sha256: str) -> str:
        """Return the SHA-256, in hex, of everything that decides the answer."""
        parts = (self.overlay, self.shape, self.first_frame, self.seed, data_sha256)
        return hashlib.sha256(repr(parts).encode()).hexdigest()


def parse_batch(header: dict[str, Any]) -> Batch:
    """Check the header of a batch.

    Raises:
        RequestError: A field is missing or wrong.
    """
    name, shape = text(header, "batch"), header.get("shape")
    if not _BATCH.fullmatch(name):
        raise RequestError(BAD_REQUEST, "batch must be letters, digits, dots and dashes")
    sizes = (
        [n for n in cast("list[object]", shape) if type(n) is int and 0 < n < 1 << 31]
        if isinstance(shape, list)
        else []
    )
    if len(sizes) != 4 or sizes != shape:
        raise RequestError(BAD_REQUEST, "shape must be four whole numbers above 0")
    return Batch(
        name=name,
        token=whole(header, "token", 1 << 62),
        overlay=text(header, "overlay"),
        shape=(sizes[0], sizes[1], sizes[2], sizes[3]),
        first_frame=whole(header, "first_frame", _MAX_FRAME, 0),
        seed=whole(header, "seed", _MAX_FRAME, 0),
    )
