"""Frames between the gRPC server, in pynq's environment, and the board behind it, in ours.

Both sides use this file: the server by its path. A request is a kind, two numbers and bytes; an answer is
whether it worked, a number and bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

# Kinds of request. The first two numbers are what is said here.
READ_REGISTER = 1  # address
WRITE_REGISTER = 2  # address, value
ALLOCATE = 3  # bytes
FREE = 4  # address
READ_MEMORY = 5  # address, bytes
WRITE_MEMORY = 6  # address; with the bytes
LOAD = 7  # with the bitstream's bytes
READY = 8  # port

_REQUEST = struct.Struct("<BQQQ")
_ANSWER = struct.Struct("<BQQ")


@dataclass(frozen=True)
class Request:
    """What the server wants.

    Attributes:
        kind: One of the kinds above.
        first: First number.
        second: Second number.
        data: Bytes.
    """

    kind: int
    first: int = 0
    second: int = 0
    data: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What came of it.

    Attributes:
        good: Whether it worked; else ``data`` says why not, in UTF-8.
        number: A number.
        data: Bytes.
    """

    good: bool = True
    number: int = 0
    data: bytes = b""


def send_request(stream: BinaryIO, request: Request) -> None:
    """Write a request."""
    header = _REQUEST.pack(request.kind, request.first, request.second, len(request.data))
    stream.write(header + request.data)
    stream.flush()


def receive_request(stream: BinaryIO) -> Request | None:
    """Read a request; None where the other side has gone."""
    header = _exactly(stream, _REQUEST.size)
    if header is None:
        return None
    kind, first, second, size = _REQUEST.unpack(header)
    data = _exactly(stream, size)
    return None if data is None else Request(kind, first, second, data)


def send_answer(stream: BinaryIO, answer: Answer) -> None:
    """Write an answer."""
    stream.write(_ANSWER.pack(answer.good, answer.number, len(answer.data)) + answer.data)
    stream.flush()


def receive_answer(stream: BinaryIO) -> Answer | None:
    """Read an answer; None where the other side has gone."""
    header = _exactly(stream, _ANSWER.size)
    if header is None:
        return None
    good, number, size = _ANSWER.unpack(header)
    data = _exactly(stream, size)
    return None if data is None else Answer(bool(good), number, data)


def _exactly(stream: BinaryIO, count: int) -> bytes | None:
    data = stream.read(count)
    return data if len(data) == count else None
