"""The one runner of all cocotb benches: units in, a simulation cached by its content, checked results out."""

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import Verilator

from hw.cache import cached_directory, content_key
from hw.verilator.tools import find_verilator

RTL_DIR = Path(__file__).resolve().parents[3] / "hw" / "rtl"
BENCH_TESTS = 8
# The package's make file lacks the flag that a split output needs for its precompiled header.
_BUILD_ARGS = ("-Wall", "-Wno-fatal", "--output-split", "0", "-CFLAGS", "-O1")


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A unit under test, what it gets, and what must come out.

    Attributes:
        name: Name of the instance.
        module: Name of the module.
        parameters: Parameters of the module; strings are memory files.
        in_width: Bits of an input beat.
        out_width: Bits of an output beat.
        inputs: Input beats.
        outputs: Output beats.
        out_beats: Output beats a frame.
        completes: Index of the input beat from which latency is counted; it completes the first output beat.
        latency: Stated cycles from that beat to the output beat `measured`.
        measured: Index of the output beat to which latency is counted.
        ii: Stated cycles from each frame to the next.
        settle_frames: Frames before the rate is steady.
        last_every: Beats from one tlast to the next; 0 where the unit has no tlast.
    """

    name: str
    module: str
    parameters: Mapping[str, int | str]
    in_width: int
    out_width: int
    inputs: Sequence[int]
    outputs: Sequence[int]
    out_beats: int
    completes: int
    latency: int
    ii: int
    measured: int = 0
    settle_frames: int = 0
    last_every: int = 0

    def spec(self) -> dict:
        spec = asdict(self)
        for name in ("inputs", "outputs"):
            spec[name] = [f"{beat:x}" for beat in spec[name]]
        return spec


def pack(elements: np.ndarray, width_bits: int) -> list[int]:
    """Pack integers ``(beats, lanes)`` into beats, the first element in the least significant bits."""
    mask = (1 << width_bits) - 1
    return [sum((int(x) & mask) << (i * width_bits) for i, x in enumerate(row)) for row in elements]


def bench_text(units: Sequence[Unit]) -> str:
    """Return a top module that holds the units side by side, with all their streams as ports."""
    ports, instances = ["input wire logic clk", "input wire logic rst_n"], []
    for unit in units:
        parameters = ", ".join(
            f'.{name}("{value}")' if isinstance(value, str) else f".{name}({value})"
            for name, value in unit.parameters.items()
        )
        wires = [
            ("input", unit.in_width, "s_axis_tdata"),
            ("input", 1, "s_axis_tvalid"),
            ("output", 1, "s_axis_tready"),
            ("output", unit.out_width, "m_axis_tdata"),
            ("output", 1, "m_axis_tvalid"),
            ("input", 1, "m_axis_tready"),
        ]
        if unit.last_every:
            wires.append(("output", 1, "m_axis_tlast"))
        ports += [f"{way} wire logic [{width - 1}:0] {unit.name}_{wire}" for way, width, wire in wires]
        links = ", ".join(f".{wire}({unit.name}_{wire})" for _, _, wire in wires)
        instances.append(
            f"  {unit.module} #({parameters}) u_{unit.name} (.clk(clk), .rst_n(rst_n), {links});"
        )
    return "module bench (\n  {}\n);\n{}\nendmodule\n".format(",\n  ".join(ports), "\n".join(instances))


class Runner(Verilator):
    """cocotb's runner with the Verilator that the package uses, and with the benches importable."""

    def _simulator_in_path_build_only(self) -> None:
        self.executable = "verilator"

    def _build_command(self) -> list:
        verilate, *rest = super()._build_command()
        return [[*find_verilator().command, *verilate[1:]], *rest]

    def _set_env_test(self) -> None:
        super()._set_env_test()
        self.env["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)


@pytest.fixture
def run_bench(tmp_path: Path) -> Callable[..., None]:
    """Return a function that simulates units and fails unless every bench test passes."""

    def run(
        units: Sequence[Unit], memories: Mapping[str, str], tops: Mapping[str, str] | None = None
    ) -> None:
        text = bench_text(units)
        modules = {path.name: path.read_text() for path in sorted(RTL_DIR.glob("*.sv"))}
        sources = {**modules, **{f"{name}.sv": top for name, top in (tops or {}).items()}, "bench.sv": text}
        tools = (find_verilator().version, version("cocotb"), *_BUILD_ARGS)

        def build(directory: Path) -> None:
            for name, source in sources.items():
                (directory / name).write_text(source)
            Runner().build(
                sources=[directory / name for name in sources],
                hdl_toplevel="bench",
                build_dir=directory,
                build_args=_BUILD_ARGS,
                timescale=("1ns", "1ps"),
                log_file=tmp_path / "build.log",
                always=True,
            )

        key = content_key(*tools, *(part for item in sources.items() for part in item))
        simulation = cached_directory("cocotb", key, build)
        for name, memory in memories.items():
            (tmp_path / name).write_text(memory)
        spec = tmp_path / "spec.json"
        spec.write_text(json.dumps([unit.spec() for unit in units]))
        results = tmp_path / "results.xml"
        # The runner exits where a test fails; the log says more.
        with contextlib.suppress(SystemExit):
            Runner().test(
                test_module="bench_stream",
                hdl_toplevel="bench",
                hdl_toplevel_lang="verilog",
                build_dir=simulation,
                test_dir=tmp_path,
                results_xml=str(results),
                plusargs=[f"+spec={spec}"],
                log_file=tmp_path / "simulation.log",
                seed=1,
            )
        assert get_results(results) == (BENCH_TESTS, 0), (tmp_path / "simulation.log").read_text()[-6000:]

    return run


@pytest.fixture
def unit() -> type[Unit]:
    """The class that describes a unit under test."""
    return Unit


@pytest.fixture
def pack_beats() -> Callable[[np.ndarray, int], list[int]]:
    """The function that packs elements into beats."""
    return pack
