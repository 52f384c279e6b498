"""FINN beside our own hardware: finn-plus in an environment of its own, driven as a process.

It gets the QONNX file and a folding as plain files, and gives graphs, estimates and generated sources back.
What its graphs compute is compared with our integer logits here, since its own verification returns success
either way.
"""

from hw.finn.environment import FINN, finn_python, set_up
from hw.finn.flow import Choice, FlowResult, run_flow
from hw.finn.report import FinnReport, build_with_finn
from hw.finn.target import FinnTarget

__all__ = [
    "FINN",
    "Choice",
    "FinnReport",
    "FinnTarget",
    "FlowResult",
    "build_with_finn",
    "finn_python",
    "run_flow",
    "set_up",
]
