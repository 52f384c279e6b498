from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.archive import AttackArchive, load_attack, make_archive, save_attack
from attacks.catalog import make_attack
from attacks.goal import Goal
from attacks.pgd import Pgd
from export.errors import BitsiegeError, InputError

HASH = "ab" * 32


def _archive(**changes) -> AttackArchive:
    originals = np.random.default_rng(0).integers(0, 256, (6, 2, 3, 1), dtype=np.uint8)
    adversarial = np.clip(originals.astype(int) + 2, 0, 255).astype(np.uint8)
    fields = {
        "originals": originals,
        "adversarial": adversarial,
        "labels": np.arange(6),
        "targets": None,
        "classes": 10,
        "attack": "pgd",
        "parameters": {"eps": 2 / 255, "steps": 3},
        "eps": 2 / 255,
        "seed": 4,
        "graph_hash": HASH,
        "origin": "tiny.safetensors",
    }
    return AttackArchive(**(fields | changes))


def _same(one: AttackArchive, two: AttackArchive) -> None:
    for field in dataclasses.fields(AttackArchive):
        left, right = getattr(one, field.name), getattr(two, field.name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        else:
            assert left == right


@pytest.mark.parametrize("targets", [None, np.arange(6) + 1])
def test_round_trip(tmp_path, targets):
    archive = _archive(targets=targets)
    save_attack(tmp_path / "a.npz", archive)
    _same(load_attack(tmp_path / "a.npz"), archive)


def test_same_archive_same_bytes_and_no_other_suffix(tmp_path):
    for name in ("a.npz", "b.attack"):
        save_attack(tmp_path / name, _archive())
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.attack").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.attack"]


def test_numpy_reads_it_without_pickle(tmp_path):
    save_attack(tmp_path / "a.npz", _archive())
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert arrays["originals"].shape == (6, 2, 3, 1)
        assert json.loads(arrays["metadata"].tobytes())["graph_hash"] == HASH


def test_crafting_again_from_what_the_archive_records(tmp_path, net, images, labels):
    attack = Pgd(eps=0.1, steps=3, goal=Goal.RANDOM, seed=11)
    result = attack.craft(net, images, labels)
    saved = make_archive(attack, result, originals=images, labels=labels, graph_hash=HASH)
    save_attack(tmp_path / "a.npz", saved)
    loaded = load_attack(tmp_path / "a.npz")
    again = make_attack(loaded.attack, **loaded.parameters).craft(net, loaded.originals, loaded.labels)
    np.testing.assert_array_equal(again.adversarial, loaded.adversarial)
    np.testing.assert_array_equal(again.targets, loaded.targets)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"labels": np.full(6, 10)}, "label 10 of image 0"),
        ({"targets": np.full(6, -1)}, "target class -1"),
        ({"labels": np.arange(5)}, "labels must be"),
        ({"labels": np.arange(6, dtype=np.uint8)}, "labels must be int64"),
        ({"eps": 1 / 255}, "the budget is 1"),
        ({"eps": 2.0}, "eps"),
        ({"graph_hash": "zz"}, "graph hash"),
        ({"classes": 0}, "classes"),
        ({"seed": True}, "seed"),
        ({"attack": ""}, "no name"),
        ({"originals": np.zeros((6, 2, 3, 2), np.uint8)}, "adversarial images are"),
    ],
)
def test_contradictions_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        _archive(**changes)


def _npz(tmp_path, *, omit=(), **entries):
    """Write the archive's arrays with some entries replaced by raw bytes or arrays."""
    path = tmp_path / "x.npz"
    save_attack(path, _archive())
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for name, value in entries.items():
        if isinstance(value, np.ndarray):
            stream = io.BytesIO()
            np.save(stream, value, allow_pickle=value.dtype == object)
            value = stream.getvalue()
        content[f"{name}.npy"] = value
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in content.items():
            if name.removesuffix(".npy") not in omit:
                archive.writestr(name, value)
    return path


def _metadata(**changes) -> np.ndarray:
    fields = {
        "version": 3,
        "norm": "linf",
        "attack": "pgd",
        "parameters": {},
        "eps": 2 / 255,
        "seed": 0,
        "first_index": 0,
        "classes": 10,
        "graph_hash": HASH,
        "origin": "",
    }
    return np.frombuffer(json.dumps(fields | changes).encode(), np.uint8)


