"""The sockets: a thread a connection, and nobody can keep the others out."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from .deadlines import Deadline
from .errors import BoardError, RequestError
from .service import Service, refusal
from .tls import peer_name
from .wire import Connection, Limits, WireError

LOCAL = "local"
"""Name of everybody where there are no certificates."""


@dataclass(frozen=True)
class ServerLimits:
    """How much a peer can ask of the server.

    Attributes:
        wire: Of its frames.
        handshake_s: Seconds for the handshake of TLS as a whole.
        frame_s: Seconds in which the header of a frame must be there, once it has begun.
        idle_s: Seconds without a frame after which a connection is closed.
        send_s: Seconds more than the request's deadline in which the answer must be taken.
        strangers: Connections without a name; at one more, the oldest of them is closed.
        connections_each: Connections of one client.
        connections: All connections with a name.
    """

    wire: Limits = field(default_factory=Limits)
    handshake_s: float = 5.0
    frame_s: float = 5.0
    idle_s: float = 120.0
    send_s: float = 5.0
    strangers: int = 32
    connections_each: int = 8
    connections: int = 64


class BoardServer:
    """Listens, and hands requests to a service.

    Args:
        service: What answers.
        address: Host and port to listen at; port 0 takes a free one.
        context: Of TLS with client certificates; None speaks plainly, on the loopback interface only.
        allowed: Whether a client of that name may come in; asked at each connection.
        limits: What a peer can ask.

    Raises:
        ValueError: Without TLS, an address that is not the loopback interface's.
        OSError: The address can't be used.
    """

    def __init__(
        self,
        service: Service,
        address: tuple[str, int],
        context: ssl.SSLContext | None,
        allowed: Callable[[str], bool] = lambda _: True,
        limits: ServerLimits | None = None,
    ) -> None:
        if context is None and address[0] not in ("127.0.0.1", "::1"):
            raise ValueError(
                f"without certificates the server listens at 127.0.0.1 only, not at {address[0]}"
            )
        self._service = service
        self._context = context
        self._allowed = allowed
        self._limits = ServerLimits() if limits is None else limits
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.create_server(address, family=family, backlog=64)
        self._lock = threading.Lock()
        self._strangers: OrderedDict[socket.socket, None] = OrderedDict()
        self._clients: Counter[str] = Counter()
        self._open: set[socket.socket] = set()
        self._closed = threading.Event()

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def serve(self) -> None:
        """Accept connections until `close`."""
        while not self._closed.is_set():
            try:
                stream, _ = self._socket.accept()
            except OSError:
                # No more handles, or closed: never a reason to end while open.
                self._closed.wait(0.05)
                continue
            try:
                # Before the handshake, which may take its time in a thread: from here on this is the socket.
                stream = self._secured(stream)
            except OSError:
                stream.close()
                continue
            self._admit_stranger(stream)
            threading.Thread(target=self._serve, args=(stream,), daemon=True).start()

    def close(self) -> None:
        """Stop, and close all connections."""
        self._closed.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        with self._lock:
            streams = [*self._strangers, *self._open]
        for stream in streams:
            _cut(stream)

    def _admit_stranger(self, stream: socket.socket) -> None:
        with self._lock:
            self._strangers[stream] = None
            oldest = (
                self._strangers.popitem(last=False)[0]
                if len(self._strangers) > self._limits.strangers
                else None
            )
        if oldest is not None:
            _cut(oldest)

    def _serve(self, stream: socket.socket) -> None:
        client: str | None = None
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            client = self._enter(stream, self._name(stream))
            connection = Connection(stream, self._limits.wire)
            while self._exchange(connection, client):
                pass
        except (OSError, WireError, BoardError) as error:
            if client is None:
                with suppress(OSError):
                    self._service.audit.stranger(str(error))
        finally:
            with self._lock:
                self._strangers.pop(stream, None)
                self._open.discard(stream)
                if client is not None:
                    self._clients[client] -= 1
            stream.close()

    def _secured(self, stream: socket.socket) -> socket.socket:
        if self._context is None:
            return stream
        return self._context.wrap_socket(stream, server_side=True, do_handshake_on_connect=False)

    def _name(self, stream: socket.socket) -> str:
        """Return who proved to be at the other end."""
        if not isinstance(stream, ssl.SSLSocket):
            return LOCAL
        stream.settimeout(self._limits.handshake_s)
        # As a whole, however many bytes at a time: OpenSSL's own loop has this one deadline.
        stream.do_handshake()
        name = peer_name(stream.getpeercert())
        if not self._allowed(name):
            raise ssl.SSLError(f"{name} is not on the list")
        return name

    def _enter(self, stream: socket.socket, name: str) -> str:
        with self._lock:
            if self._strangers.pop(stream, stream) is stream:
                raise WireError("closed for another one")
            if self._clients[name] >= self._limits.connections_each or (
                self._clients.total() >= self._limits.connections
            ):
                raise WireError(f"too many connections of {name}")
            self._clients[name] += 1
            self._open.add(stream)
        return name

    def _exchange(self, connection: Connection, client: str) -> bool:
        """Answer one request; return whether another one may follow."""
        idle = Deadline.after(self._limits.idle_s)
        header = connection.receive_header(idle, self._limits.frame_s)
        if header is None:
            return False
        try:
            deadline = self._service.admit(client, header, connection.payload_bytes)
        except RequestError as error:
            received = connection.payload_bytes == 0
            answer = refusal(error)
            if not received:
                answer.header["closed"] = True
            self._service.audit.write(
                "refused", client=client, op=str(header.get("op"))[:20], outcome=error.code
            )
            connection.send(answer.header, b"", Deadline.after(self._limits.send_s))
            if not received:
                _linger(connection)
            return received
        payload = connection.receive_payload(deadline)
        answer = self._service.answer(client, header, payload, deadline)
        last = Deadline(max(deadline.at_s, time.monotonic()) + self._limits.send_s)
        connection.send(answer.header, answer.payload, last)
        return True


def _linger(connection: Connection) -> None:
    """Take in what the peer is sending for a moment: to close at once could destroy the answer on its way."""
    with suppress(WireError):
        connection.drain(Deadline.after(0.5))


def _cut(stream: socket.socket) -> None:
    """End a stream that another thread waits on."""
    with suppress(OSError):
        # Not that of `ssl.SSLSocket`, which takes away what the other thread works with.
        socket.socket.shutdown(stream, socket.SHUT_RDWR)
