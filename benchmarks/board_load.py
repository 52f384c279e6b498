"""Many images through one simulated board by several clients at once, while server and a client are killed.

    python -m benchmarks.board_load [--images N] [--clients N] [--batch N] [--build BUILD] [--json]

The server is a process of its own that asks for certificates; so is each client. When a third of the images
is done, the server is killed (SIGKILL) and started again, later one client. In the end every logit must be
the emulator's, each image must be answered, and the audit log may show no batch computed twice; else the
benchmark fails.
"""

from __future__ import annotations

import argparse
import json
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.errors import CheckFailedError
from hw.build import Build, load_build
from hw.remote import RemoteTarget, enrol
from hw.remote.registry import BoardEntry, add_entry
from hw.target import ImageArray

BOARD = "load"
_START_S = 120
_SEED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done.

    Attributes:
        folder: Where everything is.
        build: The network.
        images: Images of each client.
        clients: How many clients.
        batch: Images in a batch.
        limit_s: When it is given up [s].
    """

    folder: Path
    build: Build
    images: int
    clients: int
    batch: int
    limit_s: float


def make_images(shape: tuple[int, int, int], client: int, start: int, count: int) -> ImageArray:
    """Return random images of a client; the same ones each time."""
    return np.random.default_rng((_SEED, client, start)).integers(0, 256, (count, *shape), np.uint8)


def work(folder: Path, build: Path, client: int, images: int, batch: int) -> None:
    """Be one client: compute all of its images, going on where an earlier process was killed."""
    loaded = load_build(build)
    output = folder / f"client{client}.npy"
    target = RemoteTarget(
        loaded,
        BOARD,
        boards=folder / f"client{client}.toml",
        journal=folder / f"journal{client}",
        subject=str(client),
        batch_bytes=batch * int(np.prod(loaded.graph.input_shape)),
    )
    logits = np.empty((images, loaded.graph.classes), np.int64)
    try:
        for start in range(0, images, batch):
            count = min(batch, images - start)
            pixels = make_images(loaded.graph.input_shape, client, start, count)
            logits[start : start + count] = target.infer(pixels, start).logits
    finally:
        target.close()
    np.save(output, logits)
    (folder / f"client{client}.json").write_text(json.dumps(target.use.to_json()))


class Run:
    """The processes, and what becomes of them.

    Args:
        plan: What is done.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.server: subprocess.Popen[bytes] | None = None
        self.clients: dict[int, subprocess.Popen[bytes]] = {}
        self.port = 0
        self._enrol()

    def start_server(self) -> None:
        """Start the server, on the same port as before."""
        folder = self.plan.folder
        self.server = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "bitsiege",
                    "board",
                    "serve",
                    "--simulate",
                    str(self.plan.build.path),
                ),
                *("--state", str(folder / "state"), "--credentials", str(folder / "credentials")),
                *("--port", str(self.port)),
            ],
            stdout=subprocess.PIPE,
        )
        line = read_first_line(self.server)
        if not line.startswith("listening"):
            raise CheckFailedError(f"the server did not start: {line!r}")
        self.port = int(line.split()[2])
        for client in range(self.plan.clients):
            name = f"client{client}"
            entry = self._entries[name]
            moved = BoardEntry(name=BOARD, host=entry.host, port=self.port, identity=entry.identity)
            add_entry(folder / f"{name}.toml", moved)

    def start_client(self, client: int) -> None:
        """Start a client."""
        words = (self.plan.folder, self.plan.build.path, client, self.plan.images, self.plan.batch)
        self.clients[client] = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.board_load", "--worker", *map(str, words)]
        )

    def done_batches(self) -> int:
        """Return how many batches were answered to all clients."""
        return sum(1 for _ in self.plan.folder.glob("journal*/*-*.npz"))

    def wait_for(self, batches: int, deadline_s: float) -> None:
        """Wait until so many batches were answered."""
        while self.done_batches() < batches:
            if time.monotonic() > deadline_s:
                raise CheckFailedError(
                    f"only {self.done_batches()} of {batches} batches after the time limit"
                )
            failed = [client for client, process in self.clients.items() if process.poll()]
            if failed:
                raise CheckFailedError(f"client {failed[0]} ended with an error")
            time.sleep(0.1)

    def kill(self) -> None:
        """End all processes."""
        for process in (*self.clients.values(), self.server):
            if process is not None:
                with suppress(OSError):
                    process.kill()
                process.wait(30)
                if process.stdout is not None:
                    process.stdout.close()

    def _enrol(self) -> None:
        folder = self.plan.folder
        self._entries: dict[str, BoardEntry] = {}
        for client in range(self.plan.clients):
            name = f"client{client}"
            self._entries[name] = enrol(
                BOARD,
                host="127.0.0.1",
                port=1,
                registry=folder / "boards.toml",
                board_folder=folder / ("credentials" if client == 0 else f"unused{client}"),
                client=name,
            )
        names = "".join(f"{name}\n" for name in self._entries)
        (folder / "credentials" / "clients.txt").write_text(names)


