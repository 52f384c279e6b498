"""Boards by the command line: enrolled, served, listed, asked, compared with the emulator."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from attacks.archive import AttackArchive, save_attack
from bitsiege.boardreplay import BoardTarget, examine, remembered
from hw.boardserver.serve import Credentials, ServerPlan, make_server
from hw.emulator.library import load_library
from hw.reference import ReferenceTarget
from hw.remote.registry import add_entry, find_entry
from hw.remote.simulated import SimulatedBoard, write_simulated_overlay
from hw.remote.target import RemoteTarget


class Board:
    """A simulated board in a thread, enrolled as ``sim``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.boards = folder / "boards.toml"
        self.faults = folder / "faults.json"
        self.inject()

    def inject(self, **counts: int) -> None:
        self.faults.write_text(json.dumps(counts))

    def runs(self) -> list[dict]:
        lines = (self.folder / "state" / "audit.jsonl").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line.get("op") == "run"]


@pytest.fixture
def board(tmp_path, tmp_path_factory, small_build, bitsiege):
    cache_dir = tmp_path_factory.getbasetemp().parent / "emulator-cache"
    load_library(cache_dir)
    folder = tmp_path / "board"
    folder.mkdir()
    found = Board(folder)
    result = bitsiege(
        *("board", "enrol", "sim", "--address", "127.0.0.1:1", "-o", folder / "credentials"),
        *("--client", "tester", "--boards", found.boards, "--json"),
    )
    assert result.status == 0, result.err
    assert result.json["board"]["certificates"] is True
    write_simulated_overlay(small_build, folder / "overlays")
    device = SimulatedBoard([small_build], faults=found.faults, cache_dir=cache_dir, load_s=0.2)
    plan = ServerPlan(
        root=folder / "overlays",
        state=folder / "state",
        port=0,
        credentials=Credentials.of_folder(folder / "credentials"),
    )
    server = make_server(plan, device)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    host, port = server.address
    old = find_entry("sim", found.boards)
    add_entry(found.boards, type(old)(name="sim", host=host, port=port, identity=old.identity))
    yield found
    server.close()
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def attack(tmp_path, small_build, small_images):
    """Images and others near them, as an attack's archive."""
    moved = np.clip(
        small_images.astype(int) + np.random.default_rng(2).integers(-8, 9, small_images.shape), 0, 255
    )
    archive = AttackArchive(
        originals=small_images,
        adversarial=moved.astype(np.uint8),
        labels=np.arange(len(small_images)) % 3,
        classes=3,
        attack="noise",
        eps=8 / 255,
        seed=0,
        graph_hash=small_build.graph_hash,
    )
    path = tmp_path / "attack.npz"
    save_attack(path, archive)
    return path, archive


def test_boards_are_listed_and_asked(board, bitsiege):
    result = bitsiege("board", "list", "--boards", board.boards, "--json")
    (row,) = result.json["boards"]
    assert row["state"]["state"] == "unloaded"
    assert row["state"]["kind"] == "simulation"
    assert row["state"]["client"] == "tester"
    text = bitsiege("board", "list", "--boards", board.boards).out
    assert re.search(r"sim +127\.0\.0\.1:\d+ +simulation +unloaded", text)
    assert (
        bitsiege("board", "list", "--boards", board.boards, "--offline", "--json").json["boards"][0]["state"]
        is None
    )


def test_a_board_that_is_off_is_listed_as_such(tmp_path, bitsiege):
    (tmp_path / "boards.toml").write_text('[boards.off]\naddress = "127.0.0.1:9"\nplain = true\n')
    result = bitsiege("board", "list", "--boards", tmp_path / "boards.toml")
    assert result.status == 0
    assert "unreachable" in result.out


