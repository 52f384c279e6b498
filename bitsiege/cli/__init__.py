"""The command line: one file a command, each of which parses, calls and prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What follows ``bitsiege``; None takes it from the process.

    Returns:
        The exit status: 0 done, 1 a check failed, 2 bad input, 3 a tool is missing, 70 a bug in bitsiege,
        130 interrupted.
    """
    from bitsiege.cli.app import app
    from bitsiege.cli.command import invocation
    from bitsiege.cli.guard import INTERRUPTED, guarded

    words = list(sys.argv[1:] if arguments is None else arguments)
    invocation.words, invocation.debug = tuple(words), False

    def call() -> int:
        status = app(args=words, prog_name="bitsiege", standalone_mode=False)
        if status == INTERRUPTED:
            # Typer turns an interruption into this status, without a word.
            raise KeyboardInterrupt
        return status if isinstance(status, int) else 0

    return guarded(call, wants_traceback=lambda: invocation.debug)
