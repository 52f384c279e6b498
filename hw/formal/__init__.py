"""Formal proofs of the hardware modules: properties in SystemVerilog, and what runs SymbiYosys on them."""

from hw.formal.prove import Verdict, prove, task_names

__all__ = ["Verdict", "prove", "task_names"]
