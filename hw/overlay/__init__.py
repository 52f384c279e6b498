"""The overlay around an accelerator: DMA, registers, the circuit that a board is loaded with."""

from hw.overlay.design import OverlayDesign, plan_overlay, result_format
from hw.overlay.generate import design_hash, design_of, generate_overlay
from hw.overlay.simulation import BusChannel, Direction, OverlaySimulation, RegisterError, Response

__all__ = [
    "BusChannel",
    "Direction",
    "OverlayDesign",
    "OverlaySimulation",
    "RegisterError",
    "Response",
    "design_hash",
    "design_of",
    "generate_overlay",
    "plan_overlay",
    "result_format",
]
