"""The driver of an overlay, for a board and for whatever stands in for one.

It needs the standard library and NumPy, and on a board ``pynq``; nothing else of this repository. Its folder
is copied to the board with the overlay, under the name ``bitsiege_pynq``.
"""

from .accelerator import Accelerator
from .boardbus import BoardBuffer, BoardBus, board_name
from .bus import Buffer, Bus
from .clocks import ClockReport
from .errors import (
    BadInputError,
    ChannelError,
    ClockError,
    DriverError,
    SelfTestError,
    StuckError,
    WrongBoardError,
    WrongOverlayError,
)
from .knownanswers import KnownAnswers, read_known_answers
from .manifest import ClockPlan, Manifest, parse_manifest, read_manifest
from .overlay import BitsiegeOverlay
from .packing import ElementType, pack, parse_type, unpack
from .settings import finn_settings, finn_shapes
from .simulationbus import Simulation, SimulationBus

__all__ = [
    "Accelerator",
    "BadInputError",
    "BitsiegeOverlay",
    "BoardBuffer",
    "BoardBus",
    "Buffer",
    "Bus",
    "ChannelError",
    "ClockError",
    "ClockPlan",
    "ClockReport",
    "DriverError",
    "ElementType",
    "KnownAnswers",
    "Manifest",
    "SelfTestError",
    "Simulation",
    "SimulationBus",
    "StuckError",
    "WrongBoardError",
    "WrongOverlayError",
    "board_name",
    "finn_settings",
    "finn_shapes",
    "pack",
    "parse_manifest",
    "parse_type",
    "read_known_answers",
    "read_manifest",
    "unpack",
]
