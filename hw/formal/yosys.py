"""Yosys as SymbiYosys calls it, ``yosys -ql LOG SCRIPT``, by way of its Python package.

The package's library is native; the WebAssembly build that comes with SymbiYosys would first compile itself.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Run a script and write what Yosys says to a file; an error of Yosys ends the process with its status.

    Args:
        arguments: ``-ql``, the log file, the script.

    Raises:
        SystemExit: The arguments have another form.
    """
    if len(arguments) != 3 or arguments[0] != "-ql":
        raise SystemExit("usage: yosys.py -ql LOG SCRIPT")
    # The library writes to the descriptor, past sys.stdout.
    with Path(arguments[1]).open("wb") as log:
        os.dup2(log.fileno(), 1)
    libyosys = importlib.import_module("pyosys.libyosys")
    libyosys.Design().run_pass(f"script {arguments[2]}")


if __name__ == "__main__":
    main(sys.argv[1:])
