"""Logic synthesis of a generated design with Yosys: what each layer costs on an AMD FPGA."""

from hw.synth.report import FAMILIES, Cost, FlatCost, InstanceCost, SynthReport
from hw.synth.run import synthesise, synthesise_flat
from hw.synth.yosys import Yosys, find_yosys

__all__ = [
    "FAMILIES",
    "Cost",
    "FlatCost",
    "InstanceCost",
    "SynthReport",
    "Yosys",
    "find_yosys",
    "synthesise",
    "synthesise_flat",
]
