"""What the driver raises: each error names the thing, and its hint the way out."""

from __future__ import annotations


class DriverError(Exception):
    """Something that the driver refuses, or that the hardware did.

    Args:
        message: What is wrong, in one sentence.
        hint: What the user can do about it.
        context: Where it happened, machine-readable, such as ``channel="odma0"``.
    """

    def __init__(self, message: str, *, hint: str = "", **context: object) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.context = context

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class BadInputError(DriverError):
    """An array, file or option that can't be used."""


class WrongOverlayError(DriverError):
    """The circuit in the device, or a file of the overlay, is not the one that the overlay describes."""


class WrongBoardError(DriverError):
    """The overlay was built for another board."""


class ClockError(DriverError):
    """The logic is clocked faster than its timing was closed at, or otherwise than asked."""


class ChannelError(DriverError):
    """A DMA channel reports an error; `context` holds its name and its registers."""


class StuckError(ChannelError):
    """A DMA channel was not done when its time was up."""


class SelfTestError(DriverError):
    """The hardware answered the known images wrongly."""
