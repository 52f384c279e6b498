"""CIFAR-10 as 60,000 JPEG files in one archive: a lossy copy, so an accuracy on it is not CIFAR-10's."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from export.errors import InputError

CIFAR10_JPEG = "cifar10-jpeg"
CIFAR10_JPEG_TITLE = "CIFAR-10 (JPEG copy)"
CIFAR10_CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)

_ARCHIVE = "cifar10-jpeg.tar.gz"
_SHA256 = "45b041e867f5a40f79bfde38d3dd1fd511103d50068c1afecf6445e25234d4db"
_SIDE = 32

Part = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]


def read_cifar10_jpeg(data_dir: Path | None) -> tuple[Part, Part]:
    """Read ``DATA_DIR/cifar10-jpeg/cifar10-jpeg.tar.gz``.

    Args:
        data_dir: Folder of the data sets; this one can't be downloaded, so it is needed.

    Returns:
        Training and test part, each images uint8 ``(N, 32, 32, 3)`` and labels int64 ``(N,)``, by the files'
        names: class after class.

    Raises:
        InputError: No folder, no file, or not the archive whose SHA-256 is known.
    """
    if data_dir is None:
        raise InputError(
            f"{CIFAR10_JPEG} has no public mirror",
            hint=f"put the archive in DIR/{CIFAR10_JPEG}/{_ARCHIVE} and pass --data-dir DIR",
            dataset=CIFAR10_JPEG,
        )
    path = data_dir / CIFAR10_JPEG / _ARCHIVE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}", dataset=CIFAR10_JPEG) from error
    found = hashlib.sha256(data).hexdigest()
    if found != _SHA256:
        raise InputError(
            f"{path}: SHA-256 is {found}, expected {_SHA256}",
            hint="the archive is another one or damaged: get it again",
            dataset=CIFAR10_JPEG,
        )
    return read_jpeg_archive(data, where=str(path))


def read_jpeg_archive(data: bytes, *, where: str) -> tuple[Part, Part]:
    """Decode ``train/<class>/<n>.jpg`` and ``test/<class>/<n>.jpg`` of a gzipped tar file, in memory.

    Raises:
        InputError: It is no such archive; the message has ``where`` and the bad member.
    """
    found: dict[str, tuple[list[npt.NDArray[np.uint8]], list[int]]] = {"train": ([], []), "test": ([], [])}
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            members = sorted((m for m in archive if m.isfile()), key=lambda member: member.name)
            for member in members:
                part, label = _place(member.name, where)
                stream = archive.extractfile(member)
                if stream is not None:
                    found[part][0].append(_decode(stream.read(), f"{where}: {member.name}"))
                    found[part][1].append(label)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise InputError(f"{where}: no gzipped tar file, or a cut one: {error}") from error
    for part, (images, _) in found.items():
        if not images:
            raise InputError(f"{where}: no image under {part}/")
    train, test = ((np.stack(images), np.asarray(labels, np.int64)) for images, labels in found.values())
    return train, test


def _place(name: str, where: str) -> tuple[str, int]:
    parts = name.split("/")
    if len(parts) != 3 or parts[0] not in ("train", "test") or parts[1] not in CIFAR10_CLASSES:
        raise InputError(f"{where}: {name[:100]!r} is not train/<class>/<n>.jpg or test/<class>/<n>.jpg")
    return parts[0], CIFAR10_CLASSES.index(parts[1])


def _decode(data: bytes, where: str) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            if image.size != (_SIDE, _SIDE) or image.mode != "RGB":
                raise InputError(f"{where}: {image.mode} {image.size}, expected RGB ({_SIDE}, {_SIDE})")
            return np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise InputError(f"{where}: no JPEG image, or a cut one") from error
