"""Putting a server together from its folders and files, and running it until it is told to stop."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from .audit import AuditLog
from .board import Board
from .device import BoardDevice
from .leases import LeaseTable
from .overlays import OverlayFolder
from .results import ResultStore
from .server import BoardServer, ServerLimits
from .service import Service
from .tls import server_context

PORT = 7968


@dataclass(frozen=True)
class Credentials:
    """Files of the server's identity.

    Attributes:
        certificate: Its certificate, PEM.
        key: Its private key, PEM.
        authority: Certificate of who vouches for clients, PEM.
        clients: Names of clients that may come in, one a line; None for all that the authority vouches for.
    """

    certificate: Path
    key: Path
    authority: Path
    clients: Path | None = None

    @classmethod
    def of_folder(cls, folder: Path) -> Credentials:
        """Return those that ``bitsiege board enrol`` wrote into a folder."""
        return cls(folder / "server.pem", folder / "server.key", folder / "ca.pem", folder / "clients.txt")

    def allows(self, name: str) -> bool:
        """Whether a client may come in; the file is read anew each time."""
        if self.clients is None:
            return True
        try:
            lines = self.clients.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return False
        return name in {line.strip() for line in lines}


@dataclass(frozen=True)
class ServerPlan:
    """How a server runs.

    Attributes:
        root: Folder of the overlays.
        state: Folder of its own files: results, audit log, last token, quarantine.
        host: Address to listen at.
        port: Port; 0 takes a free one.
        credentials: Certificates; None speaks plainly on the loopback interface.
        limits: What a peer can ask.
        max_results_bytes: Most bytes of kept results.
    """

    root: Path
    state: Path
    host: str = "127.0.0.1"
    port: int = PORT
    credentials: Credentials | None = None
    limits: ServerLimits = field(default_factory=ServerLimits)
    max_results_bytes: int = 1 << 28


def make_server(plan: ServerPlan, device: BoardDevice) -> BoardServer:
    """Put a server together.

    Raises:
        OSError: A folder, file or address can't be used.
        ValueError: A state file is damaged, or the address needs certificates.
    """
    plan.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    overlays = OverlayFolder(plan.root)
    overlays.names()
    audit = AuditLog(plan.state / "audit.jsonl")
    board = Board(device, overlays, plan.state / "quarantine.json")
    service = Service(
        board,
        LeaseTable(plan.state / "token.json"),
        ResultStore(plan.state / "results", plan.max_results_bytes),
        audit,
        plan.limits.wire.payload_bytes,
    )
    credentials = plan.credentials
    server = BoardServer(
        service,
        (plan.host, plan.port),
        None
        if credentials is None
        else server_context(credentials.certificate, credentials.key, credentials.authority),
        (lambda _: True) if credentials is None else credentials.allows,
        plan.limits,
    )
    audit.write(
        "start",
        board=device.board_id,
        kind=board.kind,
        address=list(server.address),
        tls=credentials is not None,
        process=os.getpid(),
    )
    return server


def run_server(server: BoardServer, announce: Callable[[str, int], None]) -> None:
    """Serve until the process is told to end (SIGTERM, SIGINT) in its main thread.

    Args:
        server: From `make_server`.
        announce: Called with host and port once it listens.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        del number, frame
        # Not in the handler itself: it may have interrupted who holds the lock.
        threading.Thread(target=server.close, daemon=True).start()

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
    announce(*server.address)
    server.serve()


def announce_on_stdout(host: str, port: int) -> None:
    """Write ``listening HOST PORT``, for whoever started the process."""
    with suppress(OSError, ValueError):
        sys.stdout.write(f"listening {host} {port}\n")
        sys.stdout.flush()
