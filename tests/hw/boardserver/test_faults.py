"""Each fault that a board can have, on a simulated one in a process of its own, with the driver of boards.

After each of them the board computes rightly again, or says that it doesn't.
"""

import json
import resource
import shutil
import signal
import socket
import threading
import time

import numpy as np
import pytest

from hw.boardserver.errors import (
    BUSY,
    CHANNEL,
    CLOCK,
    DISK,
    FENCED,
    HUNG,
    KNOWN_ANSWERS,
    NO_LEASE,
    QUARANTINED,
    STALE_BITSTREAM,
    STUCK,
    WRONG_BITSTREAM,
    WRONG_BOARD,
)
from hw.reference import ReferenceTarget
from hw.remote import BoardAnswerError, BoardEntry, UnreachableError
from hw.remote.session import BoardSession

pytestmark = pytest.mark.timeout(180)


class User:
    """What a test asks of the board, without the session's patience."""

    def __init__(self, client, overlay):
        self.client, self.overlay, self.token = client, overlay, None

    def lease(self, timeout_s=10.0, **changes):
        request = {"op": "lease", "overlay": self.overlay, "ttl_s": 20.0, **changes}
        self.token = self.client.call(request, timeout_s=timeout_s)[0]["token"]
        return self.token

    def release(self):
        self.client.call({"op": "release", "token": self.token})

    def run(self, images, batch, timeout_s=10.0):
        request = {
            "op": "run",
            "token": self.token,
            "batch": batch,
            "overlay": self.overlay,
            "shape": list(images.shape),
        }
        answer, data = self.client.call(request, images.tobytes(), timeout_s=timeout_s)
        return np.frombuffer(data, answer["dtype"]).reshape(answer["shape"]), answer

    def state(self):
        return self.client.call({"op": "hello"})[0]


def code_of(function, *arguments, **options):
    with pytest.raises(BoardAnswerError) as caught:
        function(*arguments, **options)
    return caught.value.code


def overlay_of(board):
    (folder,) = (board.state / "overlays").iterdir()
    return folder


@pytest.fixture
def user(simulated, connect):
    found = User(connect(simulated.entry()), overlay_of(simulated).name)
    if found.state()["state"] == "quarantined":
        found.client.call({"op": "recover", "overlay": found.overlay}, timeout_s=10)
    found.lease(wait_s=5.0)
    yield found
    try:
        found.release()
    except (BoardAnswerError, UnreachableError):
        return


@pytest.fixture
def expected(build, images):
    return ReferenceTarget(build.graph).infer(images).logits


_COUNT = iter(range(1000))


def new():
    return f"batch-{next(_COUNT)}"


@pytest.mark.parametrize(
    ("fault", "code", "word"),
    [
        ("stuck_dma", STUCK, "stuck"),
        ("short_stream", CHANNEL, "odma0"),
        ("long_stream", CHANNEL, "longer"),
        ("missing_tlast", CHANNEL, "length error"),
        ("error_0x10", CHANNEL, "length error"),
        ("error_0x20", CHANNEL, "slave error"),
        ("error_0x40", CHANNEL, "decode error"),
    ],
)
def test_a_channel_s_fault(simulated, user, images, expected, fault, code, word):
    """It reaches the client in words; only after reset, reload and known answers the board computes again."""
    simulated.inject(**{fault: 1})
    with pytest.raises(BoardAnswerError, match=word) as caught:
        user.run(images, new())
    assert caught.value.code == code
    assert user.state()["state"] == "suspect"
    assert code_of(user.run, images, new()) == NO_LEASE
    user.release()
    user.lease()
    assert user.state()["state"] == "ready"
    assert np.array_equal(user.run(images, new())[0], expected)


def test_a_driver_that_hangs(simulated, user, images, expected):
    """The call ends at its deadline; while the driver hangs the board is of no use, and says so."""
    simulated.inject(hung_driver=1)
    start = time.monotonic()
    assert code_of(user.run, images, new(), timeout_s=2.0) == HUNG
    assert time.monotonic() - start < 2.5
    user.release()
    assert code_of(user.lease) == HUNG
    assert code_of(user.lease) == QUARANTINED
    time.sleep(1.5)
    user.client.call({"op": "recover", "overlay": user.overlay}, timeout_s=10)
    user.lease()
    assert np.array_equal(user.run(images, new())[0], expected)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("stale_bitstream", STALE_BITSTREAM),
        ("clock_off", CLOCK),
        ("weights_lost", KNOWN_ANSWERS),
    ],
)
def test_a_fault_of_the_load(simulated, user, images, expected, fault, code):
    """Once, it costs a second load; twice, it is a quarantine, until somebody lets the board try again."""
    simulated.inject(stuck_dma=1, **{fault: 1})
    assert code_of(user.run, images, new()) == STUCK
    user.release()
    user.lease()
    assert np.array_equal(user.run(images, new())[0], expected)
    simulated.inject(stuck_dma=1, **{fault: 2})
    assert code_of(user.run, images, new()) == STUCK
    user.release()
    assert code_of(user.lease) == code
    assert code_of(user.lease) == QUARANTINED
    user.client.call({"op": "recover", "overlay": user.overlay}, timeout_s=10)
    user.lease()
    assert np.array_equal(user.run(images, new())[0], expected)


@pytest.mark.parametrize(
    "change", [lambda data: data[:-2], lambda data: data.replace(b"simulated", b"another")]
)
def test_a_truncated_or_wrong_bitstream(simulated, user, images, expected, change):
    user.release()
    (file,) = overlay_of(simulated).glob("*.bit")
    data = file.read_bytes()
    file.write_bytes(change(data))
    try:
        assert code_of(user.lease) == WRONG_BITSTREAM
    finally:
        file.write_bytes(data)
    user.lease()
    assert np.array_equal(user.run(images, new())[0], expected)


