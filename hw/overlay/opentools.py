"""Finding the tools and databases of the open path to a bitstream; none of them comes with this package."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from export.errors import InputError, ToolError

RECIPE = "docs/open-bitstream.md says how to build them"
_SHOWN_LINES = 8
# Attribute, and the names that the program goes by.
_PROGRAMS = {
    "nextpnr": ("nextpnr-xilinx",),
    "fasm2frames": ("fasm2frames", "fasm2frames.py"),
    "frames2bit": ("xc7frames2bit",),
    "bitread": ("bitread",),
}
_GRID = ("tilegrid.json", "tileconn.json")
_FAMILY = "zynq7"
_DEVICE = re.compile(r"xc7z\d{3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTools:
    """The programs after synthesis.

    Attributes:
        nextpnr: nextpnr-xilinx, place and route.
        fasm2frames: Project X-Ray's program that turns features into configuration frames.
        frames2bit: Project X-Ray's xc7frames2bit, which writes frames as a bitstream.
        bitread: Project X-Ray's program that reads a bitstream.
    """

    nextpnr: Path
    fasm2frames: Path
    frames2bit: Path
    bitread: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDatabase:
    """What is known of a part.

    Attributes:
        chip: Database of nextpnr-xilinx for the device, a ``.bin`` file.
        family: Folder of Project X-Ray's database for the family, such as ``prjxray-db/zynq7``.
    """

    chip: Path
    family: Path

    def part_file(self, part: str) -> Path:
        """Return the file that describes a part."""
        return self.family / part / "part.yaml"


def find_open_tools(directory: Path | None = None) -> OpenTools:
    """Return the tools of the open path.

    Args:
        directory: A folder that has them, looked through with its folder ``bin`` before the PATH; None for
            the PATH alone.

    Raises:
        ToolError: Some are missing; the message names them all.
    """
    found = {name: _find(names, directory) for name, names in _PROGRAMS.items()}
    missing = [_PROGRAMS[name][0] for name, path in found.items() if path is None]
    if missing:
        where = "on the PATH" if directory is None else f"in {directory} or on the PATH"
        raise ToolError(f"the open path to a bitstream lacks {', '.join(missing)} {where}", hint=RECIPE)
    return OpenTools(**{name: path for name, path in found.items() if path is not None})


def find_database(directory: Path, part: str) -> OpenDatabase:
    """Return the databases in a folder: ``<device>.bin`` and ``prjxray-db/zynq7``, or ``zynq7`` itself.

    Args:
        directory: The folder.
        part: Such as ``xc7z020clg400-1``, whose device is ``xc7z020``.

    Raises:
        InputError: A file is missing; the message names it.
    """
    device = _DEVICE.match(part)
    name = part if device is None else device[0]
    families = (directory / "prjxray-db" / _FAMILY, directory / _FAMILY)
    family = next((path for path in families if path.is_dir()), families[0])
    database = OpenDatabase(chip=directory / f"{name}.bin", family=family)
    check_database(database, part)
    return database


def check_database(database: OpenDatabase, part: str) -> None:
    """Check that a database has what the tools read of a part.

    Raises:
        InputError: A file is missing; the message names it.
    """
    if not database.chip.is_file():
        raise InputError(f"there is no chip database {database.chip}", hint=RECIPE)
    if not database.part_file(part).is_file():
        raise InputError(f"{database.family} has no part {part}", hint=RECIPE)
    for name in _GRID:
        # A part and its grades share a device's grid: xc7z020clg400-1 is an xc7z020.
        if not any(database.family.glob(f"*/{name}")):
            raise InputError(f"{database.family} has no {name} of any device", hint=RECIPE)


def run_logged(command: tuple[str, ...], log: Path, *, what: str, timeout_s: float) -> str:
    """Run a program in the folder of its log, to its end.

    Args:
        command: Program and arguments.
        log: Where all that it says is written.
        what: What it is, for messages.
        timeout_s: When to give up [s].

    Returns:
        What it said.

    Raises:
        ToolError: It can't be started, fails, or takes too long.
    """
    try:
        with log.open("wb") as output:
            done = subprocess.run(
                command,
                cwd=log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=timeout_s,
                check=False,
            )
    except OSError as error:
        raise ToolError(f"can't run {what}: {error.strerror or error}") from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{what} did not end in {timeout_s:.0f} s") from error
    said = log.read_text(encoding="utf-8", errors="replace")
    if done.returncode != 0:
        lines = said.strip().splitlines()
        errors = [line for line in lines if "ERROR" in line or "Error" in line] or lines
        tail = "\n".join(errors[-_SHOWN_LINES:])
        raise ToolError(f"{what} failed (status {done.returncode}): {tail}", log=str(log))
    return said


def _find(names: tuple[str, ...], directory: Path | None) -> Path | None:
    folders = [] if directory is None else [str(directory), str(directory / "bin")]
    for name in names:
        for folder in (*folders, None):
            found = shutil.which(name, path=folder)
            if found is not None:
                return Path(found).absolute()
    return None
