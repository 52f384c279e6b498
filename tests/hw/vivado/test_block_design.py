"""The recorded block design as a graph: clocks and resets driven, addresses apart, memory in reach.

What a block has for pins is written down here once more, by itself, and not taken from the generator.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from hw.boards import BOARDS, Board, find_board

_BOARDS = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.key)
_OUT, _IN = "out", "in"
_MASTER, _SLAVE = "master", "slave"


@dataclass
class Cell:
    """A block: pins as (direction, kind), interfaces as (mode, pin of their clock)."""

    pins: dict[str, tuple[str, str]] = field(default_factory=dict)
    interfaces: dict[str, tuple[str, str]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    kind: str = ""

    def has(self, setting: str, default: str) -> bool:
        return self.settings.get(f"CONFIG.{setting}", default) == "1"

    def build(self) -> None:
        """Fill in pins and interfaces; a processor's depend on its settings. Presets switch on more."""
        match self.kind:
            case "processing_system7":
                self._clock_out("FCLK_CLK0", self.has("PCW_EN_CLK0_PORT", "0"))
                self._reset_out("FCLK_RESET0_N", self.has("PCW_EN_RST0_PORT", "0"))
                self._port("M_AXI_GP0", _MASTER, "M_AXI_GP0_ACLK", self.has("PCW_USE_M_AXI_GP0", "1"))
                self._port("M_AXI_GP1", _MASTER, "M_AXI_GP1_ACLK", self.has("PCW_USE_M_AXI_GP1", "1"))
                self._port("S_AXI_HP0", _SLAVE, "S_AXI_HP0_ACLK", self.has("PCW_USE_S_AXI_HP0", "0"))
            case "zynq_ultra_ps_e":
                self._clock_out("pl_clk0", self.has("PSU__FPGA_PL0_ENABLE", "0"))
                self._reset_out("pl_resetn0", True)
                for index, name in enumerate(("hpm0_fpd", "hpm1_fpd", "hpm0_lpd")):
                    enabled = self.has(f"PSU__USE__M_AXI_GP{index}", "1")
                    self._port(f"M_AXI_{name.upper()}", _MASTER, f"maxi{name}_aclk", enabled)
                self._port("S_AXI_HP0_FPD", _SLAVE, "saxihp0_fpd_aclk", self.has("PSU__USE__S_AXI_GP2", "0"))
            case "proc_sys_reset":
                self.pins["slowest_sync_clk"] = (_IN, "clock")
                self.pins["ext_reset_in"] = (_IN, "reset")
                self._reset_out("interconnect_aresetn", True)
                self._reset_out("peripheral_aresetn", True)
            case "axi_interconnect":
                self.pins |= {"ACLK": (_IN, "clock"), "ARESETN": (_IN, "reset")}
                sides = {"S": _SLAVE, "M": _MASTER}
                for side, mode in sides.items():
                    for index in range(int(self.settings[f"CONFIG.NUM_{side}I"])):
                        name = f"{side}{index:02}"
                        self._port(f"{name}_AXI", mode, f"{name}_ACLK", True)
                        self.pins[f"{name}_ARESETN"] = (_IN, "reset")
            case "bnn_overlay":
                self.pins |= {"clk": (_IN, "clock"), "rst_n": (_IN, "reset")}
                self.interfaces = {"s_axil": (_SLAVE, "clk"), "m_axi": (_MASTER, "clk")}
            case _:
                raise AssertionError(f"no such block: {self.kind}")

    def _clock_out(self, name: str, there: bool) -> None:
        if there:
            self.pins[name] = (_OUT, "clock")

    def _reset_out(self, name: str, there: bool) -> None:
        if there:
            self.pins[name] = (_OUT, "reset")

    def _port(self, name: str, mode: str, clock: str, there: bool) -> None:
        if there:
            self.interfaces[name] = (mode, clock)
            self.pins[clock] = (_IN, "clock")


@dataclass(frozen=True)
class Segment:
    """A range in an address space."""

    space: str
    target: str
    offset: int
    size: int


@dataclass
class Design:
    """What the calls made."""

    cells: dict[str, Cell] = field(default_factory=dict)
    drivers: dict[str, list[str]] = field(default_factory=dict)
    buses: list[tuple[str, str]] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)

    def pin(self, name: str) -> tuple[str, str]:
        cell, _, pin = name.partition("/")
        assert pin in self.cells[cell].pins, f"there is no pin {name}"
        return self.cells[cell].pins[pin]

    def bus(self, name: str) -> tuple[str, str]:
        cell, _, bus = name.partition("/")
        assert bus in self.cells[cell].interfaces, f"there is no interface {name}"
        mode, clock = self.cells[cell].interfaces[bus]
        return mode, f"{cell}/{clock}"


