"""Loading an overlay on a board, in the way of FINN's driver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .accelerator import Accelerator
from .boardbus import BoardBus, board_name, import_pynq
from .clocks import ClockReport, check_set, timed_mhz
from .errors import BadInputError, WrongBoardError, WrongOverlayError
from .knownanswers import FILE_NAME as ANSWERS_FILE
from .knownanswers import read_known_answers
from .manifest import Manifest, read_manifest

_PLATFORM = "zynq-iodma"


class BitsiegeOverlay(Accelerator):
    """An overlay on a board: checked, loaded, clocked and tested with known images.

    What it lacks itself it takes from the ``pynq.Overlay`` inside, ``ip_dict`` for example.

    Args:
        bitfile_name: The bitstream in the overlay's folder; beside it lie ``overlay.json`` and the others.
        platform: ``zynq-iodma``.
        io_shape_dict: FINN's dictionary, if a program passes one.
        batch_size: Images moved at a time.
        fclk_mhz: Clock of the logic [MHz]; None for the planned one.
        device: A device of ``pynq``; None for the active one.
        download: Whether to load the bitstream; else it must be in the device already.
        timeout_s: Longest wait for a batch [s]; None for 10 s and 50 ms a frame.
        self_test: Whether to compute the known images.
        ignored: More arguments of FINN's settings, which mean nothing here.

    Raises:
        WrongOverlayError: A file was changed or the circuit is another one.
        WrongBoardError: The overlay is for another board.
        ClockError: The clock is faster than the timing was closed at, or another than was set.
        SelfTestError: A known image has wrong logits.
    """

    def __init__(
        self,
        bitfile_name: str | Path,
        platform: str = _PLATFORM,
        io_shape_dict: Mapping[str, Any] | None = None,
        batch_size: int = 1,
        fclk_mhz: float | None = None,
        device: Any = None,
        download: bool = True,
        *,
        timeout_s: float | None = None,
        self_test: bool = True,
        **ignored: object,
    ) -> None:
        if platform != _PLATFORM:
            raise BadInputError(f"the platform is {platform!r}; this driver is for {_PLATFORM}")
        path = Path(bitfile_name)
        manifest = read_manifest(path.parent)
        for file in (path, path.with_suffix(".hwh")):
            manifest.check_file(file.name)
        pynq = import_pynq()
        self.device: Any = pynq.Device.active_device if device is None else device
        check_board(manifest, board_name(self.device))
        wanted_mhz = manifest.clock.planned or manifest.clock.asked if fclk_mhz is None else fclk_mhz
        check_set(wanted_mhz, timed_mhz(manifest.clock))
        self.overlay: Any = pynq.Overlay(str(path), download=download, device=self.device)
        check_addresses(manifest, self.overlay.ip_dict)
        super().__init__(
            BoardBus(manifest, self.device),
            manifest,
            io_shape_dict=io_shape_dict,
            batch_size=batch_size,
            timeout_s=timeout_s,
        )
        self.platform = platform
        self.clock: ClockReport = self.set_clock(wanted_mhz)
        if self_test:
            self.self_test(read_known_answers(manifest.check_file(ANSWERS_FILE), manifest))

    def __getattr__(self, name: str) -> Any:
        if name == "overlay":
            raise AttributeError(name)
        return getattr(self.overlay, name)


def check_board(manifest: Manifest, found: str | None) -> None:
    """Refuse a board that the overlay was not built for; one that doesn't say its name is taken.

    Raises:
        WrongBoardError: It is another one.
    """
    if found is not None and _plain(found) != _plain(manifest.board):
        raise WrongBoardError(
            f"{manifest.name} was built for {manifest.board}, this board is {found}",
            hint="package the network for this board",
        )


def check_addresses(manifest: Manifest, ip_dict: Mapping[str, Any]) -> None:
    """Compare the addresses in the hardware handoff with those in the manifest.

    Raises:
        WrongOverlayError: They differ, or a block is missing.
    """
    for name, address in manifest.registers.items():
        if name not in ip_dict:
            raise WrongOverlayError(f"the .hwh of {manifest.name} has no block {name}")
        found = int(ip_dict[name]["phys_addr"])
        if found != address:
            raise WrongOverlayError(
                f"the .hwh of {manifest.name} has {name} at {found:#x}, overlay.json at {address:#x}"
            )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
