"""Configuration files: TOML tables checked against models, and messages that name the key.

A key that a table does not know is refused with the nearest one that it does; a value that does not fit is
refused with the path to its key, such as ``attacks[1].epsilons[0]``.
"""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from export.errors import InputError

_MAX_BYTES = 1 << 20

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Section(BaseModel):
    """A table of the file: frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)


def read_toml(path: Path, *, example: str) -> dict[str, Any]:
    """Read the tables of a configuration file.

    Args:
        path: The file.
        example: The file that a hint names.

    Raises:
        InputError: It can't be read, is too large, or is no TOML.
    """
    try:
        with path.open("rb") as handle:
            raw = handle.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise InputError(f"{path} is larger than a configuration can be (1 MiB)")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise InputError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no TOML: {error}", hint=f"see {example} for an example") from error


def explain(error: ValidationError, where: str, root: type[BaseModel]) -> InputError:
    """Turn pydantic's list into one sentence about its first entry; an unknown key explains the most.

    Args:
        error: What pydantic found.
        where: What to call the file.
        root: The model of the whole file.
    """
    problems = sorted(error.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
    first, more = problems[0], len(problems) - 1
    location = tuple(first["loc"])
    path = _path(location)
    if first["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], root)
        near = get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        message = f"{path}: unknown key" + (f"; did you mean {near[0]}?" if near else "")
        hint = f"known here: {', '.join(known)}"
    else:
        reason = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        reason = reason.replace("valid tuple", "list").replace("valid dictionary", "table")
        message = f"{path}: {reason[:1].lower()}{reason[1:]}" if path else reason
        told = first["type"] in ("missing", "value_error")
        hint = "" if told else f"it is {_brief(first['input'])}"
    if more:
        hint = f"{hint} (and {more} more)".strip()
    return InputError(f"{where}: {message}", hint=hint, key=path)


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _known_keys(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """Names of the keys in the table at ``location``."""
    for part in location:
        if isinstance(part, int):
            continue
        model = next((m for m in _models_in(model.model_fields[part].annotation)), model)
    return list(model.model_fields)


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models_in(part)]
