"""The IDX file format of MNIST and its siblings, plain or gzipped, from files that may be damaged.

Layout: two zero bytes, a type code, the number of dimensions, each dimension as a big-endian uint32, then the
values in row-major order. Only unsigned bytes (type 0x08) occur in these data sets.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.errors import InputError

_UNSIGNED_BYTE = 0x08
_MAX_DIMENSIONS = 4
MAX_BYTES = 1 << 30
_GZIP_MAGIC = b"\x1f\x8b"


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes, gunzipped where it is a gzip file.

    Raises:
        InputError: The file is missing, unreadable, a damaged gzip file, or larger than `MAX_BYTES` unpacked.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    data = unpacked.read(MAX_BYTES + 1)
            else:
                data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file", path=str(path)) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: damaged gzip file: {error}", hint="download it again", path=str(path)
        ) from error
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror or error}", path=str(path)) from error
    if len(data) > MAX_BYTES:
        raise InputError(f"{path}: more than {MAX_BYTES} bytes unpacked; this is no IDX file of images")
    return data


def parse_idx(data: bytes, *, where: str) -> npt.NDArray[np.uint8]:
    """Parse an IDX file's bytes.

    Args:
        data: The whole file, not gzipped.
        where: What to call it in an error message, usually its path.

    Returns:
        uint8 array of the file's shape, read-only, sharing memory with `data`.

    Raises:
        InputError: It is no IDX file of unsigned bytes, or its length doesn't fit its header.
    """
    if len(data) < 4 or data[:2] != b"\0\0":
        raise InputError(f"{where}: not an IDX file: it starts with {data[:4].hex(' ') or 'nothing'}")
    kind, dimensions = data[2], data[3]
    if kind != _UNSIGNED_BYTE:
        raise InputError(f"{where}: IDX type 0x{kind:02x}, expected unsigned bytes (0x08)")
    if not 1 <= dimensions <= _MAX_DIMENSIONS:
        raise InputError(f"{where}: IDX file of {dimensions} dimensions, expected 1 to {_MAX_DIMENSIONS}")
    header_bytes = 4 + 4 * dimensions
    if len(data) < header_bytes:
        raise InputError(f"{where}: truncated IDX header: {len(data)} of {header_bytes} bytes")
    shape = struct.unpack(f">{dimensions}I", data[4:header_bytes])
    expected = header_bytes + prod(shape)
    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "too long"
        raise InputError(
            f"{where}: {fault}: shape {shape} needs {expected} bytes, the file has {len(data)}",
            hint="download it again",
        )
    return np.frombuffer(data, dtype=np.uint8, offset=header_bytes).reshape(shape)