def run_load(plan: Plan) -> dict[str, Any]:
    """Do all of it, and check every answer.

    Returns:
        What happened, as JSON values.

    Raises:
        CheckFailedError: An answer is wrong, missing, or was computed twice.
    """
    run = Run(plan)
    each = -(-plan.images // plan.batch)
    total = each * plan.clients
    start_s = time.monotonic()
    end_s = start_s + plan.limit_s
    try:
        run.start_server()
        for client in range(plan.clients):
            run.start_client(client)
        run.wait_for(total // 3, end_s)
        _kill_hard(run.server)
        run.start_server()
        run.wait_for(total * 3 // 5, end_s)
        victim = next(client for client, process in run.clients.items() if process.poll() is None)
        _kill_hard(run.clients[victim])
        run.start_client(victim)
        run.wait_for(total, end_s)
        for process in run.clients.values():
            if process.wait(max(1.0, end_s - time.monotonic())) != 0:
                raise CheckFailedError("a client ended with an error")
        seconds = time.monotonic() - start_s
    finally:
        run.kill()
    return {
        "images": plan.images * plan.clients,
        "clients": plan.clients,
        "batch": plan.batch,
        "batches": total,
        "killed": {"server": 1, "clients": 1},
        "seconds": round(seconds, 1),
        "images_per_s": round(plan.images * plan.clients / seconds),
        **_check(plan),
    }


def _check(plan: Plan) -> dict[str, Any]:
    from hw.emulator import EmulatorTarget

    emulator = EmulatorTarget(plan.build.graph, threads=1)
    shape = plan.build.graph.input_shape
    for client in range(plan.clients):
        logits = np.load(plan.folder / f"client{client}.npy", allow_pickle=False)
        if logits.shape != (plan.images, plan.build.graph.classes):
            raise CheckFailedError(f"client {client} has {logits.shape} logits")
        for start in range(0, plan.images, plan.batch):
            count = min(plan.batch, plan.images - start)
            expected = emulator.infer(make_images(shape, client, start, count), start).logits
            wrong = int((logits[start : start + count] != expected).any(axis=1).sum())
            if wrong:
                raise CheckFailedError(f"client {client}: {wrong} images from {start} on are wrong")
    return _check_audit(plan)


def _check_audit(plan: Plan) -> dict[str, Any]:
    """Count in the server's log how often each batch was computed and answered."""
    text = (plan.folder / "state" / "audit.jsonl").read_text()
    computed: Counter[tuple[str, str]] = Counter()
    repeated = 0
    for line in text.splitlines():
        event = json.loads(line)
        if event.get("op") == "run" and event.get("outcome") == "ok":
            repeated += bool(event["repeated"])
            computed[event["client"], event["batch"]] += not event["repeated"]
    batches = -(-plan.images // plan.batch) * plan.clients
    if len(computed) != batches:
        raise CheckFailedError(f"{len(computed)} batches were answered, not {batches}")
    twice = [key for key, count in computed.items() if count > 1]
    if twice:
        raise CheckFailedError(f"{len(twice)} batches were computed twice, {twice[0]} first")
    uses = [json.loads((plan.folder / f"client{c}.json").read_text()) for c in range(plan.clients)]
    return {
        "wrong": 0,
        "lost": 0,
        "computed_twice": 0,
        "answered_again": repeated,
        "broken_connections": sum(use["broken_connections"] for use in uses),
        "leases": sum(use["leases"] for use in uses),
    }


def _kill_hard(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        process.kill()
        process.wait(30)
        if process.stdout is not None:
            process.stdout.close()


def read_first_line(process: subprocess.Popen[bytes]) -> str:
    """Return the first line that a process prints, or fail."""
    if process.stdout is None:
        raise ValueError("the process has no output")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        if not selector.select(_START_S):
            process.kill()
            raise CheckFailedError(f"the server did not start in {_START_S} s")
    return process.stdout.readline().decode()


def make_build(folder: Path) -> Path:
    """Compile the shipped TFC network."""
    for words in (
        ("export", "tfc-mnist", "-o", folder / "tfc.onnx"),
        ("compile", folder / "tfc.onnx", "-o", folder / "tfc", "--fps", 100_000),
    ):
        command = [sys.executable, "-m", "bitsiege", *map(str, words)]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=600)
    return folder / "tfc"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, or be one of its clients."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", type=int, default=1_000_000, help="in all")
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--batch", type=int, default=5000)
    parser.add_argument("--build", type=Path, help="a compiled network instead of TFC")
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds after which it has failed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        folder, build, client, images, batch = options.worker
        work(Path(folder), Path(build), int(client), int(images), int(batch))
        return 0
    with tempfile.TemporaryDirectory(prefix="board-load-") as name:
        folder = Path(name)
        build = make_build(folder) if options.build is None else options.build
        plan = Plan(
            folder=folder,
            build=load_build(build),
            images=options.images // options.clients,
            clients=options.clients,
            batch=options.batch,
            limit_s=options.limit,
        )
        result = run_load(plan)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{result['images']:,} images by {result['clients']} clients in {result['seconds']} s "
            f"({result['images_per_s']:,} images/s), server and one client killed: "
            f"{result['wrong']} wrong, {result['lost']} lost, {result['computed_twice']} twice"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
