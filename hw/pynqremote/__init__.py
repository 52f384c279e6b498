"""Hardware in the loop without hardware: an emulated overlay, and PYNQ.remote's protocol in front of it."""

from hw.pynqremote.device import EmulatedOverlay
from hw.pynqremote.faults import Faults

__all__ = ["EmulatedOverlay", "Faults"]
