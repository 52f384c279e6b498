"""What a worker keeps between shards: the build, unpacked once, and its opened targets.

A worker shares no folder with whoever sends the work. It gets a build as bytes and unpacks them into a folder
of its own, which goes with the process.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections import OrderedDict
from functools import cached_property
from pathlib import Path
from typing import Any

from bitsiege.pipeline.digests import json_digest, tree_digests
from bitsiege.targets import close_targets, open_any_target
from export.errors import InputError
from hw.build import Build, load_build
from hw.target import Target

_KEPT = 4
_MAX_BYTES = 4 << 30
_DATE = (1980, 1, 1, 0, 0, 0)


class Bench:
    """One build and its targets, each of which is opened when it is first asked for; or a source's module.

    Attributes:
        folder: Of the build or the source.
        cache_dir: Where native code is kept.
    """

    def __init__(self, folder: Path, cache_dir: Path | None, unpacked: Any = None) -> None:
        self.folder = folder
        self.cache_dir = cache_dir
        self._unpacked = unpacked
        self._targets: dict[tuple[str, int], Target] = {}

    @cached_property
    def build(self) -> Build:
        """The build."""
        return load_build(self.folder)

    @cached_property
    def source(self) -> tuple[Any, str, str]:
        """The module of a source, what it is, and the hash of its networks."""
        from bitsiege.campaign.sources import load_source, source_hash

        return *load_source(self.folder), source_hash(self.folder)

    def target(self, name: str, draw_seed: int) -> Target:
        """Return an open target."""
        key = (name, draw_seed)
        if key not in self._targets:
            self._targets[key] = open_any_target(
                name, self.build, cache_dir=self.cache_dir, draw_seed=draw_seed
            )
        return self._targets[key]

    def close(self) -> None:
        """Close the targets, and remove the folder if the build was unpacked."""
        close_targets(list(self._targets.values()))
        self._targets.clear()
        if self._unpacked is not None:
            self._unpacked.cleanup()


_benches: OrderedDict[tuple[str, Path | None], Bench] = OrderedDict()


def bench_for(digest: str, build: Path | bytes, cache_dir: Path | None) -> Bench:
    """Return the bench of a build; the last few are kept.

    Args:
        digest: Of the build's files, as `build_digest` returns it.
        build: Its folder, or its files as `pack_build` makes them.
        cache_dir: Where native code is kept.

    Raises:
        InputError: The files are damaged, or not those of the digest.
    """
    key = (digest, cache_dir)
    if key not in _benches:
        _benches[key] = _make_bench(digest, build, cache_dir)
        while len(_benches) > _KEPT:
            _benches.popitem(last=False)[1].close()
    _benches.move_to_end(key)
    return _benches[key]


def close_benches() -> None:
    """Close every bench of this process."""
    while _benches:
        _benches.popitem()[1].close()


def _make_bench(digest: str, build: Path | bytes, cache_dir: Path | None) -> Bench:
    if isinstance(build, Path):
        return Bench(build, cache_dir)
    unpacked = tempfile.TemporaryDirectory(prefix="bitsiege-build-")
    folder = Path(unpacked.name)
    try:
        _unpack(build, folder)
        if build_digest(folder) != digest:
            raise InputError("a build changed on its way to the worker", hint="start the campaign again")
        return Bench(folder, cache_dir, unpacked)
    except BaseException:
        unpacked.cleanup()
        raise


def build_digest(path: Path) -> str:
    """Return one hash of a build's files, in hex."""
    return json_digest(tree_digests(path))


def pack_build(path: Path) -> bytes:
    """Return a build's files as the bytes of a .zip; equal files give equal bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(tree_digests(path)):
            archive.writestr(zipfile.ZipInfo(name, _DATE), (path / name).read_bytes(), zipfile.ZIP_DEFLATED)
    return stream.getvalue()


def _unpack(data: bytes, folder: Path) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                raise InputError(f"a build of more than {_MAX_BYTES:,} bytes is not unpacked")
            archive.extractall(folder)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise InputError(f"a build came damaged to the worker: {error}") from error
