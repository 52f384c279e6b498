"""The target ``remote:NAME``: a network on a board elsewhere."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from export.errors import InputError
from export.graph import IntArray
from hw.build import Build
from hw.remote.client import BoardClient
from hw.remote.journal import RunJournal, new_run
from hw.remote.registry import find_entry
from hw.remote.session import BoardSession, Troubles
from hw.target import ImageArray, Inference, TargetKind, check_images

PREFIX = "remote:"
# A few MiB hide the way there and back; more would only hold up who waits for the board.
_BATCH_BYTES = 1 << 22


@dataclass(slots=True)
class BoardUse:
    """With what a target's answers were computed.

    Attributes:
        records: Distinct records of batches, without what differs from batch to batch.
        batches: Number of batches.
        clocks_mhz: Clocks as measured, or where they are not, as set.
        temperatures_c: Temperatures by sensor.
        troubles: What was done again.
    """

    records: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    batches: int = 0
    clocks_mhz: list[float] = field(default_factory=list[float])
    temperatures_c: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    troubles: Troubles = field(default_factory=Troubles)

    def add(self, record: dict[str, Any]) -> None:
        """Count a batch."""
        self.batches += 1
        steady = {key: record.get(key) for key in _STEADY}
        if steady not in self.records:
            self.records.append(steady)
        clock = cast("dict[str, float | None]", record.get("clock") or {})
        mhz = clock.get("measured_mhz") or clock.get("set_mhz")
        if mhz is not None:
            self.clocks_mhz.append(float(mhz))
        for sensor, value in cast("dict[str, float]", record.get("temperatures_c") or {}).items():
            self.temperatures_c.setdefault(sensor, []).append(float(value))

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "computed_with": self.records,
            "batches": self.batches,
            "clock_mhz": _span(self.clocks_mhz),
            "temperatures_c": {sensor: _span(values) for sensor, values in self.temperatures_c.items()},
            "leases": self.troubles.leases,
            "broken_connections": self.troubles.broken,
            "faults": list(self.troubles.faults),
            "answers_from_before": self.troubles.repeated,
        }


_STEADY = (
    *("kind", "board", "overlay", "graph_hash", "design_hash"),
    *("bitstream_sha256", "driver_sha256"),
)


class RemoteTarget:
    """A network on a board.

    Args:
        build: The network.
        board: Name of the board in the registry.
        boards: The registry's file; None for the user's own.
        seed: Of drawn weights.
        journal: Folder that keeps the answers until `finish`; a run that was interrupted goes on there.
        subject: What the run is about, besides network, board and seed.
        batch_bytes: Bytes of images in a batch.
        patience_s: How long one batch is tried.

    Raises:
        InputError: The board is unknown, or has no overlay for the network.
        ToolError: The board can't be reached.
    """

    def __init__(
        self,
        build: Build,
        board: str,
        *,
        boards: Path | None = None,
        seed: int = 0,
        journal: Path | None = None,
        subject: str = "",
        batch_bytes: int = _BATCH_BYTES,
        patience_s: float = 300.0,
    ) -> None:
        self.name = PREFIX + board
        self.graph = build.graph
        self.seed = seed
        self.use = BoardUse()
        self._client = BoardClient(find_entry(board, boards))
        hello, _ = self._client.call({"op": "hello"}, timeout_s=10.0)
        self.kind = TargetKind.HARDWARE if hello.get("kind") == "hardware" else TargetKind.SIMULATION
        overlay = _find_overlay(self._client, build, board)
        self._session = BoardSession(self._client, overlay, build.graph_hash, patience_s=patience_s)
        self.use.troubles = self._session.troubles
        self._journal = (
            None
            if journal is None
            else RunJournal(journal, repr((build.graph_hash, board, overlay, seed, subject)))
        )
        self._run = new_run() if self._journal is None else self._journal.run
        self._asked: Counter[str] = Counter()
        most = min(batch_bytes, int(hello.get("max_payload_bytes", batch_bytes)))
        self._batch_images = max(1, most // max(1, int(np.prod(build.graph.input_shape))))

    def infer(self, images: ImageArray, first_frame: int = 0) -> Inference:
        """Compute the integer logits of uint8 images ``(N, H, W, C)``, the frames from ``first_frame`` on.

        Raises:
            ToolError: The board can't be reached, refuses, or fails.
        """
        images = check_images(images, self.graph)
        parts = [np.empty((0, self.graph.classes), np.int64)]
        for start in range(0, len(images), self._batch_images):
            batch = images[start : start + self._batch_images]
            parts.append(self._batch(batch, (first_frame + start) % (1 << 32)))
        return Inference(logits=np.concatenate(parts))

    def finish(self) -> None:
        """Forget the journal: whoever asked has the answers."""
        if self._journal is not None:
            self._journal.remove()

    def close(self) -> None:
        """Release the board."""
        self._session.release()
        self._client.close()

    def _batch(self, images: ImageArray, first_frame: int) -> IntArray:
        content = hashlib.sha256(f"{first_frame} ".encode() + images.tobytes()).hexdigest()[:24]
        # The n-th time that the same images are asked for, they are computed the n-th time; an interrupted
        # run that starts again asks in the same order, and finds what was computed then.
        name = f"{self._run}-{content}-{self._asked[content]}"
        self._asked[content] += 1
        known = None if self._journal is None else self._journal.find(name)
        if known is not None and known[0].shape == (len(images), self.graph.classes):
            self.use.add(known[1])
            self.use.troubles.repeated += 1
            return known[0]
        logits, record = self._session.run(name, images, first_frame, self.seed)
        if self._journal is not None:
            self._journal.add(name, logits, record)
        self.use.add(record)
        return logits


def _find_overlay(client: BoardClient, build: Build, board: str) -> str:
    """Return the overlay on the board that computes a network, the last one by name if there are several."""
    answer, _ = client.call({"op": "overlays"}, timeout_s=10.0)
    listed: list[dict[str, Any]] = list(answer.get("overlays", []))
    fitting = [str(item["name"]) for item in listed if item.get("graph_hash") == build.graph_hash]
    if not fitting:
        names = ", ".join(str(item.get("name")) for item in listed) or "none"
        raise InputError(
            f"board {board} has no overlay of the network {build.graph_hash[:12]}",
            hint=f"bitsiege package, then copy the folder to the board; it has: {names}",
        )
    return max(fitting)


def _span(values: list[float]) -> dict[str, float] | None:
    return {"lowest": min(values), "highest": max(values)} if values else None