def test_run_computes_what_the_reference_does(
    board, bitsiege, small_build, image_file, small_images, tmp_path
):
    output = tmp_path / "out.npz"
    result = bitsiege(
        *("board", "run", "sim", small_build.path, "--images", image_file, "-o", output),
        *("--boards", board.boards, "--json"),
    )
    assert result.status == 0, result.err
    assert result.json["kind"] == "simulation"
    (with_what,) = result.json["board"]["computed_with"]
    assert with_what["graph_hash"] == small_build.graph_hash
    with np.load(output) as arrays:
        assert np.array_equal(arrays["logits"], ReferenceTarget(small_build.graph).infer(small_images).logits)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board", "out.npz", "x.npy"]


def test_infer_takes_a_board_as_a_target(board, bitsiege, small_build, image_file, tmp_path, monkeypatch):
    monkeypatch.setenv("BITSIEGE_BOARDS", str(board.boards))
    for target in ("remote:sim", "reference"):
        result = bitsiege(
            *("infer", small_build.path, "--target", target, "--images", image_file),
            *("-o", tmp_path / f"{target[:3]}.npz"),
        )
        assert result.status == 0, result.err
    with np.load(tmp_path / "rem.npz") as ours, np.load(tmp_path / "ref.npz") as theirs:
        assert np.array_equal(ours["logits"], theirs["logits"])


def replay(bitsiege, board, build, attack, output, *more):
    result = bitsiege(
        *("replay", attack[0], "--build", build.path, "--targets", "reference,remote:sim", "-o", output),
        *("--boards", board.boards, *more),
    )
    return result, json.loads(output.read_text()) if output.exists() else None


def test_a_replay_says_with_what_it_was_computed(board, bitsiege, small_build, attack, tmp_path):
    result, report = replay(bitsiege, board, small_build, attack, tmp_path / "replay.json")
    assert result.status == 0, result.err
    (found,) = report["boards"]
    assert (found["target"], found["kind"], found["against"]) == ("remote:sim", "simulation", "reference")
    assert found["differences"] == []
    (with_what,) = found["use"]["computed_with"]
    assert set(with_what) == {
        *("kind", "board", "overlay", "graph_hash", "design_hash", "bitstream_sha256", "driver_sha256")
    }
    assert found["use"]["clock_mhz"]["lowest"] == pytest.approx(100, rel=0.02)
    assert found["use"]["temperatures_c"] == {}
    (remote,) = [target for target in report["targets"] if target["target"] == "remote:sim"]
    assert remote["kind"] == "simulation"
    assert "hardware" not in json.dumps(report)
    assert not list(tmp_path.glob("*.partial*"))


def test_a_difference_that_does_not_come_back_is_transient(board, bitsiege, small_build, attack, tmp_path):
    bitsiege(
        "board", "recover", "sim", next((board.folder / "overlays").iterdir()).name, "--boards", board.boards
    )
    board.inject(flipped=1)
    result, report = replay(bitsiege, board, small_build, attack, tmp_path / "replay.json")
    assert result.status == 1
    (found,) = report["boards"][0]["differences"]
    assert found["images"] == "clean"
    assert found["transient"] == list(range(20))
    assert found["persistent"] == found["unstable"] == []
    assert "20 transient" in result.err


def test_a_difference_that_comes_back_is_persistent(board, bitsiege, small_build, attack, tmp_path):
    bitsiege(
        "board", "recover", "sim", next((board.folder / "overlays").iterdir()).name, "--boards", board.boards
    )
    board.inject(broken=1)
    result, report = replay(bitsiege, board, small_build, attack, tmp_path / "replay.json")
    assert result.status == 1
    wrong = {
        "clean": attack[1].originals.reshape(20, -1).sum(axis=1) % 5 == 0,
        "adversarial": attack[1].adversarial.reshape(20, -1).sum(axis=1) % 5 == 0,
    }
    assert {found["images"] for found in report["boards"][0]["differences"]} == set(wrong)
    for found in report["boards"][0]["differences"]:
        assert found["persistent"] == np.flatnonzero(wrong[found["images"]]).tolist()
        assert found["transient"] == found["unstable"] == []


