"""The boards that ship with the package, and those of one's own."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from export.errors import InputError
from hw.boards.board import Board, name_key

_FOLDER = Path(__file__).parent
_MAX_BYTES = 1 << 16


def load_board(path: Path) -> Board:
    """Read and check a board file.

    Raises:
        InputError: It can't be read, is no TOML, or a key or value doesn't fit; the message names file and
            key, the hint what is allowed.
    """
    try:
        with path.open("rb") as handle:
            raw = handle.read(_MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"can't read the board file {path}: {error.strerror or error}") from error
    if len(raw) > _MAX_BYTES:
        raise InputError(f"{path} is larger than a board file can be (64 KiB)")
    hint = "docs/boards.md shows a board file"
    try:
        values = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {error}", hint=hint) from error
    try:
        return Board.model_validate(values)
    except ValidationError as error:
        raise _explained(error, path) from error


def find_board(name: str) -> Board:
    """Return the board of a name, or of a file whose path ends in ``.toml``.

    Args:
        name: Name or path; case, hyphens and underscores of a name don't matter.

    Raises:
        InputError: There is none; the hint lists all.
    """
    if name.lower().endswith(".toml"):
        return load_board(Path(name))
    key = name_key(name)
    known = {name_key(board.name): board for board in BOARDS}
    others = {name_key(other): board for board in BOARDS for other in board.other_names}
    board = known.get(key) or others.get(key)
    if board is None:
        near = get_close_matches(key, known, n=1)
        raise InputError(
            f"the board {name!r} is unknown" + (f"; did you mean {known[near[0]].name}?" if near else ""),
            hint=f"known: {', '.join(board.name for board in BOARDS)}; or give the path of a board file",
        )
    return board


def _explained(error: ValidationError, path: Path) -> InputError:
    """Turn pydantic's list into one sentence about its first entry; an unknown key explains the most."""
    problems = sorted(error.errors(include_url=False), key=lambda entry: entry["type"] != "extra_forbidden")
    first, more = problems[0], len(problems) - 1
    location = first["loc"]
    key = ".".join(str(part) for part in location)
    if first["type"] == "extra_forbidden":
        known = _keys_at(location[:-1])
        near = get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        message = f"{key}: unknown key" + (f"; did you mean {near[0]}?" if near else "")
        hint = f"known here: {', '.join(known)}"
    else:
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        message = f"{key}: {reason[:1].lower()}{reason[1:]}" if key else reason
        hint = "" if first["type"] in ("missing", "value_error") else f"it is {first['input']!r:.60}"
        hint = hint or "docs/boards.md says what each key means"
    if more:
        hint += f" (and {more} more)"
    return InputError(f"{path}: {message}", hint=hint, key=key)


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the keys in the table at ``location``."""
    model: type[BaseModel] = Board
    for part in location:
        annotation: Any = model.model_fields[str(part)].annotation
        tables = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
        model = next((kind for kind in tables if issubclass(kind, BaseModel)), model)
    return list(model.model_fields)


BOARDS: tuple[Board, ...] = tuple(load_board(path) for path in sorted(_FOLDER.glob("*.toml")))
