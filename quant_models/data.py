"""Image data sets as uint8 arrays: MNIST, Fashion-MNIST, a JPEG copy of CIFAR-10, scikit-learn's digits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from export.errors import InputError
from quant_models.cifar import CIFAR10_CLASSES, CIFAR10_JPEG, read_cifar10_jpeg
from quant_models.download import IDX_SOURCES, IdxSource, fetch, locate
from quant_models.idx import parse_idx, read_bytes

DIGITS = "digits"
DATASETS: tuple[str, ...] = (DIGITS, *IDX_SOURCES, CIFAR10_JPEG)
"""Names that `load_dataset` knows."""

_DIGITS_TEST_IMAGES = 360
_DIGITS_SPLIT_SEED = 0
_CIFAR_TEST_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSet:
    """Images with their labels.

    Attributes:
        images: uint8 ``(N, H, W, C)``.
        labels: int64 ``(N,)``, not negative.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.dtype != np.uint8 or self.images.ndim != 4 or self.images.size == 0:
            found = f"{self.images.dtype} {self.images.shape}"
            raise InputError(f"images must be uint8 of shape (N, H, W, C), not {found}")
        if self.labels.dtype != np.int64 or self.labels.shape != self.images.shape[:1]:
            found = f"{self.labels.dtype} {self.labels.shape}"
            raise InputError(f"labels must be int64 of shape ({len(self.images)},), not {found}")
        if self.labels.min() < 0:
            raise InputError("labels must not be negative")

    def __len__(self) -> int:
        return len(self.images)

    def take(self, indices: npt.NDArray[np.int64]) -> ImageSet:
        """Return the images at those indices, in that order."""
        return ImageSet(images=self.images[indices], labels=self.labels[indices])

    def fingerprint(self) -> str:
        """Return the SHA-256 of shape, images and labels, in hexadecimal."""
        digest = hashlib.sha256(repr(self.images.shape).encode())
        digest.update(np.ascontiguousarray(self.images).tobytes())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """A named data set.

    Attributes:
        name: As `load_dataset` takes it.
        classes: One name a class; a label is an index into it.
        train: Images to train on.
        test: Images to report on; training never sees them.
    """

    name: str
    classes: tuple[str, ...]
    train: ImageSet
    test: ImageSet

    def __post_init__(self) -> None:
        for part, images in (("train", self.train), ("test", self.test)):
            if images.labels.max() >= len(self.classes):
                label = images.labels.max()
                raise InputError(f"{self.name}: {part} label {label} with {len(self.classes)} classes")
        if self.train.images.shape[1:] != self.test.images.shape[1:]:
            raise InputError(f"{self.name}: training and test images differ in shape")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return cast("tuple[int, int, int]", self.train.images.shape[1:])


def load_dataset(name: str, *, data_dir: Path | None = None, cache_dir: Path | None = None) -> Dataset:
    """Load a data set.

    Args:
        name: One of `DATASETS`.
        data_dir: Folder with one folder a data set, such as ``mnist/train-images-idx3-ubyte.gz`` (gzipped or
            not). Without it the files are downloaded once. ``digits`` needs neither; ``cifar10-jpeg`` can't
            be downloaded.
        cache_dir: Where downloads are kept; the user's cache folder by default.

    Raises:
        InputError: Unknown name, a missing or damaged file, a wrong hash, or no mirror answers.
    """
    if name == DIGITS:
        return _load_digits()
    if name == CIFAR10_JPEG:
        return _load_cifar10_jpeg(data_dir)
    source = IDX_SOURCES.get(name)
    if source is None:
        raise InputError(f"unknown data set {name!r}", hint=f"known: {', '.join(DATASETS)}", dataset=name)
    if data_dir is not None:
        return _load_idx(source, lambda file: locate(source, file, data_dir))
    return _load_idx(source, lambda file: fetch(source, file, cache_dir))


def _load_idx(source: IdxSource, find: Callable[[str], Path]) -> Dataset:
    def read(file: str, dimensions: int) -> npt.NDArray[np.uint8]:
        path = find(file)
        data = read_bytes(path)
        source.check(file, data, where=str(path))
        array = parse_idx(data, where=str(path))
        if array.ndim != dimensions:
            raise InputError(f"{path}: {array.ndim} dimensions, expected {dimensions}")
        return array

    def part(prefix: str) -> ImageSet:
        images = read(f"{prefix}-images-idx3-ubyte", 3)
        labels = read(f"{prefix}-labels-idx1-ubyte", 1)
        return ImageSet(images=images[..., np.newaxis], labels=labels.astype(np.int64))

    return Dataset(name=source.name, classes=source.classes, train=part("train"), test=part("t10k"))


def _load_cifar10_jpeg(data_dir: Path | None) -> Dataset:
    """Load the archive; the test images, which stand class after class there, in a fixed random order."""
    train, test = (ImageSet(images=images, labels=labels) for images, labels in read_cifar10_jpeg(data_dir))
    order = np.random.default_rng(_CIFAR_TEST_SEED).permutation(len(test))
    return Dataset(name=CIFAR10_JPEG, classes=CIFAR10_CLASSES, train=train, test=test.take(order))


def _load_digits() -> Dataset:
    """Load scikit-learn's 1,797 digits: values 0 to 16 become ``min(255, 16 * value)``.

    The last 360 of a fixed permutation are the test set.
    """
    from sklearn.datasets import load_digits

    raw = cast("Mapping[str, Any]", load_digits())
    values = np.asarray(raw["images"], dtype=np.int64)
    images = np.minimum(255, 16 * values).astype(np.uint8)[..., np.newaxis]
    whole = ImageSet(images=images, labels=np.asarray(raw["target"], dtype=np.int64))
    order = np.random.default_rng(_DIGITS_SPLIT_SEED).permutation(len(whole))
    return Dataset(
        name=DIGITS,
        classes=tuple("0123456789"),
        train=whole.take(order[:-_DIGITS_TEST_IMAGES]),
        test=whole.take(order[-_DIGITS_TEST_IMAGES:]),
    )
