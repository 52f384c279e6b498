from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.errors import InputError
from quant_models.cifar import CIFAR10_CLASSES, read_jpeg_archive
from quant_models.data import load_dataset


def jpeg(value: int, side: int = 32) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((side, side, 3), value, np.uint8)).save(stream, "JPEG")
    return stream.getvalue()


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def test_labels_are_the_folders() -> None:
    files = {"train/dog/1.jpg": jpeg(10), "train/airplane/2.jpg": jpeg(20), "test/truck/0.jpg": jpeg(30)}
    (images, labels), (test_images, test_labels) = read_jpeg_archive(archive(files), where="a")
    assert labels.tolist() == [0, 5]
    assert test_labels.tolist() == [9]
    assert images.shape == (2, 32, 32, 3)
    assert [int(image.mean().round()) for image in (*images, *test_images)] == [20, 10, 30]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train/dog/1.jpg": jpeg(1)}, "no image under test/"),
        ({"train/cow/1.jpg": jpeg(1)}, "'train/cow/1.jpg' is not train/<class>"),
        ({"../dog/1.jpg": jpeg(1)}, "is not train/<class>"),
        ({"test/dog/1.jpg": jpeg(1)[:100]}, "test/dog/1.jpg: no JPEG image, or a cut one"),
        ({"test/dog/1.jpg": b"GIF89a"}, "no JPEG image"),
        ({"test/dog/1.jpg": jpeg(1, 16)}, r"RGB \(16, 16\), expected RGB \(32, 32\)"),
    ],
)
def test_other_contents_are_refused(files: dict[str, bytes], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_jpeg_archive(archive(files), where="a")


def test_a_cut_archive_is_refused() -> None:
    data = archive({"train/dog/1.jpg": jpeg(1), "test/dog/1.jpg": jpeg(1)})
    with pytest.raises(InputError, match="no gzipped tar file, or a cut one"):
        read_jpeg_archive(data[: len(data) // 2], where="a")


def test_another_archive_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no public mirror") as caught:
        load_dataset("cifar10-jpeg")
    assert "--data-dir" in caught.value.hint
    with pytest.raises(InputError, match="can't read"):
        load_dataset("cifar10-jpeg", data_dir=tmp_path)
    folder = tmp_path / "cifar10-jpeg"
    folder.mkdir()
    (folder / "cifar10-jpeg.tar.gz").write_bytes(b"x")
    with pytest.raises(InputError, match="SHA-256 is"):
        load_dataset("cifar10-jpeg", data_dir=tmp_path)


def test_the_archive_itself(data_dir: Path) -> None:
    dataset = load_dataset("cifar10-jpeg", data_dir=data_dir)
    assert dataset.classes == CIFAR10_CLASSES
    assert dataset.train.images.shape == (50_000, 32, 32, 3)
    assert np.bincount(dataset.test.labels).tolist() == [1000] * 10
    # Whoever takes the first images gets all classes.
    assert np.bincount(dataset.test.labels[:200]).min() >= 10
