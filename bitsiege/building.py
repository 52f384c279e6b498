"""From a checkpoint to QONNX, and from QONNX to a build."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.errors import InputError
from hw.boards import Board, find_board
from hw.build import Build, load_build, write_build
from hw.explore import Budget, board_budget, fastest, least_hardware
from hw.folding import Folding, LayerFolding
from hw.folding.finn import read_finn_file
from hw.resources import load_model
from hw.rtlgen import plan_rtl

if TYPE_CHECKING:
    from export.graph import DataflowGraph
    from hw.resources import Estimate

_CHECKED_IMAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A network that was compiled.

    Attributes:
        build: What was written.
        notes: Where executors of the float network may disagree with each other, and what of a folding file
            is not followed, one sentence each.
        estimate: What it will cost, with the error of that, or None where the model lacks a module.
        budget: What the estimate was to keep within, in words; empty where there was no bound.
    """

    build: Build
    notes: tuple[str, ...]
    estimate: Estimate | None
    budget: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a folding is chosen for.

    Attributes:
        fps: Frame rate to reach [frames/s].
        max_luts: LUTs to keep within.
        folding: Folding file of FINN's form; not together with the others.
        clock_mhz: Clock [MHz].
        board: The board to fit.
    """

    fps: float | None
    max_luts: int | None
    folding: Path | None
    clock_mhz: float
    board: Board | None

    @property
    def budget(self) -> Budget:
        """The bounds that board and LUTs set."""
        budget = Budget() if self.board is None else board_budget(self.board)
        return budget if self.max_luts is None else replace(budget, lut=min(budget.lut, self.max_luts))


def find_checkpoint(name: Path) -> Path:
    """Return the file of a checkpoint: a path, or the name of a network that ships with the package."""
    if name.exists() or name.suffix or len(name.parts) > 1:
        return name
    from quant_models.zoo import shipped, shipped_path

    return shipped_path(str(name)) if str(name) in shipped() else name


def export_checkpoint(checkpoint: Path, output: Path, *, exporter: str) -> None:
    """Write a trained network as QONNX; the file says from which checkpoint it came.

    Raises:
        InputError: The checkpoint can't be read, its network has no integer form, or the file can't be
            written.
    """
    from export.qonnx_export import export_qonnx
    from quant_models.checkpoint import load_checkpoint
    from quant_models.paperspec import require_integer_form

    loaded = load_checkpoint(checkpoint)
    require_integer_form(loaded.spec)
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    export_qonnx(
        loaded.build(),
        output,
        input_shape=loaded.spec.input_shape,
        exporter="dynamo" if exporter == "dynamo" else "torchscript",
        metadata={"bitsiege.checkpoint_sha256": digest, "bitsiege.network": loaded.spec.name},
    )


def compile_model(
    model: Path,
    output: Path,
    *,
    fps: float | None,
    folding: Path | None,
    clock_mhz: float,
    board: str | None,
    checkpoint: Path | None,
    max_luts: int | None = None,
) -> Compiled:
    """Lower a QONNX file, choose the folding, and write a build.

    Args:
        model: The QONNX file.
        output: Directory to write.
        fps: Frame rate to reach [frames/s]; not together with ``folding``.
        folding: Folding file of FINN's form.
        clock_mhz: Clock [MHz].
        board: Name of a board that the design must fit.
        checkpoint: The trained network that the file came from, to keep in the build.
        max_luts: LUTs that the estimate must keep within; not together with ``folding``.

    Raises:
        InputError: Options that exclude each other, an unknown board, a rate out of reach or that doesn't
            fit, or a checkpoint of another network.
        LoweringError: The network has something that the hardware can't do.
    """
    from export.lowering import lower_with_notes

    goal = Goal(
        fps=fps,
        max_luts=max_luts,
        folding=folding,
        clock_mhz=clock_mhz,
        board=None if board is None else find_board(board),
    )
    if folding is not None and (fps is not None or max_luts is not None):
        other = "a frame rate" if fps is not None else "a number of LUTs"
        raise InputError(f"give either {other} or a folding file", hint="drop --folding or the others")
    lowered = lower_with_notes(model)
    graph = lowered.graph
    if checkpoint is not None:
        check_same_network(checkpoint, graph)
    chosen, notes = choose_folding(graph, goal)
    write_build(
        output,
        graph=graph,
        folding=chosen,
        clock_mhz=clock_mhz,
        board=None if goal.board is None else goal.board.name,
        model=model,
        checkpoint=checkpoint,
    )
    return Compiled(
        build=load_build(output),
        notes=(*lowered.notes, *notes),
        estimate=estimate_cost(graph, chosen),
        budget=goal.budget.text(),
    )


def choose_folding(graph: DataflowGraph, goal: Goal) -> tuple[Folding, tuple[str, ...]]:
    """Return a folding and notes about it.

    It is that of a file; else the least hardware for a frame rate, within the board and the LUTs if they are
    given; else the best rate within those; else the least of all.
    """
    if goal.folding is not None:
        read = read_finn_file(goal.folding, graph)
        return read.folding, read.notes
    if goal.fps is not None:
        choice = least_hardware(graph, fps=goal.fps, clock_mhz=goal.clock_mhz, budget=goal.budget)
        return choice.folding, ()
    if goal.board is not None or goal.max_luts is not None:
        return fastest(graph, goal.budget).folding, ()
    return Folding({node.name: LayerFolding(1, 1) for node in graph.mvaus}), ()


def estimate_cost(graph: DataflowGraph, folding: Folding) -> Estimate | None:
    """Return what a network at a folding will cost, or None where the model lacks one of its modules."""
    model = load_model()
    design = plan_rtl(graph, folding, with_contents=False)
    if not {instance.module for instance in design.instances} <= set(model.modules):
        return None
    return model.estimate(design)


def check_same_network(checkpoint: Path, graph: DataflowGraph) -> None:
    """Compare a checkpoint with a graph on random images.

    Raises:
        InputError: They are different networks.
    """
    from attacks.torch_target import TorchTarget
    from hw.reference import ReferenceTarget
    from quant_models.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    hint = "give the checkpoint that the QONNX file was exported from"
    if loaded.spec.input_shape != graph.input_shape or loaded.spec.classes != graph.classes:
        raise InputError(f"{checkpoint} is another network: its images or classes differ", hint=hint)
    shape = (_CHECKED_IMAGES, *graph.input_shape)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = TorchTarget(loaded.build(), graph).infer(images).logits
    if not np.array_equal(found, ReferenceTarget(graph).infer(images).logits):
        raise InputError(f"{checkpoint} is another network: its logits differ", hint=hint)
