"""Hardware in the loop without hardware: an emulated overlay, and PYNQ.remote's protocol in front of it."""

from hw.pynqremote.bitfile import firmware_of, placeholder_bitstream
from hw.pynqremote.board import EmulatedBoard, emulated_board
from hw.pynqremote.clients import client_command, private_pynq
from hw.pynqremote.device import EmulatedOverlay
from hw.pynqremote.faults import Faults
from hw.pynqremote.folder import describe_overlay, emulation_folder, folder_firmware, open_folder
from hw.pynqremote.standin import ENVIRONMENT, RemoteStandIn

__all__ = [
    "ENVIRONMENT",
    "EmulatedBoard",
    "EmulatedOverlay",
    "Faults",
    "RemoteStandIn",
    "client_command",
    "describe_overlay",
    "emulated_board",
    "emulation_folder",
    "firmware_of",
    "folder_firmware",
    "open_folder",
    "placeholder_bitstream",
    "private_pynq",
]
