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
        second_width: Bits of a beat of a second input.
        second: Beats of a second input; None where the unit has one.
        copies: Outputs side by side in the ports, all with the same beats.
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
    second_width: int = 0
    second: Sequence[int] | None = None
    copies: int = 1

    @property
    def in_ports(self) -> list[str]:
        return ["s_axis"] if self.second is None else ["s0_axis", "s1_axis"]

    @property
    def out_ports(self) -> list[str]:
        return ["m_axis"] if self.copies == 1 else [f"m{k}_axis" for k in range(self.copies)]

    @property
    def in_widths(self) -> list[int]:
        return [self.in_width] if self.second is None else [self.in_width, self.second_width]

    def spec(self) -> dict:
        spec = asdict(self)
        inputs = [self.inputs] if self.second is None else [self.inputs, self.second]
        del spec["inputs"], spec["second"]
        return spec | {
            "in_ports": self.in_ports,
            "in_widths": self.in_widths,
            "in_beats": [[f"{beat:x}" for beat in beats] for beats in inputs],
            "out_ports": self.out_ports,
            "outputs": [f"{beat:x}" for beat in self.outputs],
        }

    def wires(self) -> list[tuple[str, int, str]]:
        """Direction as seen from the unit, width and name of the wires of all streams."""
        found = []
        for port, width in zip(self.in_ports, self.in_widths, strict=True):
            found += [("input", width, f"{port}_tdata"), ("input", 1, f"{port}_tvalid")]
            found.append(("output", 1, f"{port}_tready"))
        for port in self.out_ports:
            found += [("output", self.out_width, f"{port}_tdata"), ("output", 1, f"{port}_tvalid")]
            found.append(("input", 1, f"{port}_tready"))
        return [*found, ("output", 1, "m_axis_tlast")] if self.last_every else found

    def links(self) -> str:
        """Connections of the module's ports; those of several outputs hold them side by side."""
        pairs = [(wire, f"{self.name}_{wire}") for _, _, wire in self.wires() if wire[0] == "s"]
        for role in ("tdata", "tvalid", "tready"):
            parts = [f"{self.name}_{port}_{role}" for port in reversed(self.out_ports)]
            pairs.append((f"m_axis_{role}", f"{{{', '.join(parts)}}}" if len(parts) > 1 else parts[0]))
        if self.last_every:
            pairs.append(("m_axis_tlast", f"{self.name}_m_axis_tlast"))
        return ", ".join(f".{port}({wire})" for port, wire in pairs)


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
        ports += [f"{way} wire logic [{width - 1}:0] {unit.name}_{wire}" for way, width, wire in unit.wires()]
        instances.append(
            f"  {unit.module} #({parameters}) u_{unit.name} (.clk(clk), .rst_n(rst_n), {unit.links()});"
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
def cocotb_runner() -> type[Runner]:
    """The runner's class, for a bench of another kind."""
    return Runner


@pytest.fixture
def unit() -> type[Unit]:
    """The class that describes a unit under test."""
    return Unit


@pytest.fixture
def pack_beats() -> Callable[[np.ndarray, int], list[int]]:
    """The function that packs elements into beats."""
    return pack
