"""``overlay.json``: what an overlay is, as its folder says."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from .errors import BadInputError, WrongOverlayError
from .registers import HASH_BYTES

FORMAT = "bitsiege-overlay"
FORMAT_VERSION = 1
FILE_NAME = "overlay.json"
OUTPUT_TYPES = ("int8", "int16", "int32", "int64")
CHANNELS = ("idma0", "odma0", "control0")
# Memory is moved in words of this many bytes.
WORD_BYTES = 8


@dataclass(frozen=True)
class ClockPlan:
    """The logic's clock [MHz].

    Attributes:
        asked: What the user wanted.
        planned: What the board's dividers make of it, or None where the file doesn't say.
        achieved: What the timing was closed at, or None where no bitstream was built.
    """

    asked: float
    planned: float | None = None
    achieved: float | None = None


@dataclass(frozen=True)
class Manifest:
    """What ``overlay.json`` says.

    Attributes:
        name: Of the overlay; its files are called so.
        board: The board that it was built for.
        part: Its device.
        graph_hash: SHA-256 of the network, in hex.
        design_hash: SHA-256 of the circuit, in hex; the circuit answers with it.
        input_shape: Height, width and channels of an image.
        classes: Logits of a frame.
        output_type: Their type in memory: int8 to int64.
        output_bytes: Bytes of a frame's logits in memory, padding included.
        registers: Physical address of each block of registers by name.
        clock: The clock of the logic.
        draws: Whether weights are drawn, so that seed and frame matter.
        files: SHA-256 of each file of the folder, in hex, by name.
        model: What it was made from, for the reader.
        folder: Where the file lies, or None.
    """

    name: str
    board: str
    part: str
    graph_hash: str
    design_hash: str
    input_shape: tuple[int, int, int]
    classes: int
    output_type: str
    output_bytes: int
    registers: dict[str, int]
    clock: ClockPlan
    draws: bool = False
    files: dict[str, str] = field(default_factory=dict[str, str])
    model: str = ""
    folder: Path | None = None

    @property
    def input_bytes(self) -> int:
        """Bytes of an image in memory."""
        return math.prod(self.input_shape)

    def check_file(self, name: str) -> Path:
        """Return the path of a file of the folder after comparing its hash.

        Raises:
            WrongOverlayError: It was changed, cut off, or isn't there, or the manifest doesn't list it.
        """
        if self.folder is None or name not in self.files:
            raise WrongOverlayError(f"{FILE_NAME} of {self.name} lists no file {name}")
        path = self.folder / name
        try:
            found = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise WrongOverlayError(
                f"can't read {path}: {error.strerror or error}", hint="copy the whole folder again"
            ) from error
        if found != self.files[name]:
            raise WrongOverlayError(
                f"{path} is not the file that {FILE_NAME} lists: "
                f"SHA-256 {found[:12]}, not {self.files[name][:12]}",
                hint="copy the whole folder again; a bitstream may have been cut off or be an older one",
            )
        return path


def read_manifest(path: Path) -> Manifest:
    """Read ``overlay.json``, or that of a folder.

    Raises:
        BadInputError: It can't be read, is of another version or lacks something.
    """
    file = path / FILE_NAME if path.is_dir() else path
    try:
        document: object = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(f"can't read {file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{file} is damaged: {error}", hint="copy the whole folder again") from error
    return parse_manifest(document, where=str(file), folder=file.parent)


def parse_manifest(document: object, *, where: str = FILE_NAME, folder: Path | None = None) -> Manifest:
    """Check a document and return what it says.

    Args:
        document: The parsed JSON.
        where: What errors call it.
        folder: Where its files lie.

    Raises:
        BadInputError: It is of another version, or a field is missing or wrong; the message names it.
    """
    reader = _Reader(document, where)
    if reader.text("format") != FORMAT:
        raise BadInputError(f"{where} is no overlay.json of Bitsiege")
    version = reader.number("version")
    if version != FORMAT_VERSION:
        raise BadInputError(
            f"{where} has version {version}, this driver reads {FORMAT_VERSION}",
            hint="take the driver that lies in the overlay's folder",
        )
    shape = reader.numbers("input.shape")
    output_type = reader.text("output.dtype")
    if reader.text("input.dtype") != "uint8" or len(shape) != 3:
        raise BadInputError(f"{where}: input must be uint8 with height, width and channels")
    if output_type not in OUTPUT_TYPES:
        raise BadInputError(f"{where}: output.dtype is {output_type!r}", hint=", ".join(OUTPUT_TYPES))
    manifest = Manifest(
        name=reader.text("name"),
        board=reader.text("board"),
        part=reader.text("part"),
        graph_hash=reader.digest("graph_hash"),
        design_hash=reader.digest("design_hash"),
        input_shape=(shape[0], shape[1], shape[2]),
        classes=reader.number("output.classes"),
        output_type=output_type,
        output_bytes=reader.number("output.bytes_per_frame"),
        registers=reader.addresses(),
        clock=ClockPlan(
            asked=reader.frequency("clock.asked_mhz"),
            planned=reader.optional_frequency("clock.planned_mhz"),
            achieved=reader.optional_frequency("clock.achieved_mhz"),
        ),
        draws=reader.flag("draws"),
        files=reader.hashes(),
        model=str(reader.find("model", optional=True) or ""),
        folder=folder,
    )
    needed = manifest.classes * int(output_type[3:]) // 8
    if manifest.output_bytes < needed or manifest.output_bytes % WORD_BYTES:
        raise BadInputError(
            f"{where}: output.bytes_per_frame is {manifest.output_bytes}; {manifest.classes} logits of "
            f"{output_type} take {needed}, in whole words of {WORD_BYTES}"
        )
    return manifest


class _Reader:
    """Takes values out of a document by their path, and says which path is wrong."""

    def __init__(self, document: object, where: str) -> None:
        self._document = document
        self._where = where

    def find(self, path: str, *, optional: bool = False) -> Any:
        value: object = self._document
        for key in path.split("."):
            if not isinstance(value, dict) or key not in value:
                if optional:
                    return None
                raise BadInputError(f"{self._where} lacks {path}")
            value = cast("dict[str, object]", value)[key]
        return value

    def wrong(self, path: str, expected: str) -> BadInputError:
        return BadInputError(f"{self._where}: {path} is {self.find(path)!r}, it must be {expected}")

    def text(self, path: str) -> str:
        value = self.find(path)
        if not isinstance(value, str) or not value:
            raise self.wrong(path, "a text")
        return value

    def flag(self, path: str) -> bool:
        value = self.find(path)
        if not isinstance(value, bool):
            raise self.wrong(path, "true or false")
        return value

    def number(self, path: str) -> int:
        value = self.find(path)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.wrong(path, "a whole number above 0")
        return value

    def numbers(self, path: str) -> list[int]:
        value = self.find(path)
        if isinstance(value, list):
            numbers = [item for item in cast("list[object]", value) if type(item) is int and item > 0]
            if len(numbers) == len(cast("list[object]", value)):
                return numbers
        raise self.wrong(path, "a list of whole numbers above 0")

    def frequency(self, path: str) -> float:
        value = self.find(path)
        if type(value) not in (int, float) or not (math.isfinite(value) and value > 0):
            raise self.wrong(path, "a frequency in MHz")
        return float(value)

    def optional_frequency(self, path: str) -> float | None:
        return None if self.find(path, optional=True) is None else self.frequency(path)

    def digest(self, path: str) -> str:
        value = self.text(path)
        if not re.fullmatch(f"[0-9a-f]{{{2 * HASH_BYTES}}}", value):
            raise self.wrong(path, "a SHA-256 in hex")
        return value

    def addresses(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for name in CHANNELS:
            text = self.text(f"registers.{name}")
            if not re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text):
                raise self.wrong(f"registers.{name}", "an address such as 0x43C00000")
            found[name] = int(text, 16)
        return found

    def hashes(self) -> dict[str, str]:
        files = self.find("files", optional=True)
        if files is None:
            return {}
        if not isinstance(files, dict):
            raise self.wrong("files", "an object of SHA-256 by name")
        result: dict[str, str] = {}
        for name, value in cast("dict[str, object]", files).items():
            if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
                raise BadInputError(f"{self._where}: files has no SHA-256 for {name}")
            result[name] = value
        return result
