"""The server is one folder: Python 3.10, the standard library and NumPy."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hw.boardserver

FOLDER = Path(hw.boardserver.__file__).parent
FILES = sorted(FOLDER.glob("*.py"))
# Names that came after 3.10, and that a glance at the syntax would not show.
LATER = {"StrEnum", "tomllib", "Self", "file_digest", "ExceptionGroup", "UTC", "batched", "override"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_module_needs_nothing_else(file):
    tree = ast.parse(file.read_text(), feature_version=(3, 10))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module.partition(".")[0]]
        elif isinstance(node, ast.Import):
            names = [alias.name.partition(".")[0] for alias in node.names]
        else:
            continue
        for name in names:
            assert name == "numpy" or name in sys.stdlib_module_names, name
    used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not used & LATER


def test_nothing_is_unpickled():
    for file in FILES:
        assert "pickle" not in file.read_text().replace("allow_pickle=False", "")


def program(tmp_path, *words):
    shutil.copytree(FOLDER, tmp_path / "bitsiege_boardserver", dirs_exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "bitsiege_boardserver", *map(str, words)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_copy_under_another_name_is_the_whole_program(tmp_path):
    assert "--credentials" in program(tmp_path, "--help").stdout
    root = tmp_path / "overlays"
    root.mkdir()
    common = ("--root", root, "--state", tmp_path / "state", "--board", "Pynq-Z1")
    result = program(tmp_path, *common)
    assert result.returncode == 2
    assert "--credentials DIR" in result.stderr
    result = program(tmp_path, *common, "--insecure-loopback", "--driver", "no_such_driver")
    assert result.returncode == 2
    assert "no_such_driver" in result.stderr


def test_it_starts_with_the_driver_of_boards_beside_it(tmp_path, overlay_folder, read_line):
    """As on a board, but that pynq itself is missing: a load says so."""
    import json

    import hw.pynq
    from hw.remote import BoardAnswerError, BoardClient, BoardEntry

    shutil.copytree(FOLDER, tmp_path / "bitsiege_boardserver")
    shutil.copytree(Path(hw.pynq.__file__).parent, tmp_path / "bitsiege_pynq")
    root = tmp_path / "overlays"
    folder = overlay_folder(root)
    document = json.loads((folder / "overlay.json").read_text())
    (folder / "overlay.json").write_text(json.dumps(document | {"board": "Pynq-Z1"}))
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "bitsiege_boardserver", "--root", root, "--state", tmp_path / "state"),
            *("--board", "Pynq-Z1", "--board-id", "z1-7", "--insecure-loopback", "--port", "0"),
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    try:
        port = int(read_line(process, 60).split()[2])
        client = BoardClient(BoardEntry(name="z1", host="127.0.0.1", port=port, identity=None))
        about, _ = client.call({"op": "hello"})
        assert about["board"] == {"id": "z1-7", "names": ["Pynq-Z1"]}
        assert about["kind"] == "hardware"
        with pytest.raises(BoardAnswerError) as caught:
            client.call({"op": "lease", "overlay": folder.name}, timeout_s=60)
        assert caught.value.code == "device"
        assert client.call({"op": "hello"})[0]["state"] == "quarantined"
        client.close()
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()
