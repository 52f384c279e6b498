"""The device with its history: after a fault nothing is computed before reset, reload and known answers."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .audit import utc_now
from .deadlines import Deadline
from .device import BoardDevice, Clocks, ImageArray, IntArray
from .errors import (
    BAD_OVERLAY,
    CLOCK,
    DEADLINE,
    DEVICE,
    KNOWN_ANSWERS,
    NO_LEASE,
    QUARANTINED,
    STALE_BITSTREAM,
    WRONG_BOARD,
    FaultError,
    RequestError,
)
from .files import read_json, write_json
from .overlays import Overlay, OverlayFolder
from .worker import DeviceWorker

UNLOADED, READY, SUSPECT, QUARANTINE = "unloaded", "ready", "suspect", "quarantined"
# Cycles are counted over a time that the processor measures; neither is exact.
_CLOCK_TOLERANCE = 0.02
_SET_TOLERANCE = 0.001
_ATTEMPTS = 2


@dataclass(frozen=True)
class _Seen:
    """What the board said last, so that asking for it waits for nobody."""

    clocks: Clocks
    temperatures_c: dict[str, float]


class Board:
    """A device, what is loaded, and whether it can be trusted.

    Args:
        device: What computes.
        overlays: What may be loaded.
        quarantine_path: The file that remembers a quarantine.

    Raises:
        OSError, ValueError: That file can't be read.
    """

    def __init__(self, device: BoardDevice, overlays: OverlayFolder, quarantine_path: Path) -> None:
        self.device = device
        self.overlays = overlays
        self._quarantine_path = quarantine_path
        self._quarantine = read_json(quarantine_path)
        self._worker = DeviceWorker()
        self._lock = threading.Lock()
        self._overlay: Overlay | None = None
        self._fault: str | None = None
        self._seen = _Seen(clocks=Clocks(), temperatures_c={})

    @property
    def kind(self) -> str:
        """``hardware``, or ``simulation`` where no hardware computes."""
        return "simulation" if self.device.simulated else "hardware"

    @property
    def state(self) -> str:
        """``unloaded``, ``ready``, ``suspect`` after a fault, or ``quarantined``."""
        if self._quarantine:
            return QUARANTINE
        if self._fault is not None:
            return SUSPECT
        return UNLOADED if self._overlay is None else READY

    def describe(self) -> dict[str, Any]:
        """Return identity, state, clocks and temperatures as JSON values; waits for nobody."""
        overlay, seen = self._overlay, self._seen
        return {
            "kind": self.kind,
            "board": {"id": self.device.board_id, "names": list(self.device.board_names)},
            "state": self.state,
            "fault": self._quarantine.get("reason") or self._fault,
            "overlay": None if overlay is None else overlay.name,
            "clock": {"set_mhz": seen.clocks.set_mhz, "measured_mhz": seen.clocks.measured_mhz},
            "temperatures_c": seen.temperatures_c,
        }

    def prepare(self, name: str, deadline: Deadline) -> Overlay:
        """Make an overlay ready, by loading it if it isn't; this is how each lease starts.

        Raises:
            RequestError: The overlay is not there, damaged or for another board; the board is quarantined.
            FaultError: The device failed twice in a row; it is quarantined from now on.
        """
        overlay = self._checked(name)
        with self._lock:
            self._refuse_quarantined()
            loaded = self._overlay
            same = loaded is not None and loaded.manifest_sha256 == overlay.manifest_sha256
            if same and loaded is not None and self._fault is None:
                return loaded
            return self._load(overlay, deadline)

    def recover(self, name: str, deadline: Deadline) -> Overlay:
        """Try to end a quarantine: reset, load, known answers.

        Raises:
            RequestError: The overlay can't be loaded.
            FaultError: It failed again; the quarantine stays.
        """
        overlay = self._checked(name)
        with self._lock:
            self._load(overlay, deadline)
            if self._quarantine:
                self._quarantine_path.unlink(missing_ok=True)
                self._quarantine = {}
            return overlay

    def run(
        self, overlay: str, images: ImageArray, first_frame: int, seed: int, deadline: Deadline
    ) -> tuple[IntArray, dict[str, Any]]:
        """Compute a batch.

        Args:
            overlay: What the lease was granted for.
            images: uint8 ``(N, H, W, C)``.
            first_frame: Index of the first image.
            seed: Of drawn weights.
            deadline: When the answer is of no more use.

        Returns:
            Logits, int64 ``(N, K)``, and what they were computed with, as JSON values.

        Raises:
            RequestError: That overlay is not loaded, or the images don't fit it.
            FaultError: The device failed; it is suspect from now on.
        """
        with self._lock:
            self._refuse_quarantined()
            loaded = self._overlay
            if loaded is None or loaded.name != overlay or self._fault is not None:
                raise RequestError(NO_LEASE, f"{overlay} is not ready", hint="ask for a new lease")
            if images.shape[1:] != loaded.input_shape:
                raise RequestError(BAD_OVERLAY, f"{overlay} takes images {loaded.input_shape}")
            try:
                logits = self._worker.call(
                    lambda: self._computed(loaded, images, first_frame, seed, deadline), deadline
                )
            except FaultError as fault:
                self._fault = f"{fault.code}: {fault.message}"
                raise
            return logits, self._record(loaded)

    def close(self) -> None:
        """Let the device's thread end."""
        self._worker.close()

    def _checked(self, name: str) -> Overlay:
        overlay = self.overlays.open(name)
        ours = {_plain(board) for board in self.device.board_names}
        if not ours & {_plain(board) for board in overlay.board}:
            raise RequestError(
                WRONG_BOARD,
                f"{name} was built for {overlay.board[0]}, this is {', '.join(self.device.board_names)}",
                hint="package the build for this board",
            )
        if overlay.bitstream is None and not self.device.simulated:
            raise RequestError(BAD_OVERLAY, f"{name} has no bitstream", hint="build it, then copy it again")
        return overlay

    def _refuse_quarantined(self) -> None:
        if self._quarantine:
            raise RequestError(
                QUARANTINED,
                f"quarantined since {self._quarantine.get('utc')}: {self._quarantine.get('reason')}",
                hint="look at the board, then: bitsiege board recover",
            )

    def _load(self, overlay: Overlay, deadline: Deadline) -> Overlay:
        """Reset, load and ask for the known answers; a second failure is a quarantine."""
        if deadline.remaining_s() < _ATTEMPTS * self.device.load_s:
            # Else an impatient client would put a sound board under quarantine.
            needed_s = _ATTEMPTS * self.device.load_s
            raise RequestError(DEADLINE, f"to load an overlay, give the call at least {needed_s + 1:g} s")
        for left in range(_ATTEMPTS, 0, -1):
            self._overlay = None
            part = Deadline.after(deadline.remaining_s() / left)
            try:
                self._worker.call(partial(self._loaded, overlay, part), part)
            except FaultError as fault:
                self._fault = f"{fault.code}: {fault.message}"
                if left > 1:
                    continue
                # In memory first: it holds even where the disk is full.
                self._quarantine = {"reason": self._fault, "code": fault.code, "utc": utc_now()}
                write_json(self._quarantine_path, self._quarantine)
                raise
            self._overlay, self._fault = overlay, None
            break
        return overlay

    def _loaded(self, overlay: Overlay, deadline: Deadline) -> None:
        self.device.reset(deadline)
        answered = self.device.load(overlay, deadline)
        if answered is not None and answered != overlay.design_hash:
            raise FaultError(
                STALE_BITSTREAM,
                f"the circuit says that it is {answered[:12]}, {overlay.name} is {overlay.design_hash[:12]}",
                hint="an older circuit is in the device; power the board off and on",
            )
        _check_clock(self.device.clocks(), overlay)
        found = self._computed(overlay, overlay.images, overlay.first_frame, overlay.seed, deadline)
        wrong = np.flatnonzero((found != overlay.logits).any(axis=1))
        if len(wrong):
            raise FaultError(
                KNOWN_ANSWERS,
                f"{len(wrong)} of {len(found)} known images are answered wrongly, image {wrong[0]} first",
            )

    def _computed(
        self, overlay: Overlay, images: ImageArray, first_frame: int, seed: int, deadline: Deadline
    ) -> IntArray:
        logits = self.device.run(images, first_frame, seed, deadline)
        if logits.shape != (len(images), overlay.classes) or logits.dtype != np.int64:
            raise FaultError(
                DEVICE, f"the driver returned {logits.dtype} {logits.shape} for {len(images)} images"
            )
        self._seen = _Seen(clocks=self.device.clocks(), temperatures_c=dict(self.device.temperatures_c()))
        return logits

    def _record(self, overlay: Overlay) -> dict[str, Any]:
        about = self.describe()
        return {
            "kind": about["kind"],
            "board": about["board"],
            "overlay": overlay.name,
            "graph_hash": overlay.graph_hash,
            "design_hash": overlay.design_hash,
            "bitstream_sha256": overlay.bitstream_sha256,
            "driver_sha256": self.device.driver_sha256,
            "clock": about["clock"],
            "temperatures_c": about["temperatures_c"],
        }


def _check_clock(clocks: Clocks, overlay: Overlay) -> None:
    """Refuse a clock that the timing doesn't allow, or one that doesn't tick as it is set."""
    limit = overlay.clock_mhz
    measured, asked = clocks.measured_mhz, clocks.set_mhz
    if limit is not None and asked is not None and asked > limit * (1 + _SET_TOLERANCE):
        raise FaultError(CLOCK, f"the clock is set to {asked:g} MHz, the timing allows {limit:g} MHz")
    if measured is not None and asked is not None and abs(measured / asked - 1) > _CLOCK_TOLERANCE:
        raise FaultError(CLOCK, f"the clock is set to {asked:g} MHz and ticks with {measured:g} MHz")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
