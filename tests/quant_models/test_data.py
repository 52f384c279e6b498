from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.errors import InputError
from quant_models.data import DATASETS, Dataset, ImageSet, load_dataset


def test_digits_are_scikit_learns() -> None:
    digits = load_dataset("digits")
    assert digits.input_shape == (8, 8, 1)
    assert (len(digits.train), len(digits.test)) == (1437, 360)
    assert digits.classes == tuple("0123456789")
    values = np.unique(np.concatenate([digits.train.images, digits.test.images]))
    assert values.tolist() == [*range(0, 256, 16), 255]
    assert np.bincount(digits.test.labels).min() >= 25


def test_digits_split_is_fixed() -> None:
    assert load_dataset("digits").test.fingerprint().startswith("5269d2839928acf9")


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_idx_data_sets_from_a_folder(name: str, data_dir: Path) -> None:
    dataset = load_dataset(name, data_dir=data_dir)
    assert dataset.train.images.shape == (60_000, 28, 28, 1)
    assert dataset.test.images.shape == (10_000, 28, 28, 1)
    assert len(dataset.classes) == 10
    assert set(dataset.test.labels) == set(range(10))


def test_unknown_name() -> None:
    with pytest.raises(InputError, match="unknown data set 'mnsit'") as caught:
        load_dataset("mnsit")
    assert all(name in caught.value.hint for name in DATASETS)


def test_folder_without_the_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither train-images-idx3-ubyte\.gz nor") as caught:
        load_dataset("mnist", data_dir=tmp_path)
    assert "--data-dir" in caught.value.hint


def test_other_files_of_the_same_name(tmp_path: Path) -> None:
    folder = tmp_path / "mnist"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03" + bytes(12))
    with pytest.raises(InputError, match="SHA-256 of the unpacked file is"):
        load_dataset("mnist", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (np.zeros((2, 3, 3), np.uint8), np.zeros(2, np.int64)),
        (np.zeros((2, 3, 3, 1), np.float32), np.zeros(2, np.int64)),
        (np.zeros((0, 3, 3, 1), np.uint8), np.zeros(0, np.int64)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(3, np.int64)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.zeros(2, np.int32)),
        (np.zeros((2, 3, 3, 1), np.uint8), np.array([0, -1])),
    ],
)
def test_image_set_refuses(images: Any, labels: Any) -> None:
    with pytest.raises(InputError):
        ImageSet(images=images, labels=labels)


def test_dataset_refuses_a_label_without_a_class(make_dataset: Any) -> None:
    good = make_dataset()
    with pytest.raises(InputError, match="label 3 with 2 classes"):
        Dataset(name="bad", classes=("a", "b"), train=good.train, test=good.test)


def test_fingerprint_sees_every_part() -> None:
    images, labels = np.zeros((2, 2, 3, 1), np.uint8), np.zeros(2, np.int64)
    prints = {
        ImageSet(images=images, labels=labels).fingerprint(),
        ImageSet(images=images + np.uint8(1), labels=labels).fingerprint(),
        ImageSet(images=images, labels=labels + 1).fingerprint(),
        ImageSet(images=images.reshape(2, 3, 2, 1), labels=labels).fingerprint(),
    }
    assert len(prints) == 4
