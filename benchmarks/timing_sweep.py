"""Random networks in Verilator and in the timing model, beat by beat.

A Verilator build of its own for each network would take seconds, so one holds several networks side by side,
compiled without optimisation: they are small, and run for some thousand cycles.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.timing_networks import KINDS, random_network
from export.errors import CheckFailedError, DivergenceError
from export.graph import IntArray
from hw.rtlgen import RtlDesign, plan_rtl
from hw.rtlgen.generate import RTL_DIR
from hw.timing import ChainRun, TimingChain, TimingEngine
from hw.verilator import Stalls, find_compiler, find_verilator
from hw.verilator.tools import run_tool

BATCH = 16
_FRAMES = 12
_PATTERNS = 6
_DEADLINE_CYCLES = 20_000
_TOP = "sweep_top"
_DRIVER = Path(__file__).with_name("timing_driver.cpp")
_VERILATE = ("--cc", "-O3", "--no-assert", "--no-timing", "-Wno-fatal", "-Wno-lint", "-Wno-style")
_COMPILE = ("-std=c++17", "-w", "-DVERILATOR=1", "-DVM_SC=0", "-DVM_COVERAGE=0", "-DVM_TRACE=0")


@dataclass(slots=True, kw_only=True)
class Swept:
    """What was compared.

    Attributes:
        networks: Networks of each kind.
        runs: Runs of a network with one pattern of stalls.
        hung: Those of them that stand still for good, in both.
        beats: Beats whose cycles are equal.
        cycles: Simulated cycles of all runs.
        skipped_frames: Frames that the model did not follow one by one.
    """

    networks: dict[str, int]
    runs: int = 0
    hung: int = 0
    beats: int = 0
    cycles: int = 0
    skipped_frames: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    seed: int
    kind: str
    design: RtlDesign
    stalls: tuple[Stalls, ...]

    @property
    def chain(self) -> TimingChain:
        return TimingChain.of(self.design)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moves:
    """Cycles in which beats moved, int64 ``(beats,)``."""

    inputs: IntArray
    outputs: IntArray


def sweep(seeds: Sequence[int], engine: TimingEngine, swept: Swept, folder: Path) -> None:
    """Compare one batch of networks.

    Args:
        seeds: Of the networks, at most `BATCH`.
        engine: The timing model.
        swept: Grows by what was compared.
        folder: Where what several batches share is kept.

    Raises:
        DivergenceError: A beat moves in another cycle; the message has the seed of the network.
        ToolError: There is no Verilator or no compiler, or it fails.
    """
    cases = [_make_case(seed) for seed in seeds]
    with tempfile.TemporaryDirectory(dir=folder) as build:
        moves = _simulate(cases, Path(build))
    for case, measured in zip(cases, moves, strict=True):
        for stalls, one in zip(case.stalls, measured, strict=True):
            _compare(case, stalls, one, engine, swept)
        swept.networks[case.kind] = swept.networks.get(case.kind, 0) + 1


def _make_case(seed: int) -> _Case:
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    graph, folding, depths = random_network(rng, kind)
    return _Case(
        seed=seed,
        kind=kind,
        design=plan_rtl(graph, folding, fifo_depths=depths),
        stalls=(
            Stalls(seed=0, source=0, sink=0),
            *(_random_stalls(rng) for _ in range(_PATTERNS - 1)),
        ),
    )


def _random_stalls(rng: np.random.Generator) -> Stalls:
    source, sink = rng.choice([0.0, 0.05, 0.2, 0.5, 0.9], 2)
    return Stalls(seed=int(rng.integers(1 << 62)), source=float(source), sink=float(sink))


def _compare(case: _Case, stalls: Stalls, measured: _Moves, engine: TimingEngine, swept: Swept) -> None:
    chain = case.chain
    what = f"network {case.seed}, {stalls}"
    swept.runs += 1
    try:
        run = engine.run(chain, _FRAMES, stalls if stalls.source or stalls.sink else None, beats=True)
    except CheckFailedError:
        if len(measured.outputs) == _FRAMES * chain.out_beats:
            raise DivergenceError(
                f"{what}: the model hangs, the hardware does not", target="timing"
            ) from None
        swept.hung += 1
        return
    _check(what, run, measured)
    swept.beats += len(measured.inputs) + len(measured.outputs)
    swept.cycles += run.total_cycles
    swept.skipped_frames += _FRAMES - run.followed_frames


def _check(what: str, run: ChainRun, measured: _Moves) -> None:
    entered = run.in_cycles.ravel()
    for got, expected in (
        (entered[entered >= 0], measured.inputs),
        (run.out_cycles.ravel(), measured.outputs),
    ):
        if not np.array_equal(got, expected):
            raise DivergenceError(f"{what}: the model's cycles are not the hardware's", target="timing")


def _simulate(cases: Sequence[_Case], folder: Path) -> list[list[_Moves]]:
    """Return when beats moved, of each network with each of its patterns."""
    program = _build(cases, folder)
    lines = [f"{len(cases)} {_PATTERNS} {_FRAMES} {_DEADLINE_CYCLES}"]
    lines += [f"{case.design.input.beats} {case.design.output.beats}" for case in cases]
    for pattern in range(_PATTERNS):
        for stalls in (case.stalls[pattern] for case in cases):
            lines.append(f"{stalls.seed} {round(256 * stalls.source)} {round(256 * stalls.sink)}")
    (folder / "job").write_text("\n".join(lines), encoding="ascii")
    run_tool((str(program), "job", "result"), what="the simulation", cwd=folder)
    words = np.fromfile(folder / "result", np.int64)
    found: list[list[_Moves]] = [[] for _ in cases]
    at = 0
    for _ in range(_PATTERNS):
        for moves in found:
            sides: list[IntArray] = []
            for _ in range(2):
                count = int(words[at])
                sides.append(words[at + 1 : at + 1 + count])
                at += 1 + count
            moves.append(_Moves(inputs=sides[0], outputs=sides[1]))
    return found


def _build(cases: Sequence[_Case], folder: Path) -> Path:
    verilator, compiler = find_verilator(), find_compiler()
    sources: dict[str, None] = {}
    for index, case in enumerate(cases):
        memories = folder / f"n{index}"
        memories.mkdir()
        for name, text in case.design.memories.items():
            (memories / name).write_text(text, encoding="ascii")
        top = case.design.top_text.replace(f"module {case.design.top} ", f"module net_{index} ", 1)
        (folder / f"net_{index}.sv").write_text(top, encoding="utf-8")
        sources |= dict.fromkeys(str(RTL_DIR / name) for name in case.design.sources[:-1])
    (folder / f"{_TOP}.sv").write_text(_top_text(cases), encoding="utf-8")
    tops = [f"net_{index}.sv" for index in range(len(cases))]
    run_tool(
        (
            *verilator.command,
            *_VERILATE,
            "--top-module",
            _TOP,
            "-Mdir",
            "model",
            *sources,
            *tops,
            f"{_TOP}.sv",
        ),
        what="Verilator",
        cwd=folder,
    )
    generated = sorted(path.name for path in (folder / "model").glob("*.cpp"))
    text = "".join(f'#include "{name}"\n' for name in (*generated, str(_DRIVER)))
    (folder / "all.cpp").write_text(text, encoding="utf-8")
    objects = _compile_runtime(folder.parent)
    run_tool(
        (compiler.command, *_COMPILE, *_includes(), "-pthread", "all.cpp", *objects, "-o", "sweep"),
        what="the C++ compiler",
        cwd=folder,
    )
    return folder / "sweep"


def _compile_runtime(folder: Path) -> list[str]:
    """Compile what all builds share, once; returns the objects."""
    compiler, include = find_compiler(), find_verilator().include
    objects: list[str] = []
    for name in ("verilated", "verilated_threads"):
        target = folder / f"{name}.o"
        objects.append(str(target))
        if not target.exists():
            command = (compiler.command, *_COMPILE, *_includes(), "-c", str(include / f"{name}.cpp"))
            run_tool((*command, "-o", str(target)), what="the C++ compiler", cwd=folder)
    return objects


def _includes() -> list[str]:
    include = find_verilator().include
    return [f"-I{path}" for path in ("model", include, include / "vltstd")]


def _top_text(cases: Sequence[_Case]) -> str:
    """All networks side by side; their data is noise, which no handshake depends on."""
    last = len(cases) - 1
    lines = [
        f"module {_TOP} (input wire clk, input wire rst_n, input wire [63:0] noise,",
        f"  input wire [{last}:0] s_tvalid, output wire [{last}:0] s_tready,",
        f"  output wire [{last}:0] m_tvalid, input wire [{last}:0] m_tready, output wire [{last}:0] parity);",
    ]
    for k, case in enumerate(cases):
        width, out_width = case.design.input.width_bits, case.design.output.width_bits + case.design.label_w
        copies = -(-width // 64)
        lines += [
            f"  wire [{64 * copies - 1}:0] in_{k} = {{{copies}{{noise}}}};",
            f"  wire [{out_width - 1}:0] out_{k};",
            f"  assign parity[{k}] = ^out_{k};",
            f'  net_{k} #(.MEM_DIR("n{k}/")) u_{k} (.clk, .rst_n, .s_axis_tdata(in_{k}[{width - 1}:0]),',
            f"    .s_axis_tvalid(s_tvalid[{k}]), .s_axis_tready(s_tready[{k}]), .m_axis_tdata(out_{k}),",
            f"    .m_axis_tvalid(m_tvalid[{k}]), .m_axis_tready(m_tready[{k}]), .m_axis_tlast());",
        ]
    return "\n".join([*lines, "endmodule", ""])
