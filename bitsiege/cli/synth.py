"""``bitsiege synth``: what a build costs on an FPGA, by Yosys."""

from __future__ import annotations

import json as json_module
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import BuildDir, CacheDir, Json

if TYPE_CHECKING:
    from rich.table import Table

    from hw.synth import SynthReport


def synth(
    build: BuildDir,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="SYNTH.json", help="File to write.", show_default=False),
    ],
    family: Annotated[
        str, typer.Option("--family", metavar="NAME", help="xc7 (7 series) or xcup (UltraScale+).")
    ] = "xc7",
    flat: Annotated[
        bool, typer.Option("--flat", help="Also synthesise the whole design in one run, to compare.")
    ] = False,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Synthesise a build with Yosys: LUTs, flip-flops, memories and logic depth of each layer.

    Every module of the chain is synthesised alone, and totals are their sum. Yosys' counts are not Vivado's.

    [bold]Example[/bold]: bitsiege synth build -o synth.json --family xcup
    """
    from bitsiege.cli.console import progress, show, show_json
    from bitsiege.outputs import check_output
    from export.files import atomic_file
    from hw.build import load_build
    from hw.rtlgen import check_rtl, plan_rtl
    from hw.synth import synthesise, synthesise_flat

    check_output(output)
    loaded = load_build(build)
    design = plan_rtl(loaded.graph, loaded.folding)
    check_rtl(design, loaded.rtl_path)
    with progress() as listener:
        with listener.task("synthesis", total=len(design.instances)) as task:
            report = synthesise(
                design, loaded.rtl_path, family=family, cache_dir=cache_dir, on_done=task.update
            )
        if flat:
            with listener.task("synthesis in one run"):
                whole = synthesise_flat(design, loaded.rtl_path, family=family, cache_dir=cache_dir)
            report = replace(report, flat=whole)
    result: dict[str, Any] = {"build": str(build), "graph_hash": loaded.graph_hash, **report.to_json()}
    with atomic_file(output) as temporary:
        temporary.write_text(json_module.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    if json:
        show_json(result)
    else:
        show(_table(report))
    return 0


def _table(report: SynthReport) -> Table:
    from rich.table import Table

    table = Table(title=f"{report.family}, {report.yosys}", title_justify="left")
    table.add_column("instance", overflow="fold")
    for column in ("LUT", "LUTRAM", "FF", "BRAM36", "DSP", "carry", "depth"):
        table.add_column(column, justify="right")
    rows = [(i.instance, i.cost, i.depth) for i in report.instances]
    for name, members in report.layers.items():
        if len(members) > 1:
            rows.append((f"layer {name}", report.layer_cost(name), max(i.depth for i in members)))
    rows.append(("sum of the instances", report.total, max(i.depth for i in report.instances)))
    if report.flat is not None:
        rows.append(("in one run", report.flat.cost, report.flat.depth))
    for index, (name, cost, depth) in enumerate(rows):
        before = (f"{number:,}" for number in (cost.lut, cost.lutram, cost.ff))
        after = (f"{number:,}" for number in (cost.dsp, cost.carry, depth))
        sections = (len(report.instances) - 1, len(report.instances) + len(report.layers) - 1)
        table.add_row(name, *before, f"{cost.bram36:,.1f}", *after, end_section=index in sections)
    return table
