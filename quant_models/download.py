"""Where the IDX data sets come from: a local folder, or public mirrors through pooch."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import pooch

from export.errors import BitsiegeError, InputError
from quant_models.idx import read_bytes

_ITEMS = tuple("0123456789")
_LOCAL_FOLDER = "put the four files of the data set in DIR/{name}/ and pass --data-dir DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class IdxSource:
    """A data set of four IDX files.

    Attributes:
        name: Name of the data set, and of its folder.
        classes: Names of the classes.
        mirrors: Addresses to which ``<file>.gz`` is appended, tried in this order.
        sha256: SHA-256 of each file's *unpacked* bytes; mirrors compress the same bytes differently.
    """

    name: str
    classes: tuple[str, ...]
    mirrors: tuple[str, ...]
    sha256: Mapping[str, str]

    def check(self, file: str, data: bytes, *, where: str) -> None:
        """Refuse bytes that are not the original's.

        Raises:
            InputError: The SHA-256 differs.
        """
        found = hashlib.sha256(data).hexdigest()
        if found != self.sha256[file]:
            raise InputError(
                f"{where}: SHA-256 of the unpacked file is {found}, expected {self.sha256[file]}",
                hint=f"this is not {self.name}'s original file, or it is damaged: delete it and get it again",
                file=file,
            )


IDX_SOURCES: dict[str, IdxSource] = {
    source.name: source
    for source in (
        IdxSource(
            name="mnist",
            classes=_ITEMS,
            mirrors=(
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
                "http://yann.lecun.com/exdb/mnist/",
            ),
            sha256={
                "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            },
        ),
        IdxSource(
            name="fashion-mnist",
            classes=(
                "T-shirt/top",
                "trouser",
                "pullover",
                "dress",
                "coat",
                "sandal",
                "shirt",
                "sneaker",
                "bag",
                "ankle boot",
            ),
            mirrors=(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
                "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
            ),
            sha256={
                "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            },
        ),
    )
}


def locate(source: IdxSource, file: str, data_dir: Path) -> Path:
    """Find a file, gzipped or not, in ``data_dir/<data set>/``.

    Raises:
        InputError: It isn't there.
    """
    folder = data_dir / source.name
    for name in (f"{file}.gz", file):
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder}: neither {file}.gz nor {file} is there",
        hint=_LOCAL_FOLDER.format(name=source.name),
        dataset=source.name,
    )


def fetch(source: IdxSource, file: str, cache_dir: Path | None = None) -> Path:
    """Download a file once, from the first mirror that gives the original bytes.

    Args:
        source: The data set.
        file: Its file, without ``.gz``.
        cache_dir: Folder of all downloads; the user's cache folder by default.

    Returns:
        The gzipped file in the cache.

    Raises:
        InputError: No mirror gives it; the message names each mirror and what went wrong there.
    """
    base = platformdirs.user_cache_path("bitsiege") / "data" if cache_dir is None else cache_dir
    folder = base / source.name
    target = folder / f"{file}.gz"
    if target.is_file():
        return target
    failures: list[str] = []
    for mirror in source.mirrors:
        try:
            _retrieve(f"{mirror}{file}.gz", target)
            source.check(file, read_bytes(target), where=f"{mirror}{file}.gz")
        # Network libraries below pooch raise OSError (requests' errors are) and ValueError.
        except (OSError, ValueError, BitsiegeError) as error:
            target.unlink(missing_ok=True)
            failures.append(f"{mirror} ({_short(error)})")
        else:
            return target
    raise InputError(
        f"can't download {file}.gz of {source.name} from any mirror: {'; '.join(failures)}",
        hint=f"without a network, {_LOCAL_FOLDER.format(name=source.name)}",
        dataset=source.name,
    )


def _retrieve(url: str, target: Path) -> None:
    """Download with pooch; the caller checks the hash of the unpacked bytes."""
    pooch.get_logger().setLevel(logging.WARNING)
    pooch.retrieve(url, known_hash=None, fname=target.name, path=target.parent)


def _short(error: Exception) -> str:
    text = error.message if isinstance(error, BitsiegeError) else f"{type(error).__name__}: {error}"
    return text if len(text) <= 60 else text[:57] + "..."
