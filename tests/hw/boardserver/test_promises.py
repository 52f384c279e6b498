"""The eight promises of hardware in the loop, each on a simulated board in a process of its own."""

import hashlib
import json
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from hw.boardserver.driven import hash_sources
from hw.build import load_build
from hw.reference import ReferenceTarget
from hw.remote import BoardAnswerError, RemoteTarget, UnreachableError
from hw.remote.registry import add_entry
from hw.target import TargetKind

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def boards(tmp_path, simulated):
    """A registry that knows the simulated board."""
    path = tmp_path / "boards.toml"
    add_entry(path, simulated.entry())
    return path


@pytest.fixture
def make_target(build, boards):
    made = []

    def make(**options):
        made.append(RemoteTarget(load_build(build.path), "sim", boards=boards, patience_s=60, **options))
        return made[-1]

    yield make
    for target in made:
        target.close()


def batch(target, images):
    """Compute one batch, and return its record."""
    session = target._session
    return session.run(f"p-{time.monotonic_ns()}", images, 0, 0)[1]


def overlay_json(simulated):
    (folder,) = (simulated.state / "overlays").iterdir()
    return folder, json.loads((folder / "overlay.json").read_text())


def test_1_a_result_says_what_it_was_computed_with(simulated, make_target, build, images):
    import hw.pynq

    record = batch(make_target(), images)
    folder, manifest = overlay_json(simulated)
    assert (
        record["bitstream_sha256"] == hashlib.sha256((folder / f"{folder.name}.bit").read_bytes()).hexdigest()
    )
    assert record["graph_hash"] == build.graph_hash
    assert record["design_hash"] == manifest["design_hash"]
    assert record["data_sha256"] == hashlib.sha256(images.tobytes()).hexdigest()
    assert record["driver_sha256"] == hash_sources(type(folder)(hw.pynq.__file__).parent)
    assert record["board"] == {"id": f"simulated-{simulated.pid}", "names": ["Simulated"]}
    assert record["clock"]["set_mhz"] == 100.0
    assert record["clock"]["measured_mhz"] == pytest.approx(100.0, rel=0.02)
    assert record["temperatures_c"] == {}
    expected = ReferenceTarget(build.graph).infer(images).logits.astype("<i4").tobytes()
    assert record["logits_sha256"] == hashlib.sha256(expected).hexdigest()


def test_2_no_call_outlasts_its_deadline(simulated, make_target, connect, images):
    target = make_target()
    target.infer(images)
    # Stopped, the server can't even say that it is late.
    client = connect(simulated.entry("anna"))
    client.call({"op": "hello"})
    simulated._process.send_signal(signal.SIGSTOP)
    try:
        for patience_s in (0.3, 1.0):
            start = time.monotonic()
            with pytest.raises(UnreachableError):
                client.call({"op": "hello"}, timeout_s=patience_s)
            assert time.monotonic() - start < patience_s + 2.0
    finally:
        simulated._process.send_signal(signal.SIGCONT)
    target.infer(images)


def test_3_after_a_fault_comes_recovery_or_quarantine(simulated, make_target, build, images):
    target = make_target()
    before = target.infer(images).logits
    simulated.inject(stuck_dma=1, weights_lost=1)
    assert np.array_equal(target.infer(images).logits, before)
    assert target.use.troubles.faults == ["stuck"]
    simulated.inject(stuck_dma=1, weights_lost=2)
    with pytest.raises(BoardAnswerError) as caught:
        target.infer(images)
    assert caught.value.code in ("known-answers", "quarantined")
    client = target._client
    assert client.call({"op": "hello"})[0]["state"] == "quarantined"
    # Neither another lease nor a restart ends it.
    simulated.kill()
    simulated.start()
    with pytest.raises(BoardAnswerError) as caught:
        target.infer(images)
    assert caught.value.code == "quarantined"
    client.call({"op": "recover", "overlay": target._session.overlay}, timeout_s=10)
    assert np.array_equal(target.infer(images).logits, before)


def test_4_one_holder_fenced_by_a_token_that_grows_over_a_reboot(simulated, make_target, connect, images):
    target = make_target()
    overlay = target._session.overlay
    tokens = []
    for user in ("anna", "bela"):
        client = connect(simulated.entry(user))
        answer, _ = client.call({"op": "lease", "overlay": overlay, "ttl_s": 60.0, "wait_s": 1.0})
        tokens.append(answer["token"])
        with pytest.raises(BoardAnswerError, match=user):
            connect(simulated.entry("cleo")).call({"op": "lease", "overlay": overlay})
        simulated.kill()
        simulated.start()
    target.infer(images)
    tokens.append(target._session._token)
    assert tokens == sorted(set(tokens))
    request = {"op": "run", "token": tokens[0], "batch": "old", "overlay": overlay, "shape": [50, 4, 4, 1]}
    with pytest.raises(BoardAnswerError) as caught:
        connect(simulated.entry("anna")).call(request, images.tobytes())
    assert caught.value.code == "fenced"