def replay(calls: list[list[str]]) -> Design:
    """Make the graph of the recorded calls."""
    design = Design()
    connections: list[tuple[str, ...]] = []
    for name, *words in calls:
        switches = {a: b for a, b in pairwise(words) if a.startswith("-")}
        match name:
            case "create_bd_cell":
                design.cells[words[-1]] = Cell(kind=switches["-vlnv"].split(":")[2])
            case "set_property" if words[-1] in design.cells:
                pairs = words[1].split() if words[0] == "-dict" else words[:2]
                design.cells[words[-1]].settings |= dict(zip(pairs[::2], pairs[1::2], strict=True))
            case "connect_bd_net" | "connect_bd_intf_net":
                connections.append((name, *words))
            case "assign_bd_address":
                offset, size = (int(switches[s], 16) for s in ("-offset", "-range"))
                space = switches["-target_address_space"]
                design.segments.append(Segment(space, words[-1], offset, size))
    for cell in design.cells.values():
        cell.build()
    for name, source, *sinks in connections:
        for sink in sinks:
            if name == "connect_bd_net":
                design.drivers.setdefault(sink, []).append(source)
            else:
                design.buses.append((source, sink))
    return design


def check(design: Design, board: Board, planned_mhz: float) -> None:
    """Every rule of a block design that would fail in Vivado, or worse, on the board."""
    for sink, sources in design.drivers.items():
        assert design.pin(sink)[0] == _IN, f"{sink} is driven, but is an output"
        assert len(sources) == 1, f"{sink} is driven twice"
        assert design.pin(sources[0]) == (_OUT, design.pin(sink)[1]), f"{sources[0]} drives {sink}"
    for name, cell in design.cells.items():
        for pin, (direction, kind) in cell.pins.items():
            assert direction == _OUT or f"{name}/{pin}" in design.drivers, f"{kind} {name}/{pin} is open"
    check_buses(design)
    check_addresses(design, board)
    ps = design.cells["ps"].settings
    asked = {k: v for k, v in ps.items() if re.search(r"FPGA0_PERIPHERAL_FREQMHZ|PL0_REF_CTRL__FREQMHZ", k)}
    assert [float(mhz) for mhz in asked.values()] == [pytest.approx(planned_mhz)], "another clock"


def check_buses(design: Design) -> None:
    ends = [end for bus in design.buses for end in bus]
    assert len(set(ends)) == len(ends), "an interface is connected twice"
    for source, sink in design.buses:
        (source_mode, source_clock), (sink_mode, sink_clock) = design.bus(source), design.bus(sink)
        assert (source_mode, sink_mode) == (_MASTER, _SLAVE), f"{source} and {sink} are the wrong way round"
        assert design.drivers[source_clock] == design.drivers[sink_clock], f"{source} crosses clocks"
    for name, cell in design.cells.items():
        for bus in cell.interfaces:
            assert f"{name}/{bus}" in ends, f"{name}/{bus} is open"


