"""Overlays: a Vivado project around the generated accelerator, and what drivers need to know of it."""

from hw.vivado.answers import KnownAnswers, known_answers
from hw.vivado.plan import OverlayPlan, plan_overlay
from hw.vivado.project import read_about, write_overlay
from hw.vivado.run import Timing, build_bitstream, find_vivado

__all__ = [
    "KnownAnswers",
    "OverlayPlan",
    "Timing",
    "build_bitstream",
    "find_vivado",
    "known_answers",
    "plan_overlay",
    "read_about",
    "write_overlay",
]
