"""One holder at a time, under a number that only grows."""

import threading

import pytest

from hw.boardserver.deadlines import Deadline
from hw.boardserver.errors import BUSY, FENCED, NO_LEASE, RequestError
from hw.boardserver.leases import LeaseTable

NOW = Deadline(0.0)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def table(tmp_path, clock):
    return LeaseTable(tmp_path / "token.json", clock)


def code_of(function, *arguments):
    with pytest.raises(RequestError) as caught:
        function(*arguments)
    return caught.value.code


def test_there_is_one_holder(table):
    lease = table.acquire("anna", 5, NOW)
    assert code_of(table.acquire, "bela", 5, NOW) == BUSY
    assert code_of(table.acquire, "anna", 5, NOW) == BUSY
    table.release("anna", lease.token)
    assert table.acquire("bela", 5, NOW).token > lease.token


def test_a_lease_ends_and_its_token_is_fenced(table, clock):
    old = table.acquire("anna", 5, NOW)
    clock.now += 4
    table.check("anna", old.token)  # using it renews it
    clock.now += 4
    table.check("anna", old.token)
    clock.now += 5
    assert code_of(table.check, "anna", old.token) == NO_LEASE
    new = table.acquire("bela", 5, NOW)
    assert new.token == old.token + 1
    for function in (table.check, table.release, table.begin):
        assert code_of(function, "anna", old.token) == FENCED
        assert code_of(function, "anna", new.token) == FENCED
    table.check("bela", new.token)


def test_a_batch_on_its_way_keeps_the_lease(table, clock):
    lease = table.acquire("anna", 1, NOW)
    table.begin("anna", lease.token)
    clock.now += 100
    assert code_of(table.acquire, "bela", 5, NOW) == BUSY
    table.finish(lease.token)
    table.check("anna", lease.token)
    clock.now += 1
    assert table.acquire("bela", 5, NOW).token == lease.token + 1


def test_tokens_grow_over_a_restart(tmp_path, table, clock):
    token = table.acquire("anna", 5, NOW).token
    again = LeaseTable(tmp_path / "token.json", clock)
    assert again.current is None
    assert code_of(again.check, "anna", token) == NO_LEASE
    assert again.acquire("anna", 5, NOW).token == token + 1


def test_a_token_that_can_t_be_kept_is_not_granted(tmp_path, table):
    (tmp_path / "token.json").mkdir()
    with pytest.raises(OSError, match="director"):
        table.acquire("anna", 5, NOW)
    assert table.current is None


def test_who_waits_gets_it_in_order(tmp_path):
    table = LeaseTable(tmp_path / "token.json")
    first = table.acquire("zero", 60, NOW)
    order, threads = [], []

    def wait(name):
        lease = table.acquire(name, 60, Deadline.after(20))
        order.append(name)
        table.release(name, lease.token)

    for name in ("one", "two", "three"):
        threads.append(threading.Thread(target=wait, args=(name,)))
        threads[-1].start()
        while len(table._queue) < len(threads):
            pass
    table.release("zero", first.token)
    for thread in threads:
        thread.join(20)
    assert order == ["one", "two", "three"]


def test_a_lease_that_is_forgotten_goes_to_who_waits(tmp_path):
    table = LeaseTable(tmp_path / "token.json")
    first = table.acquire("zero", 0.15, NOW)
    assert table.acquire("one", 1, Deadline.after(10)).token == first.token + 1