def test_the_wrong_board(simulated, user):
    user.release()
    other = simulated.state / "overlays" / "other"
    shutil.copytree(overlay_of(simulated), other)
    try:
        document = json.loads((other / "overlay.json").read_text())
        (other / "overlay.json").write_text(json.dumps(document | {"board": "Pynq-Z2"}))
        user.overlay, right = "other", user.overlay
        assert code_of(user.lease) == WRONG_BOARD
    finally:
        shutil.rmtree(other)
    user.overlay = right
    user.lease()


def test_a_reboot_in_mid_batch(simulated, user, build, images, expected):
    """The client's session finds the board again, and asks for the same batch."""
    user.release()
    session = BoardSession(user.client, user.overlay, build.graph_hash, patience_s=60)
    session.run(new(), images, 0, 0)
    simulated.inject(reboot=1)
    first = simulated.pid
    result = []
    thread = threading.Thread(target=lambda: result.append(session.run(new(), images, 0, 0)[0]))
    thread.start()
    assert simulated.wait() == 1
    simulated.kill()
    simulated.start()
    thread.join(60)
    assert simulated.pid != first
    assert np.array_equal(result[0], expected)
    assert session.troubles.broken > 0
    session.release()


class Proxy:
    """Stands between client and board, and breaks or slows down what it is told to."""

    def __init__(self, port):
        self.target = port
        self.cut_answers = 0
        self.pause_s = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._streams = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            self._streams += [near, far]
            for source, sink, back in ((near, far, False), (far, near, True)):
                threading.Thread(target=self._pump, args=(source, sink, back), daemon=True).start()

    def _pump(self, source, sink, back):
        try:
            # Always little at a time: a call that waits here already would else take all in at once.
            while data := source.recv(1024):
                if back and self.cut_answers:
                    self.cut_answers -= 1
                    break
                time.sleep(self.pause_s)
                sink.sendall(data)
        except OSError:
            pass
        for stream in (source, sink):
            try:
                stream.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for stream in self._streams:
            stream.close()


@pytest.fixture
def proxy(simulated):
    found = Proxy(simulated.port)
    yield found
    found.close()


def through(proxy, entry):
    return BoardEntry(name="sim", host=entry.host, port=proxy.port, identity=entry.identity)


def test_a_disconnect_before_the_answer(simulated, user, proxy, connect, build, images, expected):
    """The answer is on the board already: the retry gets it, and nothing is computed twice."""
    user.release()
    client = connect(through(proxy, simulated.entry()))
    session = BoardSession(client, user.overlay, build.graph_hash, patience_s=30)
    session.run(new(), images, 0, 0)
    batch = new()
    proxy.cut_answers = 1
    logits, _ = session.run(batch, images, 0, 0)
    assert np.array_equal(logits, expected)
    assert session.troubles.broken == 1
    done = [line for line in simulated.audit() if line.get("batch") == batch]
    assert [line["repeated"] for line in done] == [False, True]
    assert len({line["logits_sha256"] for line in done}) == 1
    session.release()


def test_a_slow_link(simulated, user, proxy, connect, images, expected):
    """A call through it ends at its deadline; others are served meanwhile."""
    user.release()
    slow = User(connect(through(proxy, simulated.entry("anna"))), user.overlay)
    slow.lease()
    proxy.pause_s = 0.1
    many = np.concatenate([images] * 40)
    start = time.monotonic()
    ended = []

    def wait():
        try:
            slow.run(many, new(), timeout_s=1.5)
        except UnreachableError:
            ended.append(time.monotonic() - start)

    thread = threading.Thread(target=wait)
    thread.start()
    assert user.state()["kind"] == "simulation"
    assert not ended
    thread.join(10)
    assert len(ended) == 1
    assert ended[0] < 4
    proxy.pause_s = 0.0
    assert np.array_equal(slow.run(images, new())[0], expected)
    slow.release()


def test_a_full_disk(simulated, user, images, expected):
    """The kernel refuses to let the server's files grow."""
    batch = new()
    limits = resource.prlimit(simulated.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(simulated.pid, resource.RLIMIT_FSIZE, (16, limits[1]))
    try:
        assert code_of(user.run, images, batch) == DISK
    finally:
        resource.prlimit(simulated.pid, resource.RLIMIT_FSIZE, limits)
    logits, answer = user.run(images, batch)
    assert np.array_equal(logits, expected)
    assert not answer["repeated"]


def test_a_second_client(simulated, user, connect, images, expected):
    other = User(connect(simulated.entry("bela")), user.overlay)
    assert code_of(other.lease) == BUSY
    other.token = user.token
    assert code_of(other.run, images, new()) == FENCED
    assert np.array_equal(user.run(images, new())[0], expected)
    user.release()
    other.lease()
    assert np.array_equal(other.run(images, new())[0], expected)
    other.release()


def test_a_lease_that_ends(simulated, user, connect, images, expected):
    user.release()
    user.lease(ttl_s=0.3)
    other = User(connect(simulated.entry("cleo")), user.overlay)
    other.lease(wait_s=5.0)
    assert other.token > user.token
    assert code_of(user.run, images, new()) == FENCED
    assert np.array_equal(other.run(images, new())[0], expected)
    other.release()


def test_a_server_that_stops(simulated, user, images):
    """Told to end, it does; what is asked meanwhile fails at once."""
    simulated.kill(signal.SIGTERM)
    start = time.monotonic()
    with pytest.raises(UnreachableError):
        user.run(images, new())
    assert time.monotonic() - start < 5