def reached(design: Design, start: str) -> set[str]:
    """Slave interfaces that a master interface reaches through interconnects."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        for sink in [b for a, b in design.buses if a == here]:
            cell = sink.partition("/")[0]
            if design.cells[cell].kind == "axi_interconnect":
                waiting += [
                    f"{cell}/{n}" for n, (m, _) in design.cells[cell].interfaces.items() if m == _MASTER
                ]
            else:
                found.add(sink)
    return found


def check_addresses(design: Design, board: Board) -> None:
    by_space: dict[str, list[Segment]] = {}
    for segment in design.segments:
        assert segment.size & (segment.size - 1) == 0, "a size is no power of two"
        assert segment.offset % segment.size == 0, f"{segment.target} is not aligned to its size"
        by_space.setdefault(segment.space, []).append(segment)
    for segments in by_space.values():
        ordered = sorted(segments, key=lambda s: s.offset)
        for low, high in pairwise(ordered):
            assert low.offset + low.size <= high.offset, f"{low.target} and {high.target} overlap"
    control = {"PS7": "ps/M_AXI_GP0", "ZU+": "ps/M_AXI_HPM0_FPD"}[board.ps.kind]
    memory = {"PS7": "S_AXI_HP0", "ZU+": "S_AXI_HP0_FPD"}[board.ps.kind]
    segment = {"PS7": "ps/S_AXI_HP0/HP0_DDR_LOWOCM", "ZU+": "ps/SAXIGP2/HP0_DDR_LOW"}[board.ps.kind]
    assert reached(design, control) == {"overlay/s_axil"}
    assert reached(design, "overlay/m_axi") == {f"ps/{memory}"}, "the DMA does not reach the memory"
    expected = {
        "ps/Data": [Segment("ps/Data", "overlay/s_axil/reg0", board.addresses.control, 0x1_0000)],
        "overlay/m_axi": [Segment("overlay/m_axi", segment, 0, board.addresses.memory_bytes)],
    }
    assert by_space == expected, "the addresses are not the board's"


@_BOARDS
def test_the_block_design_holds_together(make_overlay: Callable, record: Callable, board: Board):
    overlay = make_overlay(board, clock_mhz=150.0)
    recorded = record(overlay, "build_ip.tcl", f"{overlay.plan.name}.tcl")
    assert recorded.status == 0, recorded.output
    check(replay(recorded.calls), board, overlay.plan.planned_mhz)


_BOTH = ("Pynq-Z1", "ZCU104")
_MUTATIONS = [
    (_BOTH, "  overlay/clk\n", "", "clock overlay/clk is open"),
    (_BOTH, "  overlay/rst_n control", "  control", "reset overlay/rst_n is open"),
    (_BOTH, "memory/S00_ARESETN memory/M00_ARESETN", "memory/S00_ARESETN", "memory/M00_ARESETN is open"),
    (_BOTH, "  overlay/clk\n", "  overlay/clk\n  overlay/rst_n\n", "overlay/rst_n is driven twice"),
    (_BOTH, "reset/interconnect_aresetn", "reset/slowest_sync_clk", "drives control/ARESETN"),
    (_BOTH, "reset/peripheral_aresetn", "reset/peripheral_reset", "there is no pin reset/peripheral_reset"),
    (_BOTH, "  memory/M00_AXI ps/", "  control/M00_AXI ps/", "connected twice"),
    (_BOTH, "control/M00_AXI overlay/s_axil", "overlay/s_axil control/M00_AXI", "wrong way round"),
    (_BOTH, "overlay/m_axi memory/S00_AXI", "", "memory/S00_AXI is open|overlay/m_axi is open"),
    (_BOTH, "CONFIG.NUM_MI 1", "CONFIG.NUM_MI 2", "clock control/M01_ACLK is open"),
    (_BOTH, "-range 0x10000 ", "-range 0x18000 ", "no power of two"),
    (_BOTH, "-range 0x10000 ", "-range 0x1000 ", "not the board's"),
    (_BOTH, "-offset 0x0 ", "-offset 0x40000000 ", "not aligned|ps/"),
    (("Pynq-Z1",), "-offset 0x43C00000", "-offset 0x43C08000", "not aligned"),
    (("ZCU104",), "-offset 0xA0000000", "-offset 0xA0010000", "not the board's"),
    (
        ("ZCU104",),
        "CONFIG.PSU__USE__M_AXI_GP2 0",
        "CONFIG.PSU__USE__M_AXI_GP2 1",
        "maxihpm0_lpd_aclk is open",
    ),
    (
        ("ZCU104",),
        "CONFIG.PSU__USE__S_AXI_GP2 1",
        "CONFIG.PSU__USE__S_AXI_GP3 1",
        "no pin ps/saxihp0_fpd_aclk",
    ),
    (("Pynq-Z1",), "CONFIG.PCW_EN_CLK0_PORT 1", "CONFIG.PCW_EN_CLK0_PORT 0", "no pin ps/FCLK_CLK0"),
    (("Pynq-Z1",), "PERIPHERAL_FREQMHZ 100", "PERIPHERAL_FREQMHZ 200", "another clock"),
]


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [(name, *mutation) for names, *mutation in _MUTATIONS for name in names],
)
def test_a_broken_design_is_seen(
    make_overlay: Callable, record: Callable, name: str, old: str, new: str, message: str
):
    board = find_board(name)
    overlay = make_overlay(board)
    script = overlay.project / f"{overlay.plan.name}.tcl"
    text = script.read_text()
    assert old in text
    script.write_text(text.replace(old, new, 1))
    recorded = record(overlay, "build_ip.tcl", script.name)
    assert recorded.status == 0, recorded.output
    with pytest.raises(AssertionError, match=message):
        check(replay(recorded.calls), board, overlay.plan.planned_mhz)


def test_ranges_of_one_space_may_not_overlap():
    design = Design(segments=[Segment("s", "a", 0, 0x2000), Segment("s", "b", 0x1000, 0x1000)])
    with pytest.raises(AssertionError, match="a and b overlap"):
        check_addresses(design, BOARDS[0])
