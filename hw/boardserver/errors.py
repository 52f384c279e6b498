"""What the server answers instead of a result: a code for programs, a sentence and a way out for people."""

from __future__ import annotations

from typing import Final

BAD_REQUEST: Final = "bad-request"
NOT_ALLOWED: Final = "not-allowed"
UNKNOWN_OVERLAY: Final = "unknown-overlay"
BAD_OVERLAY: Final = "bad-overlay"
WRONG_BITSTREAM: Final = "wrong-bitstream"
WRONG_BOARD: Final = "wrong-board"
BUSY: Final = "busy"
NO_LEASE: Final = "no-lease"
FENCED: Final = "fenced"
CONFLICT: Final = "conflict"
DEADLINE: Final = "deadline"
QUARANTINED: Final = "quarantined"
DISK: Final = "disk"
INTERNAL: Final = "internal"

# Codes of a `FaultError`.
STUCK: Final = "stuck"
HUNG: Final = "hung"
CHANNEL: Final = "channel"
STALE_BITSTREAM: Final = "stale-bitstream"
CLOCK: Final = "clock"
KNOWN_ANSWERS: Final = "known-answers"
DEVICE: Final = "device"

FAULTS: Final = frozenset({STUCK, HUNG, CHANNEL, STALE_BITSTREAM, CLOCK, KNOWN_ANSWERS, DEVICE})


class BoardError(Exception):
    """A request that isn't answered with a result.

    Args:
        code: One of this module's words.
        message: What is wrong, in one sentence.
        hint: What the user can do about it.
    """

    def __init__(self, code: str, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class RequestError(BoardError):
    """The request is wrong or can't be served now; the device is as it was."""


class FaultError(BoardError):
    """The device failed: nothing is computed on it before reset, reload and known answers."""
