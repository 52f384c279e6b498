"""cocotb bench of a generated top with drawn weights: its registers, and what a write to them does."""

import json
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly

SPEC = json.loads(Path(cocotb.plusargs["spec"]).read_text())
SEED, FRAME, STATUS, NOTHING = 0x0, 0x4, 0x8, 0xC
OKAY, SLVERR = 0, 2
LIMIT_CYCLES = 4000


class Bus:
    """One master of the top's AXI4-Lite port; it waits at random before it takes an answer."""

    def __init__(self, dut):
        self.dut, self.random = dut, random.Random(5)

    async def write(self, address, data, strobes=15):
        """Offer address and data in different cycles; return the response."""
        dut = self.dut
        await FallingEdge(dut.clk)
        first, second = self.random.sample(["aw", "w"], 2)
        dut.s_axil_awaddr.value, dut.s_axil_wdata.value, dut.s_axil_wstrb.value = address, data, strobes
        getattr(dut, f"s_axil_{first}valid").value = 1
        for _ in range(self.random.randrange(3)):
            await ReadOnly()
            assert dut.s_axil_awready.value == dut.s_axil_wready.value == 0
            await FallingEdge(dut.clk)
        getattr(dut, f"s_axil_{second}valid").value = 1
        await ReadOnly()
        assert dut.s_axil_awready.value == dut.s_axil_wready.value == 1
        await FallingEdge(dut.clk)
        dut.s_axil_awvalid.value = dut.s_axil_wvalid.value = 0
        return await self._answer("b", dut.s_axil_bresp)

    async def read(self, address):
        dut = self.dut
        await FallingEdge(dut.clk)
        dut.s_axil_araddr.value, dut.s_axil_arvalid.value = address, 1
        await ReadOnly()
        assert dut.s_axil_arready.value == 1
        await FallingEdge(dut.clk)
        dut.s_axil_arvalid.value = 0
        assert dut.s_axil_rresp.value == OKAY
        return await self._answer("r", dut.s_axil_rdata)

    async def _answer(self, channel, payload):
        """Take an answer some cycles late; it must wait unchanged."""
        dut = self.dut
        seen = None
        for _ in range(self.random.randrange(3) + 1):
            await ReadOnly()
            assert getattr(dut, f"s_axil_{channel}valid").value == 1
            assert seen is None or seen == int(payload.value)
            seen = int(payload.value)
            await FallingEdge(dut.clk)
        getattr(dut, f"s_axil_{channel}ready").value = 1
        await FallingEdge(dut.clk)
        getattr(dut, f"s_axil_{channel}ready").value = 0
        await ReadOnly()
        assert getattr(dut, f"s_axil_{channel}valid").value == 0
        return seen


async def begin(dut):
    Clock(dut.clk, 10, unit="ns").start(start_high=False)
    for name in ("s_axis_tvalid", "m_axis_tready"):
        getattr(dut, name).value = 0
    for name in ("awvalid", "wvalid", "bready", "arvalid", "rready"):
        getattr(dut, f"s_axil_{name}").value = 0
    dut.rst_n.value = 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst_n.value = 1
    return Bus(dut)


async def frames(dut, beats, outputs, stall=0.3):
    """Send beats and return so many output beats, with random stalls on both sides."""
    chance, sent, offered, found = random.Random(7), 0, False, []
    for _ in range(LIMIT_CYCLES):
        await FallingEdge(dut.clk)
        offered = sent < len(beats) and (offered or chance.random() >= stall)
        dut.s_axis_tvalid.value = int(offered)
        dut.s_axis_tdata.value = int(beats[sent], 16) if offered else 0
        ready = len(found) < outputs and chance.random() >= stall
        dut.m_axis_tready.value = int(ready)
        await ReadOnly()
        if ready and dut.m_axis_tvalid.value == 1:
            found.append(int(dut.m_axis_tdata.value))
        if offered and dut.s_axis_tready.value == 1:
            sent, offered = sent + 1, False
        if sent == len(beats) and len(found) == outputs:
            await FallingEdge(dut.clk)
            dut.s_axis_tvalid.value = dut.m_axis_tready.value = 0
            return found
    raise AssertionError(f"stuck: {sent} of {len(beats)} beats sent, {len(found)} of {outputs} received")


def beats_of(*images):
    return [beat for image in images for beat in SPEC["beats"][image]]


def expected(seed, *pairs):
    """Output beats of (image, frame) pairs."""
    return [int(beat, 16) for image, frame in pairs for beat in SPEC["logits"][f"{seed} {image} {frame}"]]


@cocotb.test()
async def registers_say_what_was_written(dut):
    bus = await begin(dut)
    assert [await bus.read(address) for address in (SEED, FRAME, STATUS, NOTHING)] == [0, 0, 0, 0]
    assert await bus.write(SEED, 0x12345678) == OKAY
    assert await bus.write(FRAME, 0xFFFFFFFF) == OKAY
    assert await bus.write(SEED, 0xAABBCCDD, strobes=0b0110) == OKAY
    assert await bus.write(STATUS, 1) == SLVERR
    assert await bus.write(NOTHING, 1) == SLVERR
    found = [await bus.read(address) for address in (SEED, FRAME, STATUS, NOTHING)]
    assert found == [0x12BBCC78, 0xFFFFFFFF, 0, 0]


@cocotb.test()
async def a_reset_starts_with_frame_0_of_seed_0(dut):
    await begin(dut)
    assert await frames(dut, beats_of(0, 1), 2 * SPEC["out_beats"]) == expected(0, (0, 0), (1, 1))


@cocotb.test()
async def a_write_between_frames_begins_anew(dut):
    bus = await begin(dut)
    out = SPEC["out_beats"]
    assert await bus.write(FRAME, 0xFFFFFFFF) == OKAY
    assert await frames(dut, beats_of(0, 1), 2 * out) == expected(0, (0, 0xFFFFFFFF), (1, 0))
    assert await bus.read(FRAME) == 1
    assert await bus.write(SEED, 7) == OKAY
    assert await frames(dut, beats_of(0), out) == expected(7, (0, 1))
    assert await bus.write(FRAME, 0) == OKAY
    assert await frames(dut, beats_of(0), out) == expected(7, (0, 0))


@cocotb.test()
async def a_write_while_a_frame_is_on_its_way_changes_nothing(dut):
    bus = await begin(dut)
    out = SPEC["out_beats"]
    beats = beats_of(0, 1)
    head = await frames(dut, beats[:1], 0)
    assert await bus.read(STATUS) == 1
    assert await bus.read(FRAME) == 1
    assert await bus.write(SEED, 7) == SLVERR
    assert await bus.write(FRAME, 9) == SLVERR
    head += await frames(dut, beats[1:], out + 1)
    assert await bus.read(STATUS) == 1
    assert await bus.write(FRAME, 9) == SLVERR
    head += await frames(dut, [], out - 1)
    assert head == expected(0, (0, 0), (1, 1))
    assert [await bus.read(address) for address in (SEED, FRAME, STATUS)] == [0, 2, 0]
