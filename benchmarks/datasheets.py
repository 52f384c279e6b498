"""Writes a data sheet of each shipped network: accuracy, work, folding, cycles, and what it costs on an FPGA.

    python -m benchmarks.datasheets [--networks sfc-mnist ...] [--board Pynq-Z2] [--out DIR] [--synth]

The folding is the fastest one that the resource model lets fit the board. Cycles are the timing model's,
which equal the simulated hardware's. The cost is the model's estimate with its error; --synth runs
Yosys on every instance as well, which takes minutes to hours and is cached.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from bitsiege.building import export_checkpoint
from export.errors import BitsiegeError
from export.files import atomic_file
from export.graph import DataflowGraph
from export.lowering import lower_model
from hw.boards import Board, find_board
from hw.explore import Choice, board_budget, fastest
from hw.rtlgen import generate_rtl, plan_rtl
from hw.synth import SynthReport, synthesise
from hw.timing_target import TimingTarget
from quant_models.checkpoint import Checkpoint, load_checkpoint
from quant_models.cifar import CIFAR10_JPEG, CIFAR10_JPEG_TITLE
from quant_models.zoo import shipped_for_hardware, shipped_path

CLOCK_MHZ = 100.0
_FRAMES = 64
_TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", CIFAR10_JPEG: CIFAR10_JPEG_TITLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """What a data sheet is made of.

    Attributes:
        name: The network.
        checkpoint: The trained network.
        graph: The integer network.
        board: What it is folded for.
        choice: The folding.
        latency_cycles: Of a frame that finds the hardware idle.
        ii_cycles: From one frame to the next in a long batch.
        input_bytes: Bytes of the image that enter in a cycle.
        synth: What Yosys counted, if it was run.
    """

    name: str
    checkpoint: Checkpoint
    graph: DataflowGraph
    board: Board
    choice: Choice
    latency_cycles: int
    ii_cycles: float
    input_bytes: int
    synth: SynthReport | None


def make_sheet(name: str, board: Board, *, with_synthesis: bool) -> Sheet:
    """Lower, fold and time a shipped network.

    Raises:
        BitsiegeError: A tool is missing, or the network doesn't fit the board.
    """
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.onnx"
        export_checkpoint(shipped_path(name), model, exporter="torchscript")
        graph = lower_model(model)
        choice = fastest(graph, board_budget(board))
        report = TimingTarget(graph, choice.folding).report(_FRAMES)
        synth = None
        if with_synthesis:
            directory = Path(folder) / "rtl"
            design = generate_rtl(graph, choice.folding, directory)
            synth = synthesise(design, directory, family=board.family)
    return Sheet(
        name=name,
        checkpoint=load_checkpoint(shipped_path(name)),
        graph=graph,
        board=board,
        choice=choice,
        latency_cycles=report.first_latency_cycles or 0,
        ii_cycles=report.ii_cycles or float(choice.ii_cycles),
        input_bytes=plan_rtl(graph, choice.folding, with_contents=False).input.lanes,
        synth=synth,
    )


def markdown(sheet: Sheet) -> str:
    """Return the page."""
    return "\n".join([*_about(sheet), "", *_hardware(sheet), "", *_layers(sheet), ""])


def index(sheets: Sequence[Sheet]) -> str:
    """Return the page that lists the others."""
    lines = [
        "# The shipped networks",
        "",
        "Written by `python -m benchmarks.datasheets`. Rates and costs are those of the fastest folding that "
        "the resource model lets fit the board named on each page.",
        "",
        "| network | data | accuracy | multiply-accumulates | images a second | estimate |",
        "|---|---|---|---|---|---|",
    ]
    for sheet in sheets:
        metadata = sheet.checkpoint.metadata
        fps = CLOCK_MHZ * 1e6 / sheet.ii_cycles
        lines.append(
            f"| [{sheet.name}]({sheet.name}.md) | {_TITLES.get(metadata.dataset, metadata.dataset)} "
            f"| {100 * (metadata.test_accuracy or 0):.2f} % | {sheet.graph.macs:,} | {fps:,.0f} "
            f"| {sheet.choice.estimate.text()} |"
        )
    return "\n".join([*lines, ""])


def _about(sheet: Sheet) -> list[str]:
    metadata, graph = sheet.checkpoint.metadata, sheet.graph
    data = _TITLES.get(metadata.dataset, metadata.dataset)
    weights = sum(node.weights.size for node in graph.mvaus)
    bits = sum(
        node.weights.size * (8 if node.draw is not None else node.weight_type.width_bits)
        for node in graph.mvaus
    )
    accuracy = f"{100 * (metadata.test_accuracy or 0):.2f} %"
    lines = [
        f"# {sheet.name}",
        "",
        "| | |",
        "|---|---|",
        f"| Data | {data}, {'x'.join(map(str, graph.input_shape))}, {graph.classes} classes |",
        f"| Accuracy on the test images | {accuracy} |",
        f"| Multiply-accumulates an image | {graph.macs:,} |",
        f"| Weights | {weights:,} in {bits / 8192:,.1f} KiB |",
        f"| Training | {metadata.epochs} epochs, seed {metadata.seed} |",
        f"| Command | `{metadata.command}` |",
    ]
    if metadata.dataset == CIFAR10_JPEG:
        lines += [
            "",
            "The images are CIFAR-10's, re-encoded as JPEG, so this is not an accuracy on CIFAR-10.",
        ]
    if graph.is_stochastic:
        lines += [
            "",
            "Weights of one layer are drawn anew for each image; the accuracy is that of draw seed 0.",
        ]
    return lines


def _hardware(sheet: Sheet) -> list[str]:
    board, choice = sheet.board, sheet.choice
    estimate = choice.estimate
    fps = CLOCK_MHZ * 1e6 / sheet.ii_cycles
    lines = [
        f"## On a {board.name} ({board.device}) at {CLOCK_MHZ:g} MHz",
        "",
        "The fastest folding that the resource model lets fit, with head-room for the rest of the design.",
        "",
        "| | |",
        "|---|---|",
        f"| Images a second | {fps:,.0f} |",
        f"| Cycles from one image to the next | {sheet.ii_cycles:,.0f} |",
        f"| Input stream | {sheet.input_bytes:,} bytes a cycle |",
        f"| Latency | {sheet.latency_cycles:,} cycles, {sheet.latency_cycles / CLOCK_MHZ:,.1f} µs |",
        f"| Estimate | {estimate.text()} |",
    ]
    if sheet.synth is not None:
        total = sheet.synth.total
        lines.append(
            f"| Yosys {sheet.synth.yosys}, sum of instances | {total.all_luts:,} LUT "
            f"(of them {total.lutram:,} memory), {total.ff:,} FF, {total.bram36:g} BRAM36, {total.dsp} DSP |"
        )
    lines += [
        "",
        "Yosys' counts are not Vivado's, and a rate at a clock is no promise that the clock is met.",
    ]
    return lines


def _layers(sheet: Sheet) -> list[str]:
    lines = [
        "## Layers",
        "",
        "| unit | MW | MH | PE | SIMD | weights in | multiply-accumulates | cycles an image |",
        "|---|---|---|---|---|---|---|---|",
    ]
    cycles = sheet.choice.folding.layer_cycles(sheet.graph)
    for node in sheet.graph.mvaus:
        layer = sheet.choice.folding[node.name]
        vectors = prod(sheet.graph.shapes[node.input][:-1])
        lines.append(
            f"| {node.name} | {node.mw:,} | {node.mh:,} | {layer.pe} | {layer.simd} | {layer.ram_style} "
            f"| {node.mw * node.mh * vectors:,} | {cycles[node.name]:,} |"
        )
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--networks",
        nargs="+",
        choices=shipped_for_hardware(),
        default=shipped_for_hardware(),
        metavar="NAME",
    )
    parser.add_argument("--board", default="Pynq-Z2")
    parser.add_argument("--out", type=Path, default=Path("docs/networks"))
    parser.add_argument("--synth", action="store_true", help="run Yosys on every instance")
    options = parser.parse_args(arguments)
    try:
        board = find_board(options.board)
        options.out.mkdir(parents=True, exist_ok=True)
        sheets = [make_sheet(name, board, with_synthesis=options.synth) for name in options.networks]
        pages = {sheet.name: markdown(sheet) for sheet in sheets}
        if set(options.networks) == set(shipped_for_hardware()):
            pages["README"] = index(sheets)
        for name, text in pages.items():
            with atomic_file(options.out / f"{name}.md") as temporary:
                temporary.write_text(text, encoding="utf-8")
            print(options.out / f"{name}.md")
    except BitsiegeError as error:
        print(f"error: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main())
