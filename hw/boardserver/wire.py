"""Messages on a stream: a JSON object, and raw bytes behind it.

A frame is 4 bytes ``BSB1``, the length of the JSON text and that of the bytes (unsigned, 32 bits, big
endian), then both. Lengths are limited before anything is allocated, a frame that has begun must be complete
before its deadline however slowly it trickles in, and nothing in it is executed.
"""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from typing import Any, cast

from .deadlines import Deadline

MAGIC = b"BSB1"
_LENGTHS = struct.Struct("!4sII")
_CHUNK = 1 << 18


class WireError(Exception):
    """The stream ended, was garbage, or was too slow; the connection is of no more use."""


@dataclass(frozen=True)
class Limits:
    """What a peer may send.

    Attributes:
        header_bytes: Most bytes of the JSON text.
        payload_bytes: Most bytes behind it.
    """

    header_bytes: int = 1 << 16
    payload_bytes: int = 1 << 25


class Connection:
    """One stream of frames; errors leave it unusable.

    Args:
        stream: A connected socket, with TLS or without.
        limits: Of what is received.
    """

    def __init__(self, stream: socket.socket, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._payload_bytes = 0

    def send(self, header: dict[str, Any], payload: bytes | memoryview, deadline: Deadline) -> None:
        """Send one frame.

        Raises:
            WireError: The peer is gone, or doesn't take it before the deadline.
        """
        text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
        front = _LENGTHS.pack(MAGIC, len(text), len(payload)) + text
        self._send(memoryview(front), deadline)
        if len(payload):
            self._send(memoryview(payload).cast("B"), deadline)

    def receive_header(self, idle: Deadline, frame_s: float) -> dict[str, Any] | None:
        """Receive the JSON object of the next frame; its bytes follow with `receive_payload`.

        Args:
            idle: Until when the first byte may come.
            frame_s: Seconds from then on in which the rest of the header must be there.

        Returns:
            The object, or None where the peer closed the stream between frames.

        Raises:
            WireError: Garbage, too long, too late, or cut off.
        """
        first = self._receive(1, idle, may_end=True)
        if not first:
            return None
        deadline = Deadline.after(frame_s)
        magic, header_bytes, payload_bytes = _LENGTHS.unpack(
            bytes(first + self._receive(_LENGTHS.size - 1, deadline))
        )
        if magic != MAGIC:
            raise WireError("this is no frame")
        if header_bytes > self._limits.header_bytes or payload_bytes > self._limits.payload_bytes:
            raise WireError(f"a frame of {header_bytes} + {payload_bytes} bytes is too long")
        self._payload_bytes = payload_bytes
        return _parse(self._receive(header_bytes, deadline))

    @property
    def payload_bytes(self) -> int:
        """Length of the bytes that are still to be received of this frame."""
        return self._payload_bytes

    def receive_payload(self, deadline: Deadline) -> bytearray:
        """Receive the bytes of the frame.

        Raises:
            WireError: Too late, or cut off.
        """
        count, self._payload_bytes = self._payload_bytes, 0
        return self._receive(count, deadline)

    def drain(self, deadline: Deadline) -> None:
        """Receive the bytes of the frame and forget them.

        Raises:
            WireError: Too late, or cut off.
        """
        while self._payload_bytes:
            part = self._receive(min(_CHUNK, self._payload_bytes), deadline)
            self._payload_bytes -= len(part)

    def close(self) -> None:
        """Close the stream; a second call does nothing."""
        self._stream.close()

    def _send(self, data: memoryview, deadline: Deadline) -> None:
        place = 0
        try:
            while place < len(data):
                self._wait_at_most(deadline)
                place += self._stream.send(data[place : place + _CHUNK])
        except (OSError, ValueError) as error:
            raise WireError(f"can't send: {error}") from error

    def _receive(self, count: int, deadline: Deadline, *, may_end: bool = False) -> bytearray:
        # It grows with what arrives: announcing much costs the receiver nothing.
        data = bytearray()
        try:
            while len(data) < count:
                self._wait_at_most(deadline)
                part = self._stream.recv(min(_CHUNK, count - len(data)))
                if not part:
                    if may_end and not data:
                        return data
                    raise WireError("the stream ended inside a frame")
                data += part
        except (OSError, ValueError) as error:
            raise WireError(f"can't receive: {error}") from error
        return data

    def _wait_at_most(self, deadline: Deadline) -> None:
        remaining_s = deadline.remaining_s()
        if remaining_s <= 0.0:
            raise WireError("the deadline is over")
        self._stream.settimeout(remaining_s)


def _parse(text: bytearray) -> dict[str, Any]:
    try:
        document: object = json.loads(bytes(text).decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WireError("the header of a frame is no JSON") from error
    if not isinstance(document, dict):
        raise WireError("the header of a frame is no object")
    return cast("dict[str, Any]", document)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)
