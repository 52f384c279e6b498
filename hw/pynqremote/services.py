"""The services of PYNQ's remote protocol: files and bitstreams, registers, memory.

As ``server.py``, this runs in pynq's environment, and the message classes are handed in. What the protocol
has beyond that (GPIO pins, RF converters) is not there.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from typing import Any, BinaryIO

# Beside this file; by its path there, since nothing of this repository is in pynq's environment.
wire: Any = importlib.import_module("wire")

_CHUNK_BYTES = 1 << 20
# All files together; a bitstream has some megabytes.
_FILES_BYTES = 256 << 20
_FIRMWARE = "/lib/firmware/"
_MANAGER = "/sys/class/fpga_manager/fpga0/"
_REGISTER_BYTES = 4


class BoardLink:
    """The board behind the server: one request at a time."""

    def __init__(self, requests: BinaryIO, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers
        self._lock = threading.Lock()

    def ask(self, kind: int, first: int = 0, second: int = 0, data: bytes = b"") -> Any:
        """Return the answer to a request.

        Raises:
            BoardError: The board can't, or has gone.
        """
        with self._lock:
            wire.send_request(self._requests, wire.Request(kind, first, second, data))
            answer = wire.receive_answer(self._answers)
        if answer is None:
            raise BoardError("the board has gone")
        if not answer.good:
            raise BoardError(answer.data.decode("utf-8", "replace"))
        return answer


class BoardError(Exception):
    """The board behind the server can't do what was asked."""


class DeviceService:
    """Files and bitstreams."""

    def __init__(self, link: BoardLink, messages: Any, board: str, arch: str) -> None:
        self._link = link
        self._messages = messages
        self._lock = threading.Lock()
        self._files: dict[str, bytes] = {
            "/proc/version": f"Linux version (emulated) {arch}\n".encode(),
            "/proc/device-tree/chosen/pynq_board": board.encode() + b"\0",
            f"{_MANAGER}state": b"operating\n",
            f"{_MANAGER}flags": b"0\n",
        }

    def existsfile(self, request: Any, context: Any) -> Any:
        """Whether a file exists."""
        del context
        with self._lock:
            return self._messages.ExistsFileResponse(exists=request.file_path in self._files)

    def readfile(self, request: Any, context: Any) -> Iterator[Any]:
        """Send a file in pieces."""
        with self._lock:
            data = self._files.get(request.file_path)
        if data is None:
            context.abort(_status("NOT_FOUND"), f"no file {request.file_path}")
            return
        for start in range(0, max(len(data), 1), _CHUNK_BYTES):
            yield self._messages.ReadFileResponse(data=data[start : start + _CHUNK_BYTES])

    def writefile(self, requests: Iterator[Any], context: Any) -> Any:
        """Take a file; a name given to the FPGA manager loads the firmware of that name."""
        path, data = "", bytearray()
        for request in requests:
            path = request.file_path
            data += request.data
            if len(data) > _FILES_BYTES:
                context.abort(_status("RESOURCE_EXHAUSTED"), "the file is too large")
        with self._lock:
            self._files[path] = bytes(data)
            if sum(map(len, self._files.values())) > _FILES_BYTES:
                del self._files[path]
                context.abort(_status("RESOURCE_EXHAUSTED"), "there are too many files")
        if path == f"{_MANAGER}firmware":
            self._load(_FIRMWARE + bytes(data).decode("utf-8", "replace").strip(), context)
        return self._messages.WriteFileResponse()

    def set_bitstream_attrs(self, request: Any, context: Any) -> Any:
        """Take what is said about a bitstream; the name comes again when it is loaded."""
        del request, context
        return self._messages.SetBitstreamAttrsResponse(status=True)

    def _load(self, path: str, context: Any) -> None:
        with self._lock:
            data = self._files.get(path)
        if data is None:
            context.abort(_status("NOT_FOUND"), f"no firmware {path}")
            return
        self._link.ask(wire.LOAD, data=data)


