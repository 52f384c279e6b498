"""A cache of built directories: native libraries and simulators, compiled once a machine.

An entry is ``<cache>/<kind>/<key>/``, where the key is a hash of everything that the build depends on. It is
filled under a temporary name and renamed, so it exists whole or not at all; a file lock lets one process
build while the others wait for its result. A killed build leaves only its temporary directory, and the next
build of that key removes it.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_path

from export.errors import BitsiegeError, InputError, ToolError

LOCK_TIMEOUT_S = 1800.0
_KEY_LENGTH = 32


def default_cache_dir() -> Path:
    """Return the user's cache directory of this program; it need not exist."""
    return user_cache_path("bitsiege", appauthor=False)


def content_key(*parts: str | bytes) -> str:
    """Return a hash, 32 hex digits, of everything that a build depends on.

    Args:
        parts: Sources, flags, tool versions, names. Their boundaries count: ``("ab", "c")`` and
            ``("a", "bc")`` differ.
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()[:_KEY_LENGTH]


def cached_directory(
    kind: str,
    key: str,
    build: Callable[[Path], None],
    *,
    cache_dir: Path | None = None,
    timeout_s: float = LOCK_TIMEOUT_S,
) -> Path:
    """Return the directory of ``key``; fill it by calling ``build`` if it isn't there.

    Args:
        kind: What is built, such as ``emulator``: a sub-directory of the cache.
        key: From `content_key`.
        build: Fills the empty directory that it is handed; that one is renamed afterwards, so what it writes
            must not contain its own absolute path.
        cache_dir: Where the cache lives; None for `default_cache_dir`.
        timeout_s: Longest wait for another process that builds the same entry [s].

    Returns:
        A complete directory. Treat it as read-only: other processes use it too.

    Raises:
        InputError: The cache can't be written.
        ToolError: Another process held the entry longer than ``timeout_s``.
        BitsiegeError: Whatever ``build`` raised; nothing stays in the cache then.
    """
    root = (default_cache_dir() if cache_dir is None else cache_dir) / kind
    entry = root / key
    if entry.is_dir():
        return entry
    with _cache_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root / f"{key}.lock", timeout_s):
            if not entry.is_dir():
                _build_entry(root, key, build)
    return entry


def _build_entry(root: Path, key: str, build: Callable[[Path], None]) -> None:
    # The lock is ours, so a temporary directory of this key belongs to a build that was killed.
    for abandoned in root.glob(f".{key}-*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{key}-", dir=root))
    try:
        build(temporary)
        temporary.chmod(0o755)
        temporary.replace(root / key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _locked(path: Path, timeout_s: float) -> Generator[None]:
    lock = FileLock(path, timeout=timeout_s)
    try:
        lock.acquire()
    except Timeout as error:
        raise ToolError(
            f"another process has been building {path.with_suffix('')} for {timeout_s:.0f} s",
            hint="wait for it, or end it and try again",
            path=str(path),
        ) from error
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _cache_errors(root: Path) -> Generator[None]:
    try:
        yield
    except BitsiegeError:
        raise
    except OSError as error:
        raise InputError(
            f"can't use the cache directory {root}: {error.strerror or error}",
            hint="choose another cache directory, or free some space",
            path=str(root),
        ) from error
