"""In pynq's environment: times overlays through PYNQ.remote, and packing.

Arguments: port, folder, images, batch sizes. Prints one JSON object; logits go to ``logits-NAME-BATCH.npy``
in the working directory.
"""

# It is checked where those packages aren't.
# pyright: reportMissingImports=false

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bitsiege_pynq import BitsiegeOverlay, pack, parse_type
from finn_plus_driver import get_driver_class
from finn_plus_driver.packing import finnpy_to_packed_bytearray
from pynq import Device
from pynq.pl_server.remote_device import RemoteDevice
from qonnx.core.datatype import DataType

_RUN_S = 3.0
_LEAST = 5


def times_s(*ways: Callable[[], object]) -> list[list[float]]:
    """Return times of each way [s], taken in turn, so that a change of load meets all."""
    times: list[list[float]] = [[] for _ in ways]
    end = time.perf_counter() + _RUN_S
    while len(times[0]) < _LEAST or time.perf_counter() < end:
        for own, way in zip(times, ways, strict=True):
            start = time.perf_counter()
            way()
            own.append(time.perf_counter() - start)
    return times


def replay(port: int, folder: Path, images: np.ndarray, batches: list[int]) -> list[dict[str, Any]]:
    """Time both drivers at each batch size."""
    (bitfile,) = folder.glob("*.bit")
    device = RemoteDevice(0, "127.0.0.1", port)
    Device.active_device = device
    settings = json.loads((folder / "settings.json").read_text())["driver_information"]
    finn = get_driver_class(settings["driver_type"])(str(bitfile), device=device, **settings)
    own = BitsiegeOverlay(bitfile, device=device, timeout_s=60.0)
    rows: list[dict[str, Any]] = []
    for batch in batches:
        part = images[:batch]
        finn.batch_size = own.batch_size = batch
        # A defect of pynq's remote buffers: see docs/driver.md.
        finn.obuf_packed = [np.empty(buffer.shape, np.uint8) for buffer in finn.obuf_packed]
        names = ("FINN's driver", "our driver")
        for name, driver in zip(names, (finn, own), strict=True):
            np.save(f"logits-{name.split()[0]}-{batch}.npy", driver.execute(part).astype(np.int64))
        times = times_s(lambda part=part: finn.execute(part), lambda part=part: own.execute(part))
        rows += [
            {"driver": name, "batch": batch, "seconds": statistics.median(taken)}
            for name, taken in zip(names, times, strict=True)
        ]
    return rows


def packing() -> list[dict[str, Any]]:
    """Time packing of 1000 rows against FINN's own."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for name, width in (("BIPOLAR", 64), ("BIPOLAR", 65), ("BIPOLAR", 784), ("INT4", 128), ("UINT12", 100)):
        element, finn = parse_type(name), DataType[name]
        if element.bipolar:
            values = rng.choice(np.array([-1, 1], np.float32), (1000, width))
        else:
            values = rng.integers(element.minimum, element.maximum, (1000, width), element.container)
        # The fastest of each: other programs only make such short ones slower.
        theirs, ours = times_s(
            lambda v=values, f=finn: finnpy_to_packed_bytearray(v, f, True, True),
            lambda v=values, e=element: pack(v, e),
        )
        rows.append({"type": name, "width": width, "finn_s": min(theirs), "ours_s": min(ours)})
    return rows


def main(arguments: list[str]) -> None:
    """Measure and print."""
    images = np.load(arguments[2])
    batches = [int(text) for text in arguments[3].split(",")]
    found = {"replay": replay(int(arguments[0]), Path(arguments[1]), images, batches), "packing": packing()}
    sys.stdout.write(f"FOUND {json.dumps(found)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
