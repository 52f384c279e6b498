"""``bitsiege compile``: QONNX to a build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import Json

if TYPE_CHECKING:
    from hw.build import Build


def compile_(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A QONNX file.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="BUILD", help="Directory to write.", show_default=False)
    ],
    fps: Annotated[
        float | None, typer.Option("--fps", metavar="N", help="Frame rate that the folding must reach.")
    ] = None,
    folding: Annotated[
        Path | None, typer.Option("--folding", metavar="F.json", help="A folding file of FINN's form.")
    ] = None,
    clock_mhz: Annotated[float, typer.Option("--clock-mhz", metavar="F", help="Clock [[MHz].")] = 100.0,
    board: Annotated[
        str | None, typer.Option("--board", metavar="NAME", help="Board that it is meant for.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            "--checkpoint", metavar="CHECKPOINT", help="Keep the trained network too: target torch needs it."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Lower a QONNX file to integer hardware, choose the folding, and generate SystemVerilog.

    Without --fps and --folding the build has the least hardware: PE and SIMD are 1 in every layer.

    [bold]Example[/bold]: bitsiege compile model.onnx -o build --fps 1000000 --clock-mhz 100
    """
    from bitsiege.building import compile_model, find_checkpoint
    from bitsiege.cli.console import show, show_json

    compiled = compile_model(
        model,
        output,
        fps=fps,
        folding=folding,
        clock_mhz=clock_mhz,
        board=board,
        checkpoint=None if checkpoint is None else find_checkpoint(checkpoint),
    )
    latency_cycles, note = _latency(compiled.build)
    result = _summary(compiled.build) | {
        "latency_cycles": latency_cycles,
        "notes": [*compiled.notes, *([note] if note else [])],
    }
    if json:
        show_json(result)
    else:
        show(_text(compiled.build, result))
    return 0


def _latency(build: Build) -> tuple[int | None, str | None]:
    """The exact latency, or why it can't be predicted here: that takes a C++ compiler, the build does not."""
    from export.errors import ToolError
    from hw.timing import predict

    try:
        return predict(build.graph, build.folding).latency_cycles, None
    except ToolError as error:
        return None, f"the latency is not predicted: {error.message}"


def _summary(build: Build) -> dict[str, Any]:
    ii_cycles = build.folding.ii_cycles(build.graph)
    layers = {
        node.name: {"pe": build.folding[node.name].pe, "simd": build.folding[node.name].simd}
        for node in build.graph.mvaus
    }
    return {
        "build": str(build.path),
        "graph_hash": build.graph_hash,
        "macs": build.graph.macs,
        "clock_mhz": build.clock_mhz,
        "board": build.board,
        "ii_cycles": ii_cycles,
        "frames_per_second": build.clock_mhz * 1e6 / ii_cycles,
        "folding": layers,
    }


def _text(build: Build, result: dict[str, Any]) -> str:
    folding = ", ".join(f"{name} {f['pe']}x{f['simd']}" for name, f in result["folding"].items())
    known = result["latency_cycles"]
    latency = "" if known is None else f", latency {known:,} cycles"
    return (
        f"{build.graph.summary()}\n\n"
        f"folding (PE x SIMD): {folding}\n"
        f"II {result['ii_cycles']:,} cycles{latency}: "
        f"{result['frames_per_second']:,.0f} frames/s at {build.clock_mhz:g} MHz\n"
        f"{build.path}: network {build.graph_hash[:16]}"
        + "".join(f"\nnote: {note}" for note in result["notes"])
    )
