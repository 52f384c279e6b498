"""A device behind the driver of an overlay: on a board, or on a simulation of one.

The driver is a package of its own, and lies beside this one under a name that differs from place to place;
so it is known here by what it does, and its errors by their names.
"""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .deadlines import Deadline
from .device import Clocks, ImageArray, IntArray
from .errors import CHANNEL, CLOCK, DEVICE, KNOWN_ANSWERS, STALE_BITSTREAM, STUCK, FaultError
from .overlays import Overlay

_CODES = {
    "StuckError": STUCK,
    "ChannelError": CHANNEL,
    "WrongOverlayError": STALE_BITSTREAM,
    "ClockError": CLOCK,
    "SelfTestError": KNOWN_ANSWERS,
}
# Bytes of images in one go; the memory that hardware reaches is scarce.
_GO_BYTES = 1 << 23
_CLOCK_INTERVAL_S = 10.0


class Driver(Protocol):
    """What is needed of an accelerator's driver."""

    @property
    def batch_size(self) -> int:
        """Images in one go."""
        ...

    @batch_size.setter
    def batch_size(self, size: int) -> None: ...

    @property
    def timeout_s(self) -> float | None:
        """Longest wait for a go [s]."""
        ...

    @timeout_s.setter
    def timeout_s(self, timeout_s: float | None) -> None: ...

    @property
    def seed(self) -> int:
        """Seed of drawn weights."""
        ...

    @seed.setter
    def seed(self, seed: int) -> None: ...

    def logits(self, images: ImageArray, *, first_frame: int | None = None) -> IntArray:
        """Compute logits, int64 ``(N, K)``."""
        ...

    def clock_report(self) -> Any:
        """Return the clock as set and measured."""
        ...

    def reset(self) -> None:
        """Abort and flush."""
        ...

    def close(self) -> None:
        """Free its memory."""
        ...


