"""Frames: whole, or an error soon."""

import json
import socket
import struct
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.boardserver.deadlines import Deadline
from hw.boardserver.wire import Connection, Limits, WireError

LIMITS = Limits(header_bytes=4096, payload_bytes=4096)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture
def pair():
    left, right = socket.socketpair()
    yield left, right
    left.close()
    right.close()


@given(
    header=st.dictionaries(st.text(max_size=8), VALUES, max_size=4),
    payload=st.binary(max_size=2000),
    again=st.binary(max_size=50),
)
def test_frames_arrive_as_they_were_sent(header, payload, again):
    left, right = socket.socketpair()
    with left, right:
        sender, receiver = Connection(left, LIMITS), Connection(right, LIMITS)
        for data in (payload, again):
            sender.send(header, data, Deadline.after(5))
            assert receiver.receive_header(Deadline.after(5), 5) == header
            assert receiver.payload_bytes == len(data)
            assert receiver.receive_payload(Deadline.after(5)) == data


def test_the_end_between_frames_is_no_error(pair):
    pair[0].close()
    assert Connection(pair[1], LIMITS).receive_header(Deadline.after(5), 5) is None


def frame(header=b"{}", payload=b"", *, magic=b"BSB1", lengths=None):
    sizes = (len(header), len(payload)) if lengths is None else lengths
    return struct.pack("!4sII", magic, *sizes) + header + payload


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frame(magic=b"BSB2"),
        frame(lengths=(0xFFFFFFFF, 0)),
        frame(lengths=(2, 0xFFFFFFFF)),
        frame(b"[]"),
        frame(b"{"),
        frame(b'{"x": NaN}'),
        frame(b"\xff\xfe"),
        frame(b"[" * 4000),
        frame(json.dumps({"a": 1}).encode())[:-3],
    ],
)
def test_garbage_is_refused_at_once(pair, data):
    pair[0].sendall(data)
    pair[0].shutdown(socket.SHUT_WR)
    start = time.monotonic()
    with pytest.raises(WireError):
        Connection(pair[1], LIMITS).receive_header(Deadline.after(30), 30)
    assert time.monotonic() - start < 5


def test_a_payload_that_is_cut_off_is_refused(pair):
    pair[0].sendall(frame(payload=b"x" * 100)[:-1])
    pair[0].close()
    connection = Connection(pair[1], LIMITS)
    assert connection.receive_header(Deadline.after(5), 5) == {}
    with pytest.raises(WireError, match="ended"):
        connection.receive_payload(Deadline.after(5))


def test_a_frame_that_trickles_in_ends_at_its_deadline(pair):
    stop = threading.Event()

    def trickle():
        for byte in frame(b'{"a": "' + b"x" * 1000 + b'"}'):
            if stop.wait(0.02):
                return
            pair[0].send(bytes([byte]))

    thread = threading.Thread(target=trickle)
    thread.start()
    start = time.monotonic()
    with pytest.raises(WireError, match=r"deadline|timed out"):
        Connection(pair[1], LIMITS).receive_header(Deadline.after(30), 0.3)
    assert time.monotonic() - start < 5
    stop.set()
    thread.join(5)


def test_who_does_not_read_does_not_hold_up_the_sender(pair):
    start = time.monotonic()
    with pytest.raises(WireError):
        Connection(pair[0], LIMITS).send({}, b"x" * (1 << 24), Deadline.after(0.3))
    assert time.monotonic() - start < 5


@given(data=st.binary(max_size=200), whole=st.booleans())
def test_no_bytes_do_more_than_end_the_connection(data, whole):
    left, right = socket.socketpair()
    with left, right:
        left.sendall(frame(data) if whole else b"BSB1" + data)
        left.shutdown(socket.SHUT_WR)
        connection = Connection(right, LIMITS)
        try:
            header = connection.receive_header(Deadline.after(5), 5)
            connection.receive_payload(Deadline.after(5))
        except WireError:
            return
        assert header is None or isinstance(header, dict)
