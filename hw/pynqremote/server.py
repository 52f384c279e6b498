"""The gRPC server: PYNQ's remote protocol on loopback, as the board's own server speaks it.

It runs in pynq's environment, whose message classes it uses, as ``python server.py BOARD ARCH PORT`` with the
board behind it at its standard streams (see ``wire.py``). Files live in its memory only.
"""

from __future__ import annotations

import importlib
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
services: Any = importlib.import_module("services")
wire: Any = importlib.import_module("wire")

_WATCH_S = 1.0


def serve(board: str, arch: str, port: int, link: Any) -> Any:
    """Start the server on loopback, tell the board its port, and return it."""
    grpc = importlib.import_module("grpc")
    server = grpc.server(ThreadPoolExecutor(max_workers=8))
    for module, name, kind, arguments in (
        ("remote_device", "RemoteDevice", services.DeviceService, (board, arch)),
        ("mmio", "Mmio", services.MmioService, ()),
        ("buffer", "RemoteBuffer", services.BufferService, ()),
    ):
        messages: Any = importlib.import_module(f"pynq.remote.{module}_pb2")
        glue: Any = importlib.import_module(f"pynq.remote.{module}_pb2_grpc")
        # What ours lacks, PYNQ's own class answers: not implemented.
        complete = type(kind.__name__, (kind, getattr(glue, f"{name}Servicer")), {})
        service = complete(link, messages, *arguments)
        getattr(glue, f"add_{name}Servicer_to_server")(service, server)
    # PYNQ's protocol knows no authentication: nobody else must reach it.
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    link.ask(wire.READY, bound)
    return server


def main(arguments: list[str]) -> None:
    """Serve until the process that started this one is gone."""
    parent = os.getppid()
    link = services.BoardLink(sys.stdout.buffer, sys.stdin.buffer)
    # What a library prints must not get between the frames.
    sys.stdout = sys.stderr
    server = serve(arguments[0], arguments[1], int(arguments[2]), link)
    while os.getppid() == parent:
        server.wait_for_termination(timeout=_WATCH_S)


if __name__ == "__main__":
    main(sys.argv[1:])
