"""What was typed, for provenance."""

from __future__ import annotations

import shlex
import sys


def command_line() -> str:
    """Return this process's command as one would type it."""
    return shlex.join(["bitsiege", *sys.argv[1:]])
