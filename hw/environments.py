"""Environments of their own: programs whose packages can't stand beside ours, each installed from a lock.

An environment is ``<cache>/environments/<name>-<key>/``, where the key is a hash of the lock and of the
Python that it is for. It is made in its place, since scripts inside hold its path; a file that is written
last says that it is complete, and what has none is made anew.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from export.errors import InputError, ToolError
from hw.cache import content_key, default_cache_dir

# pip alone may take minutes where it builds from source.
_INSTALL_TIMEOUT_S = 1800.0
_COMPLETE = "complete"
_LOG_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """An environment as the repository describes it.

    Attributes:
        name: Of its directory.
        lock: Requirements file with every package that is installed, each at one version.
        setup: The command that makes it, for hints.
        first: Packages of the lock that are installed before the others, which are then built with them
            instead of in isolation, where the versions would be whatever is newest.
    """

    name: str
    lock: Path
    setup: str
    first: tuple[str, ...] = ()

    def directory(self, cache_dir: Path | None = None) -> Path:
        """Return where it is, or would be.

        Raises:
            InputError: The lock can't be read.
        """
        version = f"{sys.implementation.cache_tag}-{sys.platform}"
        key = content_key(version, "\n".join(self.requirements()), *self.first)
        root = default_cache_dir() if cache_dir is None else cache_dir
        return root / "environments" / f"{self.name}-{key}"

    def requirements(self) -> list[str]:
        """Return the lines of the lock without comments.

        Raises:
            InputError: It can't be read.
        """
        try:
            lines = self.lock.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise InputError(f"can't read {self.lock}: {error.strerror or error}") from error
        return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]

    def python(self, cache_dir: Path | None = None) -> Path:
        """Return its Python.

        Raises:
            ToolError: It isn't there; the hint has the command that makes it.
        """
        directory = self.directory(cache_dir)
        if not (directory / _COMPLETE).is_file():
            raise ToolError(f"the environment {self.name} is not set up", hint=f"make it with: {self.setup}")
        return _python(directory)


def create_environment(
    environment: Environment, *, cache_dir: Path | None = None, timeout_s: float = _INSTALL_TIMEOUT_S
) -> Path:
    """Return the environment's Python; install everything if it isn't there.

    One process installs, others wait for it.

    Args:
        environment: Which.
        cache_dir: Where it goes; None for the user's cache directory.
        timeout_s: Longest time for one installation step, and longest wait for another process [s].

    Raises:
        InputError: The cache can't be written.
        ToolError: An installation failed, or took too long.
    """
    directory = environment.directory(cache_dir)
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(directory.with_name(f"{directory.name}.lock"), timeout=2 * timeout_s):
            if not (directory / _COMPLETE).is_file():
                _install(environment, directory, timeout_s)
    except Timeout as error:
        raise ToolError(f"another process has been installing {directory} for too long") from error
    except OSError as error:
        raise InputError(
            f"can't use the cache directory {directory.parent}: {error.strerror or error}",
            hint="choose another cache directory, or free some space",
        ) from error
    return _python(directory)


def _install(environment: Environment, directory: Path, timeout_s: float) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    try:
        _run(environment, [sys.executable, "-m", "venv", str(directory)], timeout_s)
        pip = [str(_python(directory)), "-m", "pip", "install", "--quiet", "--no-deps", "--no-input"]
        requirements = environment.requirements()
        first = [line for line in requirements if line.partition("==")[0] in environment.first]
        if first:
            _run(environment, [*pip, *first], timeout_s)
            pip.append("--no-build-isolation")
        _run(environment, [*pip, *(line for line in requirements if line not in first)], timeout_s)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    (directory / _COMPLETE).touch()


def _run(environment: Environment, command: Sequence[str], timeout_s: float) -> None:
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"installing {environment.name} took more than {timeout_s:g} s") from error
    if done.returncode != 0:
        lines = done.stdout.decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
        raise ToolError(
            f"can't install {environment.name}: {' '.join(command[1:4])} ended with {done.returncode}",
            hint="\n".join(lines) or "it printed nothing",
        )


def _python(directory: Path) -> Path:
    return directory / "bin" / "python"
