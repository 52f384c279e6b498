"""The server as a program, on a board: ``python3 -m bitsiege_boardserver --help``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .driven import pynq_device, read_board_id, read_board_name
from .serve import PORT, Credentials, ServerPlan, announce_on_stdout, make_server, run_server


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to end; return the exit status."""
    parser = argparse.ArgumentParser(description="Serve the accelerators of this board.")
    parser.add_argument("--root", type=Path, required=True, help="folder of overlay folders")
    parser.add_argument("--state", type=Path, required=True, help="folder of the server's own files")
    parser.add_argument("--listen", default="0.0.0.0", help="address to listen at")
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument(
        "--credentials", type=Path, help="folder that `bitsiege board enrol` wrote for this board"
    )
    parser.add_argument(
        "--insecure-loopback", action="store_true", help="no certificates, for programs of this machine only"
    )
    parser.add_argument("--board", default=read_board_name(), help="kind of the board, such as Pynq-Z1")
    parser.add_argument("--board-id", default=read_board_id(), help="what tells it from others")
    parser.add_argument("--driver", default="bitsiege_pynq", help="package of the driver")
    options = parser.parse_args(arguments)
    if (options.credentials is None) != options.insecure_loopback:
        parser.error("give --credentials DIR, or --insecure-loopback")
    if options.board is None:
        parser.error("this machine does not say which board it is: give --board")
    host = "127.0.0.1" if options.insecure_loopback else options.listen
    plan = ServerPlan(
        root=options.root,
        state=options.state,
        host=host,
        port=options.port,
        credentials=None if options.credentials is None else Credentials.of_folder(options.credentials),
    )
    try:
        device = pynq_device(options.driver, options.board_id, (options.board,))
        server = make_server(plan, device)
    except (OSError, ValueError, ImportError) as error:
        sys.stderr.write(f"board server: {error}\n")
        return 2
    run_server(server, announce_on_stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
