"""``python -m hw.pynqremote``: a board that isn't there, at PYNQ's own front door.

``--setup`` installs pynq's environment. ``BUILD OVERLAY`` serves the overlay, with the emulator behind it,
until it is interrupted; the folder for the programs that use it is printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from export.errors import BitsiegeError, InputError
from hw.build import load_build
from hw.emulator import EmulatorTarget
from hw.environments import create_environment
from hw.pynqremote.board import emulated_board
from hw.pynqremote.folder import emulation_folder, folder_firmware
from hw.pynqremote.standin import ENVIRONMENT, RemoteStandIn

# PYNQ's own.
_PORT = 7967


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.setup:
            _say(f"pynq's environment: {create_environment(ENVIRONMENT)}")
            return 0
        _serve(options)
    except BitsiegeError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_status
    except KeyboardInterrupt:
        pass
    return 0


def _serve(options: argparse.Namespace) -> None:
    if options.build is None or options.overlay is None:
        raise InputError("give a build and an overlay, or --setup")
    overlay = Path(options.overlay)
    python = ENVIRONMENT.python()
    build = load_build(Path(options.build))
    folder = Path(options.folder) if options.folder else overlay.with_name(f"{overlay.name}-emulation")
    manifest = emulation_folder(overlay, folder)
    if manifest.graph_hash != build.graph_hash:
        raise InputError(f"{overlay} is not the overlay of {options.build}", hint="package that build")
    board = emulated_board(manifest, EmulatorTarget(build.graph), firmware=folder_firmware(manifest))
    with RemoteStandIn(board, python, port=options.port) as standin:
        _say(f"{manifest.board}, emulated, on 127.0.0.1:{standin.port}")
        _say(f"programs use {folder / manifest.name}.bit and Python {python}")
        standin.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hw.pynqremote", description=__doc__)
    parser.add_argument("build", nargs="?", help="from bitsiege compile")
    parser.add_argument("overlay", nargs="?", help="from bitsiege package")
    parser.add_argument("--setup", action="store_true", help="install pynq's environment and end")
    parser.add_argument("--port", type=int, default=_PORT, help=f"on 127.0.0.1; {_PORT} as PYNQ's")
    parser.add_argument("--folder", help="copy of the overlay for the programs; default OVERLAY-emulation")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
