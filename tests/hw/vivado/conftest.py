"""Overlays with a stand-in for the accelerator, and Vivado's stand-in that records what scripts call."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from export.datatypes import UINT8
from export.graph import DataflowGraph, Flatten, Mvau
from hw.boards import Board
from hw.vivado import KnownAnswers, OverlayPlan, known_answers, plan_overlay, write_overlay
from hw.vivado.scripts import STEPS

_RECORDER = Path(__file__).with_name("recorder.tcl")
_WIRES = {
    "awaddr": (32, 1),
    "awprot": (3, 1),
    "awvalid": (1, 1),
    "awready": (1, 0),
    "wdata": (32, 1),
    "wstrb": (4, 1),
    "wvalid": (1, 1),
    "wready": (1, 0),
    "bresp": (2, 0),
    "bvalid": (1, 0),
    "bready": (1, 1),
    "araddr": (32, 1),
    "arvalid": (1, 1),
    "arready": (1, 0),
    "rdata": (32, 0),
    "rresp": (2, 0),
    "rvalid": (1, 0),
    "rready": (1, 1),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the recorded calls anew")


def top_source() -> str:
    """A ``bnn_overlay`` with the ports of one and nothing inside."""
    ports = ["input wire logic clk", "input wire logic rst_n"]
    for bus in ("s_axil", "m_axi"):
        for wire, (bits, from_master) in _WIRES.items():
            way = "input " if from_master == (bus == "s_axil") else "output"
            left = "ADDR_W-1" if bus == "m_axi" and "addr" in wire else str(bits - 1)
            ports.append(f"{way} wire logic {f'[{left}:0] ' if bits > 1 else ''}{bus}_{wire}")
    body = ",\n  ".join(ports)
    return (
        "`default_nettype none\nmodule bnn_overlay #(\n  /// Folder, with its slash.\n"
        f'  parameter MEM_DIR = "./",\n  parameter int ADDR_W = 32\n) (\n  {body}\n);\nendmodule\n'
    )


def write_rtl(folder: Path) -> None:
    (folder / "bnn_overlay.sv").write_text(top_source())
    (folder / "bnn_top.sv").write_text("module bnn_top; endmodule\n")
    (folder / "weights.mem").write_text("00\n")


@dataclass(frozen=True)
class Overlay:
    """A written overlay."""

    path: Path
    plan: OverlayPlan

    @property
    def project(self) -> Path:
        return self.path / "project"


@pytest.fixture(scope="session")
def graph() -> DataflowGraph:
    weights = np.random.default_rng(3).choice(np.array([-1, 1], np.int8), (5, 24))
    return DataflowGraph(
        input_shape=(4, 3, 2),
        nodes=(
            Flatten(name="flatten_0", input="images", in_type=UINT8),
            Mvau(name="mvau_0", input="flatten_0", in_type=UINT8, weights=weights, thresholds=None),
        ),
    )


@pytest.fixture(scope="session")
def answers(graph: DataflowGraph) -> KnownAnswers:
    return known_answers(graph)


@pytest.fixture
def make_overlay(graph: DataflowGraph, answers: KnownAnswers, tmp_path: Path) -> Callable[[Board], Overlay]:
    """Writes the overlay of a board."""

    def make(board: Board, clock_mhz: float = 100.0) -> Overlay:
        plan = plan_overlay(
            graph,
            model="TFC-mnist",
            board=board,
            graph_hash="a" * 64,
            design_hash="0123456789abcdef" * 4,
            clock_mhz=clock_mhz,
        )
        path = tmp_path / "overlay"
        write_overlay(path, plan, answers, write_rtl)
        return Overlay(path, plan)

    return make


@dataclass(frozen=True)
class Recorded:
    """What the scripts called, and how it ended."""

    calls: list[list[str]]
    status: int
    output: str


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Recorded]:
    """Runs scripts of an overlay under the recorder."""
    if shutil.which("tclsh") is None:
        pytest.skip("no tclsh; apt-get install tcl")

    def run(overlay: Overlay, *scripts: str, fault: str = "") -> Recorded:
        log = tmp_path / "calls.txt"
        log.unlink(missing_ok=True)
        environment = {
            "PATH": os.defpath,
            "RECORDER_LOG": str(log),
            "RECORDER_FAULT": fault,
            "RECORDER_MHZ": str(overlay.plan.planned_mhz),
        }
        output, status = "", 0
        for script in scripts or [step.format(name=overlay.plan.name) for step in STEPS]:
            command = ["tclsh", str(_RECORDER), "-source", str(overlay.project / script)]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
            output, status = output + done.stdout + done.stderr, done.returncode
            if status:
                break
        lines = log.read_text().splitlines() if log.exists() else []
        return Recorded([line.split("\x1f") for line in lines], status, output)

    return run


@pytest.fixture
def vivado(tmp_path: Path) -> Path:
    """An executable that stands in for Vivado."""
    if shutil.which("tclsh") is None:
        pytest.skip("no tclsh; apt-get install tcl")
    folder = tmp_path / "bin"
    folder.mkdir()
    path = folder / "vivado"
    path.write_text(f'#!/bin/sh\nexec tclsh {_RECORDER} "$@"\n')
    path.chmod(0o755)
    return path
