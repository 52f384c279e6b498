"""The cache of built directories: one build a key, whole or absent, clear errors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest
from filelock import FileLock

from export.errors import InputError, ToolError
from hw.cache import cached_directory, content_key, default_cache_dir


def test_key_depends_on_every_part_and_on_their_boundaries():
    assert content_key("ab", "c") == content_key(b"ab", b"c")
    assert (
        len({content_key("ab", "c"), content_key("a", "bc"), content_key("abc"), content_key("ab", "d")}) == 4
    )


def test_default_is_the_users_cache():
    assert default_cache_dir().name == "bitsiege"


def test_builds_once(tmp_path):
    calls = []

    def build(directory: Path) -> None:
        calls.append(directory)
        (directory / "lib.so").write_text("made")

    first = cached_directory("kind", "key", build, cache_dir=tmp_path)
    second = cached_directory("kind", "key", build, cache_dir=tmp_path)
    assert first == second == tmp_path / "kind" / "key"
    assert (first / "lib.so").read_text() == "made"
    assert len(calls) == 1


def test_a_failed_build_leaves_nothing_and_is_tried_again(tmp_path):
    def fail(directory: Path) -> None:
        (directory / "half").write_text("half")
        raise ToolError("compiler failed")

    with pytest.raises(ToolError, match="compiler failed"):
        cached_directory("kind", "key", fail, cache_dir=tmp_path)
    assert not [path for path in (tmp_path / "kind").iterdir() if path.is_dir()]
    entry = cached_directory("kind", "key", lambda d: (d / "x").touch(), cache_dir=tmp_path)
    assert [path.name for path in entry.iterdir()] == ["x"]


def _slow_build(directory: Path) -> None:
    (directory / "half").write_text("half")
    time.sleep(60)


def _touch_build(directory: Path) -> None:
    with (directory.parent / "calls").open("a") as log:
        log.write("built\n")
    time.sleep(0.2)
    (directory / "x").touch()


def test_a_killed_build_is_cleared_away(tmp_path):
    context = multiprocessing.get_context("spawn")
    arguments = {"cache_dir": tmp_path}
    process = context.Process(target=cached_directory, args=("kind", "key", _slow_build), kwargs=arguments)
    process.start()
    deadline = time.monotonic() + 30
    while not list(tmp_path.glob("kind/.key-*/half")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(tmp_path.glob("kind/.key-*"))
    entry = cached_directory("kind", "key", _touch_build, cache_dir=tmp_path)
    assert [path.name for path in entry.iterdir()] == ["x"]
    assert not list(tmp_path.glob("kind/.key-*"))


def test_parallel_processes_build_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    arguments = {"cache_dir": tmp_path}
    processes = [
        context.Process(target=cached_directory, args=("kind", "key", _touch_build), kwargs=arguments)
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "kind" / "calls").read_text() == "built\n"


def test_waiting_has_a_deadline(tmp_path):
    (tmp_path / "kind").mkdir()
    with FileLock(tmp_path / "kind" / "key.lock"), pytest.raises(ToolError, match="another process"):
        cached_directory("kind", "key", _touch_build, cache_dir=tmp_path, timeout_s=0.1)


@pytest.mark.parametrize("obstacle", ["file", "device"])
def test_an_unusable_cache_is_named(tmp_path, obstacle):
    cache = tmp_path / "cache"
    if obstacle == "file":
        cache.write_text("a file where the directory should be")
    else:
        cache = Path("/dev/full/cache")
    with pytest.raises(InputError, match=str(cache)):
        cached_directory("kind", "key", _touch_build, cache_dir=cache)


def test_a_read_only_cache_that_holds_the_entry_will_do(tmp_path, monkeypatch):
    entry = cached_directory("kind", "key", _touch_build, cache_dir=tmp_path)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    assert cached_directory("kind", "key", _touch_build, cache_dir=tmp_path) == entry
    with pytest.raises(InputError, match="Permission denied"):
        cached_directory("kind", "other", _touch_build, cache_dir=tmp_path)
