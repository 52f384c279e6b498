"""From a checkpoint to QONNX, and from QONNX to a build."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from export.errors import InputError
from hw.build import Build, load_build, write_build
from hw.folding import Folding, LayerFolding, read_finn_folding, solve_folding

if TYPE_CHECKING:
    from export.graph import DataflowGraph

_CHECKED_IMAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A network that was compiled.

    Attributes:
        build: What was written.
        notes: Where executors of the float network may disagree with each other, one sentence each.
    """

    build: Build
    notes: tuple[str, ...]


def find_checkpoint(name: Path) -> Path:
    """Return the file of a checkpoint: a path, or the name of a network that ships with the package."""
    if name.exists() or name.suffix or len(name.parts) > 1:
        return name
    from quant_models.zoo import shipped, shipped_path

    return shipped_path(str(name)) if str(name) in shipped() else name


def export_checkpoint(checkpoint: Path, output: Path, *, exporter: str) -> None:
    """Write a trained network as QONNX; the file says from which checkpoint it came.

    Raises:
        InputError: The checkpoint can't be read, or the file can't be written.
    """
    from export.qonnx_export import export_qonnx
    from quant_models.checkpoint import load_checkpoint

    loaded = load_checkpoint(checkpoint)
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
) -> Compiled:
    """Lower a QONNX file, choose the folding, and write a build.

    Args:
        model: The QONNX file.
        output: Directory to write.
        fps: Frame rate to reach [frames/s]; not together with ``folding``.
        folding: Folding file of FINN's form.
        clock_mhz: Clock [MHz].
        board: Name of a board.
        checkpoint: The trained network that the file came from, to keep in the build.

    Raises:
        InputError: Options that exclude each other, a rate out of reach, or a checkpoint of another network.
        LoweringError: The network has something that the hardware can't do.
    """
    from export.lowering import lower_with_notes

    if fps is not None and folding is not None:
        raise InputError("give either a frame rate or a folding file", hint="drop --fps or --folding")
    lowered = lower_with_notes(model)
    graph = lowered.graph
    if checkpoint is not None:
        check_same_network(checkpoint, graph)
    write_build(
        output,
        graph=graph,
        folding=choose_folding(graph, fps=fps, folding=folding, clock_mhz=clock_mhz),
        clock_mhz=clock_mhz,
        board=board,
        model=model,
        checkpoint=checkpoint,
    )
    return Compiled(build=load_build(output), notes=lowered.notes)


def choose_folding(
    graph: DataflowGraph, *, fps: float | None, folding: Path | None, clock_mhz: float
) -> Folding:
    """Return the folding of a file, the least one for a frame rate, or the least of all."""
    if folding is not None:
        return read_finn_folding(folding, graph)
    if fps is not None:
        return solve_folding(graph, fps, clock_mhz)
    return Folding({node.name: LayerFolding(1, 1) for node in graph.mvaus})


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
