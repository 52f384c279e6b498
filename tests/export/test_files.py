from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from export.errors import InputError
from export.files import atomic_directory, atomic_file


def test_a_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    with atomic_file(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".json"
        temporary.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert [file.name for file in path.parent.iterdir()] == ["report.json"]


def test_the_umask_decides_the_mode(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "f") as temporary:
            temporary.write_text("")
        with atomic_directory(tmp_path / "d"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "d").stat().st_mode) == 0o750


def test_a_failure_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as temporary:
        temporary.write_text("half")
        _ = 1 // 0
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("target", ["/dev/full", "/dev/null", "/proc/none/x"])
def test_devices_and_impossible_places(target: str) -> None:
    with pytest.raises(InputError, match=f"can't write {target}"), atomic_file(Path(target)) as temporary:
        temporary.write_text("x")
    with pytest.raises(InputError, match="can't write"), atomic_directory(Path(target)):
        pass


def test_a_full_disk_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No space left") as caught, atomic_file(tmp_path / "f"):
        Path("/dev/full").write_text("x")
    assert "free some space" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_a_directory_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "f" / "g").mkdir(parents=True)
    with pytest.raises(InputError, match="can't write"), atomic_file(tmp_path / "f") as temporary:
        temporary.write_text("x")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_a_directory_replaces_the_old_one_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "build"
    for text in ("first", "second"):
        with atomic_directory(path) as temporary:
            (temporary / text).write_text(text)
    assert [file.name for file in path.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_keeps_the_old_directory(tmp_path: Path) -> None:
    path = tmp_path / "build"
    with atomic_directory(path) as temporary:
        (temporary / "kept").write_text("x")
    with pytest.raises(ZeroDivisionError), atomic_directory(path) as temporary:
        (temporary / "half").write_text("x")
        _ = 1 // 0
    assert [file.name for file in path.iterdir()] == ["kept"]
    assert list(tmp_path.iterdir()) == [path]


def test_killed_in_mid_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    program = (
        "import os, pathlib, signal\nfrom export.files import atomic_file\n"
        f"with atomic_file(pathlib.Path({str(path)!r})) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9
    assert path.read_text() == "old"


def test_a_directory_that_cannot_be_replaced_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "d"
    with atomic_directory(path) as temporary:
        (temporary / "old").touch()
    replace, calls = Path.replace, iter(range(9))

    def second_fails(self: Path, target: Path) -> Path:
        if next(calls) == 1:
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", second_fails)
    with pytest.raises(InputError, match="No space left"), atomic_directory(path) as temporary:
        (temporary / "new").touch()
    assert [file.name for file in path.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [path]
