"""A lease and the batches under it: whatever breaks, a batch is asked for under the same number again."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from export.errors import CheckFailedError, InputError
from export.graph import IntArray
from hw.boardserver.deadlines import Deadline
from hw.boardserver.errors import BUSY, DEADLINE, DISK, FAULTS, FENCED, INTERNAL, NO_LEASE
from hw.remote.client import BoardAnswerError, BoardClient, UnreachableError
from hw.target import ImageArray

_TTL_S = 10.0
_LEASE_WAIT_S = 5.0
_CALL_S = 120.0
_FAULTS_EACH = 3
# Who has had the board for so long gives it to others who wait, and queues behind them.
_TURN_S = 1.0
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.05, 2.0
_AGAIN = frozenset({BUSY, DEADLINE, DISK, INTERNAL})


@dataclass(slots=True)
class Troubles:
    """What went wrong, and was done again.

    Attributes:
        broken: Times that the connection broke, or the board was not to be reached.
        faults: Codes of the device's faults, in order.
        leases: Leases that were granted.
        repeated: Batches whose answer the board had already.
    """

    broken: int = 0
    faults: list[str] = field(default_factory=list[str])
    leases: int = 0
    repeated: int = 0


class BoardSession:
    """Computes batches on one board.

    Args:
        client: The connection.
        overlay: What is to be loaded.
        graph_hash: The network that must be behind it.
        patience_s: How long one batch is tried, with all that breaks on the way.
        ttl_s: Seconds without a batch after which the board may go to others.
    """

    def __init__(
        self,
        client: BoardClient,
        overlay: str,
        graph_hash: str,
        *,
        patience_s: float = 300.0,
        ttl_s: float = _TTL_S,
    ) -> None:
        self.overlay = overlay
        self.troubles = Troubles()
        self._client = client
        self._graph_hash = graph_hash
        self._patience_s = patience_s
        self._ttl_s = ttl_s
        self._token: int | None = None
        self._since_s = 0.0

    def run(
        self, batch: str, images: ImageArray, first_frame: int, seed: int
    ) -> tuple[IntArray, dict[str, Any]]:
        """Compute a batch.

        Args:
            batch: Its number: asked for twice, it is computed once.
            images: uint8 ``(N, H, W, C)``.
            first_frame: Index of the first image.
            seed: Of drawn weights.

        Returns:
            Logits, int64 ``(N, K)``, and the board's record of them.

        Raises:
            UnreachableError: The board was not to be reached until the patience ended.
            BoardAnswerError: The board refused, or failed again and again.
            CheckFailedError: The answer is not one to these images, or was damaged on its way.
        """
        payload = np.ascontiguousarray(images).tobytes()
        until = Deadline.after(self._patience_s)
        faults = 0
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return self._attempt(batch, images, payload, first_frame, seed, until)
            except UnreachableError:
                self.troubles.broken += 1
                if until.passed:
                    raise
            except BoardAnswerError as error:
                if error.code in FAULTS:
                    faults += 1
                    self.troubles.faults.append(error.code)
                    # The next lease begins with what the board needs to be trusted again.
                    self.release()
                lost = error.code in (NO_LEASE, FENCED)
                if lost:
                    self._token = None
                again = lost or error.code in _AGAIN or (error.code in FAULTS and faults < _FAULTS_EACH)
                if until.passed or not again:
                    raise
                if lost:
                    continue
            time.sleep(min(pause_s, until.remaining_s()))
            pause_s = min(2 * pause_s, _LAST_PAUSE_S)

    def release(self) -> None:
        """Give the board to others; what can't be released ends by itself."""
        token, self._token = self._token, None
        if token is not None:
            try:
                self._client.call({"op": "release", "token": token}, timeout_s=2.0)
            except (UnreachableError, BoardAnswerError):
                return

    def _attempt(
        self,
        batch: str,
        images: ImageArray,
        payload: bytes,
        first_frame: int,
        seed: int,
        until: Deadline,
    ) -> tuple[IntArray, dict[str, Any]]:
        token = self._leased(until)
        request = {
            "op": "run",
            "token": token,
            "batch": batch,
            "overlay": self.overlay,
            "shape": list(images.shape),
            "first_frame": first_frame,
            "seed": seed,
        }
        answer, data = self._client.call(request, payload, timeout_s=_limited(until))
        result = self._checked(answer, data, payload, len(images))
        if answer.get("waiting") and time.monotonic() - self._since_s > _TURN_S:
            self.release()
        return result

    def _leased(self, until: Deadline) -> int:
        while self._token is None:
            request = {"op": "lease", "overlay": self.overlay, "ttl_s": self._ttl_s, "wait_s": _LEASE_WAIT_S}
            try:
                answer, _ = self._client.call(request, timeout_s=_limited(until))
            except BoardAnswerError as error:
                if error.code != BUSY or until.passed:
                    raise
                continue
            if answer.get("graph_hash") != self._graph_hash:
                raise InputError(
                    f"overlay {self.overlay} computes the network {str(answer.get('graph_hash'))[:12]}, "
                    f"not {self._graph_hash[:12]}",
                    hint="package this build, and copy it to the board",
                )
            self._token, self._since_s = int(answer["token"]), time.monotonic()
            self.troubles.leases += 1
        return self._token

    def _checked(
        self, answer: dict[str, Any], data: bytearray, payload: bytes, count: int
    ) -> tuple[IntArray, dict[str, Any]]:
        match answer:
            case {
                "shape": [int(rows), int(columns)],
                "dtype": "<i4" | "<i8" as dtype,
                "record": dict(),
            }:
                record = cast("dict[str, Any]", answer["record"])
            case _:
                raise self._damaged("something else than logits")
        if rows != count or rows * columns * int(dtype[2]) != len(data):
            raise self._damaged(f"{rows} rows of logits to {count} images")
        if record.get("data_sha256") != hashlib.sha256(payload).hexdigest():
            raise self._damaged("to other images")
        if record.get("logits_sha256") != hashlib.sha256(data).hexdigest():
            raise self._damaged("other logits than it computed")
        if record.get("graph_hash") != self._graph_hash:
            raise self._damaged("for another network")
        self.troubles.repeated += answer.get("repeated") is True
        logits = np.frombuffer(data, dtype).reshape(rows, columns).astype(np.int64)
        return logits, record

    def _damaged(self, what: str) -> CheckFailedError:
        name = self._client.entry.name
        return CheckFailedError(f"board {name} answered {what}", hint="don't trust it", board=name)


def _limited(until: Deadline) -> float:
    return min(_CALL_S, max(1.0, until.remaining_s()))
