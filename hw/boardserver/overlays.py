"""What may be loaded: folders directly below one root, each described by its ``overlay.json``."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from .device import ImageArray, IntArray
from .errors import BAD_OVERLAY, UNKNOWN_OVERLAY, WRONG_BITSTREAM, RequestError

MANIFEST = "overlay.json"
ANSWERS = "known_answers.npz"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_MANIFEST_BYTES = 1 << 20
_MAX_FILE_BYTES = 1 << 28


@dataclass(frozen=True)
class Overlay:
    """A folder that may be loaded, its files checked.

    Attributes:
        name: Of the folder.
        folder: Where it is.
        board: The board that it was built for, and its key.
        graph_hash: Of the network, SHA-256 in hex.
        design_hash: Of the circuit, SHA-256 in hex; the circuit answers with it.
        input_shape: Height, width, channels.
        classes: Logits of an image.
        draws: Whether weights are drawn, so that seed and frame matter.
        clock_mhz: The fastest clock that its timing allows, as far as the file says, or None.
        bitstream: Name of the file that is loaded, or None where none was built.
        bitstream_sha256: Of that file, in hex.
        manifest_sha256: Of ``overlay.json``, in hex: another one is another overlay.
        images: Known images, uint8 ``(N, H, W, C)``.
        logits: What the circuit must answer, int64 ``(N, K)``.
        seed: Of drawn weights in the known answers.
        first_frame: Index of the first known image.
    """

    name: str
    folder: Path
    board: tuple[str, ...]
    graph_hash: str
    design_hash: str
    input_shape: tuple[int, int, int]
    classes: int
    draws: bool
    clock_mhz: float | None
    bitstream: str | None
    bitstream_sha256: str | None
    manifest_sha256: str
    images: ImageArray
    logits: IntArray
    seed: int
    first_frame: int


class OverlayFolder:
    """The root.

    Args:
        root: The one folder whose folders may be loaded.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self) -> list[str]:
        """Return the names of the folders that hold an ``overlay.json``, sorted.

        Raises:
            OSError: The root can't be read.
        """
        with os.scandir(self.root) as entries:
            folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return sorted(
            name for name in folders if _NAME.fullmatch(name) and (self.root / name / MANIFEST).is_file()
        )

    def describe(self, name: str) -> dict[str, Any]:
        """Return what a client may know of an overlay before it is loaded.

        Raises:
            RequestError: There is no such overlay, or its manifest is damaged.
        """
        with self._opened(name) as folder:
            document, _ = _manifest(folder, name)
        return {
            "name": name,
            "board": document.text("board"),
            "graph_hash": document.digest("graph_hash"),
            "design_hash": document.digest("design_hash"),
            "input_shape": document.shape(),
            "classes": document.count("output.classes"),
            "draws": document.get("draws") is True,
        }

    def open(self, name: str) -> Overlay:
        """Check an overlay's files and return what it is.

        Raises:
            RequestError: There is no such overlay, a file isn't the one that it lists, or is damaged.
        """
        with self._opened(name) as folder:
            document, manifest_sha256 = _manifest(folder, name)
            files = document.files()
            bitstreams = sorted(file for file in files if file.endswith((".bit", ".bin")))
            bitstream = bitstreams[-1] if bitstreams else None
            if bitstream is not None:
                _checked(folder, name, bitstream, files)
            images, logits, seed, first_frame = _answers(_checked(folder, name, ANSWERS, files), name)
        shape, classes = document.shape(), document.count("output.classes")
        if images.shape[1:] != shape or logits.shape != (len(images), classes):
            raise RequestError(BAD_OVERLAY, f"the known answers of {name} don't fit its shapes")
        board_key = document.get("board_key")
        return Overlay(
            name=name,
            folder=self.root / name,
            board=(document.text("board"), *([board_key] if isinstance(board_key, str) else [])),
            graph_hash=document.digest("graph_hash"),
            design_hash=document.digest("design_hash"),
            input_shape=shape,
            classes=classes,
            draws=document.get("draws") is True,
            clock_mhz=document.clock_mhz(),
            bitstream=bitstream,
            bitstream_sha256=None if bitstream is None else files[bitstream],
            manifest_sha256=manifest_sha256,
            images=images,
            logits=logits,
            seed=seed,
            first_frame=first_frame,
        )

    @contextmanager
    def _opened(self, name: str) -> Generator[int]:
        """Yield a handle of a folder directly below the root, which no link leads out of."""
        if not _NAME.fullmatch(name):
            raise _unknown(name)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        root = os.open(self.root, flags)
        try:
            folder = os.open(name, flags | os.O_NOFOLLOW, dir_fd=root)
        except OSError as error:
            raise _unknown(name) from error
        finally:
            os.close(root)
        try:
            yield folder
        finally:
            os.close(folder)


