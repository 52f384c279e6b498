"""cocotb bench for units with AXI4-Streams in and out; it runs inside the simulator.

``+spec=FILE`` names a JSON list of units. All units of a simulation run side by side, each stream with its
own random stalls. Inputs are driven after a falling edge and every wire is sampled before the rising edge
that follows, so nothing depends on the order of events in a simulator.
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


class Stalling:
    """Two-state random process: with equal probabilities independent cycles, else bursts."""

    def __init__(self, probabilities, seed):
        self.begin, self.end = probabilities
        self.random = random.Random(seed)
        self.stalled = False

    def next(self):
        self.stalled = self.random.random() < (1 - self.end if self.stalled else self.begin)
        return self.stalled


class Source:
    """Drives one input of a unit."""

    def __init__(self, dut, prefix, width, stalls):
        self.tdata, self.tvalid, self.tready = wires(dut, prefix)
        self.width, self.stalls = width, stalls

    def start(self, beats):
        self.beats, self.cycles, self.sent, self.offered = beats, [], 0, False

    def drive(self):
        stalled = self.stalls.next()
        # Once offered, a beat stays until it is taken: AXI4-Stream's rule for the source.
        self.offered = self.sent < len(self.beats) and (self.offered or not stalled)
        self.tvalid.value = int(self.offered)
        noise = self.stalls.random.getrandbits(self.width)
        self.tdata.value = int(self.beats[self.sent], 16) if self.offered else noise

    def sample(self, cycle):
        if self.offered and self.tready.value == 1:
            self.cycles.append(cycle)
            self.sent += 1
            self.offered = False

    @property
    def done(self):
        return self.sent == len(self.beats)


class Sink:
    """Takes one output of a unit and checks what comes out."""

    def __init__(self, dut, prefix, last_every, stalls):
        self.name, self.last_every, self.stalls = prefix, last_every, stalls
        self.tdata, self.tvalid, self.tready = wires(dut, prefix)
        self.tlast = getattr(dut, f"{prefix}_tlast") if last_every else None

    def start(self, beats):
        self.beats, self.cycles, self.received, self.waiting = beats, [], 0, None

    def drive(self):
        self.ready = not self.stalls.next()
        self.tready.value = int(self.ready)

    def sample(self, cycle):
        valid = self.tvalid.value == 1
        beat = None
        if valid:
            beat = (int(self.tdata.value), None if self.tlast is None else int(self.tlast.value))
        if self.waiting is not None:
            assert valid, f"{self.name}: tvalid fell in cycle {cycle} before tready"
            assert beat == self.waiting, f"{self.name}: the beat changed in cycle {cycle} before tready"
        self.waiting = beat if valid and not self.ready else None
        if valid and self.ready:
            self._check(beat, cycle)

    def _check(self, beat, cycle):
        index = self.received
        assert index < len(self.beats), f"{self.name}: an output too many, {beat[0]:x}, in cycle {cycle}"
        got, expected = beat[0], int(self.beats[index], 16)
        assert got == expected, (
            f"{self.name}: output {index} is {got:x}, expected {expected:x}, cycle {cycle}"
        )
        if beat[1] is not None:
            last = (index + 1) % self.last_every == 0
            assert beat[1] == last, f"{self.name}: tlast is {beat[1]} in output {index}"
        self.cycles.append(cycle)
        self.received += 1

    @property
    def done(self):
        return self.received == len(self.beats)


class Unit:
    """All streams of one unit."""

    def __init__(self, dut, spec, idle, pressure, seed):
        self.spec, self.name = spec, spec["name"]
        self.sources = [
            Source(
                dut, f"{self.name}_{port}", width, Stalling(STALLS[idle], f"{self.name} {port} {idle} {seed}")
            )
            for port, width in zip(spec["in_ports"], spec["in_widths"], strict=True)
        ]
        self.sinks = [
            Sink(
                dut,
                f"{self.name}_{port}",
                spec["last_every"],
                Stalling(STALLS[pressure], f"{self.name} {port} {pressure} {seed}"),
            )
            for port in spec["out_ports"]
        ]
        self.start()

    def start(self):
        for source, beats in zip(self.sources, self.spec["in_beats"], strict=True):
            source.start(beats)
        for sink in self.sinks:
            sink.start(self.spec["outputs"])

    def drive(self):
        for side in (*self.sources, *self.sinks):
            side.drive()

    def sample(self, cycle):
        for side in (*self.sinks, *self.sources):
            side.sample(cycle)

    @property
    def done(self):
        return all(side.done for side in (*self.sources, *self.sinks))

    def check_timing(self):
        """Without stalls: the first latency, and the cycles from each frame to the next, to the cycle."""
        spec = self.spec
        began = max(source.cycles[spec["completes"]] for source in self.sources)
        for sink in self.sinks:
            latency = sink.cycles[spec["measured"]] - began
            assert latency == spec["latency"], f"{sink.name}: latency {latency}, stated {spec['latency']}"
            beats = spec["out_beats"]
            steps = [b - a for a, b in zip(sink.cycles, sink.cycles[beats:], strict=False)]
            # The first frames fill the pipeline; after that every beat of every frame comes II cycles later.
            settled = steps[spec["settle_frames"] * beats :]
            assert settled, f"{sink.name}: too few frames to measure the II"
            found = sorted(set(settled))
            assert found == [spec["ii"]], f"{sink.name}: II {found}, stated {spec['ii']}"


def wires(dut, prefix):
    return [getattr(dut, f"{prefix}_{role}") for role in ("tdata", "tvalid", "tready")]


async def simulate(dut, units):
    """Run until every unit has sent and received all, and then long enough to see an output too many."""
    beats = sum(len(s["in_beats"][0]) + len(s["outputs"]) for s in SPECS)
    limit = beats * 20 + 20 * max(s["ii"] for s in SPECS)
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
    stuck = {
        u.name: ([s.sent for s in u.sources], [s.received for s in u.sinks]) for u in units if not u.done
    }
    raise AssertionError(f"stuck after {limit} cycles (sent, received): {stuck}")


async def reset(dut, units, cycles=2):
    """Hold rst_n low; nothing is offered or taken meanwhile."""
    await FallingEdge(dut.clk)
    dut.rst_n.value = 0
    for unit in units:
        for source in unit.sources:
            source.tvalid.value = 0
        for sink in unit.sinks:
            sink.tready.value = 0
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
            unit.start()
    await simulate(dut, units)