def test_5_an_interrupted_run_goes_on_bit_for_bit(simulated, make_target, build, images, tmp_path):
    many = np.random.default_rng(3).integers(0, 256, (400, 4, 4, 1), np.uint8)
    options = {"journal": tmp_path / "journal", "subject": "many", "batch_bytes": 16 * 20}
    first = make_target(**options)
    done = []
    run = first._session.run

    def interrupted(*arguments):
        if len(done) == 7:
            raise KeyboardInterrupt
        done.append(arguments[0])
        return run(*arguments)

    first._session.run = interrupted
    with pytest.raises(KeyboardInterrupt):
        first.infer(many)
    # The eighth was computed, but its answer did not come home.
    first._session.run = run
    known = first._journal
    first._journal = type("Nothing", (), {"find": lambda self, name: None, "add": lambda *_: None})()
    first._asked.clear()
    first.infer(many[:160])
    first._journal = known
    first.close()

    second = make_target(**options)
    logits = second.infer(many).logits
    assert np.array_equal(logits, ReferenceTarget(build.graph).infer(many).logits)
    lines = [line for line in simulated.audit() if str(line.get("batch", "")).startswith(second._run)]
    fresh = [line["batch"] for line in lines if line["outcome"] == "ok" and not line["repeated"]]
    assert len(fresh) == len(set(fresh)) == 20
    assert set(done) < set(fresh)
    second.finish()
    assert not (tmp_path / "journal").exists()


def test_6_board_emulator_and_reference_agree_bit_for_bit(make_target, build, cache_dir):
    """The driver runs on the registers of the emulated overlay; the next test has the Verilated one."""
    from hw.emulator import EmulatorTarget

    many = np.random.default_rng(4).integers(0, 256, (3000, 4, 4, 1), np.uint8)
    logits = make_target().infer(many).logits
    assert np.array_equal(logits, EmulatorTarget(build.graph, cache_dir=cache_dir).infer(many).logits)
    assert np.array_equal(logits, ReferenceTarget(build.graph).infer(many).logits)


def test_6_the_circuit_itself_agrees_too(tmp_path, build, connect, simulator_cache):
    """From the client through server, driver, registers and DMA into the Verilated RTL, and back."""
    from hw.boardserver.serve import ServerPlan, make_server
    from hw.remote import BoardEntry
    from hw.remote.session import BoardSession
    from hw.remote.simulated import SimulatedBoard, write_simulated_overlay

    name = write_simulated_overlay(load_build(build.path), tmp_path / "overlays")
    device = SimulatedBoard([load_build(build.path)], cache_dir=simulator_cache, load_s=20.0, rtl=True)
    server = make_server(ServerPlan(root=tmp_path / "overlays", state=tmp_path / "state", port=0), device)
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        host, port = server.address
        client = connect(BoardEntry(name="rtl", host=host, port=port, identity=None))
        session = BoardSession(client, name, build.graph_hash, patience_s=120)
        many = np.random.default_rng(6).integers(0, 256, (100, 4, 4, 1), np.uint8)
        logits, record = session.run("b1", many, 0, 0)
        session.release()
    finally:
        server.close()
        thread.join(10)
    assert np.array_equal(logits, ReferenceTarget(build.graph).infer(many).logits)
    assert record["kind"] == "simulation"


def test_7_strangers_get_nothing_and_paths_are_allow_listed(simulated, make_target, connect, boards):
    target = make_target()
    plain = replace(simulated.entry(), identity=None)
    with pytest.raises(UnreachableError):
        connect(plain).call({"op": "hello"}, timeout_s=5)
    client = connect(simulated.entry("anna"))
    secret = simulated.state / "overlays" / ".." / "results"
    assert secret.exists()
    for name in ("../results", "..", "/etc", f"{target._session.overlay}/../../results"):
        with pytest.raises(BoardAnswerError) as caught:
            client.call({"op": "lease", "overlay": name})
        assert caught.value.code == "unknown-overlay"
    answer, _ = client.call({"op": "overlays"})
    assert [item["name"] for item in answer["overlays"]] == [target._session.overlay]


def test_8_a_simulated_result_is_never_called_hardware(make_target, images):
    target = make_target()
    assert target.kind is TargetKind.SIMULATION
    assert batch(target, images)["kind"] == "simulation"
    target.infer(images)
    (with_what,) = target.use.to_json()["computed_with"]
    assert with_what["kind"] == "simulation"
    assert "hardware" not in json.dumps(target.use.to_json())


def test_two_users_at_once_get_what_is_theirs(simulated, make_target, build, boards, tmp_path):
    graph = ReferenceTarget(build.graph)
    other = tmp_path / "other.toml"
    add_entry(other, simulated.entry("bela"))
    results = {}

    def work(name, path, seed):
        target = RemoteTarget(load_build(build.path), "sim", boards=path, patience_s=60, batch_bytes=16 * 50)
        mine = np.random.default_rng(seed).integers(0, 256, (200, 4, 4, 1), np.uint8)
        try:
            results[name] = mine, target.infer(mine).logits
        finally:
            target.close()

    threads = [
        threading.Thread(target=work, args=(name, path, seed))
        for name, path, seed in (("a", boards, 1), ("b", other, 2))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for mine, logits in results.values():
        assert np.array_equal(logits, graph.infer(mine).logits)
    assert set(results) == {"a", "b"}
