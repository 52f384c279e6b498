"""The stand-in of PYNQ.remote: PYNQ's own front door, and behind it a board that isn't there.

The gRPC server is a process in pynq's environment; what it is asked for it passes on to this process, where
the board is. It listens on loopback only, since the protocol knows neither encryption nor authentication.
"""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from export.errors import BitsiegeError, ToolError
from hw.environments import Environment
from hw.pynq.errors import DriverError
from hw.pynqremote import wire
from hw.pynqremote.board import EmulatedBoard

ENVIRONMENT = Environment(
    name="pynq",
    lock=Path(__file__).parent / "pynq-lock.txt",
    setup="python -m hw.pynqremote --setup",
    first=("setuptools",),
)
# Importing pynq takes seconds on a busy machine.
_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 10.0


class RemoteStandIn:
    """A running stand-in; a context manager that ends it.

    Args:
        board: What it serves.
        python: Python of pynq's environment.
        port: TCP port on 127.0.0.1; 0 for any that is free.

    Raises:
        ToolError: The server doesn't start.
    """

    def __init__(self, board: EmulatedBoard, python: Path, *, port: int = 0) -> None:
        self.board = board
        self.port = 0
        self._ready = threading.Event()
        script = Path(__file__).with_name("server.py")
        self._process = subprocess.Popen(
            [str(python), "-I", str(script), board.manifest.board, board.arch, str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._words: list[str] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._serve, self._listen)]
        for thread in self._threads:
            thread.start()
        if not self._ready.wait(_START_TIMEOUT_S) or not self.port:
            self.close()
            raise ToolError("PYNQ's remote server does not start", hint="\n".join(self._words[-5:]))

    def __enter__(self) -> RemoteStandIn:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the server."""
        self._process.terminate()
        try:
            self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(_END_TIMEOUT_S)
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()

    def wait(self) -> None:
        """Return when the server has ended."""
        self._process.wait()

    def _serve(self) -> None:
        """Answer the server's requests until it is gone."""
        requests, answers = self._stream(self._process.stdout), self._stream(self._process.stdin)
        try:
            while (request := wire.receive_request(requests)) is not None:
                wire.send_answer(answers, self._answer(request))
        except OSError:
            # The server ended while an answer was on its way to it.
            pass
        finally:
            self._ready.set()

    def _listen(self) -> None:
        for line in self._stream(self._process.stderr):
            self._words.append(line.decode("utf-8", "replace").rstrip())
            del self._words[:-20]

    def _answer(self, request: wire.Request) -> wire.Answer:
        try:
            return self._handle(request)
        except (BitsiegeError, DriverError, ValueError) as error:
            return wire.Answer(good=False, data=str(error).encode())

    def _handle(self, request: wire.Request) -> wire.Answer:
        board = self.board
        match request.kind:
            case wire.READ_REGISTER:
                return wire.Answer(number=board.read(request.first))
            case wire.WRITE_REGISTER:
                board.write(request.first, request.second)
            case wire.ALLOCATE:
                return wire.Answer(number=board.memory.take(request.first))
            case wire.FREE:
                board.memory.give(request.first)
            case wire.READ_MEMORY:
                return wire.Answer(data=board.overlay.read_memory(request.first, request.second))
            case wire.WRITE_MEMORY:
                board.overlay.write_memory(request.first, request.data)
            case wire.LOAD:
                board.load(request.data)
            case wire.READY:
                self.port = request.first
                self._ready.set()
            case _:
                raise ValueError(f"no request of kind {request.kind}")
        return wire.Answer()

    @staticmethod
    def _stream(stream: object) -> BinaryIO:
        if not hasattr(stream, "read"):
            raise ToolError("PYNQ's remote server has no streams")
        return stream  # pyright: ignore[reportReturnType]
