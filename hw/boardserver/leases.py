"""Who may use the board now: one holder, for a while, under a number that only ever grows."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .deadlines import Deadline
from .errors import BUSY, FENCED, NO_LEASE, RequestError
from .files import read_json, write_json

MIN_TTL_S = 0.1
MAX_TTL_S = 600.0


@dataclass(frozen=True)
class Lease:
    """A grant.

    Attributes:
        holder: Name of the client.
        token: Fencing token: larger than that of every earlier grant of this board, also before a reboot.
        ttl_s: Seconds from the last use to the end.
        ends_s: When it ends, in seconds of the table's clock.
    """

    holder: str
    token: int
    ttl_s: float
    ends_s: float


class LeaseTable:
    """Grants leases, one at a time, in the order in which they were asked for.

    Args:
        path: Where the last token is kept.
        clock: Seconds that never go back.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._lease: Lease | None = None
        self._in_use = 0
        last = read_json(path).get("token", 0)
        if not isinstance(last, int) or last < 0:
            raise ValueError(f"{path} holds no token")
        self._token = last

    @property
    def current(self) -> Lease | None:
        """The lease that is valid now, if there is one."""
        with self._changed:
            return self._valid()

    @property
    def waiting(self) -> int:
        """How many clients wait for the lease to end."""
        with self._changed:
            return len(self._queue)

    def acquire(self, holder: str, ttl_s: float, wait: Deadline) -> Lease:
        """Grant a lease, after the one before it ended.

        Raises:
            RequestError: Somebody else still holds one when the deadline passes (``busy``).
            OSError: The token can't be kept, so that it isn't granted either.
        """
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or self._valid() is not None:
                    self._wait(wait)
                return self._grant(holder, ttl_s)
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def check(self, holder: str, token: int) -> None:
        """Raise unless this is the valid lease; using a lease renews it.

        Raises:
            RequestError: It is an older one (``fenced``), or ended (``no-lease``).
        """
        with self._changed:
            self._renewed(holder, token)

    def begin(self, holder: str, token: int) -> None:
        """As `check`, and the lease doesn't end before `finish`: no other client meets a batch on its way."""
        with self._changed:
            self._renewed(holder, token)
            self._in_use += 1

    def finish(self, token: int) -> None:
        """End what `begin` began; the time of the lease starts anew."""
        with self._changed:
            self._in_use -= 1
            lease = self._lease
            if lease is not None and lease.token == token:
                self._renew(lease)
            self._changed.notify_all()

    def release(self, holder: str, token: int) -> None:
        """End a lease before its time.

        Raises:
            RequestError: As for `check`.
        """
        with self._changed:
            self._renewed(holder, token)
            self._lease = None
            self._changed.notify_all()

    def _wait(self, wait: Deadline) -> None:
        remaining_s = wait.remaining_s()
        lease = self._valid()
        if remaining_s <= 0.0:
            who = "others wait before" if lease is None else f"{lease.holder} holds the board"
            raise RequestError(BUSY, who, hint="wait for the lease to end, or take another board")
        ends_s = self._lease.ends_s - self._clock() if self._lease is not None else remaining_s
        # While a batch is on its way the lease has no end; its `finish` wakes us.
        self._changed.wait(min(remaining_s, max(ends_s, 0.005) if not self._in_use else remaining_s))

    def _grant(self, holder: str, ttl_s: float) -> Lease:
        token = self._token + 1
        write_json(self._path, {"token": token})
        self._token = token
        ttl_s = min(max(ttl_s, MIN_TTL_S), MAX_TTL_S)
        self._lease = Lease(holder=holder, token=token, ttl_s=ttl_s, ends_s=self._clock() + ttl_s)
        return self._lease

    def _valid(self) -> Lease | None:
        lease = self._lease
        if lease is not None and not self._in_use and self._clock() >= lease.ends_s:
            self._lease = lease = None
        return lease

    def _renewed(self, holder: str, token: int) -> None:
        lease = self._valid()
        if token > self._token or (lease is None and token == self._token):
            raise RequestError(NO_LEASE, f"the lease {token} is over", hint="ask for a new one")
        if lease is None or lease.token != token or lease.holder != holder:
            raise RequestError(
                FENCED, f"the lease {token} is over, others came after", hint="ask for a new one"
            )
        self._renew(lease)

    def _renew(self, lease: Lease) -> None:
        self._lease = Lease(
            holder=lease.holder,
            token=lease.token,
            ttl_s=lease.ttl_s,
            ends_s=self._clock() + lease.ttl_s,
        )
