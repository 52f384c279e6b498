"""The sockets: who comes in, and that nobody keeps the others out."""

import errno
import json
import shutil
import socket
import ssl
import threading
import time

import numpy as np
import pytest

import hw.boardserver.results as results_module
from hw.boardserver.errors import (
    BAD_REQUEST,
    BUSY,
    CONFLICT,
    DISK,
    FENCED,
    NO_LEASE,
    STUCK,
    UNKNOWN_OVERLAY,
    FaultError,
)
from hw.boardserver.serve import Credentials
from hw.boardserver.server import ServerLimits
from hw.boardserver.tls import client_context
from hw.remote import BoardAnswerError, BoardEntry, Identity, UnreachableError, enrol
from hw.remote.session import BoardSession

OVERLAY = "net_simulated_0123"


def lease(client, **changes):
    return client.call({"op": "lease", "overlay": OVERLAY, "ttl_s": 30.0, **changes}, timeout_s=5)[0]["token"]


def run(client, token, images, batch="b1", timeout_s=5.0, **changes):
    request = {"op": "run", "token": token, "batch": batch, "overlay": OVERLAY, "shape": list(images.shape)}
    return client.call({**request, **changes}, images.tobytes(), timeout_s=timeout_s)


def code_of(function, *arguments, **options):
    with pytest.raises(BoardAnswerError) as caught:
        function(*arguments, **options)
    return caught.value.code


def test_a_batch_is_computed_once(serve_here, connect, device, images):
    client = connect(serve_here())
    token = lease(client)
    device.calls.clear()
    first, data = run(client, token, images)
    second, again = run(client, token, images)
    assert data == again
    assert (first["repeated"], second["repeated"]) == (False, True)
    assert first["record"] == second["record"]
    assert device.calls == [("run", 50)]
    assert np.frombuffer(data, "<i4").reshape(50, 3)[:, 1].tolist() == images[:, 0, 0, 0].tolist()
    assert code_of(run, client, token, images[:10]) == CONFLICT
    assert code_of(run, client, token, images, first_frame=1) == CONFLICT


def test_an_answer_is_the_same_after_a_restart(serve_here, connect, device, images):
    client = connect(serve_here())
    _, data = run(client, lease(client), images)
    other = connect(serve_here())
    answer, again = run(other, lease(other), images)
    assert again == data
    assert answer["repeated"]


def test_a_batch_that_is_asked_for_twice_at_once_is_computed_once(serve_here, connect, device, images):
    entry = serve_here()
    first, second = connect(entry), connect(entry)
    token = lease(first)
    entered, leave = threading.Event(), threading.Event()

    def slowly(part, deadline):
        entered.set()
        leave.wait(4)
        return part.reshape(len(part), -1)[:, :3].astype(np.int64)

    device.next = [slowly]
    answers = []
    threads = [
        threading.Thread(target=lambda client=client: answers.append(run(client, token, images)))
        for client in (first, second)
    ]
    threads[0].start()
    assert entered.wait(4)
    threads[1].start()
    time.sleep(0.1)
    leave.set()
    for thread in threads:
        thread.join(5)
    assert answers[0][1] == answers[1][1]
    assert sorted(answer["repeated"] for answer, _ in answers) == [False, True]


def test_requests_that_make_no_sense_are_refused(serve_here, connect, images):
    client = connect(serve_here())
    token = lease(client)
    assert code_of(client.call, {"op": "shell"}) == BAD_REQUEST
    assert code_of(client.call, {"op": ["run"]}) == BAD_REQUEST
    assert code_of(client.call, {}) == BAD_REQUEST
    assert code_of(client.call, {"op": "lease", "overlay": 5}) == BAD_REQUEST
    assert code_of(client.call, {"op": "lease", "overlay": "x", "ttl_s": "long"}) == BAD_REQUEST
    for changes in (
        {"batch": "../x"},
        {"batch": ""},
        {"shape": [50, 4, 4]},
        {"shape": [50, 4, 4, 2]},
        {"shape": [1 << 40, 4, 4, 1]},
        {"shape": [50, 4, 4, True]},
        {"first_frame": -1},
        {"seed": 1 << 32},
        {"overlay": None},
    ):
        assert code_of(run, client, token, images, **changes) == BAD_REQUEST, changes
    assert code_of(run, client, "1", images) == BAD_REQUEST
    assert code_of(client.call, {"op": "hello"}, b"unasked") == BAD_REQUEST
    run(client, token, images)


