from __future__ import annotations

import gzip
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from export.errors import InputError
from quant_models import idx
from quant_models.idx import parse_idx, read_bytes


def _idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@given(array=hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4)))
def test_round_trip(array: np.ndarray) -> None:
    assert np.array_equal(parse_idx(_idx(array), where="file"), array)


@given(cut=st.integers(0, 40))
def test_every_truncation_is_refused(cut: int) -> None:
    whole = _idx(np.arange(25, dtype=np.uint8).reshape(1, 5, 5))
    assert len(whole) == 41
    with pytest.raises(InputError, match=r"^some/file: "):
        parse_idx(whole[:cut], where="some/file")


@given(data=st.binary(max_size=64))
def test_only_our_errors_come_out(data: bytes) -> None:
    with suppress(InputError):
        parse_idx(data, where="file")


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG\r\n", "not an IDX file"),
        (struct.pack(">BBBBI", 0, 0, 0x0D, 1, 4) + bytes(16), "type 0x0d"),
        (struct.pack(">BBBB", 0, 0, 8, 0), "0 dimensions"),
        (struct.pack(">BBBB", 0, 0, 8, 9) + bytes(36), "9 dimensions"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 3) + bytes(4), "too long"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, *[2**32 - 1] * 3), "truncated"),
    ],
)
def test_fault_is_named(data: bytes, fault: str) -> None:
    with pytest.raises(InputError, match=fault):
        parse_idx(data, where="file")


def test_gzip_is_recognised_by_content(tmp_path: Path) -> None:
    for name, content in (("plain.gz", b"hello"), ("packed", gzip.compress(b"hello"))):
        path = tmp_path / name
        path.write_bytes(content)
        assert read_bytes(path) == b"hello"


@pytest.mark.parametrize("cut", [3, 12, 20, -9, -1])
def test_damaged_gzip(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(bytes(range(256)) * 8)[:cut])
    with pytest.raises(InputError, match="damaged gzip"):
        read_bytes(path)


def test_flipped_bits_in_gzip_never_change_the_content(tmp_path: Path) -> None:
    content = bytes(range(256))
    packed = bytearray(gzip.compress(content))
    path = tmp_path / "file.gz"
    refused = 0
    for position in range(10, len(packed)):
        packed[position] ^= 0x10
        path.write_bytes(packed)
        packed[position] ^= 0x10
        try:
            # Deflate's padding bits carry nothing, so a flip there is harmless.
            assert read_bytes(path) == content
        except InputError:
            refused += 1
    assert refused > 200


def test_missing_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_bytes(tmp_path / "none")
    with pytest.raises(InputError, match="can't be read"):
        read_bytes(tmp_path)


def test_gzip_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "MAX_BYTES", 1000)
    path = tmp_path / "file.gz"
    path.write_bytes(gzip.compress(bytes(1001)))
    with pytest.raises(InputError, match="more than 1000 bytes"):
        read_bytes(path)
