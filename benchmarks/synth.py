"""What SFC and LFC cost after Yosys, next to the published FPGA accelerators.

    python -m benchmarks.synth [--json] [--networks tfc sfc lfc] [--slices] [--family xc7] [--minutes M]

SFC is folded for an II of 16 cycles, TFC and LFC as FINN folds them. LFC is padded, 784 pixels to 832 and
10 classes to 16: its folding divides only those. Weights and thresholds are random. Counts are sums of the
instances, each synthesised alone by Yosys; the published figures are Vivado's, which packs and shares more.
What didn't end within the limit is named, and the network then has no total.

With --slices every matrix-vector unit is cut down to one of its PE neurons, with its share of weights and its
own control: minutes instead of hours. Such a run has no total, and nothing is multiplied up.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.rtl import NETWORKS, Network, make_graph
from export.errors import BitsiegeError, ToolError
from hw.folding import Folding, LayerFolding
from hw.rtlgen import Instance, RtlDesign, generate_rtl
from hw.synth import FAMILIES, InstanceCost, find_yosys, synthesise

SFC = Network(
    sizes=(784, 256, 256, 256, 10),
    image=(28, 28, 1),
    folding=((64, 196), (64, 64), (64, 64), (5, 32)),
    anchor_cycles_per_s=float("nan"),
)
SYNTHESISED = {"tfc": NETWORKS["tfc"], "sfc": SFC, "lfc": NETWORKS["lfc"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A published accelerator.

    Attributes:
        name: Whose, and on which device.
        lut: LUTs.
        bram36: Block RAMs of 36 kbit.
    """

    name: str
    lut: int
    bram36: float


PUBLISHED = {
    "sfc": Published(name="FINN 2017 SFC-max, ZC706", lut=91_131, bram36=4.5),
    "lfc": Published(name="BNN-PYNQ LFC-W1A1, 7Z020", lut=28_360, bram36=110),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One network.

    Attributes:
        network: Its name.
        ii_cycles: Cycles an image.
        instances: What was synthesised.
        unfinished: Instances that Yosys didn't end with, and why.
        seconds: Time that it took.
        published: What to compare with.
        slices: Whether the matrix-vector units are one PE each.
    """

    network: str
    ii_cycles: int
    instances: Sequence[InstanceCost]
    unfinished: dict[str, str]
    seconds: float
    published: Published | None
    slices: bool


def measure(name: str, family: str, timeout_s: float, folder: Path, *, slices: bool = False) -> Result:
    """Synthesise one network, instance by instance, smallest first; with ``slices`` one PE of each unit."""
    network = SYNTHESISED[name]
    graph = make_graph(network)
    folding = Folding({f"mvau_{i}": LayerFolding(*layer) for i, layer in enumerate(network.folding)})
    directory = folder / name
    design = generate_rtl(graph, folding, directory)
    if slices:
        design = cut_to_slices(design, directory)
    started = time.perf_counter()
    done: dict[str, InstanceCost] = {}
    unfinished: dict[str, str] = {}
    for instance in sorted(design.instances, key=lambda i: _work(design, i.name)):
        part = replace(design, instances=(instance,))
        try:
            report = synthesise(part, directory, family=family, cache_dir=folder, timeout_s=timeout_s)
        except ToolError as error:
            unfinished[instance.name] = error.message
        else:
            done[instance.name] = report.instances[0]
    return Result(
        network=name,
        ii_cycles=folding.ii_cycles(graph),
        instances=[done[i.name] for i in design.instances if i.name in done],
        unfinished=unfinished,
        seconds=time.perf_counter() - started,
        published=PUBLISHED.get(name),
        slices=slices,
    )


def cut_to_slices(design: RtlDesign, directory: Path) -> RtlDesign:
    """Leave each matrix-vector unit its first PE: PE 1, MH / PE neurons, and the low fields of every word."""
    instances: list[Instance] = []
    memories = dict(design.memories)
    for instance in design.instances:
        parameters = dict(instance.parameters)
        if instance.module == "bnn_mvau":
            pe = int(parameters["PE"])
            threshold_w = int(parameters["LEVELS"]) * int(parameters["ACC_W"])
            widths = {
                "WEIGHT_FILE": int(parameters["SIMD"]),
                "PARAM_FILE": threshold_w if parameters["THRESHOLD_EN"] else int(parameters["OUT_W"]),
            }
            parameters |= {"PE": 1, "MH": int(parameters["MH"]) // pe}
            for key, width in widths.items():
                file = str(parameters[key])
                mask = (1 << width) - 1
                text = "".join(f"{int(word, 16) & mask:x}\n" for word in memories[file].split())
                memories[file] = text
                (directory / file).write_text(text, encoding="ascii")
        instances.append(replace(instance, parameters=parameters))
    return replace(design, instances=tuple(instances), memories=memories)


def _work(design: RtlDesign, name: str) -> int:
    instance = next(i for i in design.instances if i.name == name)
    parameters = instance.parameters
    return int(parameters.get("SIMD", 0)) * int(parameters.get("PE", 0))


def render(results: Sequence[Result]) -> str:
    """Return the results as text."""
    lines: list[str] = []
    for result in results:
        lines.append(f"{result.network}, II {result.ii_cycles} cycles, {result.seconds:.0f} s")
        lines.append(f"  {'':28}{'LUT':>8}{'LUTRAM':>8}{'FF':>8}{'BRAM36':>8}{'carry':>7}{'depth':>6}")
        for i in result.instances:
            c = i.cost
            lines.append(
                f"  {i.instance:28}{c.lut:>8,}{c.lutram:>8,}{c.ff:>8,}{c.bram36:>8}{c.carry:>7,}{i.depth:>6}"
            )
        lines += [f"  not done: {name}: {why}" for name, why in result.unfinished.items()]
        if result.slices:
            lines.append("  bnn_mvau: one PE of each; no total")
        elif not result.unfinished:
            luts = sum(i.cost.all_luts for i in result.instances)
            brams = sum(i.cost.bram36 for i in result.instances)
            lines.append(f"  sum of the instances: {luts:,} LUTs with LUTRAM, {brams:g} BRAM36")
        if result.published is not None:
            p = result.published
            lines.append(f"  published: {p.name}: {p.lut:,} LUTs, {p.bram36:g} BRAM36 (Vivado)")
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.add_argument("--networks", nargs="+", choices=list(SYNTHESISED), default=["sfc", "lfc"])
    parser.add_argument("--slices", action="store_true", help="only one PE of each matrix-vector unit")
    parser.add_argument("--family", choices=FAMILIES, default="xc7")
    parser.add_argument("--minutes", type=float, default=60.0, help="limit of one instance")
    options = parser.parse_args()
    try:
        yosys = find_yosys().version
        with tempfile.TemporaryDirectory() as folder:
            results = [
                measure(name, options.family, options.minutes * 60, Path(folder), slices=options.slices)
                for name in options.networks
            ]
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    if options.json:
        machine = {"processor": platform.processor(), "cores": os.cpu_count(), "yosys": yosys}
        print(json.dumps({"machine": machine, "results": [asdict(r) for r in results]}, indent=2))
    else:
        print(render(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