def test_another_overlay_than_the_leased_one_does_not_run(serve_here, connect, images):
    client = connect(serve_here())
    token = lease(client)
    assert code_of(run, client, token, images, overlay="net_other") == NO_LEASE


def test_a_failed_lease_leaves_the_board_to_others(serve_here, connect):
    entry = serve_here()
    first, second = connect(entry), connect(entry)
    assert code_of(first.call, {"op": "lease", "overlay": "../etc"}) == UNKNOWN_OVERLAY
    lease(second)


def test_bytes_without_a_lease_are_not_even_received(serve_here, connect, images):
    client = connect(serve_here())
    assert code_of(run, client, 1, images) == NO_LEASE
    token = lease(client)
    client.call({"op": "release", "token": token})
    assert code_of(run, client, token, images) == NO_LEASE
    other = lease(client)
    assert code_of(run, client, token, images) == FENCED
    run(client, other, images)


def test_a_fault_reaches_the_client_and_the_next_lease_recovers(serve_here, connect, device, images):
    client = connect(serve_here())
    token = lease(client)
    device.next = [FaultError(STUCK, "odma0 is stuck: 3 of 50 frames")]
    assert code_of(run, client, token, images) == STUCK
    assert code_of(run, client, token, images) == NO_LEASE
    client.call({"op": "release", "token": token})
    device.calls.clear()
    run(client, lease(client), images)
    assert device.calls == ["reset", "load", ("run", 16), ("run", 50)]


def test_a_full_disk_is_said_and_nothing_is_lost(serve_here, connect, monkeypatch, images):
    client = connect(serve_here())
    token = lease(client)
    write = results_module.write_bytes

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(results_module, "write_bytes", full)
    assert code_of(run, client, token, images) == DISK
    monkeypatch.setattr(results_module, "write_bytes", write)
    answer, _ = run(client, token, images)
    assert not answer["repeated"]


def test_what_can_t_be_audited_is_not_answered(serve_here, connect, monkeypatch):
    client = connect(serve_here())

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("hw.boardserver.audit.os.write", full)
    assert code_of(client.call, {"op": "hello"}) == DISK
    monkeypatch.undo()
    client.call({"op": "hello"})


def test_a_bug_in_the_server_ends_one_request_only(serve_here, connect, monkeypatch):
    client = connect(serve_here())
    monkeypatch.setattr("hw.boardserver.board.Board.describe", lambda self: 1 // 0)
    assert code_of(client.call, {"op": "hello"}) == "internal"
    monkeypatch.undo()
    client.call({"op": "hello"})


def raw(entry):
    return socket.create_connection((entry.host, entry.port), timeout=5)


def is_closed(stream, timeout_s=5.0):
    stream.settimeout(timeout_s)
    try:
        while stream.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"B",
        b"GET / HTTP/1.1\r\n\r\n",
        b"BSB1\xff\xff\xff\xff\xff\xff\xff\xff",
        b"BSB1\x00\x00\x00\x10\x00\x00\x00\x00{",
        bytes(range(256)) * 64,
    ],
    ids=["silent", "one byte", "http", "giant", "half", "noise"],
)
def test_hostile_peers_don_t_keep_others_out(serve_here, connect, images, hostile):
    entry = serve_here()
    client = connect(entry)
    token = lease(client)
    with raw(entry) as stranger:
        stranger.sendall(hostile)
        start = time.monotonic()
        for batch in ("one", "two"):
            run(client, token, images, batch)
        assert time.monotonic() - start < 5
        if len(hostile) > 1:
            assert is_closed(stranger)


def test_slow_strangers_are_closed_for_the_sake_of_others(serve_here, connect, enrolled):
    """More of them than there is room: each new one costs the oldest its place."""
    limits = ServerLimits(handshake_s=60.0, strangers=4)
    entry = serve_here(credentials=Credentials.of_folder(enrolled / "credentials"), limits=limits)
    strangers = [raw(entry) for _ in range(20)]
    client = connect(secured(entry, enrolled))
    start = time.monotonic()
    client.call({"op": "hello"}, timeout_s=10)
    assert all(is_closed(stranger) for stranger in strangers[:16])
    assert time.monotonic() - start < 20
    for stranger in strangers:
        stranger.close()