class MmioService:
    """Registers."""

    def __init__(self, link: BoardLink, messages: Any) -> None:
        self._link = link
        self._messages = messages
        self._lock = threading.Lock()
        self._areas: list[tuple[int, int]] = []

    def get_mmio(self, request: Any, context: Any) -> Any:
        """Remember an area of registers and return its name."""
        del context
        if request.base_addr % _REGISTER_BYTES or request.length < 1:
            return self._messages.GetMmioResponse(status=False, msg="an area must be aligned and not empty")
        with self._lock:
            self._areas.append((request.base_addr, request.length))
            return self._messages.GetMmioResponse(status=True, mmio_id=str(len(self._areas) - 1))

    def read(self, request: Any, context: Any) -> Any:
        """Read 1 to 8 bytes."""
        del context
        try:
            address = self._address(request.mmio_id, request.offset, request.length)
            low = self._link.ask(wire.READ_REGISTER, address).number
            if request.length <= _REGISTER_BYTES:
                value = low & ((1 << 8 * request.length) - 1)
            else:
                high = self._link.ask(wire.READ_REGISTER, address + _REGISTER_BYTES).number
                value = low << 32 | high if request.word_order == "big" else high << 32 | low
        except (BoardError, ValueError) as error:
            return self._messages.ReadResponse(status=False, msg=str(error))
        return self._messages.ReadResponse(status=True, data=value)

    def write(self, request: Any, context: Any) -> Any:
        """Write whole registers."""
        del context
        try:
            address = self._address(request.mmio_id, request.offset, len(request.data))
            for start in range(0, len(request.data), _REGISTER_BYTES):
                value = int.from_bytes(request.data[start : start + _REGISTER_BYTES], "little")
                self._link.ask(wire.WRITE_REGISTER, address + start, value)
        except (BoardError, ValueError) as error:
            return self._messages.WriteResponse(status=False, msg=str(error))
        return self._messages.WriteResponse(status=True)

    def _address(self, name: str, offset: int, length: int) -> int:
        with self._lock:
            if not name.isdecimal() or int(name) >= len(self._areas):
                raise ValueError(f"no area {name}")
            base, size = self._areas[int(name)]
        if offset < 0 or offset + length > size:
            raise ValueError(f"offset {offset} with {length} bytes is outside of the {size} bytes")
        return base + offset


class BufferService:
    """Contiguous memory."""

    def __init__(self, link: BoardLink, messages: Any) -> None:
        self._link = link
        self._messages = messages
        self._lock = threading.Lock()
        self._places: dict[str, tuple[int, int]] = {}
        self._count = 0

    def allocate(self, request: Any, context: Any) -> Any:
        """Reserve memory and return its name."""
        del context
        try:
            address = self._link.ask(wire.ALLOCATE, request.size).number
        except BoardError as error:
            return self._messages.AllocateResponse(msg=str(error))
        with self._lock:
            self._count += 1
            name = f"buffer{self._count}"
            self._places[name] = address, request.size
        return self._messages.AllocateResponse(buffer_id=name)

    def write(self, requests: Iterator[Any], context: Any) -> Any:
        """Take bytes; pieces without a start follow each other."""
        del context
        done = 0
        try:
            for request in requests:
                address, size = self._place(request.buffer_id)
                start = request.start or done
                if start + len(request.data) > size:
                    raise ValueError(f"{start + len(request.data)} bytes don't fit a buffer of {size}")
                self._link.ask(wire.WRITE_MEMORY, address + start, data=request.data)
                done = start + len(request.data)
        except (BoardError, ValueError) as error:
            return self._messages.BufferWriteResponse(msg=str(error))
        return self._messages.BufferWriteResponse()

    def read(self, request: Any, context: Any) -> Iterator[Any]:
        """Send bytes in pieces; without an end, all of them."""
        del context
        try:
            address, size = self._place(request.buffer_id)
            end = request.end or size
            if not 0 <= request.start <= end <= size:
                raise ValueError(f"{request.start} to {end} is outside of a buffer of {size}")
            for start in range(request.start, end, _CHUNK_BYTES):
                count = min(_CHUNK_BYTES, end - start)
                data = self._link.ask(wire.READ_MEMORY, address + start, count).data
                yield self._messages.BufferReadResponse(data=data)
        except (BoardError, ValueError) as error:
            yield self._messages.BufferReadResponse(msg=str(error))

    def freebuffer(self, request: Any, context: Any) -> Any:
        """Give memory back."""
        del context
        try:
            address, _ = self._place(request.buffer_id)
            with self._lock:
                self._places.pop(request.buffer_id, None)
            self._link.ask(wire.FREE, address)
        except (BoardError, ValueError) as error:
            return self._messages.FreeBufferResponse(msg=str(error))
        return self._messages.FreeBufferResponse()

    def physical_address(self, request: Any, context: Any) -> Any:
        """Return where a buffer is."""
        del context
        try:
            return self._messages.AddressResponse(address=self._place(request.buffer_id)[0])
        except ValueError as error:
            return self._messages.AddressResponse(msg=str(error))

    virtual_address = physical_address

    def flush(self, request: Any, context: Any) -> Any:
        """There is no cache to flush."""
        del context
        return self._messages.FlushResponse(msg=self._fault(request.buffer_id))

    def invalidate(self, request: Any, context: Any) -> Any:
        """There is no cache to invalidate."""
        del context
        return self._messages.InvalidateResponse(msg=self._fault(request.buffer_id))

    def cacheable(self, request: Any, context: Any) -> Any:
        """Say that it is cached, as the board does."""
        del context
        return self._messages.CacheableResponse(msg=self._fault(request.buffer_id), cacheable=True)

    def _fault(self, name: str) -> str:
        try:
            self._place(name)
        except ValueError as error:
            return str(error)
        return ""

    def _place(self, name: str) -> tuple[int, int]:
        with self._lock:
            if name not in self._places:
                raise ValueError(f"no buffer {name}")
            return self._places[name]


def _status(name: str) -> Any:
    return getattr(importlib.import_module("grpc").StatusCode, name)
