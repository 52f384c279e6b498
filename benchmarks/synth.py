"""What whole accelerators cost after Yosys, next to published ones of the same shape and rate.

    python -m benchmarks.synth [--json] [--networks sfc lfc cnv cnv-5000 tfc] [--family xc7] [--minutes M]
                               [--points FILE]

SFC is folded for an II of 16 cycles, TFC and LFC as FINN folds them, CNV as BNN-PYNQ does and once more for
5,000 frames/s at 100 MHz. LFC is padded, 784 pixels to 832 and 10 classes to 16: its folding divides only
those. The last layer of CNV has SIMD 2: BNN-PYNQ pads the classes. Weights and thresholds are random. Counts
are sums of the instances, each synthesised alone by Yosys, FIFOs, width converters, window generators and
label selection included. Yosys' counts are not Vivado's, which the published figures are: Vivado packs two
small LUTs into one site and optimises across modules. A ratio says how many times the published figure ours
is.

Results are kept in the user's cache directory, so that a run that was stopped goes on. What didn't end within
the limit is named, and the network then has no total. With --points the cost of every instance is appended to
a file, one JSON object a line, as `python -m benchmarks.resources --add FILE` reads them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.emulator_conv import cnv
from benchmarks.rtl import CNV_FOLDING, NETWORKS, Network, make_graph
from export.errors import BitsiegeError, ToolError
from export.graph import DataflowGraph
from hw.folding import Folding, LayerFolding
from hw.resources import measured
from hw.resources.points import module_hash
from hw.rtlgen import Instance, RtlDesign, generate_rtl
from hw.synth import FAMILIES, Cost, InstanceCost, find_yosys, synthesise

STATEMENT = "Yosys' counts are not Vivado's: Vivado packs small LUTs in pairs and optimises across modules."


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A published accelerator, or the size of a device.

    Attributes:
        name: Whose, and on which device.
        lut: LUTs.
        bram36: Block RAMs of 36 kbit.
        lut_goal: LUTs not to exceed, where that isn't `lut`.
    """

    name: str
    lut: int
    bram36: float
    lut_goal: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A network with its folding.

    Attributes:
        make: Makes the graph.
        folding: (PE, SIMD) of each layer.
        styles: Where each layer's weights lie; `auto` throughout if empty.
        bound: What to compare with.
    """

    make: Callable[[], DataflowGraph]
    folding: tuple[tuple[int, int], ...]
    styles: tuple[str, ...] = ()
    bound: Bound | None = None

    def folded(self, graph: DataflowGraph) -> Folding:
        """The folding by node names."""
        styles = self.styles or ("auto",) * len(self.folding)
        layers = zip(graph.mvaus, self.folding, styles, strict=True)
        return Folding({node.name: LayerFolding(*layer, style) for node, layer, style in layers})


SFC = Network(
    sizes=(784, 256, 256, 256, 10),
    image=(28, 28, 1),
    folding=((64, 196), (64, 64), (64, 64), (5, 32)),
    anchor_cycles_per_s=float("nan"),
)
# At least 5,000 frames a second at 100 MHz: at most 20,000 cycles a frame in every layer.
FAST_CNV_FOLDING = ((32, 3), (64, 32), (32, 32), (32, 32), (8, 32), (1, 32), (1, 8), (1, 16), (1, 2))
BLOCK, LUTS = "block", "distributed"
ACCELERATORS = {
    "sfc": Accelerator(
        make=lambda: make_graph(SFC),
        folding=SFC.folding,
        styles=(LUTS,) * 4,
        bound=Bound(name="FINN 2017 SFC-max, ZC706", lut=91_131, bram36=4.5, lut_goal=63_792),
    ),
    "lfc": Accelerator(
        make=lambda: make_graph(NETWORKS["lfc"]),
        folding=NETWORKS["lfc"].folding,
        styles=(BLOCK,) * 4,
        bound=Bound(name="BNN-PYNQ LFC-W1A1, 7Z020", lut=28_360, bram36=110),
    ),
    "cnv": Accelerator(
        make=cnv,
        folding=CNV_FOLDING,
        styles=(LUTS, *(BLOCK,) * 8),
        bound=Bound(name="BNN-PYNQ CNV-W1A1, 7Z020", lut=20_466, bram36=98),
    ),
    "cnv-5000": Accelerator(
        make=cnv,
        folding=FAST_CNV_FOLDING,
        styles=(LUTS, LUTS, *(BLOCK,) * 7),
        bound=Bound(name="all of a 7Z020", lut=53_200, bram36=140),
    ),
    "tfc": Accelerator(make=lambda: make_graph(NETWORKS["tfc"]), folding=NETWORKS["tfc"].folding),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One network.

    Attributes:
        network: Its name.
        ii_cycles: Cycles a frame.
        instances: What was synthesised.
        total: Its sum, or None where an instance is missing.
        lut_ratio: LUTs with LUTRAM over those of `bound`.
        bram_ratio: Block RAMs over those of `bound`.
        within: Whether LUTs and block RAMs are within the goal.
        unfinished: Instances that Yosys didn't end with, and why.
        seconds: Time that it took; little where results were there already.
        bound: What to compare with.
    """

    network: str
    ii_cycles: int
    instances: Sequence[InstanceCost]
    total: Cost | None
    lut_ratio: float | None
    bram_ratio: float | None
    within: bool | None
    unfinished: dict[str, str]
    seconds: float
    bound: Bound | None


