"""``bitsiege timing``: what each layer of a build does with its cycles, by the timing model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bitsiege.cli.options import BuildDir, CacheDir, Json

if TYPE_CHECKING:
    from rich.table import Table

    from hw.timing import TimingReport

# The simulator's generator of stalls has eight bits: 255/256 is the most.
_STALL_MAX = 255 / 256


def timing(
    build: BuildDir,
    frames: Annotated[
        int, typer.Option("--frames", metavar="N", min=1, help="Images, sent back to back.")
    ] = 1000,
    source_stalls: Annotated[
        float,
        typer.Option(
            "--source-stalls", metavar="P", min=0, max=_STALL_MAX, help="Probability of an idle source."
        ),
    ] = 0,
    sink_stalls: Annotated[
        float,
        typer.Option("--sink-stalls", metavar="P", min=0, max=_STALL_MAX, help="Probability of a busy sink."),
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the stalls.")] = 0,
    fifos: Annotated[
        bool, typer.Option("--fifos", help="Also find the smallest FIFOs that keep full throughput.")
    ] = False,
    cache_dir: CacheDir = None,
    json: Json = False,
) -> int:
    """Follow images through a build's hardware, cycle by cycle, without simulating its bits.

    Shows latency and initiation interval, in how many cycles each layer is busy, starved of input or blocked
    by what comes after it, and how full the FIFOs get.

    [bold]Example[/bold]: bitsiege timing build --frames 10000 --sink-stalls 0.1
    """
    from bitsiege.cli.console import show, show_json
    from hw.build import load_build
    from hw.timing import TimingChain, TimingEngine, make_report, solve_fifo_depths
    from hw.verilator import Stalls

    loaded = load_build(build)
    chain = TimingChain.plan(loaded.graph, loaded.folding)
    stalled = source_stalls > 0 or sink_stalls > 0
    stalls = Stalls(seed=seed, source=source_stalls, sink=sink_stalls) if stalled else None
    report = make_report(chain, TimingEngine(cache_dir).run(chain, frames, stalls))
    depths = solve_fifo_depths(loaded.graph, loaded.folding, cache_dir=cache_dir) if fifos else None
    if json:
        result: dict[str, Any] = {
            "build": str(build),
            "graph_hash": loaded.graph_hash,
            "clock_mhz": loaded.clock_mhz,
            "stalls": {"seed": seed, "source": source_stalls, "sink": sink_stalls} if stalled else None,
            **report.document(),
            "smallest_fifos": None if depths is None else dict(depths),
        }
        show_json(result)
    else:
        show(_table(report, None if depths is None else dict(depths)))
    return 0


def _table(report: TimingReport, depths: dict[str, int] | None) -> Table:
    from rich.table import Table

    interval = "" if report.ii_cycles is None else f", II {report.ii_cycles:,.1f}"
    table = Table(
        title=f"{report.frames:,} images in {report.total_cycles:,} cycles: first latency "
        f"{report.first_latency_cycles:,}{interval}"
    )
    table.add_column("layer")
    names = ["busy", "starved", "blocked", "FIFO before it", "at most filled"]
    for name in (*names, "smallest") if depths is not None else names:
        table.add_column(name, justify="right")
    levels = {fifo.node: fifo for fifo in report.fifos}
    for layer in report.layers:
        cycles = (layer.busy_cycles, layer.starved_cycles, layer.blocked_cycles)
        fifo = levels.get(layer.node)
        cells = ["", ""] if fifo is None else [str(fifo.depth), str(fifo.high_water)]
        if depths is not None:
            cells.append(str(depths.get(layer.node, "")))
        table.add_row(layer.node, *(f"{c / report.total_cycles:.1%}" for c in cycles), *cells)
    # FIFOs before additions and borders belong to no layer.
    for name in sorted(set(levels) - {layer.node for layer in report.layers}):
        cells = [str(levels[name].depth), str(levels[name].high_water)]
        if depths is not None:
            cells.append(str(depths[name]))
        table.add_row(name, "", "", "", *cells)
    return table
