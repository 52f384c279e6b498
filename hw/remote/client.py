"""One connection to a board server, and what can go wrong with it."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any

from export.errors import InputError, ToolError
from hw.boardserver.deadlines import Deadline
from hw.boardserver.tls import client_context
from hw.boardserver.wire import Connection, Limits, WireError
from hw.remote.registry import BoardEntry

_CONNECT_S = 5.0
# The server answers before the deadline that it is told; this is for the way back.
_WAY_S = 1.0


class UnreachableError(ToolError):
    """The board doesn't answer, or the connection broke; trying again may help."""


class BoardAnswerError(ToolError):
    """The board answered that it can't.

    Args:
        code: The server's word for it, one of `hw.boardserver.errors`.
        message: Its sentence.
        hint: Its way out.
        board: Name of the board.
    """

    def __init__(self, code: str, message: str, *, hint: str, board: str) -> None:
        super().__init__(f"board {board}: {message}", hint=hint, board=board, code=code)
        self.code = code


class BoardClient:
    """Calls a board server; it connects when it is first needed, and anew after a broken connection.

    Args:
        entry: Where the board is, and who we are.

    Raises:
        InputError: A certificate can't be read.
    """

    def __init__(self, entry: BoardEntry) -> None:
        self.entry = entry
        self._context = _context(entry)
        self._connection: Connection | None = None

    def call(
        self, header: dict[str, Any], payload: bytes | memoryview = b"", *, timeout_s: float = 30.0
    ) -> tuple[dict[str, Any], bytearray]:
        """Ask, and return the answer's JSON object and bytes.

        Args:
            header: The request; ``deadline_s`` is added.
            payload: Its bytes.
            timeout_s: When the call ends at the latest, with or without an answer [s].

        Raises:
            UnreachableError: No answer came.
            BoardAnswerError: The answer is an error.
        """
        deadline = Deadline.after(timeout_s)
        try:
            connection = self._connected(deadline)
            told_s = max(0.2, deadline.remaining_s() - _WAY_S)
            connection.send({**header, "deadline_s": told_s}, payload, deadline)
            answer = connection.receive_header(deadline, timeout_s)
            if answer is None:
                raise WireError("the board closed the connection")
            data = connection.receive_payload(deadline)
        except (WireError, OSError) as error:
            self.close()
            raise UnreachableError(
                f"board {self.entry.name} at {self.entry.host}:{self.entry.port} can't be reached: {error}",
                hint="is it on, does its server run, do the certificates fit?",
                board=self.entry.name,
            ) from error
        except BaseException:
            # An answer that nobody waits for any more must not be taken for that of the next call.
            self.close()
            raise
        if answer.get("closed"):
            self.close()
        if answer.get("ok") is not True:
            raise self._refused(answer)
        return answer, data

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):
                connection.close()

    def _connected(self, deadline: Deadline) -> Connection:
        if self._connection is not None:
            return self._connection
        stream = _connected_socket(self.entry, deadline)
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # For the handshake as a whole.
            stream.settimeout(max(1e-3, min(_CONNECT_S, deadline.remaining_s())))
            if self._context is not None:
                stream = self._context.wrap_socket(stream, server_hostname=self.entry.host)
        except BaseException:
            stream.close()
            raise
        # Answers are never longer than the questions that this side asks for.
        self._connection = Connection(stream, Limits(header_bytes=1 << 22, payload_bytes=1 << 28))
        return self._connection

    def _refused(self, answer: dict[str, Any]) -> BoardAnswerError:
        match answer.get("error"):
            case {"code": str(code), "message": str(message), "hint": str(hint)}:
                return BoardAnswerError(code, message, hint=hint, board=self.entry.name)
            case _:
                return BoardAnswerError(
                    "internal", "it answered something else", hint="", board=self.entry.name
                )


def _connected_socket(entry: BoardEntry, deadline: Deadline) -> socket.socket:
    """Connect to the first address of a name that answers."""
    found = socket.getaddrinfo(entry.host, entry.port, type=socket.SOCK_STREAM)
    last: OSError = OSError(f"{entry.host} has no address")
    for family, kind, protocol, _, address in found:
        stream = socket.socket(family, kind, protocol)
        stream.settimeout(max(1e-3, min(_CONNECT_S, deadline.remaining_s())))
        try:
            stream.connect(address)
        except OSError as error:
            stream.close()
            last = error
        else:
            return stream
    raise last


def _context(entry: BoardEntry) -> ssl.SSLContext | None:
    identity = entry.identity
    if identity is None:
        return None
    for file in (identity.certificate, identity.key, identity.authority):
        if not file.is_file():
            raise InputError(
                f"board {entry.name} needs {file}, which is not there", hint="bitsiege board enrol"
            )
    try:
        return client_context(identity.certificate, identity.key, identity.authority)
    except OSError as error:
        raise InputError(
            f"the certificates of board {entry.name} can't be used: {error}", hint="bitsiege board enrol"
        ) from error
