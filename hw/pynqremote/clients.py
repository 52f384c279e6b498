"""Programs that run in pynq's environment beside each other.

PYNQ keeps what is loaded in files inside its own package, under one name for all processes: two programs that
run at a time would read each other's. So each one gets a folder whose ``pynq`` is made of links, with a
``pl_server`` of its own for those files.
"""

from __future__ import annotations

from pathlib import Path

from export.errors import ToolError

_STATE = "pl_server"


def private_pynq(python: Path, folder: Path) -> Path:
    """Make a folder for the front of a program's ``sys.path``: pynq, unchanged, with state of its own.

    Args:
        python: Python of pynq's environment.
        folder: Where to make it; it must not exist.

    Returns:
        ``folder``.

    Raises:
        ToolError: There is no pynq in the environment.
    """
    # Not resolved: the interpreter is a link out of the environment.
    found = sorted(python.parent.parent.glob("lib/python3*/site-packages/pynq"))
    if not found:
        raise ToolError(f"there is no pynq in the environment of {python}")
    _link_entries(found[0], folder / "pynq", but=_STATE)
    _link_entries(found[0] / _STATE, folder / "pynq" / _STATE, but="__pycache__")
    return folder


def _link_entries(source: Path, target: Path, *, but: str) -> None:
    target.mkdir(parents=True)
    for entry in source.iterdir():
        # State that an earlier program left behind is none of ours.
        if entry.name != but and entry.suffix not in (".pkl", ".json"):
            (target / entry.name).symlink_to(entry)


def client_command(python: Path, folder: Path, program: str, *arguments: str) -> list[str]:
    """Return the command of a program in pynq's environment.

    Args:
        python: Python of that environment.
        folder: From `private_pynq`; what else lies there can be imported too.
        program: The path of a script, or the name of a module.
        arguments: Of the program.
    """
    run = "run_path" if program.endswith(".py") else "run_module"
    start = (
        f"import runpy, sys; sys.path.insert(0, {str(folder)!r}); sys.argv = sys.argv[1:]; "
        f"runpy.{run}({program!r}, run_name='__main__')"
    )
    return [str(python), "-I", "-c", start, program, *arguments]
