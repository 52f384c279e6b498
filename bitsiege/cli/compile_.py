"""``bitsiege compile``: QONNX to a build."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import Json

if TYPE_CHECKING:
    from bitsiege.building import Compiled
    from hw.build import Build


def compile_(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="A QONNX file.", show_default=False)],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="BUILD", help="Directory to write.", show_default=False)
    ],
    fps: Annotated[
        float | None, typer.Option("--fps", metavar="N", help="Frame rate that the folding must reach.")
    ] = None,
    max_luts: Annotated[
        int | None,
        typer.Option("--max-luts", metavar="N", min=1, help="LUTs that the estimate must keep within."),
    ] = None,
    folding: Annotated[
        Path | None, typer.Option("--folding", metavar="F.json", help="A folding file of FINN's form.")
    ] = None,
    clock_mhz: Annotated[float, typer.Option("--clock-mhz", metavar="F", help="Clock [[MHz].")] = 100.0,
    board: Annotated[
        str | None, typer.Option("--board", metavar="NAME", help="Board that it must fit, such as Pynq-Z1.")
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

    --fps takes the least hardware that reaches the rate, --board or --max-luts alone the best rate that fits,
    both together the least hardware that reaches the rate, if it fits. Without any of them the build has the
    least hardware: PE and SIMD are 1 in every layer. Resources are estimates, shown with their error.

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
        max_luts=max_luts,
    )
    latency_cycles, note = _latency(compiled.build)
    result = _summary(compiled) | {
        "latency_cycles": latency_cycles,
        "notes": [*compiled.notes, *([note] if note else [])],
    }
    if json:
        show_json(result)
    else:
        show(_text(compiled, result))
    return 0


def _latency(build: Build) -> tuple[int | None, str | None]:
    """The exact latency, or why it can't be predicted here: that takes a C++ compiler, the build does not."""
    from export.errors import ToolError
    from hw.timing import predict

    try:
        return predict(build.graph, build.folding).latency_cycles, None
    except ToolError as error:
        return None, f"the latency is not predicted: {error.message}"


def _summary(compiled: Compiled) -> dict[str, Any]:
    build = compiled.build
    ii_cycles = build.folding.ii_cycles(build.graph)
    layers = {
        node.name: {
            "pe": build.folding[node.name].pe,
            "simd": build.folding[node.name].simd,
            "ram_style": build.folding[node.name].ram_style,
        }
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
        "budget": compiled.budget or None,
        "estimate": None if compiled.estimate is None else compiled.estimate.to_json(),
    }


def _text(compiled: Compiled, result: dict[str, Any]) -> str:
    build = compiled.build
    folding = ", ".join(
        f"{name} {f['pe']}x{f['simd']}" + ("" if f["ram_style"] == "auto" else f" {f['ram_style']}")
        for name, f in result["folding"].items()
    )
    known = result["latency_cycles"]
    latency = "" if known is None else f", latency {known:,} cycles"
    lines = [
        f"{build.graph.summary()}\n",
        f"folding (PE x SIMD): {folding}",
        f"II {result['ii_cycles']:,} cycles{latency}: "
        f"{result['frames_per_second']:,.0f} frames/s at {build.clock_mhz:g} MHz",
    ]
    if compiled.estimate is not None:
        lines.append(f"estimate of Yosys' counts: {compiled.estimate.text()}")
    if compiled.budget:
        board = "" if build.board is None else f", {build.board} with head-room"
        lines.append(f"budget: {compiled.budget}{board}")
    lines.append(f"{build.path}: network {build.graph_hash[:16]}")
    return "\n".join([*lines, *(f"note: {note}" for note in result["notes"])])
