"""Only folders directly below the root, with exactly the files that they list."""

import json
import os

import numpy as np
import pytest

from hw.boardserver.errors import BAD_OVERLAY, UNKNOWN_OVERLAY, WRONG_BITSTREAM, RequestError
from hw.boardserver.overlays import OverlayFolder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def code_of(root, name):
    with pytest.raises(RequestError) as caught:
        OverlayFolder(root).open(name)
    return caught.value.code


def test_an_overlay_is_read_whole(root, overlay_folder):
    folder = overlay_folder(root, clock={"asked_mhz": 120, "planned_mhz": 111.1, "achieved_mhz": 109.5})
    overlay = OverlayFolder(root).open(folder.name)
    assert overlay.bitstream == f"{folder.name}.bit"
    assert overlay.clock_mhz == 109.5
    assert overlay.images.shape == (16, 4, 4, 1)
    assert OverlayFolder(root).names() == [folder.name]
    assert OverlayFolder(root).describe(folder.name)["graph_hash"] == overlay.graph_hash


@pytest.mark.parametrize(
    "name",
    ["..", ".", "", "../outside", "/etc", "net/../../outside", "a\0b", "link", "-x", "x" * 200, "nothing"],
)
def test_nothing_outside_the_root_is_touched(root, tmp_path, overlay_folder, name):
    outside = overlay_folder(tmp_path, "outside")
    root.mkdir()
    (root / "link").symlink_to(outside)
    assert code_of(root, name) == UNKNOWN_OVERLAY
    with pytest.raises(RequestError):
        OverlayFolder(root).describe(name)
    assert OverlayFolder(root).names() == []


@pytest.mark.parametrize("file", ["known_answers.npz", "net.bit", "overlay.json"])
def test_a_link_in_the_place_of_a_file_is_refused(root, tmp_path, overlay_folder, file):
    folder = overlay_folder(root, "net")
    (folder / file).rename(tmp_path / "elsewhere")
    (folder / file).symlink_to(tmp_path / "elsewhere")
    assert code_of(root, "net") == BAD_OVERLAY


def test_a_pipe_in_the_place_of_a_file_is_refused(root, overlay_folder):
    folder = overlay_folder(root, "net")
    (folder / "net.bit").unlink()
    os.mkfifo(folder / "net.bit")
    assert code_of(root, "net") == BAD_OVERLAY


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: b"other" + data, lambda data: b""])
def test_a_wrong_or_truncated_bitstream_is_refused(root, overlay_folder, change):
    folder = overlay_folder(root, "net")
    file = folder / "net.bit"
    file.write_bytes(change(file.read_bytes()))
    assert code_of(root, "net") == WRONG_BITSTREAM


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "other"},
        {"version": 2},
        {"graph_hash": "xyz"},
        {"input": {"shape": [4, 4]}},
        {"input": {"shape": [4, 4, True]}},
        {"output": {"classes": 4}},
        {"files": {}},
        {"board": ""},
    ],
)
def test_a_damaged_manifest_is_refused(root, overlay_folder, changes):
    overlay_folder(root, "net", **changes)
    assert code_of(root, "net") == BAD_OVERLAY


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(root, overlay_folder, text):
    folder = overlay_folder(root, "net")
    (folder / "overlay.json").write_text(text)
    assert code_of(root, "net") == BAD_OVERLAY


def test_pickles_are_refused(root, overlay_folder):
    folder = overlay_folder(root, "net")
    document = json.loads((folder / "overlay.json").read_text())
    np.savez(folder / "known_answers.npz", images=np.array([{}], object), logits=np.zeros((1, 3), np.int64))
    import hashlib

    data = (folder / "known_answers.npz").read_bytes()
    document["files"]["known_answers.npz"] = hashlib.sha256(data).hexdigest()
    (folder / "overlay.json").write_text(json.dumps(document))
    assert code_of(root, "net") == BAD_OVERLAY


@pytest.mark.parametrize("cut", [0, 10, 200, -1])
def test_known_answers_that_were_cut_off_before_they_were_listed_are_refused(root, overlay_folder, cut):
    import hashlib

    folder = overlay_folder(root, "net")
    file = folder / "known_answers.npz"
    file.write_bytes(file.read_bytes()[:cut])
    document = json.loads((folder / "overlay.json").read_text())
    document["files"][file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / "overlay.json").write_text(json.dumps(document))
    assert code_of(root, "net") == BAD_OVERLAY
