"""A real cluster on this machine: a scheduler and two workers, one of which is killed in the middle."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest

BOARD = "board-fake"
_PATIENCE_S = 240


class Cluster:
    """Processes of Dask that end with the test."""

    def __init__(self, stack: ExitStack, folder: Path, protocol: str, options: tuple[str, ...] = ()) -> None:
        self._stack, self._folder, self._options = stack, folder, options
        file = folder / "scheduler.json"
        place = ("--host", f"{protocol}://127.0.0.1", "--port", "0", "--scheduler-file", str(file))
        self.scheduler = self._start("scheduler", *place)
        wait_for(lambda: file.exists() and file.read_text().rstrip().endswith("}"), self.scheduler)
        self.address = json.loads(file.read_text())["address"]

    def worker(self, *options: str) -> subprocess.Popen:
        """Start a worker, and return when the scheduler knows it."""
        common = ("--no-nanny", "--nthreads", "1", "--local-directory", str(self._folder))
        process = self._start("worker", self.address, *common, *options)
        log = self._log(process)
        wait_for(lambda: "Registered to" in log.read_text(), process)
        return process

    def _start(self, program: str, *words: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"distributed.cli.dask_{program}", *words, *self._options]
        with (self._folder / "starting.log").open("w") as log:
            process = self._stack.enter_context(
                subprocess.Popen([*command, "--no-dashboard"], stdout=log, stderr=log)
            )
        (self._folder / "starting.log").rename(self._log(process))
        self._stack.callback(process.kill)
        return process

    def _log(self, process: subprocess.Popen) -> Path:
        return self._folder / f"{process.pid}.log"


def wait_for(condition: Callable[[], object], *processes: subprocess.Popen) -> None:
    """Return when the condition holds."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "too slow"
        assert all(process.poll() is None for process in processes), "a process ended"
        time.sleep(0.02)


def certificates(folder: Path) -> tuple[str, ...]:
    """Make an authority that vouches for itself; every side of the cluster is that one."""
    key, certificate = str(folder / "key.pem"), str(folder / "cert.pem")
    make = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=bitsiege")
    subprocess.run([*make, "-keyout", key, "-out", certificate], check=True, stderr=subprocess.DEVNULL)
    return certificate, certificate, key


def secured(stack: ExitStack, folder: Path) -> tuple[Cluster, tuple[str, ...]]:
    """Start a cluster with TLS, or without if openssl is missing, and return our options for it."""
    if shutil.which("openssl") is None:
        return Cluster(stack, folder, "tcp"), ()
    authority, certificate, key = certificates(folder)
    theirs = ("--tls-ca-file", authority, "--tls-cert", certificate, "--tls-key", key)
    ours = ("--tls-ca", authority, "--tls-cert", certificate, "--tls-key", key)
    return Cluster(stack, folder, "tls", theirs), ours


@pytest.fixture
def stack() -> Generator[ExitStack]:
    with ExitStack() as opened:
        yield opened


@pytest.fixture(scope="module")
def board_file(campaign_file: Path) -> Path:
    """The small campaign with more work in each shard, a source of images, and an emulator as a board."""
    text = campaign_file.read_text().replace("shard_images = 8", "shard_images = 4")
    source = '[[sources]]\nname = "twin"\nmembers = ["net"]\n'
    text = text.replace("[0.05, 0.1]", "[0.1]").replace("[replay]", f"{source}[replay]")
    text = text.replace("steps = 2", "steps = 60") + f'resources = {{ emulator = "{BOARD}" }}\n'
    path = campaign_file.with_name("board.toml")
    path.write_text(text)
    return path


def workers(path: Path) -> dict[str, str]:
    """Who computed what by now: process number by shard."""
    found = {}
    for timing in path.glob("shards/*/[0-9a-f]*/timing.json"):
        found[timing.parent.name] = json.loads(timing.read_text())["worker"].rpartition(":")[2]
    return found


def test_a_killed_worker_changes_no_byte(
    stack: ExitStack, board_file: Path, tmp_path: Path, bitsiege, result_bytes
):
    """The victim dies in the middle of a shard, with others waiting for it, and with the only copy of the
    build; the worker beside the board does the rest.
    """
    cluster, security = secured(stack, tmp_path)
    victim = cluster.worker()
    path, local = tmp_path / "run", tmp_path / "local"
    command = [sys.executable, "-m", "bitsiege", "campaign", str(board_file), "--out", str(path)]
    process = stack.enter_context(
        subprocess.Popen(
            [*command, "--cluster", cluster.address, *security], stderr=subprocess.PIPE, text=True
        )
    )
    stack.callback(process.kill)
    wait_for(lambda: workers(path), process, victim)
    victim.send_signal(signal.SIGSTOP)
    boarded = cluster.worker("--resources", f"{BOARD}=1")
    before = workers(path)
    victim.kill()
    _, errors = process.communicate(timeout=_PATIENCE_S)
    assert process.returncode == 0, errors
    after = workers(path)
    assert set(before.values()) == {str(victim.pid)}
    # Own images and those of the source, judged anywhere and on the board; crafted ones; originals on either.
    assert len(before) + 8 < len(after) == 6 * (5 + 4) + 3 * 5 + 5 + 4
    assert set(after.values()) == {str(victim.pid), str(boarded.pid)}
    plan = json.loads((path / "plan.json").read_text())
    boards = [shard["key"] for cell in plan["plan"]["cells"] for shard in cell["shards"] if shard["resource"]]
    assert len(boards) == 6 * 4
    assert {after[key] for key in boards} == {str(boarded.pid)}
    assert bitsiege("campaign", board_file, "--out", local, "--jobs", 1).status == 0
    assert result_bytes(path) == result_bytes(local)