def test_a_server_that_closes_takes_its_connections_with_it(tls_entry, connect, enrolled, serve_here):
    client = connect(secured(tls_entry, enrolled))
    client.call({"op": "hello"}, timeout_s=5)
    start = time.monotonic()
    serve_here.close()
    with pytest.raises(UnreachableError):
        client.call({"op": "hello"}, timeout_s=20)
    assert time.monotonic() - start < 10


def test_a_handshake_that_trickles_in_ends(serve_here, enrolled):
    entry = serve_here(credentials=Credentials.of_folder(enrolled / "credentials"))
    with raw(entry) as stranger:
        stranger.sendall(b"\x16\x03\x01\x02\x00")
        start = time.monotonic()
        end = start + 10
        closed = False
        while not closed and time.monotonic() < end:
            try:
                stranger.sendall(b"\x01")
                stranger.settimeout(0.1)
                closed = stranger.recv(100) == b""
            except TimeoutError:
                continue
            except OSError:
                closed = True
        assert closed
        assert time.monotonic() - start < 6


def test_one_client_can_t_take_all_connections(serve_here, connect):
    entry = serve_here()
    clients = [connect(entry) for _ in range(3)]
    for client in clients:
        client.call({"op": "hello"})
    with pytest.raises(UnreachableError):
        connect(entry).call({"op": "hello"}, timeout_s=2)
    clients[0].close()
    end = time.monotonic() + 5
    while True:
        try:
            connect(entry).call({"op": "hello"}, timeout_s=2)
            break
        except UnreachableError:
            assert time.monotonic() < end
            time.sleep(0.05)


def secured(entry, folder, user="user"):
    own = folder / "board-certificates"
    identity = Identity(certificate=own / f"{user}.pem", key=own / f"{user}.key", authority=own / "ca.pem")
    return BoardEntry(name="sim", host=entry.host, port=entry.port, identity=identity)


@pytest.fixture
def tls_entry(serve_here, enrolled):
    return serve_here(credentials=Credentials.of_folder(enrolled / "credentials"))


def test_a_client_with_a_certificate_comes_in_under_its_name(tls_entry, connect, enrolled):
    for user in ("user", "anna"):
        answer, _ = connect(secured(tls_entry, enrolled, user)).call({"op": "hello"}, timeout_s=5)
        assert answer["client"] == user


def test_clients_have_their_leases_and_batches_apart(tls_entry, connect, enrolled, images):
    anna = connect(secured(tls_entry, enrolled, "anna"))
    bela = connect(secured(tls_entry, enrolled, "bela"))
    token = lease(anna)
    run(anna, token, images, "same")
    assert code_of(lease, bela) == BUSY
    assert code_of(run, bela, token, images) == FENCED
    assert code_of(bela.call, {"op": "release", "token": token}) == FENCED
    anna.call({"op": "release", "token": token})
    answer, _ = run(bela, lease(bela), images[:7], "same")
    assert not answer["repeated"]


def gets_nothing(entry, context=None):
    stream = raw(entry)
    try:
        if context is not None:
            stream = context.wrap_socket(stream, server_hostname="127.0.0.1")
        stream.sendall(b'BSB1\x00\x00\x00\x0e\x00\x00\x00\x00{"op":"hello"}')
        stream.settimeout(5)
        data = stream.recv(4096)
    except OSError:
        return True
    finally:
        stream.close()
    # An alert of TLS, or nothing.
    return not data or data[0] == 0x15


def trusting():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_whoever_has_no_certificate_of_ours_gets_nothing(tls_entry, connect, enrolled, tmp_path):
    foreign = tmp_path / "foreign"
    enrol(
        "sim",
        host="127.0.0.1",
        port=1,
        registry=foreign / "boards.toml",
        board_folder=foreign / "credentials",
        client="user",
    )
    assert gets_nothing(tls_entry)
    assert gets_nothing(tls_entry, trusting())
    impostor = trusting()
    impostor.load_cert_chain(
        foreign / "board-certificates" / "user.pem", foreign / "board-certificates" / "user.key"
    )
    assert gets_nothing(tls_entry, impostor)
    # The board's own certificate is not one for a client.
    board = trusting()
    board.load_cert_chain(enrolled / "credentials" / "server.pem", enrolled / "credentials" / "server.key")
    assert gets_nothing(tls_entry, board)
    old = client_context(
        *(enrolled / "board-certificates" / name for name in ("user.pem", "user.key", "ca.pem"))
    )
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    assert gets_nothing(tls_entry, old)
    connect(secured(tls_entry, enrolled)).call({"op": "hello"}, timeout_s=5)


