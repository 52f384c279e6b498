"""A build's network through FINN's steps: what goes in as files, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import InputError
from export.graph import IntArray
from hw.boards import find_board
from hw.build import Build
from hw.finn.process import Conversation
from hw.folding import Folding
from hw.target import ImageArray

STAGES = ("streamlined", "hardware", "despecialised")
_DEFAULT_PART = "xc7z020clg400-1"
_TIMEOUT_S = 3600.0
# Where FINN's build shell knows the board; others get sources and estimates for their part.
_SHELLS = ("Pynq-Z1", "Pynq-Z2", "ZCU104", "KV260_SOM", "RFSoC4x2")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who chooses the folding.

    Attributes:
        folding: Given to FINN; None where its own solver is to choose.
        fps: Frame rate for its solver [frames/s], with no folding.
        rtl: Whether FINN is offered our RTL where it has only HLS.
    """

    folding: Folding | None = None
    fps: float | None = None
    rtl: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StageResult:
    """What one of FINN's graphs computed.

    Attributes:
        name: One of `STAGES`.
        operators: Of its nodes, in order.
        logits: float64 ``(N, K)``, as FINN's nodes hand them on; counts of agreements made sums of ±1.
        labels: What FINN chose, int64 ``(N,)``.
    """

    name: str
    operators: tuple[str, ...]
    logits: npt.NDArray[np.float64]
    labels: IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FinnNode:
    """One node of FINN's folded graph.

    Attributes:
        name: FINN's name, such as ``MVAU_hls_0``.
        op_type: Operator; its end says whether FINN has HLS or RTL for it.
        cycles: Estimated cycles a frame, or None.
        resources: FINN's estimate: ``LUT``, ``BRAM_18K`` and so on.
        factors: PE, SIMD and ram_style where it has them.
        counts: Most agreeing positions that it counts; 0 where it counts none.
        accumulator: FINN's type for the count.
        holds: The largest value of that type.
    """

    name: str
    op_type: str
    cycles: int | None
    resources: Mapping[str, float]
    factors: Mapping[str, int | str]
    counts: int = 0
    accumulator: str = ""
    holds: int = 0

    @property
    def is_layer(self) -> bool:
        """Whether it has weights."""
        return self.op_type.startswith(("MVAU_", "XnorMVAU_"))

    @property
    def is_narrow(self) -> bool:
        """Whether its accumulator can't hold every count."""
        return self.counts > self.holds


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowResult:
    """What FINN made of a network.

    Attributes:
        version: Of finn-plus.
        stages: The graphs that were executed.
        nodes: Of the folded graph.
        performance: FINN's estimate for the network: ``max_cycles`` and so on.
        resources: FINN's total.
        steps: Names and seconds.
        stopped: The step that was not taken and why, or None after the last one.
        one_bit_padding: Nodes that pad ±1 activations with zero bits, that is with -1.
        joined: What `hw.finn.stitch` needs to know, with our RTL; else None.
    """

    version: str
    stages: tuple[StageResult, ...]
    nodes: tuple[FinnNode, ...]
    performance: Mapping[str, Any]
    resources: Mapping[str, float]
    steps: Sequence[Mapping[str, Any]]
    stopped: Mapping[str, str] | None
    one_bit_padding: Sequence[str]
    joined: Mapping[str, Any] | None = None

    @property
    def layers(self) -> tuple[FinnNode, ...]:
        """The nodes with weights, in order."""
        return tuple(node for node in self.nodes if node.is_layer)


def run_flow(
    python: Path,
    build: Build,
    choice: Choice,
    images: ImageArray,
    directory: Path,
    *,
    timeout_s: float = _TIMEOUT_S,
) -> FlowResult:
    """Take a build's network through FINN.

    Args:
        python: Of FINN's environment.
        build: It needs its QONNX file.
        choice: The folding, or a rate for FINN's solver, and whether our RTL is offered.
        images: uint8 ``(N, H, W, C)`` that each graph computes.
        directory: Empty; graphs, reports, logits and generated sources go here.
        timeout_s: For all of it [s].

    Raises:
        InputError: The build has no QONNX file, or draws weights.
        ToolError: FINN failed, or took too long.
    """
    model = _model_of(build)
    work = directory / "work"
    work.mkdir(parents=True)
    np.save(work / "images.npy", images)
    board = None if build.board is None else find_board(build.board)
    job = {
        "model": str(model.resolve()),
        "work": str((work / "finn").resolve()),
        "output": str(directory.resolve()),
        "images": str((work / "images.npy").resolve()),
        "part": _DEFAULT_PART if board is None else board.part,
        "board": board.name if board is not None and board.name in _SHELLS else "",
        "clock_ns": 1000 / build.clock_mhz,
        "fps": choice.fps,
        "rtl": choice.rtl,
        "folding": None if choice.folding is None else _factors(build, choice.folding),
    }
    path = work / "job.json"
    path.write_text(json.dumps(job, indent=2) + "\n", encoding="utf-8")
    Conversation(python, "flow", path, directory / "finn.log").wait(timeout_s)
    return read_flow(directory)


def _model_of(build: Build) -> Path:
    if build.model_path is None:
        raise InputError(
            f"the build {build.path} has no model.onnx, which FINN reads",
            hint="compile the QONNX file again, so that it is kept in the build",
        )
    if drawn := [node.name for node in build.graph.mvaus if node.draw is not None]:
        raise InputError(
            f"the weights of {drawn[0]} are drawn for each frame, which FINN can't do",
            hint="give it a network with weights that stay",
            node=drawn[0],
        )
    return build.model_path


def _factors(build: Build, folding: Folding) -> list[dict[str, int | str]]:
    folding.validate(build.graph)
    return [
        {"PE": layer.pe, "SIMD": layer.simd, "ram_style": layer.ram_style}
        for layer in (folding[node.name] for node in build.graph.mvaus)
    ]


def read_flow(directory: Path) -> FlowResult:
    """Read what a flow left in its directory."""
    document: dict[str, Any] = json.loads((directory / "result.json").read_text(encoding="utf-8"))
    stages: list[StageResult] = []
    for graph in document["graphs"]:
        with np.load(directory / "logits" / f"{graph['name']}.npz", allow_pickle=False) as arrays:
            stages.append(
                StageResult(
                    name=graph["name"],
                    operators=tuple(graph["operators"]),
                    logits=arrays["logits"],
                    labels=arrays["labels"],
                )
            )
    return FlowResult(
        version=document["version"],
        stages=tuple(stages),
        nodes=tuple(_node(entry) for entry in document["nodes"]),
        performance=document["performance"],
        resources=document["resources"],
        steps=document["steps"],
        stopped=document["stopped"],
        one_bit_padding=tuple(document["one_bit_padding"]),
        joined=document if "stitch" in document else None,
    )


def _node(entry: Mapping[str, Any]) -> FinnNode:
    return FinnNode(
        name=entry["name"],
        op_type=entry["op_type"],
        cycles=None if entry["cycles"] is None else int(entry["cycles"]),
        resources=entry["resources"],
        factors={name: entry[name] for name in ("PE", "SIMD", "ram_style") if name in entry},
        counts=entry.get("counts", 0),
        accumulator=entry.get("accumulator", ""),
        holds=entry.get("holds", 0),
    )
