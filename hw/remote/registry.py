"""The boards that the user knows, by name: ``boards.toml``."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

from platformdirs import user_config_path

from export.errors import InputError
from export.files import atomic_file
from hw.boardserver.serve import PORT
from hw.boardserver.tls import NAME

_MAX_BYTES = 1 << 20
_KEYS = frozenset({"address", "authority", "certificate", "key", "plain"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the user is for a board, and whom the board must prove to be known by.

    Attributes:
        certificate: The user's certificate, PEM.
        key: Its private key, PEM.
        authority: Certificate of who vouches for both, PEM.
    """

    certificate: Path
    key: Path
    authority: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardEntry:
    """A board that can be reached.

    Attributes:
        name: What the user calls it.
        host: Name or address of the machine.
        port: Port of the board server.
        identity: Certificates; None speaks plainly, with this machine only.
    """

    name: str
    host: str
    port: int
    identity: Identity | None


def config_folder() -> Path:
    """Return the folder of the user's settings."""
    return user_config_path("bitsiege")


def registry_path(path: Path | None) -> Path:
    """Return the registry's file: the given one, or the user's own."""
    return config_folder() / "boards.toml" if path is None else path


def read_registry(path: Path) -> dict[str, BoardEntry]:
    """Read the registry; a file that isn't there holds no boards.

    Raises:
        InputError: It can't be read, or an entry is wrong; the message names it.
    """
    try:
        with path.open("rb") as handle:
            data = handle.read(_MAX_BYTES)
        document = tomllib.loads(data.decode("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {error}") from error
    boards: object = document.get("boards", {})
    if not isinstance(boards, dict):
        raise InputError(f"{path}: boards must be a table of tables")
    return {name: _entry(path, name, value) for name, value in cast("dict[str, object]", boards).items()}


def find_entry(name: str, path: Path | None) -> BoardEntry:
    """Return a board by its name.

    Raises:
        InputError: There is none of that name.
    """
    file = registry_path(path)
    entries = read_registry(file)
    if name not in entries:
        near = get_close_matches(name, entries, n=1)
        known = f"known: {', '.join(entries)}" if entries else f"{file} lists no board: bitsiege board enrol"
        raise InputError(
            f"there is no board {name!r}", hint=f"did you mean {near[0]}? {known}" if near else known
        )
    return entries[name]


def add_entry(path: Path, entry: BoardEntry) -> None:
    """Add a board to the registry, or replace the one of its name.

    Raises:
        InputError: The file can't be read or written.
    """
    entries = read_registry(path) | {entry.name: entry}
    with atomic_file(path) as temporary:
        temporary.write_text("".join(_text(item) for item in entries.values()), encoding="utf-8")


def parse_address(text: str, default_port: int) -> tuple[str, int]:
    """Split ``HOST[:PORT]``; an IPv6 address stands in brackets.

    Raises:
        InputError: It is no such text.
    """
    host, colon, port = text.rpartition(":")
    if not colon or (text.startswith("[") and text.endswith("]")):
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise InputError(f"{text!r} is no address", hint=f"HOST:PORT, such as 192.168.2.99:{default_port}")
    return host, int(port)


def check_name(name: str) -> None:
    """Refuse a name that can't stand in a file, a certificate or ``remote:NAME``.

    Raises:
        InputError: It is one.
    """
    if not NAME.fullmatch(name):
        raise InputError(f"{name!r} can't be a name", hint="letters, digits, dots and dashes, at most 64")


def _entry(path: Path, name: str, value: object) -> BoardEntry:
    where = f"{path}: boards.{name}"
    check_name(name)
    if not isinstance(value, dict):
        raise InputError(f"{where} must be a table")
    table = cast("dict[str, Any]", value)
    unknown = sorted(set(table) - _KEYS)
    if unknown:
        raise InputError(f"{where}.{unknown[0]} is unknown", hint=f"known: {', '.join(sorted(_KEYS))}")
    if not isinstance(table.get("address"), str):
        raise InputError(f"{where} has no address", hint=f'address = "192.168.2.99:{PORT}"')
    host, port = parse_address(table["address"], PORT)
    if table.get("plain") is True:
        if host not in ("127.0.0.1", "::1", "localhost"):
            raise InputError(f"{where}: plain is for this machine only", hint="bitsiege board enrol")
        return BoardEntry(name=name, host=host, port=port, identity=None)
    files = {key: table.get(key) for key in ("certificate", "key", "authority")}
    missing = [key for key, file in files.items() if not isinstance(file, str)]
    if missing:
        raise InputError(f"{where} has no {missing[0]}", hint="bitsiege board enrol writes all of it")
    paths = {key: path.parent / str(file) for key, file in files.items()}
    return BoardEntry(name=name, host=host, port=port, identity=Identity(**paths))


def _text(entry: BoardEntry) -> str:
    host = f"[{entry.host}]" if ":" in entry.host else entry.host
    lines = [f"[boards.{json.dumps(entry.name)}]", f"address = {json.dumps(f'{host}:{entry.port}')}"]
    if entry.identity is None:
        lines.append("plain = true")
    else:
        for key in ("authority", "certificate", "key"):
            lines.append(f"{key} = {json.dumps(str(getattr(entry.identity, key)))}")
    return "\n".join(lines) + "\n\n"
