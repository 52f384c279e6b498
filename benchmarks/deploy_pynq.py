"""What replay through the stand-in of PYNQ.remote costs, and packing against FINN's own.

These are rows of `benchmarks.deploy`.
The emulator is in this process, the drivers are in pynq's environment, and gRPC on loopback is between them.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import hw.pynq
from export.errors import CheckFailedError, ToolError
from hw.environments import create_environment
from hw.pynqremote import (
    ENVIRONMENT,
    RemoteStandIn,
    client_command,
    describe_overlay,
    emulated_board,
    folder_firmware,
    private_pynq,
)

if TYPE_CHECKING:
    from benchmarks.deploy import Bench

_PROGRAM = Path(__file__).parent / "programs" / "pynq_replay.py"
_TIMEOUT_S = 600
_BATCHES = (1, 100, 10_000)
_EMULATOR_RUNS = 20


def pynq_remote(bench: Bench) -> list[dict[str, Any]]:
    """Return the rows of both drivers through PYNQ's protocol, and those of packing.

    Raises:
        CheckFailedError: A driver gives other logits than the emulator.
        ToolError: The program in pynq's environment fails.
    """
    python = create_environment(ENVIRONMENT)
    folder = bench.folder / "pynq"
    site = private_pynq(python, folder / "site")
    shutil.copytree(Path(hw.pynq.__file__).parent, site / "bitsiege_pynq")
    manifest = describe_overlay(bench.build.graph, folder / "overlay")
    np.save(folder / "images.npy", bench.images)
    board = emulated_board(manifest, bench.emulator, firmware=folder_firmware(manifest))
    with RemoteStandIn(board, python) as standin:
        arguments = (standin.port, folder / "overlay", folder / "images.npy", ",".join(map(str, _BATCHES)))
        command = client_command(python, site, str(_PROGRAM), *map(str, arguments))
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    if done.returncode != 0:
        raise ToolError("the program in pynq's environment failed", hint=done.stderr[-2000:])
    line = next(line for line in done.stdout.splitlines() if line.startswith("FOUND "))
    found = json.loads(line.removeprefix("FOUND "))
    return [*_replay_rows(bench, folder, found["replay"]), *_packing_rows(found["packing"])]


def _replay_rows(bench: Bench, folder: Path, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for entry in found:
        batch, driver = entry["batch"], entry["driver"]
        part = bench.images[:batch]
        logits = np.load(folder / f"logits-{driver.split()[0]}-{batch}.npy")
        if not np.array_equal(logits, bench.emulator.infer(part).logits):
            raise CheckFailedError(f"{driver} gives other logits than the emulator")
        direct = _median_s(bench, part)
        rows.append(
            {
                "name": f"PYNQ.remote, {driver}",
                "batch": batch,
                "us_per_image": round(entry["seconds"] * 1e6 / batch, 3),
                "emulator_us_per_image": round(direct * 1e6 / batch, 3),
                "overhead_us_per_image": round((entry["seconds"] - direct) * 1e6 / batch, 3),
                "images_per_s": round(batch / entry["seconds"]),
            }
        )
    return rows


def _median_s(bench: Bench, images: np.ndarray) -> float:
    times: list[float] = []
    for _ in range(_EMULATOR_RUNS):
        start = time.perf_counter()
        bench.emulator.infer(images)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _packing_rows(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "name": f"packing {entry['type']} x {entry['width']}",
            "ours_us_per_row": round(entry["ours_s"] * 1e3, 3),
            "finn_us_per_row": round(entry["finn_s"] * 1e3, 3),
            "times_faster": round(entry["finn_s"] / entry["ours_s"], 2),
        }
        for entry in found
    ]
