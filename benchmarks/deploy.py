"""What it costs to compute on a board elsewhere, against calling the emulator directly.

    python -m benchmarks.deploy [--json] [--rows NAME ...] [--build BUILD] [--repeats N]

The board server runs in a process of its own on this machine, and computes with the emulator behind the
driver that boards have; so the difference to the emulator is what server, driver, certificates and loopback
cost. Each row of a batch size gives the fastest of some runs, taken in turn with the emulator's, so that a
change of load meets both alike. PYNQ's own remote protocol is in `benchmarks.deploy_pynq`, and needs PYNQ's
environment, which is made once. `ROWS` lists what is measured; each entry takes a `Bench` and returns rows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.board_load import make_build, read_first_line
from benchmarks.deploy_pynq import pynq_remote
from export.errors import CheckFailedError
from hw.build import Build, load_build
from hw.emulator import EmulatorTarget
from hw.remote import BoardClient, enrol
from hw.remote.registry import BoardEntry, Identity
from hw.remote.session import BoardSession
from hw.target import ImageArray

BATCHES = (1, 100, 10_000)
_RUN_IMAGES = 20_000
_MAX_CALLS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What the rows measure with.

    Attributes:
        build: The network.
        images: uint8 ``(10000, H, W, C)``.
        emulator: What is called directly, with one thread.
        repeats: Runs of each batch size.
        folder: For whatever a row writes.
    """

    build: Build
    images: ImageArray
    emulator: EmulatorTarget
    repeats: int
    folder: Path


Row = dict[str, Any]
Infer = Callable[[ImageArray], Any]


def measure_overhead(bench: Bench, name: str, infer: Infer) -> list[Row]:
    """Time calls of several batch sizes against the emulator's own.

    Args:
        bench: What to measure with.
        name: Of the way that is measured.
        infer: Computes the logits of a batch by that way.

    Returns:
        One row a batch size: microseconds an image both ways, their difference, and the fastest call.

    Raises:
        CheckFailedError: The way gives other logits.
    """
    rows: list[Row] = []
    for batch in BATCHES:
        part = bench.images[:batch]
        expected = bench.emulator.infer(part).logits
        if not np.array_equal(infer(part), expected):
            raise CheckFailedError(f"{name} gives other logits than the emulator")
        calls = max(1, min(_MAX_CALLS, _RUN_IMAGES // batch))
        direct: list[tuple[float, float]] = []
        measured: list[tuple[float, float]] = []
        for _ in range(bench.repeats):
            direct.append(_time(lambda images: bench.emulator.infer(images).logits, part, calls))
            measured.append(_time(infer, part, calls))
        ours, theirs = min(measured)[0], min(direct)[0]
        quickest = min(fastest for _, fastest in measured)
        rows.append(
            {
                "name": name,
                "batch": batch,
                "us_per_image": round(ours * 1e6 / batch, 3),
                "emulator_us_per_image": round(theirs * 1e6 / batch, 3),
                "overhead_us_per_image": round((ours - theirs) * 1e6 / batch, 3),
                "images_per_s": round(batch / ours),
                "fastest_call_us": round(quickest * 1e6, 1),
            }
        )
    return rows


def _time(infer: Infer, images: ImageArray, calls: int) -> tuple[float, float]:
    """Return seconds a call: the mean, and the fastest one, which other programs disturb least."""
    times: list[float] = []
    for _ in range(calls):
        start_s = time.perf_counter()
        infer(images)
        times.append(time.perf_counter() - start_s)
    return sum(times) / calls, min(times)


def board_server(bench: Bench) -> list[Row]:
    """Return the rows of our board server, with certificates and without."""
    rows: list[Row] = []
    for name, secure in (("board server, TLS", True), ("board server, plain", False)):
        folder = bench.folder / name.replace(", ", "-").replace(" ", "-")
        with _serving(bench.build, folder, secure=secure) as entry:
            rows += _measure_server(bench, name, entry)
    return rows


def _measure_server(bench: Bench, name: str, entry: BoardEntry) -> list[Row]:
    client = BoardClient(entry)
    try:
        overlays = client.call({"op": "overlays"})[0]["overlays"]
        session = BoardSession(client, overlays[0]["name"], bench.build.graph_hash)
        numbers = itertools.count()
        return measure_overhead(bench, name, lambda images: session.run(f"b{next(numbers)}", images, 0, 0)[0])
    finally:
        client.close()


@contextmanager
def _serving(build: Build, folder: Path, *, secure: bool) -> Iterator[BoardEntry]:
    identity: Identity | None = None
    how = ["--insecure-loopback"]
    if secure:
        how = ["--credentials", str(folder / "credentials")]
        identity = enrol(
            "bench",
            host="127.0.0.1",
            port=1,
            registry=folder / "boards.toml",
            board_folder=folder / "credentials",
            client="bench",
        ).identity
    words = ["board", "serve", "--simulate", str(build.path), "--state", str(folder / "state"), "--port", "0"]
    process = subprocess.Popen([sys.executable, "-m", "bitsiege", *words, *how], stdout=subprocess.PIPE)
    try:
        port = int(read_first_line(process).split()[2])
        yield BoardEntry(name="bench", host="127.0.0.1", port=port, identity=identity)
    finally:
        process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


ROWS: dict[str, Callable[[Bench], list[Row]]] = {"board-server": board_server, "pynq-remote": pynq_remote}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--build", type=Path, help="a compiled network instead of TFC")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="what is measured")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="deploy-") as name:
        folder = Path(name)
        build = load_build(make_build(folder) if options.build is None else options.build)
        shape = (max(BATCHES), *build.graph.input_shape)
        bench = Bench(
            build=build,
            images=np.random.default_rng(0).integers(0, 256, shape, np.uint8),
            emulator=EmulatorTarget(build.graph, threads=1),
            repeats=options.repeats,
            folder=folder,
        )
        rows = [row for chosen in options.rows for row in ROWS[chosen](bench)]
    if options.json:
        print(json.dumps({"rows": rows}, indent=2))
        return 0
    for row in rows:
        cells = "  ".join(f"{key} {value}" for key, value in row.items() if key != "name")
        print(f"{row['name']:<28} {cells}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
