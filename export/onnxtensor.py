"""Tensors of an untrusted ONNX file as NumPy arrays: declared sizes are checked against the data first."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, numpy_helper

from export.errors import InputError

Array = npt.NDArray[Any]

MAX_ELEMENTS = 1 << 27

_ITEM_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.FLOAT16: 2,
    TensorProto.INT64: 8,
    TensorProto.INT32: 4,
    TensorProto.INT16: 2,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.UINT16: 2,
    TensorProto.BOOL: 1,
}
_TYPED_FIELD: dict[int, str] = {
    TensorProto.FLOAT: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.INT64: "int64_data",
}


def tensor_array(tensor: TensorProto) -> Array:
    """Return the array of a tensor whose data lie in the file itself.

    Raises:
        InputError: The type is unknown, or the data do not fill the declared shape; ``context`` has the
            tensor's name.
    """
    count = _checked_elements(tensor)
    item_bytes = _ITEM_BYTES[tensor.data_type]
    if tensor.data_location == TensorProto.EXTERNAL:
        raise _error(tensor, "keeps its data outside the file, in a place that is not read")
    if tensor.HasField("raw_data"):
        stored = len(tensor.raw_data) / item_bytes
    else:
        stored = len(getattr(tensor, _TYPED_FIELD.get(tensor.data_type, "int32_data")))
    if stored != count:
        raise _error(tensor, f"declares {count} elements and holds {stored:g}")
    return np.asarray(numpy_helper.to_array(tensor))


def inline_external(tensor: TensorProto, folder: Path) -> None:
    """Bring a tensor's external data into the tensor itself.

    Args:
        tensor: Changed in place; left alone when its data are inline.
        folder: The folder of the ONNX file; data may lie in it or below it, nowhere else.

    Raises:
        InputError: The location leaves the folder, is no regular file, or is shorter than declared.
    """
    if tensor.data_location != TensorProto.EXTERNAL:
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    expected = _checked_elements(tensor) * _ITEM_BYTES[tensor.data_type]
    path = _inside(tensor, entries.get("location", ""), folder)
    offset = _size_entry(tensor, entries, "offset", 0)
    length = _size_entry(tensor, entries, "length", expected)
    if length != expected:
        raise _error(tensor, f"declares {expected} bytes and names {length} in {path.name}")
    try:
        with path.open("rb") as stream:
            stream.seek(offset)
            data = stream.read(length)
    except OSError as error:
        raise _error(tensor, f"can't read {path.name}: {error.strerror or error}") from error
    if len(data) != length:
        raise _error(tensor, f"needs {length} bytes of {path.name}, which ends after {len(data)}")
    del tensor.external_data[:]
    tensor.data_location = TensorProto.DEFAULT
    tensor.raw_data = data


def _inside(tensor: TensorProto, location: str, folder: Path) -> Path:
    root = folder.resolve()
    if not location or "\0" in location or Path(location).is_absolute():
        raise _error(tensor, f"keeps its data in {location!r}, which is no path inside the file's folder")
    path = (root / location).resolve()
    if not path.is_relative_to(root):
        raise _error(tensor, f"keeps its data in {location!r}, outside the file's folder")
    if not path.is_file():
        raise _error(tensor, f"keeps its data in {location!r}, which is not there")
    return path


def _size_entry(tensor: TensorProto, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise _error(tensor, f"has an external {key} of {text[:40]!r}")
    return int(text)


def _checked_elements(tensor: TensorProto) -> int:
    if tensor.data_type not in _ITEM_BYTES:
        raise _error(tensor, f"has the element type {tensor.data_type}, which is not used here")
    dims = tuple(tensor.dims)
    if any(size < 0 for size in dims) or len(dims) > 8 or prod(dims) > MAX_ELEMENTS:
        raise _error(tensor, f"declares the shape {list(dims)[:9]}")
    return prod(dims)


def _error(tensor: TensorProto, reason: str) -> InputError:
    return InputError(
        f"tensor {tensor.name!r} {reason}",
        hint="export the model again, with its weights inside the file",
        tensor=tensor.name,
    )