def test_a_difference_that_comes_and_goes_is_unstable(board, small_build, attack):
    """Wrong at first, right once, then wrong again."""
    from attacks.replay import replay as run_replay

    target = RemoteTarget(small_build, "sim", boards=board.boards)
    targets = remembered([ReferenceTarget(small_build.graph), target])
    assert isinstance(targets[1], BoardTarget)
    infer = target.infer
    turns = iter([1, 0, 0, 1, 0])

    def unsteady(images, first_frame=0):
        result = infer(images, first_frame)
        logits = result.logits.copy()
        logits[:1, 0] += next(turns, 0)
        return type(result)(logits=logits)

    target.infer = unsteady
    report = run_replay(attack[1], targets, graph_hash=small_build.graph_hash)
    (finding,) = examine(attack[1], report, targets, draws=False)
    (found,) = finding.differences
    assert (found.persistent, found.transient, found.unstable) == ((), (), (0,))
    target.close()


def test_an_interrupted_replay_goes_on(board, bitsiege, small_build, attack, tmp_path, monkeypatch):
    """Both sets were computed, then it was interrupted: the second time nothing is computed again."""
    whole, _ = tmp_path / "whole.json", replay(bitsiege, board, small_build, attack, tmp_path / "whole.json")
    before = len(board.runs())

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("bitsiege.boardreplay.examine", interrupt)
        result, report = replay(bitsiege, board, small_build, attack, tmp_path / "replay.json")
    assert (result.status, report) == (130, None)
    assert len(board.runs()) == before + 2
    assert list(tmp_path.glob("replay.json.partial-remote-sim"))
    result, report = replay(bitsiege, board, small_build, attack, tmp_path / "replay.json")
    assert result.status == 0, result.err
    assert len(board.runs()) == before + 2
    assert not list(tmp_path.glob("*.partial*"))
    assert timeless(report) == timeless(json.loads(whole.read_text()))


def timeless(report):
    """Drop what depends on the time, and how often answers came from before."""
    text = json.dumps(report, sort_keys=True)
    text = re.sub(r'"(seconds|images_per_second)": [0-9.e+-]+', "", text)
    return re.sub(r'"(answers_from_before|leases)": \d+', "", text)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("serve", "--state", "s"), "certificates"),
        (("serve", "--state", "s", "--insecure-loopback"), "no PYNQ board"),
        (("serve", "--state", "s", "--insecure-loopback", "--faults", "f"), "simulated board"),
        (("serve", "--state", "s", "--insecure-loopback", "--rtl"), "simulated board"),
        (("serve", "--state", "s", "--insecure-loopback", "--simulate", "nothing"), "not a build"),
        (("serve", "--state", "s", "--credentials", "nothing", "--port", "0"), "no PYNQ board"),
        (("run", "z9", "b", "--images", "x.npy", "-o", "o.npz"), "can't read"),
        (("recover", "z9", "overlay"), "no board"),
    ],
)
def test_what_can_t_be_done_is_said(bitsiege, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BITSIEGE_BOARDS", str(tmp_path / "boards.toml"))
    result = bitsiege("board", *words)
    assert result.status == 2
    assert message in result.err
    assert len(result.err.splitlines()) <= 2


def test_serve_without_certificates_does_not_leave_this_machine(bitsiege, small_build, tmp_path):
    result = bitsiege(
        *("board", "serve", "--simulate", small_build.path, "--state", tmp_path / "s", "--insecure-loopback"),
        *("--listen", "0.0.0.0", "--port", "0"),
    )
    assert result.status == 2
    assert "127.0.0.1 only" in result.err


def test_serve_ends_when_it_is_told_to(small_build, tmp_path):
    words = (
        *("board", "serve", "--simulate", small_build.path, "--state", tmp_path / "s"),
        *("--insecure-loopback", "--port", "0"),
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "bitsiege", *map(str, words)],
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},  # noqa: TID251  the process is the command line's
    )
    try:
        assert process.stdout.readline().startswith(b"listening 127.0.0.1 ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(20)
        process.stdout.close()
