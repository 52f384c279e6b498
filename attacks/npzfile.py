"""Reading the arrays of a hostile .npz file.

NumPy's own reader parses headers as Python literals and allocates what they promise. This one takes only the
header that NumPy writes for plain integer arrays, and reads nothing before its size is known to be right.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import InputError

_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '(?P<dtype>\|u1|<i8)', 'fortran_order': False, "
    rb"'shape': \((?P<shape>|\d{1,12},|\d{1,12}(?:, \d{1,12}){1,7})\), \} *\n"
)
_MAX_HEADER = 1024


def read_arrays(path: Path, names: Collection[str], *, max_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """Read uint8 and int64 arrays.

    Args:
        path: The file.
        names: The arrays that it may hold; an array may be missing, another one is refused.
        max_bytes: Most bytes of one array.

    Returns:
        The arrays by name, C-contiguous and writable.

    Raises:
        InputError: The file is missing, truncated, damaged, too large, or not of this form.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            stems = [entry.filename.removesuffix(".npy") for entry in entries]
            if len(set(stems)) != len(stems) or not set(stems) <= set(names):
                raise InputError("it holds arrays that don't belong there")
            return {
                stem: _read_array(archive, entry, max_bytes)
                for stem, entry in zip(stems, entries, strict=True)
            }
    except InputError as error:
        raise InputError(f"{path}: {error.message}", hint=error.hint, path=str(path)) from error
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}", path=str(path)) from error
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        struct.error,
        EOFError,
        NotImplementedError,  # an unknown compression or version
        RuntimeError,  # an encrypted entry
        ValueError,
        OverflowError,
    ) as error:
        raise InputError(f"{path} is damaged or no .npz file: {error}", path=str(path)) from error


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, max_bytes: int) -> npt.NDArray[Any]:
    name = entry.filename
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(f"{name} is compressed in an unknown way")
    if entry.file_size > max_bytes + _MAX_HEADER:
        raise InputError(f"{name} holds {entry.file_size:,} bytes, at most {max_bytes:,} are read")
    with archive.open(entry) as stream:
        prefix = stream.read(len(_MAGIC) + 2)
        if len(prefix) != len(_MAGIC) + 2 or not prefix.startswith(_MAGIC):
            raise InputError(f"{name} is not an array of NumPy's format 1.0")
        length = int.from_bytes(prefix[-2:], "little")
        header = _HEADER.fullmatch(stream.read(length)) if length <= _MAX_HEADER else None
        if header is None:
            raise InputError(f"{name} is not a plain uint8 or int64 array")
        dtype = np.dtype(header["dtype"].decode())
        shape = tuple(int(size) for size in header["shape"].split(b",") if size.strip())
        # Python's integers: NumPy's product would wrap around.
        size = math.prod(shape) * dtype.itemsize
        if size != entry.file_size - len(prefix) - length:
            raise InputError(f"{name}: the shape {shape} does not fit its {entry.file_size:,} bytes")
        # One byte more than promised makes zipfile reach the end and check the CRC.
        data = stream.read(size + 1)
    if len(data) != size:
        raise InputError(f"{name} is truncated")
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()
