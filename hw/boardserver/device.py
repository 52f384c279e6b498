"""What computes: the protocol between the server and a driver, or a simulation of a board."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from .deadlines import Deadline

if TYPE_CHECKING:
    from .overlays import Overlay

ImageArray = npt.NDArray[np.uint8]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Clocks:
    """The clock of the logic [MHz].

    Attributes:
        set_mhz: What the board's dividers are set to, or None where nobody knows.
        measured_mhz: Cycles counted in the logic over the processor's clock, or None.
    """

    set_mhz: float | None = None
    measured_mhz: float | None = None


class BoardDevice(Protocol):
    """An accelerator. One thread at a time calls it.

    A method that can't do its work before the deadline gives up and raises `FaultError`; any exception means
    that nobody knows what state the hardware is in.
    """

    @property
    def simulated(self) -> bool:
        """Whether no hardware stands behind it."""
        ...

    @property
    def board_id(self) -> str:
        """What tells this board from all others, such as its serial number."""
        ...

    @property
    def board_names(self) -> tuple[str, ...]:
        """What its kind of board is called; overlays for other kinds are refused."""
        ...

    @property
    def driver_sha256(self) -> str:
        """SHA-256 of the driver's source files, in hex."""
        ...

    @property
    def load_s(self) -> float:
        """Seconds in which reset, load and known answers are done if the board is well."""
        ...

    def reset(self, deadline: Deadline) -> None:
        """Abort what is going on."""
        ...

    def load(self, overlay: Overlay, deadline: Deadline) -> str | None:
        """Put the circuit in, whatever was there before, and return the design hash that it answers.

        None is for a circuit that can't tell.
        """
        ...

    def run(self, images: ImageArray, first_frame: int, seed: int, deadline: Deadline) -> IntArray:
        """Compute the logits, int64 ``(N, K)``, of uint8 images ``(N, H, W, C)``."""
        ...

    def clocks(self) -> Clocks:
        """Return the logic's clock."""
        ...

    def temperatures_c(self) -> dict[str, float]:
        """Return temperatures by the sensor's name [°C]; empty where there is no sensor."""
        ...
