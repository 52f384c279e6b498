"""The synthesised netlist of a generated design, and its simulation from models of the FPGA's primitives."""

from hw.netlist.cells import cell_models
from hw.netlist.synthesis import Netlist, netlist_of
from hw.netlist.target import NetlistTarget

__all__ = ["Netlist", "NetlistTarget", "cell_models", "netlist_of"]
