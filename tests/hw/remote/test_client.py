"""A call ends by its deadline, whatever is at the other end."""

import socket
import threading
import time
from contextlib import suppress

import pytest

from hw.remote import BoardClient, BoardEntry, Identity, UnreachableError, enrol


@pytest.fixture(scope="module")
def identity(tmp_path_factory) -> Identity:
    folder = tmp_path_factory.mktemp("client")
    return enrol(
        "z1",
        host="127.0.0.1",
        port=1,
        registry=folder / "boards.toml",
        board_folder=folder / "credentials",
        client="user",
    ).identity


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0), backlog=8) as found:
        yield found


def entry_of(listener, identity=None):
    host, port = listener.getsockname()
    return BoardEntry(name="z1", host=host, port=port, identity=identity)


def fails_within(entry, timeout_s):
    start = time.monotonic()
    client = BoardClient(entry)
    with pytest.raises(UnreachableError, match=r"z1 at 127\.0\.0\.1"):
        client.call({"op": "hello"}, b"x" * (1 << 24), timeout_s=timeout_s)
    client.close()
    assert time.monotonic() - start < timeout_s + 2


@pytest.mark.parametrize("secure", [False, True])
def test_a_server_that_says_nothing(listener, identity, secure):
    fails_within(entry_of(listener, identity if secure else None), 0.4)


def test_a_server_that_is_not_there(listener):
    entry = entry_of(listener)
    listener.close()
    fails_within(entry, 2.0)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("data", [b"SSH-2.0-x\r\n", b"", b"\x15\x03\x01\x00\x02\x02\x28"])
def test_a_server_that_says_something_else(listener, identity, data, secure):
    def serve():
        with suppress(OSError):
            stream, _ = listener.accept()
            with stream:
                stream.sendall(data)
                stream.settimeout(2)
                while stream.recv(1 << 16):
                    pass

    thread = threading.Thread(target=serve)
    thread.start()
    fails_within(entry_of(listener, identity if secure else None), 1.0)
    listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)


def test_an_answer_that_trickles_in(listener):
    stop = threading.Event()

    def serve():
        with suppress(OSError):
            stream, _ = listener.accept()
            with stream:
                while not stop.wait(0.05):
                    stream.sendall(b"B")

    thread = threading.Thread(target=serve)
    thread.start()
    fails_within(entry_of(listener), 0.5)
    stop.set()
    thread.join(5)
