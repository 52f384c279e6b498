from pathlib import Path

import numpy as np
import pytest

from bitsiege.arrays import load_images, load_labels
from export.errors import InputError

SHAPE = (4, 5, 2)


def saved(path: Path, array: np.ndarray) -> Path:
    np.save(path, array, allow_pickle=True)
    return path


def test_images_come_back_and_stay_on_disk(tmp_path: Path):
    images = np.random.default_rng(0).integers(0, 256, (3, *SHAPE), np.uint8)
    loaded = load_images(saved(tmp_path / "x.npy", images), SHAPE)
    assert isinstance(loaded, np.memmap)
    np.testing.assert_array_equal(loaded, images)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, *SHAPE)), "must be uint8, not float64"),
        (np.zeros((3, 4, 5), np.uint8), "must have shape"),
        (np.zeros((3, 2, 4, 5), np.uint8), "must have shape"),
        (np.zeros((), np.uint8), "must have shape"),
        (np.array([{"a": 1}]), "damaged .npy file"),
        (np.zeros(3, "U5"), "must be uint8"),
    ],
)
def test_images_that_do_not_fit(tmp_path: Path, array: np.ndarray, message: str):
    with pytest.raises(InputError, match=message):
        load_images(saved(tmp_path / "x.npy", array), SHAPE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1'}",
        b"PK\x03\x04broken",
        b"\x80\x04.",
    ],
)
def test_files_that_are_no_arrays(tmp_path: Path, content: bytes):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"x\.npy"):
        load_images(path, SHAPE)


def test_a_header_that_promises_more_than_there_is(tmp_path: Path):
    path = saved(tmp_path / "x.npy", np.zeros((3, *SHAPE), np.uint8))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"x\.npy"):
        load_images(path, SHAPE)


def test_a_header_that_promises_terabytes(tmp_path: Path):
    path = tmp_path / "x.npy"
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999, 4, 5, 2), }\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"abc")
    with pytest.raises(InputError, match=r"x\.npy"):
        load_images(path, SHAPE)


def test_archives_folders_and_nothing(tmp_path: Path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    with pytest.raises(InputError, match=r"\.npz file"):
        load_images(tmp_path / "x.npz", SHAPE)
    with pytest.raises(InputError, match="not a regular file"):
        load_images(tmp_path, SHAPE)
    with pytest.raises(InputError, match="No such file"):
        load_images(tmp_path / "none.npy", SHAPE)
    with pytest.raises(InputError, match="not a regular file"):
        load_images(Path("/dev/zero"), SHAPE)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int16])
def test_labels_come_back_as_int64(tmp_path: Path, dtype: type):
    labels = load_labels(saved(tmp_path / "y.npy", np.array([0, 3, 9], dtype)), count=3, classes=10)
    assert labels.dtype == np.int64
    assert labels.tolist() == [0, 3, 9]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 10, 3]), "label 10 of image 1 is out of range"),
        (np.array([0, 1, -1]), "label -1 of image 2 is out of range"),
        (np.array([0, 1]), r"3 images need labels of shape \(3,\), not \(2,\)"),
        (np.array([[0, 1, 2]]), "need labels of shape"),
        (np.array([0.0, 1.0, 2.0]), "must be integers"),
        (np.array([2**63, 1, 2], np.uint64), "out of range"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: np.ndarray, message: str):
    with pytest.raises(InputError, match=message):
        load_labels(saved(tmp_path / "y.npy", labels), count=3, classes=10)