class DrivenDevice:
    """A device whose driver is opened anew by each load.

    Args:
        board_id: What tells this board from all others.
        board_names: What its kind is called.
        open_driver: Loads an overlay and returns its driver.
        driver_folder: Its source files.
        simulated: Whether no hardware computes.
        load_s: Seconds in which reset, load and known answers are done.
    """

    def __init__(
        self,
        *,
        board_id: str,
        board_names: tuple[str, ...],
        open_driver: Callable[[Overlay], Driver],
        driver_folder: Path,
        simulated: bool,
        load_s: float,
    ) -> None:
        self.board_id = board_id
        self.board_names = board_names
        self.simulated = simulated
        self.load_s = load_s
        self.driver_sha256 = hash_sources(driver_folder)
        self._open_driver = open_driver
        self._driver: Driver | None = None
        self._draws = False
        self._clocks = Clocks()
        self._measured_s = float("-inf")

    def reset(self, deadline: Deadline) -> None:
        """Abort what is going on; a driver that can't is opened anew by the next load all the same."""
        deadline.check("the reset")
        driver, self._driver = self._driver, None
        if driver is not None:
            try:
                driver.reset()
            finally:
                driver.close()

    def load(self, overlay: Overlay, deadline: Deadline) -> str | None:
        """Load the circuit; the driver compares its hash itself."""
        deadline.check("the load")
        self._draws = overlay.draws
        driver = self._attempt(lambda: self._open_driver(overlay))
        driver.batch_size = max(1, _GO_BYTES // max(1, int(np.prod(overlay.input_shape))))
        self._driver = driver
        self._measured_s = float("-inf")
        self._attempt(lambda: driver.clock_report().check())
        return overlay.design_hash

    def run(self, images: ImageArray, first_frame: int, seed: int, deadline: Deadline) -> IntArray:
        """Compute logits, go by go, none of which outlasts the deadline."""
        driver = self._driver
        if driver is None:
            raise FaultError(DEVICE, "no overlay is loaded")
        if self._draws:
            self._attempt(lambda: setattr(driver, "seed", seed))
        parts: list[IntArray] = []
        for start in range(0, len(images), driver.batch_size):
            part = images[start : start + driver.batch_size]
            driver.timeout_s = max(1e-3, deadline.remaining_s())
            frame = (first_frame + start) % (1 << 32) if self._draws else None
            parts.append(self._attempt(lambda part=part, frame=frame: driver.logits(part, first_frame=frame)))
            if deadline.passed:
                raise FaultError(STUCK, "the batch was not done before its deadline")
        return np.concatenate(parts)

    def clocks(self) -> Clocks:
        """Return the clock, counted anew every ten seconds: counting takes a while."""
        driver = self._driver
        if driver is not None and time.monotonic() - self._measured_s > _CLOCK_INTERVAL_S:
            report = self._attempt(driver.clock_report)
            low, high = report.measured
            self._clocks = Clocks(set_mhz=report.set, measured_mhz=(low + high) / 2)
            self._measured_s = time.monotonic()
        return self._clocks

    def temperatures_c(self) -> dict[str, float]:
        """Return what Linux knows of the board's sensors; nothing where no board is."""
        return {} if self.simulated else read_temperatures()

    def _attempt(self, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except FaultError:
            raise
        except Exception as error:
            # Whatever a driver raises, nobody knows what state the hardware is in.
            code = next(
                (_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in _CODES), DEVICE
            )
            message = str(getattr(error, "message", error)) or type(error).__name__
            raise FaultError(code, message[:500], hint=str(getattr(error, "hint", ""))[:200]) from error


def pynq_device(package: str, board_id: str, board_names: tuple[str, ...]) -> DrivenDevice:
    """Return the board that this process runs on, driven by way of ``pynq``.

    Args:
        package: Name under which the driver is installed, such as ``bitsiege_pynq``.
        board_id: What tells this board from all others.
        board_names: What its kind is called.

    Raises:
        ImportError: There is no such package.
    """
    module: Any = importlib.import_module(package)

    def open_driver(overlay: Overlay) -> Driver:
        if overlay.bitstream is None:
            raise ValueError(f"{overlay.name} has no bitstream")
        # Clock, circuit and files are checked in there; the known answers are asked for by the server.
        return module.BitsiegeOverlay(overlay.folder / overlay.bitstream, self_test=False)

    return DrivenDevice(
        board_id=board_id,
        board_names=board_names,
        open_driver=open_driver,
        driver_folder=Path(str(module.__file__)).parent,
        simulated=False,
        load_s=20.0,
    )


def hash_sources(folder: Path) -> str:
    """Return one SHA-256, in hex, of the names and contents of the Python files of a folder."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.py")):
        data = file.read_bytes()
        digest.update(f"{file.name}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def read_temperatures(root: Path = Path("/sys")) -> dict[str, float]:
    """Return the temperatures [°C] of the sensors of Linux (iio: XADC and SYSMON of Xilinx; hwmon)."""
    found: dict[str, float] = {}
    for file in sorted(root.glob("bus/iio/devices/iio:device*/in_temp*_raw")):
        stem = file.name.removesuffix("_raw")
        raw, scale = _number(file), _number(file.with_name(f"{stem}_scale"))
        if raw is not None and scale is not None:
            offset = _number(file.with_name(f"{stem}_offset")) or 0.0
            found[f"{file.parent.name}/{stem[3:]}"] = round((raw + offset) * scale / 1000, 2)
    for file in sorted(root.glob("class/hwmon/hwmon*/temp*_input")):
        value = _number(file)
        if value is not None:
            found[f"{file.parent.name}/{file.name.removesuffix('_input')}"] = round(value / 1000, 2)
    return found


def read_board_id() -> str:
    """Return the board's serial number, or what else tells it from others."""
    for path in ("/proc/device-tree/serial-number", "/etc/machine-id"):
        try:
            value = Path(path).read_text(encoding="ascii").strip("\0\n ")
        except (OSError, ValueError):
            continue
        if value:
            return value
    return "unknown"


def read_board_name() -> str | None:
    """Return what PYNQ's image calls the board, or None elsewhere."""
    try:
        return Path("/proc/device-tree/chosen/pynq_board").read_text(encoding="ascii").strip("\0\n ") or None
    except (OSError, ValueError):
        return None


def _number(file: Path) -> float | None:
    try:
        return float(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
