"""Writing files and directories so that nothing half-written stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from export.errors import InputError


@contextmanager
def atomic_file(path: Path) -> Generator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` on success, remove it on any failure.

    Args:
        path: The file to write; its parent is created.

    Yields:
        The path to write to, with the same suffix as ``path``.

    Raises:
        InputError: The file can't be written (no permission, full disk, a directory in its place).
    """
    with _os_errors(path):
        _refuse_special(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o666 & ~_umask())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_directory(path: Path) -> Generator[Path]:
    """Yield a temporary directory beside ``path`` that replaces ``path`` on success.

    An existing directory of that name is replaced as a whole, after the new one is complete.

    Args:
        path: The directory to write; its parent is created.

    Yields:
        An empty directory to fill.

    Raises:
        InputError: It can't be written.
    """
    with _os_errors(path):
        _refuse_special(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            _swap(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _swap(new: Path, path: Path) -> None:
    """Put a complete directory in the place of another; if that fails, the old one stands as before."""
    if not path.exists():
        new.replace(path)
        return
    retired = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
    old = retired / path.name
    path.replace(old)
    try:
        new.replace(path)
    except OSError:
        old.replace(path)
        retired.rmdir()
        raise
    shutil.rmtree(retired, ignore_errors=True)


@contextmanager
def _os_errors(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(
            f"can't write {path}: {error.strerror or error}",
            hint="choose another output path, or free some space",
            path=str(path),
        ) from error


def _refuse_special(path: Path) -> None:
    """Refuse devices and pipes: renaming over ``/dev/null`` or ``/dev/full`` would replace the device."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"can't write {path}: it is not a regular file", hint="choose another output path")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