def _header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_an_archive_without_the_first_image_s_index_begins_at_0(tmp_path):
    old = json.loads(_metadata(version=2).tobytes())
    del old["first_index"]
    archive = load_attack(_npz(tmp_path, metadata=np.frombuffer(json.dumps(old).encode(), np.uint8)))
    assert archive.first_index == 0


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"labels": np.array([object()] * 6)}, "plain uint8 or int64"),
        ({"labels": np.arange(6.0)}, "plain uint8 or int64"),
        ({"labels": np.asfortranarray(np.zeros((2, 3), int))}, "plain uint8 or int64"),
        ({"labels": np.zeros((6, 1), int)}, "labels must be"),
        ({"originals": np.zeros((6, 2, 3), np.uint8)}, "images must be"),
        ({"originals": np.zeros((0, 2, 3, 1), np.uint8)}, "nothing to attack"),
        ({"originals": b""}, "NumPy's format"),
        (
            {"labels": _header(b"{'descr': '<i8', 'fortran_order': False, 'shape': (999999999999,), }\n")},
            "does not fit",
        ),
        ({"labels": _header(b"(" * 900)}, "plain uint8"),
        ({"labels": _header(b"{'descr': '<i8'" + b" " * 60000)}, "plain uint8"),
        ({"extra": np.zeros(3, int)}, "don't belong"),
        ({"metadata": np.frombuffer(b"[" * 100000, np.uint8)}, "not JSON"),
        ({"metadata": np.frombuffer(b"\xff", np.uint8)}, "not JSON"),
        ({"metadata": np.frombuffer(b'{"eps": NaN}', np.uint8)}, "NaN is no number"),
        ({"metadata": np.frombuffer(b"[]", np.uint8)}, "not a JSON object"),
        ({"metadata": np.zeros((2, 2), np.uint8)}, "not text"),
        ({"metadata": _metadata(version=1)}, "attack format 1"),
        ({"metadata": _metadata(first_index=-1)}, "first_index must be"),
        ({"metadata": _metadata(norm="l7")}, "unknown norm"),
        ({"queries": np.zeros(5, np.int64)}, "queries must be int64"),
        ({"float_success": np.full(6, 2, np.uint8)}, "true or false"),
        ({"metadata": _metadata(more=1)}, "differ in more"),
        ({"metadata": _metadata(eps="0.1")}, "eps must be"),
        ({"metadata": _metadata(classes=5)}, "label 5 of image 5"),
        ({"metadata": _metadata(parameters=[])}, "mapping"),
        ({"metadata": _metadata(graph_hash=7)}, "graph hash"),
    ],
)
def test_hostile_entries_are_refused(tmp_path, entries, words):
    with pytest.raises(InputError, match=words) as caught:
        load_attack(_npz(tmp_path, **entries))
    assert "x.npz" in str(caught.value)


@pytest.mark.parametrize("name", ["originals", "adversarial", "labels", "metadata"])
def test_missing_array_is_named(tmp_path, name):
    with pytest.raises(InputError, match=f"array '{name}' is missing"):
        load_attack(_npz(tmp_path, omit=(name,)))


def test_bomb_is_refused_before_it_is_unpacked(tmp_path):
    bomb = np.zeros((1, 4096, 4096, 1), np.uint8)
    path = _npz(tmp_path, originals=bomb)
    assert path.stat().st_size < 1 << 16
    with pytest.raises(InputError, match="at most 1,048,576"):
        load_attack(path, max_bytes=1 << 20)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"not a zip" * 100])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "x.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npz"):
        load_attack(path)


def test_missing_file_and_directory(tmp_path):
    for path in (tmp_path / "none.npz", tmp_path):
        with pytest.raises(InputError, match="can't read"):
            load_attack(path)


def test_unwritable_place_leaves_nothing(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "a.npz", tmp_path, Path("/dev/full")):
        with pytest.raises(InputError, match="can't write"):
            save_attack(path, _archive())
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("fuzz") / "a.npz"
    save_attack(path, _archive(targets=np.arange(6) + 1))
    return path.read_bytes()


@pytest.fixture(scope="module")
def stored(tmp_path_factory) -> bytes:
    """The same uncompressed, with its checksums left to be wrong: mutations reach the parser."""
    path = tmp_path_factory.mktemp("fuzz") / "b.npz"
    save_attack(path, _archive(targets=np.arange(6) + 1))
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, value in content.items():
            archive.writestr(name, value)
    return path.read_bytes()


def _load_or_our_error(path, content: bytes) -> None:
    path.write_bytes(content)
    with contextlib.suppress(BitsiegeError):
        load_attack(path, max_bytes=1 << 20)


@given(data=st.data())
@settings(max_examples=400)
def test_fuzz_mutated_files_raise_only_our_errors(tmp_path, packed, stored, data):
    content = bytearray(data.draw(st.sampled_from([packed, stored])))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    _load_or_our_error(tmp_path / "m.npz", bytes(content))


@given(data=st.data())
@settings(max_examples=100)
def test_fuzz_truncated_and_spliced_files(tmp_path, packed, data):
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(packed))] * 2)))
    _load_or_our_error(tmp_path / "t.npz", packed[:start])
    _load_or_our_error(tmp_path / "t.npz", packed[:start] + packed[end:])


@given(data=st.data())
@settings(max_examples=200)
def test_fuzz_entries_with_good_checksums(tmp_path_factory, stored, data):
    with zipfile.ZipFile(io.BytesIO(stored)) as archive:
        content = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    for _ in range(data.draw(st.integers(1, 3))):
        entry = content[data.draw(st.sampled_from(sorted(content)))]
        entry[data.draw(st.integers(0, len(entry) - 1))] = data.draw(st.integers(0, 255))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, value in content.items():
            archive.writestr(name, bytes(value))
    _load_or_our_error(tmp_path_factory.getbasetemp() / "e.npz", stream.getvalue())
