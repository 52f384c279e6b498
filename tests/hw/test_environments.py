"""Environments from a lock, with an installer that installs nothing."""

import subprocess
from pathlib import Path

import pytest

from export.errors import InputError, ToolError
from hw.environments import Environment, create_environment


@pytest.fixture
def environment(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text("# a comment\nsetuptools==1\none==2\n\n  two==3\n")
    return Environment(name="test", lock=lock, setup="make it", first=("setuptools",))


@pytest.fixture
def commands(monkeypatch):
    """The commands that were run; each succeeds and prints nothing."""
    ran = []

    def run(command, **options):
        assert options["timeout"] > 0
        ran.append(command[1:])
        if "venv" in command:
            Path(command[-1]).mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0, b"")

    monkeypatch.setattr(subprocess, "run", run)
    return ran


def test_it_is_installed_once(environment, commands, tmp_path):
    with pytest.raises(ToolError, match="not set up\nmake it with: make it"):
        environment.python(tmp_path)
    python = create_environment(environment, cache_dir=tmp_path)
    assert python == environment.directory(tmp_path) / "bin" / "python"
    venv, first, rest = commands
    assert venv[:2] == ["-m", "venv"]
    pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
    assert first == [*pip, "setuptools==1"]
    assert rest == [*pip, "--no-build-isolation", "one==2", "two==3"]
    assert environment.python(tmp_path) == python
    create_environment(environment, cache_dir=tmp_path)
    assert len(commands) == 3


def test_one_that_is_not_complete_is_made_anew(environment, commands, tmp_path):
    directory = environment.directory(tmp_path)
    directory.mkdir(parents=True)
    (directory / "half").touch()
    create_environment(environment, cache_dir=tmp_path)
    assert not (directory / "half").exists()
    assert len(commands) == 3


def test_another_lock_is_another_environment(environment, tmp_path):
    before = environment.directory(tmp_path)
    environment.lock.write_text("# only a comment changed\nsetuptools==1\none==2\ntwo==3\n")
    assert environment.directory(tmp_path) == before
    environment.lock.write_text("setuptools==1\none==2\ntwo==4\n")
    assert environment.directory(tmp_path) != before
    environment.lock.unlink()
    with pytest.raises(InputError, match="can't read"):
        environment.directory(tmp_path)


def test_a_failed_installation_says_why_and_leaves_nothing(environment, monkeypatch, tmp_path):
    def fail(command, **options):
        if "pip" in command:
            return subprocess.CompletedProcess(command, 1, b"no such package\nthe end")
        return subprocess.CompletedProcess(command, 0, b"")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(ToolError, match=r"can't install test.*ended with 1\nno such package"):
        create_environment(environment, cache_dir=tmp_path)
    assert not environment.directory(tmp_path).exists()

    def late(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", late)
    with pytest.raises(ToolError, match="took more than 5 s"):
        create_environment(environment, cache_dir=tmp_path, timeout_s=5)


def test_a_cache_that_can_not_be_written(environment, tmp_path):
    (tmp_path / "environments").write_text("a file")
    with pytest.raises(InputError, match="can't use the cache directory"):
        create_environment(environment, cache_dir=tmp_path)
