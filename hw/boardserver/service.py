"""What the server does for a client whose name is known: no sockets here."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .audit import AuditLog, utc_now
from .board import Board
from .deadlines import Deadline
from .device import IntArray
from .errors import BAD_REQUEST, DEADLINE, DISK, INTERNAL, BoardError, RequestError
from .leases import LeaseTable
from .questions import Batch, deadline_s, parse_batch, seconds, text, whole
from .results import Result, ResultStore

PROTOCOL = 1
_DEFAULT_TTL_S = 10.0
# The answer must be on its way before the client gives up.
_MARGIN_S = 0.1
_TOKENS = 1 << 62


@dataclass(frozen=True)
class Answer:
    """What goes back.

    Attributes:
        header: JSON object.
        payload: The logits, little endian, or nothing.
    """

    header: dict[str, Any]
    payload: bytes = b""


class Service:
    """The operations.

    Args:
        board: What computes.
        leases: Who may use it.
        results: What was answered before.
        audit: Where each request is written; a request that can't be written is refused.
        max_payload_bytes: Most bytes of images in a batch.
    """

    def __init__(
        self, board: Board, leases: LeaseTable, results: ResultStore, audit: AuditLog, max_payload_bytes: int
    ) -> None:
        self.board = board
        self.audit = audit
        self._leases = leases
        self._results = results
        self._max_payload_bytes = max_payload_bytes
        self._running: set[tuple[str, str]] = set()
        self._ran = threading.Condition()
        self._operations = {
            "hello": self._hello,
            "overlays": self._overlays,
            "lease": self._lease,
            "renew": self._renew,
            "release": self._release,
            "recover": self._recover,
        }

    def admit(self, client: str, header: dict[str, Any], payload_bytes: int) -> Deadline:
        """Check a request before its bytes are received, so that only the lease's holder costs memory.

        Returns:
            When its answer is of no more use.

        Raises:
            RequestError: It is refused; the connection can't go on, as its bytes were not received.
        """
        deadline = Deadline.after(deadline_s(header))
        expected = 0
        if header.get("op") == "run":
            batch = parse_batch(header)
            self._leases.check(client, batch.token)
            expected = batch.payload_bytes
        if payload_bytes != expected:
            raise RequestError(BAD_REQUEST, f"{payload_bytes} bytes came where {expected} belong")
        return deadline

    def answer(self, client: str, header: dict[str, Any], payload: bytearray, deadline: Deadline) -> Answer:
        """Do what is asked; the answer says so if it can't be done."""
        start_s = time.monotonic()
        operation = header.get("op")
        inner = deadline.earlier(_MARGIN_S)
        code = "ok"
        try:
            if operation == "run":
                answer = self._run(client, header, payload, inner)
            elif isinstance(operation, str) and operation in self._operations:
                answer = Answer({"ok": True, **self._operations[operation](client, header, inner)})
            else:
                raise RequestError(BAD_REQUEST, f"there is no operation {operation!r:.40}")
        except BoardError as error:
            code, answer = error.code, refusal(error)
        except OSError as error:
            code, answer = DISK, refusal(_disk(error))
        except Exception as error:  # noqa: BLE001 - one request must not end the server; the log has the reason
            code = INTERNAL
            answer = refusal(
                RequestError(INTERNAL, f"a bug in the server: {type(error).__name__}: {error}"[:300])
            )
        try:
            self._write(client, header, code, answer, time.monotonic() - start_s)
        except OSError as error:
            return refusal(_disk(error))
        return answer

    def _write(
        self, client: str, header: dict[str, Any], code: str, answer: Answer, duration_s: float
    ) -> None:
        fields: dict[str, Any] = {"client": client, "op": str(header.get("op"))[:20], "outcome": code}
        for key in ("token", "batch", "overlay", "shape", "first_frame", "seed"):
            value = header.get(key, answer.header.get(key))
            if value is not None:
                fields[key] = value if isinstance(value, int | float | list) else str(value)[:128]
        record = answer.header.get("record")
        if isinstance(record, dict):
            fields |= {key: record[key] for key in ("data_sha256", "logits_sha256") if key in record}
            fields["repeated"] = answer.header.get("repeated")
        if code != "ok":
            fields["message"] = answer.header["error"]["message"]
        self.audit.write("request", **fields, seconds=round(duration_s, 6))

    def _hello(self, client: str, header: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        del header, deadline
        lease = self._leases.current
        return {
            "protocol": PROTOCOL,
            "client": client,
            "max_payload_bytes": self._max_payload_bytes,
            "lease": None if lease is None else {"holder": lease.holder, "token": lease.token},
            **self.board.describe(),
        }

    def _overlays(self, client: str, header: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        del client, header
        found: list[dict[str, Any]] = []
        for name in self.board.overlays.names():
            deadline.check("the list of overlays")
            try:
                found.append(self.board.overlays.describe(name))
            except RequestError as error:
                found.append({"name": name, "error": error.message})
        return {"overlays": found}

    def _lease(self, client: str, header: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        overlay = text(header, "overlay")
        wait = Deadline(min(deadline.at_s, Deadline.after(seconds(header, "wait_s", 0.0)).at_s))
        lease = self._leases.acquire(client, seconds(header, "ttl_s", _DEFAULT_TTL_S), wait)
        with self._in_use(client, lease.token, release_on_error=True):
            loaded = self.board.prepare(overlay, deadline)
        return {
            "token": lease.token,
            "ttl_s": lease.ttl_s,
            "overlay": loaded.name,
            "graph_hash": loaded.graph_hash,
            "input_shape": list(loaded.input_shape),
            "classes": loaded.classes,
        }

    def _recover(self, client: str, header: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        overlay = text(header, "overlay")
        lease = self._leases.acquire(client, _DEFAULT_TTL_S, deadline)
        with self._in_use(client, lease.token, release_on_error=True):
            self.board.recover(overlay, deadline)
        self._leases.release(client, lease.token)
        return self.board.describe()

    def _renew(self, client: str, header: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        del deadline
        self._leases.check(client, whole(header, "token", _TOKENS))
        return {}

    def _release(self, client: str, header: dict[str, Any], deadline: Deadline) -> dict[str, Any]:
        del deadline
        self._leases.release(client, whole(header, "token", _TOKENS))
        return {}

    def _run(self, client: str, header: dict[str, Any], payload: bytearray, deadline: Deadline) -> Answer:
        batch = parse_batch(header)
        data_sha256 = hashlib.sha256(payload).hexdigest()
        question = batch.question(data_sha256)
        with self._alone(client, batch.name, deadline), self._in_use(client, batch.token):
            before = self._results.find(client, batch.name, question)
            if before is not None:
                header = {**before.header, "repeated": True, "waiting": self._leases.waiting}
                return Answer(header, before.payload)
            result = self._computed(batch, payload, data_sha256, question, deadline)
            # Kept before it is answered: whatever happens on the way back, a retry gets this very answer.
            self._results.add(client, batch.name, result)
        return Answer({**result.header, "waiting": self._leases.waiting}, result.payload)

    def _computed(
        self, batch: Batch, payload: bytearray, data_sha256: str, question: str, deadline: Deadline
    ) -> Result:
        images = np.frombuffer(payload, np.uint8).reshape(batch.shape)
        started, start_s = utc_now(), time.monotonic()
        logits, record = self.board.run(batch.overlay, images, batch.first_frame, batch.seed, deadline)
        array, dtype = _packed(logits)
        data = array.tobytes()
        record |= {
            "data_sha256": data_sha256,
            "logits_sha256": hashlib.sha256(data).hexdigest(),
            "token": batch.token,
            "batch": batch.name,
            "started_utc": started,
            "seconds": round(time.monotonic() - start_s, 6),
        }
        header = {"ok": True, "shape": list(array.shape), "dtype": dtype, "record": record, "repeated": False}
        return Result(question=question, header=header, payload=data)

    @contextmanager
    def _in_use(self, client: str, token: int, *, release_on_error: bool = False) -> Generator[None]:
        """Keep a lease from ending while the board works for it."""
        self._leases.begin(client, token)
        try:
            yield
        except BaseException:
            self._leases.finish(token)
            if release_on_error:
                self._leases.release(client, token)
            raise
        self._leases.finish(token)

    @contextmanager
    def _alone(self, client: str, batch: str, deadline: Deadline) -> Generator[None]:
        """Let a batch that is asked for again, while it is computed, wait for that."""
        key = (client, batch)
        with self._ran:
            while key in self._running:
                if deadline.passed:
                    raise RequestError(DEADLINE, f"the batch {batch} is still being computed")
                self._ran.wait(deadline.remaining_s())
            self._running.add(key)
        try:
            yield
        finally:
            with self._ran:
                self._running.remove(key)
                self._ran.notify_all()


def refusal(error: BoardError) -> Answer:
    """Return an error as an answer."""
    return Answer({"ok": False, "error": {"code": error.code, "message": error.message, "hint": error.hint}})


def _disk(error: OSError) -> RequestError:
    return RequestError(
        DISK,
        f"the board can't write its files: {error.strerror or error}",
        hint="free some space on the board",
    )


def _packed(logits: IntArray) -> tuple[np.ndarray[Any, Any], str]:
    """Return logits in the smaller of two types, little endian."""
    bounds = np.iinfo(np.int32)
    small = bool(logits.min(initial=0) >= bounds.min and logits.max(initial=0) <= bounds.max)
    dtype = "<i4" if small else "<i8"
    return logits.astype(dtype), dtype