def test_a_client_that_is_struck_off_the_list_is_out(serve_here, connect, enrolled, tmp_path):
    folder = tmp_path / "credentials"
    shutil.copytree(enrolled / "credentials", folder)
    entry = secured(serve_here(credentials=Credentials.of_folder(folder)), enrolled, "anna")
    connect(entry).call({"op": "hello"}, timeout_s=5)
    (folder / "clients.txt").write_text("user\n")
    with pytest.raises(UnreachableError):
        connect(entry).call({"op": "hello"}, timeout_s=5)
    (folder / "clients.txt").unlink()
    with pytest.raises(UnreachableError):
        connect(entry).call({"op": "hello"}, timeout_s=5)


def test_a_client_talks_to_no_other_server(serve_here, connect, enrolled, tmp_path):
    other = tmp_path / "other"
    enrol(
        "sim",
        host="127.0.0.1",
        port=1,
        registry=other / "boards.toml",
        board_folder=other / "credentials",
        client="user",
    )
    entry = serve_here(credentials=Credentials.of_folder(other / "credentials"))
    with pytest.raises(UnreachableError, match="certificate verify failed"):
        connect(secured(entry, enrolled)).call({"op": "hello"}, timeout_s=5)


def test_without_certificates_it_stays_on_this_machine(serve_here):
    for host in ("0.0.0.0", "", "192.168.2.99"):
        with pytest.raises(ValueError, match=r"127\.0\.0\.1 only"):
            serve_here(host=host)


def test_the_audit_log_tells_who_did_what(tls_entry, connect, enrolled, images, tmp_path):
    anna = connect(secured(tls_entry, enrolled, "anna"))
    token = lease(anna)
    run(anna, token, images, "b7")
    with pytest.raises(BoardAnswerError):
        anna.call({"op": "release", "token": 99})
    assert gets_nothing(tls_entry)
    deadline = time.monotonic() + 5
    while True:
        lines = [json.loads(line) for line in (tmp_path / "state" / "audit.jsonl").read_text().splitlines()]
        if any(line["event"] == "turned-away" for line in lines) or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert [line["event"] for line in lines].count("turned-away") == 1
    (batch,) = [line for line in lines if line.get("batch") == "b7"]
    assert (batch["client"], batch["outcome"], batch["token"]) == ("anna", "ok", token)
    assert len(batch["data_sha256"]) == len(batch["logits_sha256"]) == 64
    assert lines[-1]["outcome" if lines[-1]["event"] == "request" else "event"] in (NO_LEASE, "turned-away")
    assert (tmp_path / "state" / "audit.jsonl").stat().st_mode & 0o777 == 0o600


def test_strangers_can_t_fill_the_disk(tls_entry, tmp_path):
    for _ in range(30):
        assert gets_nothing(tls_entry)
    text = (tmp_path / "state" / "audit.jsonl").read_text()
    assert text.count("turned-away") <= 1


def test_a_session_survives_what_it_can(serve_here, connect, device, images):
    client = connect(serve_here())
    session = BoardSession(client, OVERLAY, "cd" * 32, patience_s=20)
    device.next = [None, FaultError(STUCK, "stuck"), None, FaultError(STUCK, "stuck"), None, None]
    logits, record = session.run("b1", images, 0, 0)
    assert logits.shape == (50, 3)
    assert session.troubles.faults == [STUCK, STUCK]
    assert record["kind"] == "simulation"
    session.release()


def test_a_session_gives_up_on_a_board_that_fails_again_and_again(serve_here, connect, device, images):
    client = connect(serve_here())
    session = BoardSession(client, OVERLAY, "cd" * 32, patience_s=20)
    device.next = [None, *[FaultError(STUCK, "stuck"), None] * 3]
    with pytest.raises(BoardAnswerError, match="stuck"):
        session.run("b1", images, 0, 0)
