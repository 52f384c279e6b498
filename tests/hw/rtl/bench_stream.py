"""cocotb bench for units with one AXI4-Stream in and one out; it runs inside the simulator.

``+spec=FILE`` names a JSON list of units. All units of a simulation run side by side, each with its own
random stalls. Inputs are driven after a falling edge and every wire is sampled before the rising edge that
follows, so nothing depends on the order of events in a simulator.
"""

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

SPECS = json.loads(Path(cocotb.plusargs["spec"]).read_text())
STALLS = {"none": (0.0, 0.0), "some": (0.3, 0.3), "bursts": (0.05, 0.15), "most": (0.8, 0.3)}
SLACK_CYCLES = 300


class Unit:
    """Drives one unit and checks what comes out of it."""

    def __init__(self, dut, spec, idle, pressure, seed):
        name = spec["name"]
        self.spec, self.name = spec, name
        self.s_tdata, self.s_tvalid, self.s_tready, self.m_tdata, self.m_tvalid, self.m_tready = (
            getattr(dut, f"{name}_{port}_{role}")
            for port in ("s_axis", "m_axis")
            for role in ("tdata", "tvalid", "tready")
        )
        self.m_tlast = getattr(dut, f"{name}_m_axis_tlast") if spec["last_every"] else None
        self.random = random.Random(f"{name} {idle} {pressure} {seed}")
        self.idle, self.pressure = STALLS[idle], STALLS[pressure]
        self.source_stalled = self.sink_stalled = False
        self.start(spec["inputs"], spec["outputs"])

    def start(self, inputs, outputs):
        self.inputs, self.outputs = inputs, outputs
        self.sent = self.received = 0
        self.in_cycles, self.out_cycles = [], []
        self.offered = False
        self.waiting = None

    def _stalls(self, stalled, probabilities):
        """Two-state random process: with equal probabilities independent cycles, else bursts."""
        begin, end = probabilities
        return self.random.random() < (1 - end if stalled else begin)

    def drive(self):
        self.source_stalled = self._stalls(self.source_stalled, self.idle)
        self.sink_stalled = self._stalls(self.sink_stalled, self.pressure)
        # Once offered, a beat stays until it is taken: AXI4-Stream's rule for the source.
        self.offered = self.sent < len(self.inputs) and (self.offered or not self.source_stalled)
        self.s_tvalid.value = int(self.offered)
        width = self.spec["in_width"]
        self.s_tdata.value = (
            int(self.inputs[self.sent], 16) if self.offered else self.random.getrandbits(width)
        )
        self.ready = not self.sink_stalled
        self.m_tready.value = int(self.ready)

    def sample(self, cycle):
        valid = self.m_tvalid.value == 1
        beat = None
        if valid:
            beat = (int(self.m_tdata.value), None if self.m_tlast is None else int(self.m_tlast.value))
        if self.waiting is not None:
            assert valid, f"{self.name}: tvalid fell in cycle {cycle} before tready"
            assert beat == self.waiting, f"{self.name}: the beat changed in cycle {cycle} before tready"
        self.waiting = beat if valid and not self.ready else None
        if valid and self.ready:
            self._check(beat, cycle)
        if self.offered and self.s_tready.value == 1:
            self.in_cycles.append(cycle)
            self.sent += 1
            self.offered = False

    def _check(self, beat, cycle):
        index = self.received
        assert index < len(self.outputs), f"{self.name}: an output too many, {beat[0]:x}, in cycle {cycle}"
        got, expected = beat[0], int(self.outputs[index], 16)
        assert got == expected, (
            f"{self.name}: output {index} is {got:x}, expected {expected:x}, cycle {cycle}"
        )
        if beat[1] is not None:
            last = (index + 1) % self.spec["last_every"] == 0
            assert beat[1] == last, f"{self.name}: tlast is {beat[1]} in output {index}"
        self.out_cycles.append(cycle)
        self.received += 1

    @property
    def done(self):
        return self.sent == len(self.inputs) and self.received == len(self.outputs)

    def check_timing(self):
        """Without stalls: the first latency, and the cycles from each frame to the next, to the cycle."""
        spec = self.spec
        latency = self.out_cycles[spec["measured"]] - self.in_cycles[spec["completes"]]
        assert latency == spec["latency"], f"{self.name}: latency {latency}, stated {spec['latency']}"
        beats = spec["out_beats"]
        steps = [b - a for a, b in zip(self.out_cycles, self.out_cycles[beats:], strict=False)]
        # The first frames fill the pipeline; after that every beat of every frame comes II cycles later.
        settled = steps[spec["settle_frames"] * beats :]
        assert settled, f"{self.name}: too few frames to measure the II"
        assert set(settled) == {spec["ii"]}, f"{self.name}: II {sorted(set(settled))}, stated {spec['ii']}"


async def simulate(dut, units):
    """Run until every unit has sent and received all, and then long enough to see an output too many."""
    limit = sum(len(s["inputs"]) + len(s["outputs"]) for s in SPECS) * 20 + 20 * max(s["ii"] for s in SPECS)
    quiet = 0
    for cycle in range(limit):
        await FallingEdge(dut.clk)
        for unit in units:
            unit.drive()
        await ReadOnly()
        for unit in units:
            unit.sample(cycle)
        quiet = quiet + 1 if all(unit.done for unit in units) else 0
        if quiet == SLACK_CYCLES:
            return
    stuck = {u.name: (u.sent, len(u.inputs), u.received, len(u.outputs)) for u in units if not u.done}
    raise AssertionError(f"stuck after {limit} cycles (sent, of, received, of): {stuck}")


async def reset(dut, units, cycles=2):
    """Hold rst_n low; nothing is offered or taken meanwhile."""
    await FallingEdge(dut.clk)
    dut.rst_n.value = 0
    for unit in units:
        unit.s_tvalid.value = 0
        unit.m_tready.value = 0
    for _ in range(cycles):
        await FallingEdge(dut.clk)
    dut.rst_n.value = 1


async def begin(dut, idle, pressure, seed=0):
    Clock(dut.clk, 10, unit="ns").start(start_high=False)
    units = [Unit(dut, spec, idle, pressure, seed) for spec in SPECS]
    await reset(dut, units)
    return units


@cocotb.test()
@cocotb.parametrize(
    stalls=[
        ("none", "some"),
        ("some", "none"),
        ("some", "some"),
        ("none", "most"),
        ("most", "none"),
        ("bursts", "bursts"),
    ]
)
async def stalls_change_no_data(dut, stalls):
    units = await begin(dut, *stalls)
    await simulate(dut, units)


@cocotb.test()
async def runs_at_the_stated_rate(dut):
    units = await begin(dut, "none", "none")
    await simulate(dut, units)
    for unit in units:
        unit.check_timing()


@cocotb.test()
async def starts_clean_after_a_reset_in_mid_frame(dut):
    units = await begin(dut, "some", "some")
    for attempt in range(4):
        # Different cuts: early ones leave half a frame inside, late ones also outputs that were never taken.
        for cycle in range(7 + 23 * attempt):
            await FallingEdge(dut.clk)
            for unit in units:
                unit.drive()
            await ReadOnly()
            for unit in units:
                unit.sample(cycle)
        await reset(dut, units, cycles=1)
        for unit in units:
            unit.start(unit.inputs, unit.outputs)
    await simulate(dut, units)