def measure(name: str, family: str, timeout_s: float, folder: Path, points: Path | None) -> Result:
    """Synthesise one network, instance by instance, largest first."""
    accelerator = ACCELERATORS[name]
    graph = accelerator.make()
    folding = accelerator.folded(graph)
    design = generate_rtl(graph, folding, folder / name)
    started = time.perf_counter()
    done: dict[str, InstanceCost] = {}
    unfinished: dict[str, str] = {}
    for instance in sorted(design.instances, key=_work, reverse=True):
        part: RtlDesign = replace(design, instances=(instance,))
        try:
            report = synthesise(part, folder / name, family=family, timeout_s=timeout_s)
        except ToolError as error:
            unfinished[instance.name] = error.message
            continue
        done[instance.name] = report.instances[0]
        if points is not None:
            _append_point(points, name, instance, report.instances[0])
    instances = [done[i.name] for i in design.instances if i.name in done]
    total = None if unfinished else sum((i.cost for i in instances), Cost())
    bound = accelerator.bound
    lut_ratio = bram_ratio = within = None
    if total is not None and bound is not None:
        lut_ratio, bram_ratio = total.all_luts / bound.lut, total.bram36 / bound.bram36
        within = total.all_luts <= (bound.lut_goal or bound.lut) and total.bram36 <= bound.bram36
    return Result(
        network=name,
        ii_cycles=folding.ii_cycles(graph),
        instances=instances,
        total=total,
        lut_ratio=lut_ratio,
        bram_ratio=bram_ratio,
        within=within,
        unfinished=unfinished,
        seconds=time.perf_counter() - started,
        bound=bound,
    )


def _work(instance: Instance) -> int:
    parameters = instance.parameters
    return int(parameters.get("SIMD", 0)) * int(parameters.get("PE", 0))


def _append_point(path: Path, network: str, instance: Instance, found: InstanceCost) -> None:
    point = measured(instance, found.cost, module_hash(instance.module))
    entry = {**point.to_json(), "network": network, "instance": instance.name, "depth": found.depth}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def to_json(results: Sequence[Result], yosys: str, family: str) -> dict[str, Any]:
    """Return everything as plain values."""
    machine = {"processor": platform.processor(), "cores": os.cpu_count(), "yosys": yosys, "family": family}
    return {"machine": machine, "statement": STATEMENT, "results": [asdict(r) for r in results]}


def render(results: Sequence[Result]) -> str:
    """Return the results as text."""
    lines: list[str] = []
    for result in results:
        lines.append(f"{result.network}, II {result.ii_cycles:,} cycles, {result.seconds:.0f} s")
        lines.append(f"  {'':32}{'LUT':>8}{'LUTRAM':>8}{'FF':>8}{'BRAM36':>8}{'carry':>7}{'depth':>6}")
        for i in result.instances:
            c = i.cost
            lines.append(
                f"  {i.instance:32}{c.lut:>8,}{c.lutram:>8,}{c.ff:>8,}{c.bram36:>8}{c.carry:>7,}{i.depth:>6}"
            )
        lines += [f"  not done: {name}: {why}" for name, why in result.unfinished.items()]
        if result.total is not None:
            t = result.total
            lines.append(f"  sum: {t.all_luts:,} LUTs with LUTRAM, {t.ff:,} FF, {t.bram36:g} BRAM36")
        if result.bound is not None:
            b = result.bound
            lines.append(f"  {b.name}: {b.lut:,} LUTs, {b.bram36:g} BRAM36")
        if result.lut_ratio is not None and result.bram_ratio is not None:
            lines.append(f"  ours / theirs: LUTs {result.lut_ratio:.2f}, BRAM36 {result.bram_ratio:.2f}")
    return "\n".join([*lines, STATEMENT])


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    default = [name for name in ACCELERATORS if name != "tfc"]
    parser.add_argument("--networks", nargs="+", choices=list(ACCELERATORS), default=default)
    parser.add_argument("--family", choices=FAMILIES, default="xc7")
    parser.add_argument("--minutes", type=float, default=60.0, help="limit of one instance")
    parser.add_argument("--points", type=Path, help="append the cost of every instance to this file")
    options = parser.parse_args()
    try:
        yosys = find_yosys().version
        with tempfile.TemporaryDirectory() as folder:
            results = [
                measure(name, options.family, options.minutes * 60, Path(folder), options.points)
                for name in options.networks
            ]
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(json.dumps(to_json(results, yosys, options.family), indent=2) if options.json else render(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
