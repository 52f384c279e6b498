"""What synthesis costs: primitives of an instance, a layer and a whole design. No files, no tools."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from typing import Any

from export.errors import ToolError

FAMILIES = ("xc7", "xcup")

# LUT sites that a memory primitive occupies, as the libraries guides of the families state it.
_MEMORY_SITES: Mapping[str, int] = {
    "SRL16E": 1,
    "SRLC16E": 1,
    "SRLC32E": 1,
    "RAM16X1S": 1,
    "RAM16X1D": 2,
    "RAM32X1S": 1,
    "RAM32X1D": 2,
    "RAM32M": 4,
    "RAM32M16": 8,
    "RAM64X1S": 1,
    "RAM64X1D": 2,
    "RAM64M": 4,
    "RAM64M8": 8,
    "RAM128X1S": 2,
    "RAM128X1D": 4,
    "RAM256X1S": 4,
    "RAM256X1D": 8,
    "RAM512X1S": 8,
}
_DEPTH = re.compile(r"^Longest topological path in .* \(length=(-?\d+)\)", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Primitives of a piece of hardware.

    Attributes:
        lut: LUT1 to LUT6, one each: two small ones that could share a LUT6 are counted as two.
        lutram: LUT sites used as memory or shift register, in addition to `lut`.
        ff: Flip-flops.
        bram36: Block RAMs of 36 kbit; one of 18 kbit is half.
        dsp: DSP48 slices.
        carry: Carry chains: CARRY4, or CARRY8 in xcup.
    """

    lut: int = 0
    lutram: int = 0
    ff: int = 0
    bram36: float = 0.0
    dsp: int = 0
    carry: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            lut=self.lut + other.lut,
            lutram=self.lutram + other.lutram,
            ff=self.ff + other.ff,
            bram36=self.bram36 + other.bram36,
            dsp=self.dsp + other.dsp,
            carry=self.carry + other.carry,
        )

    @property
    def all_luts(self) -> int:
        """LUT sites for logic and memory together: what vendors' reports call LUTs."""
        return self.lut + self.lutram


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceCost:
    """One module of the chain, synthesised alone.

    Attributes:
        instance: Its name in the top module.
        module: Name of its module.
        node: Node that it belongs to.
        cost: Primitives.
        depth: Cells on the longest path between registers, memories and ports: LUTs, carry chains, wide
            multiplexers, inverters.
    """

    instance: str
    module: str
    node: str
    cost: Cost
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlatCost:
    """A whole design, flattened and synthesised in one run.

    Attributes:
        cost: Primitives.
        depth: As in `InstanceCost`.
    """

    cost: Cost
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthReport:
    """A design, each of its instances synthesised alone.

    Attributes:
        family: Family of FPGAs, one of `FAMILIES`.
        yosys: Version of the tool.
        instances: In the order in which data flows.
        flat: The same design in one run, if that was asked for.
    """

    family: str
    yosys: str
    instances: Sequence[InstanceCost]
    flat: FlatCost | None = None

    @property
    def total(self) -> Cost:
        """The sum over the instances."""
        return reduce(Cost.__add__, (i.cost for i in self.instances), Cost())

    @property
    def layers(self) -> dict[str, list[InstanceCost]]:
        """The instances of every node, by its name."""
        grouped: dict[str, list[InstanceCost]] = {}
        for instance in self.instances:
            grouped.setdefault(instance.node, []).append(instance)
        return grouped

    def layer_cost(self, node: str) -> Cost:
        """The sum over the instances of a node."""
        return reduce(Cost.__add__, (i.cost for i in self.layers[node]), Cost())

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        layers = {
            node: {
                "cost": asdict(self.layer_cost(node)),
                "depth": max(i.depth for i in members),
                "instances": [asdict(i) for i in members],
            }
            for node, members in self.layers.items()
        }
        return {
            "family": self.family,
            "yosys": self.yosys,
            "total_is": "sum of the instances, each synthesised alone",
            "total": asdict(self.total),
            "depth": max(i.depth for i in self.instances),
            "layers": layers,
            "flat": None if self.flat is None else asdict(self.flat),
        }


def parse_cells(text: str) -> dict[str, int]:
    """Return how often each type of cell occurs, from what ``stat -json`` wrote of one flat module.

    Raises:
        ToolError: It is not that.
    """
    try:
        return {name: int(count) for name, count in json.loads(text)["design"]["num_cells_by_type"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolError("Yosys wrote statistics that can't be read", hint="is it older than 0.40?") from error


def parse_depth(text: str) -> int:
    """Return the length of the path that ``ltp`` found; 0 where there is no logic at all.

    Raises:
        ToolError: It is not what ``ltp`` writes.
    """
    found = _DEPTH.search(text)
    if found is None:
        raise ToolError("Yosys wrote no longest path")
    return max(0, int(found[1]))


def count(cells: Mapping[str, int]) -> Cost:
    """Add up the primitives of a netlist mapped to AMD's cells.

    Raises:
        ToolError: There is a cell whose cost isn't known; it is named, not left out.
    """
    return reduce(Cost.__add__, (_cell_cost(name, number) for name, number in cells.items()), Cost())


def _cell_cost(name: str, number: int) -> Cost:
    if re.fullmatch(r"LUT[1-6]", name):
        return Cost(lut=number)
    if re.fullmatch(r"FD[A-Z]*(_1)?", name):
        return Cost(ff=number)
    if name in _MEMORY_SITES:
        return Cost(lutram=number * _MEMORY_SITES[name])
    if re.fullmatch(r"RAMB(18|36)E[12]", name):
        return Cost(bram36=number * (1.0 if name[4:6] == "36" else 0.5))
    if name.startswith("DSP48"):
        return Cost(dsp=number)
    if name in ("CARRY4", "CARRY8"):
        return Cost(carry=number)
    # Wide multiplexers belong to a slice's LUTs, inverters are absorbed by them, the rest is bookkeeping.
    if re.fullmatch(r"MUXF[789]", name) or name in ("INV", "$scopeinfo", "GND", "VCC"):
        return Cost()
    raise ToolError(f"the synthesised netlist has {number} cells {name}, whose cost isn't known")
