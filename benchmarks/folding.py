"""Foldings of FINN's CNV network that the search finds for boards and rates.

    python -m benchmarks.folding [--json] [--boards Pynq-Z1 ZCU104] [--clock-mhz F] [--fps N]

For each board the best rate that fits, and the least hardware that reaches N frames/s there; weights and
thresholds are random. Resources are estimates of Yosys' counts, with the typical and the greatest relative
error of instances that the model had not seen. Times are those of the whole search, one process.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.emulator_conv import cnv
from export.errors import BitsiegeError
from export.graph import DataflowGraph
from hw.boards import BOARDS, find_board
from hw.explore import Choice, board_budget, fastest, least_hardware


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one search found.

    Attributes:
        board: The board that it must fit.
        goal: What was asked for.
        choice: The folding and its estimate.
        fps: Frames per second at the clock.
        seconds: Time of the search.
    """

    board: str
    goal: str
    choice: Choice
    fps: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "board": self.board,
            "goal": self.goal,
            "ii_cycles": self.choice.ii_cycles,
            "frames_per_second": self.fps,
            "estimate": self.choice.estimate.to_json(),
            "folding": {
                name: {"pe": layer.pe, "simd": layer.simd, "ram_style": layer.ram_style}
                for name, layer in self.choice.folding.layers.items()
            },
            "seconds": round(self.seconds, 2),
        }


def search(graph: DataflowGraph, board: str, fps: float | None, clock_mhz: float) -> Found:
    """Search once: the best rate, or the least hardware for one."""
    budget = board_budget(find_board(board))
    started = time.perf_counter()
    if fps is None:
        choice = fastest(graph, budget)
    else:
        choice = least_hardware(graph, fps=fps, clock_mhz=clock_mhz, budget=budget)
    return Found(
        board=board,
        goal="best rate" if fps is None else f"{fps:,.0f} frames/s",
        choice=choice,
        fps=clock_mhz * 1e6 / choice.ii_cycles,
        seconds=time.perf_counter() - started,
    )


def render(found: Sequence[Found]) -> str:
    """Return the results as text."""
    lines = [f"{'board':10}{'goal':>18}{'II':>9}{'frames/s':>10}  estimate"]
    for one in found:
        lines.append(
            f"{one.board:10}{one.goal:>18}{one.choice.ii_cycles:>9,}{one.fps:>10,.0f}  "
            f"{one.choice.estimate.text()} (worst LUT {100 * one.choice.estimate.lut.worst:.0f} %), "
            f"{one.seconds:.1f} s"
        )
        layers = one.choice.folding.layers.values()
        lines.append("    " + ", ".join(f"{x.pe}x{x.simd} {x.ram_style}" for x in layers))
    return "\n".join(lines)


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.add_argument("--boards", nargs="+", default=["Pynq-Z1"], help=", ".join(b.name for b in BOARDS))
    parser.add_argument("--clock-mhz", type=float, default=100.0)
    parser.add_argument("--fps", type=float, default=5_000.0)
    options = parser.parse_args()
    try:
        graph = cnv()
        found = [
            search(graph, board, fps, options.clock_mhz)
            for board in options.boards
            for fps in (options.fps, None)
        ]
    except BitsiegeError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    print(json.dumps([one.to_json() for one in found], indent=2) if options.json else render(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