class _Document:
    """Takes values out of ``overlay.json`` and says which is wrong."""

    def __init__(self, values: dict[str, Any], name: str) -> None:
        self._values = values
        self._name = name

    def get(self, path: str) -> object:
        value: object = self._values
        for key in path.split("."):
            value = cast("dict[str, object]", value).get(key) if isinstance(value, dict) else None
        return value

    def text(self, path: str) -> str:
        value = self.get(path)
        return value if isinstance(value, str) and value else self._refuse(path)

    def digest(self, path: str) -> str:
        value = self.text(path)
        return value if _DIGEST.fullmatch(value) else self._refuse(path)

    def count(self, path: str) -> int:
        value = self.get(path)
        return value if type(value) is int and 0 < value < 1 << 24 else self._refuse(path)

    def shape(self) -> tuple[int, int, int]:
        value = self.get("input.shape")
        sizes = (
            [n for n in cast("list[object]", value) if type(n) is int and 0 < n < 1 << 16]
            if isinstance(value, list)
            else []
        )
        if len(sizes) != 3 or sizes != value:
            self._refuse("input.shape")
        return sizes[0], sizes[1], sizes[2]

    def clock_mhz(self) -> float | None:
        for key in ("achieved_mhz", "planned_mhz", "asked_mhz"):
            value = self.get(f"clock.{key}")
            if isinstance(value, int | float) and value > 0:
                return float(value)
        return None

    def files(self) -> dict[str, str]:
        """Return SHA-256 by name of the files that lie in the folder itself."""
        value = self.get("files")
        entries = cast("dict[object, object]", value if isinstance(value, dict) else {})
        return {
            name: digest
            for name, digest in entries.items()
            if isinstance(name, str)
            and isinstance(digest, str)
            and _NAME.fullmatch(name)
            and _DIGEST.fullmatch(digest)
        }

    def _refuse(self, path: str) -> Any:
        raise RequestError(BAD_OVERLAY, f"{MANIFEST} of {self._name} lacks {path}, or it is wrong")


def _manifest(folder: int, name: str) -> tuple[_Document, str]:
    data = _read(folder, name, MANIFEST, _MAX_MANIFEST_BYTES)
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RequestError(BAD_OVERLAY, f"{MANIFEST} of {name} is damaged") from error
    values = cast("dict[str, Any]", document) if isinstance(document, dict) else {}
    if values.get("format") != "bitsiege-overlay" or values.get("version") != 1:
        raise RequestError(BAD_OVERLAY, f"{MANIFEST} of {name} is of another format")
    return _Document(values, name), hashlib.sha256(data).hexdigest()


def _checked(folder: int, name: str, file: str, files: dict[str, str]) -> bytes:
    """Read a file that the manifest lists, and compare its hash."""
    expected = files.get(file)
    if expected is None:
        raise RequestError(BAD_OVERLAY, f"{MANIFEST} of {name} lists no {file}")
    data = _read(folder, name, file, _MAX_FILE_BYTES)
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise RequestError(
            WRONG_BITSTREAM if file != ANSWERS else BAD_OVERLAY,
            f"{name}/{file} is not the file that {MANIFEST} lists: SHA-256 {found[:12]}, not {expected[:12]}",
            hint="copy the folder again; the file is cut off, or from another build",
        )
    return data


def _read(folder: int, name: str, file: str, most: int) -> bytes:
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
    except OSError as error:
        raise RequestError(
            BAD_OVERLAY, f"{name} has no readable {file}", hint="copy the folder again"
        ) from error
    with os.fdopen(handle, "rb") as stream:
        about = os.fstat(stream.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_size > most:
            raise RequestError(BAD_OVERLAY, f"{name}/{file} is no file of a sensible size")
        return stream.read(most)


def _answers(data: bytes, name: str) -> tuple[ImageArray, IntArray, int, int]:
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            images, logits = np.asarray(arrays["images"]), np.asarray(arrays["logits"])
            seed = int(arrays["seed"]) if "seed" in arrays else 0
            first_frame = int(arrays["first_frame"]) if "first_frame" in arrays else 0
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise RequestError(BAD_OVERLAY, f"{name}/{ANSWERS} is damaged") from error
    if images.dtype != np.uint8 or images.ndim != 4 or logits.dtype != np.int64 or len(images) == 0:
        raise RequestError(BAD_OVERLAY, f"{name}/{ANSWERS} holds no images and logits")
    return images, logits, seed, first_frame


def _unknown(name: str) -> RequestError:
    return RequestError(
        UNKNOWN_OVERLAY,
        f"there is no overlay {name[:128]!r} on this board",
        hint="copy its folder to the board",
    )
