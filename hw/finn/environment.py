"""FINN's own environment. Its packages can't stand beside ours."""

from __future__ import annotations

from pathlib import Path

from hw.environments import Environment, create_environment

FINN = Environment(
    name="finn", lock=Path(__file__).parent / "requirements.txt", setup="bitsiege finn --setup"
)


def set_up(cache_dir: Path | None = None) -> Path:
    """Return FINN's Python; install everything if it isn't there: 2.3 GB, some minutes.

    Args:
        cache_dir: Where it goes; None for the user's cache directory.

    Raises:
        InputError: The cache can't be written.
        ToolError: An installation failed.
    """
    return create_environment(FINN, cache_dir=cache_dir)


def finn_python(cache_dir: Path | None = None) -> Path:
    """Return FINN's Python.

    Raises:
        ToolError: It isn't set up; the hint has the command.
    """
    return FINN.python(cache_dir)
