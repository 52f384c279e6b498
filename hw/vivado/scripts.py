"""The text files of the Vivado project: Tcl, constraints, makefile, README."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from hw.boards.board import CONTROL_BYTES
from hw.vivado.plan import RESULT_BITS, OverlayPlan
from hw.vivado.ps import ps_names, ps_settings
from hw.vivado.wrapper import WRAPPER

VENDOR, LIBRARY, IP_NAME, IP_VERSION = "bitsiege", "hardware", "bnn_overlay", "1.0"
STEPS = ("build_ip.tcl", "{name}.tcl", "build_bitstream.tcl", "check_timing.tcl")
"""The scripts in the order in which they run; ``{name}`` is the overlay's."""
_TEMPLATES = {
    "build_ip.tcl": "build_ip.tcl",
    "{name}.tcl": "design.tcl",
    "build_bitstream.tcl": "build_bitstream.tcl",
    "check_timing.tcl": "check_timing.tcl",
    "{name}.xdc": "constraints.xdc",
    "makefile": "makefile",
}
_JOBS = 2


def project_texts(plan: OverlayPlan, sources: Sequence[str]) -> dict[str, str]:
    """Return the text files of the project folder by name.

    Args:
        plan: The overlay.
        sources: Names of the files in ``rtl/`` that are synthesised.
    """
    values = _values(plan) | {"sources": sorted(sources)}
    return {
        name.format(name=plan.name): _environment().get_template(template).render(values)
        for name, template in _TEMPLATES.items()
    }


def readme_text(plan: OverlayPlan) -> str:
    """Return the README of the overlay's folder."""
    return _environment().get_template("README.md").render(_values(plan))


def _values(plan: OverlayPlan) -> dict[str, Any]:
    board, names = plan.board, ps_names(plan.board)
    return {
        "name": plan.name,
        "model": plan.model,
        "board": board.name,
        "part": board.part,
        "board_part": board.board_part,
        "board_files": board.board_files or "see its maker",
        "graph_hash": plan.graph_hash,
        "design_hash": plan.design_hash,
        "shape": " x ".join(map(str, plan.input_shape)),
        "classes": plan.classes,
        "bits": RESULT_BITS,
        "bytes_per_frame": plan.bytes_per_frame,
        "asked_mhz": f"{plan.asked_mhz:g}",
        "planned_mhz": f"{plan.planned_mhz:.6f}",
        "ps": names,
        "automation": _automation(plan),
        "settings": list(ps_settings(board, plan.planned_mhz).items()),
        "clocked": _clocked(plan),
        "control_base": f"0x{board.addresses.control:08X}",
        "control_bytes": f"0x{CONTROL_BYTES:X}",
        "memory_bytes": f"0x{board.addresses.memory_bytes:X}",
        "vendor": VENDOR,
        "library": LIBRARY,
        "ip_name": IP_NAME,
        "ip_version": IP_VERSION,
        "top": WRAPPER,
        "jobs": _JOBS,
    }


def _automation(plan: OverlayPlan) -> list[str]:
    """What Vivado's automation of the processor is told: the preset, and on a PS7 its external pins."""
    preset = f'apply_board_preset "{int(plan.board.board_part is not None)}"'
    if plan.board.ps.kind == "PS7":
        return ['make_external "FIXED_IO, DDR"', preset, 'Master "Disable"', 'Slave "Disable"']
    return [preset]


def _clocked(plan: OverlayPlan) -> list[str]:
    """Pins that the clock drives."""
    names = ps_names(plan.board)
    interconnects = [
        f"{block}/{pin}" for block in ("control", "memory") for pin in ("ACLK", "S00_ACLK", "M00_ACLK")
    ]
    return [
        f"ps/{names.control_clock}",
        f"ps/{names.memory_clock}",
        "overlay/clk",
        "reset/slowest_sync_clk",
        *interconnects,
    ]


@cache
def _environment() -> Environment:
    """Templates whose marks don't occur in Tcl, make or Markdown."""
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        comment_start_string="<#",
        comment_end_string="#>",
    )
