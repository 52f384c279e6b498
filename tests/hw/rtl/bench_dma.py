"""cocotb bench of both sides of a DMA against the AXI memory and streams of cocotbext-axi.

cocotbext-axi's memory is an implementation of AXI by others; a few lines of memory of our own answer in every
cycle, for the rate, and with errors. Inputs change after a falling edge; wires are sampled before the next
rising one.
"""

import itertools
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ReadOnly
from cocotbext.axi import (
    AxiRamRead,
    AxiRamWrite,
    AxiReadBus,
    AxiStreamBus,
    AxiStreamFrame,
    AxiStreamSink,
    AxiStreamSource,
    AxiWriteBus,
)

FRAME_WORDS = 5
FRAME_BYTES = 8 * FRAME_WORDS
WORD = 8
SLVERR, DECERR = 2, 3
LIMIT = 20_000
STALLS = [0.0, 0.3, 0.8]


def pauses(probability, seed):
    chance = random.Random(seed)
    while True:
        yield chance.random() < probability


async def begin(dut):
    Clock(dut.clk, 10, unit="ns").start(start_high=False)
    for name in ("read_start", "write_start", "read_stop", "write_stop"):
        getattr(dut, name).value = 0
    for name in ("m_axis_tready", "s_axis_tvalid", "m_axi_rvalid", "m_axi_bvalid"):
        getattr(dut, name).value = 0
    for name in ("m_axi_arready", "m_axi_awready", "m_axi_wready"):
        getattr(dut, name).value = 0
    await reset(dut)


async def reset(dut):
    await FallingEdge(dut.clk)
    dut.rst_n.value = 0
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst_n.value = 1


async def start(dut, side, address, frames):
    await FallingEdge(dut.clk)
    getattr(dut, f"{side}_address").value = address
    getattr(dut, f"{side}_frames").value = frames
    getattr(dut, f"{side}_start").value = 1
    await FallingEdge(dut.clk)
    getattr(dut, f"{side}_start").value = 0


async def until(dut, signal):
    for _ in range(LIMIT):
        await FallingEdge(dut.clk)
        await ReadOnly()
        if signal.value == 1:
            return
    raise AssertionError(f"{signal._name} did not come")


def check_address(burst):
    bytes_ = (int(burst[1]) + 1) * WORD
    assert burst[1] < 16, burst
    assert burst[0] // 4096 == (burst[0] + bytes_ - 1) // 4096, burst


async def watch_addresses(dut, seen):
    """Collect the bursts, and check them and that they wait unchanged."""
    waiting = {"ar": None, "aw": None}
    while True:
        await FallingEdge(dut.clk)
        await ReadOnly()
        for side in waiting:
            valid = getattr(dut, f"m_axi_{side}valid").value == 1
            offer = None
            if valid:
                offer = (
                    int(getattr(dut, f"m_axi_{side}addr").value),
                    int(getattr(dut, f"m_axi_{side}len").value),
                )
                check_address(offer)
            assert waiting[side] in (None, offer), f"{side} changed while it waited"
            ready = getattr(dut, f"m_axi_{side}ready").value == 1
            waiting[side] = offer if valid and not ready else None
            if valid and ready:
                seen.append((side, *offer))


@cocotb.test()
@cocotb.parametrize(stalls=list(itertools.product(STALLS, STALLS)))
async def reads_arrive_in_order(dut, stalls):
    await begin(dut)
    ram = AxiRamRead(AxiReadBus.from_prefix(dut, "m_axi"), dut.clk, size=2**16)
    sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.clk, byte_lanes=1)
    data = random.Random(1).randbytes(2**16)
    ram.write(0, data)
    ram.ar_channel.set_pause_generator(pauses(stalls[0], 2))
    ram.r_channel.set_pause_generator(pauses(stalls[0], 3))
    sink.set_pause_generator(pauses(stalls[1], 4))
    seen = []
    cocotb.start_soon(watch_addresses(dut, seen))
    for address, frames in ((0, 1), (4096 - 8, 2), (8 * 77, 60), (4096 - 16 * 8, 7)):
        await start(dut, "read", address, frames)
        frame = await sink.recv()
        words = [int(word) for word in frame.tdata]
        got = b"".join(word.to_bytes(WORD, "little") for word in words)
        # tlast ends the frame of the stream, so its length is checked too.
        assert got == data[address : address + frames * FRAME_BYTES]
        await until(dut, dut.read_quiet)
    assert {side for side, _, _ in seen} == {"ar"}


@cocotb.test()
@cocotb.parametrize(stalls=list(itertools.product(STALLS, STALLS)))
async def writes_arrive_in_order(dut, stalls):
    await begin(dut)
    ram = AxiRamWrite(AxiWriteBus.from_prefix(dut, "m_axi"), dut.clk, size=2**16)
    source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.clk, byte_lanes=1)
    for channel in (ram.aw_channel, ram.w_channel, ram.b_channel):
        channel.set_pause_generator(pauses(stalls[0], 5))
    source.set_pause_generator(pauses(stalls[1], 6))
    chance = random.Random(7)
    cocotb.start_soon(watch_addresses(dut, []))
    for address, frames in ((0, 1), (4096 - 8, 2), (8 * 77, 60), (4096 - 16 * 8, 7)):
        before, after = chance.randbytes(64), chance.randbytes(64)
        size = frames * FRAME_BYTES
        if address:
            ram.write(address - 64, before)
        ram.write(address + size, after)
        data = chance.randbytes(size)
        for i in range(0, size, FRAME_BYTES):
            words = [data[j : j + WORD] for j in range(i, i + FRAME_BYTES, WORD)]
            await source.send(AxiStreamFrame(tdata=[int.from_bytes(word, "little") for word in words]))
        await start(dut, "write", address, frames)
        await until(dut, dut.write_done)
        assert ram.read(address, size) == data
        # Nothing beside it was touched.
        assert ram.read(address + size, 64) == after
        assert not address or ram.read(address - 64, 64) == before


async def serve_reads(dut, log, *, errors=None, early_last=False):
    """Answer a word in every cycle; `errors` gives the response of a word by its address."""
    beats, valid = [], False
    dut.m_axi_arready.value = 1
    for cycle in itertools.count():
        await FallingEdge(dut.clk)
        valid = bool(beats)
        dut.m_axi_rvalid.value = int(valid)
        if valid:
            address, last = beats[0]
            dut.m_axi_rdata.value = address
            dut.m_axi_rresp.value = (errors or {}).get(address, 0)
            dut.m_axi_rlast.value = int(last) ^ int(early_last)
        await ReadOnly()
        if valid and dut.m_axi_rready.value == 1:
            beats.pop(0)
        if dut.m_axi_arvalid.value == 1:
            first, length = int(dut.m_axi_araddr.value), int(dut.m_axi_arlen.value)
            beats += [(first + WORD * i, i == length) for i in range(length + 1)]
        if dut.m_axis_tvalid.value == 1 and dut.m_axis_tready.value == 1:
            log.append((cycle, int(dut.m_axis_tdata.value), int(dut.m_axis_tlast.value)))


async def serve_writes(dut, log, *, errors=None):
    """Take a word in every cycle."""
    ends, answers, answering, bursts = [], [], False, []
    dut.m_axi_awready.value = 1
    dut.m_axi_wready.value = 1
    for cycle in itertools.count():
        await FallingEdge(dut.clk)
        answering = bool(answers)
        dut.m_axi_bvalid.value = int(answering)
        if answering:
            dut.m_axi_bresp.value = answers[0]
        await ReadOnly()
        if answering and dut.m_axi_bready.value == 1:
            answers.pop(0)
        if dut.m_axi_awvalid.value == 1:
            bursts.append(int(dut.m_axi_awaddr.value))
        if dut.m_axi_wvalid.value == 1:
            log.append((cycle, int(dut.m_axi_wdata.value)))
            if dut.m_axi_wlast.value == 1:
                ends.append(cycle)
                answers.append((errors or {}).get(bursts[len(ends) - 1], 0))


@cocotb.test()
async def reads_a_word_a_cycle(dut):
    await begin(dut)
    log, frames = [], 100
    dut.m_axis_tready.value = 1
    cocotb.start_soon(serve_reads(dut, log))
    await start(dut, "read", 4096 - 24, frames)
    for _ in range(frames * FRAME_WORDS + 60):
        await FallingEdge(dut.clk)
    cycles = [cycle for cycle, _, _ in log]
    assert len(cycles) == frames * FRAME_WORDS
    assert [address for _, address, _ in log] == [4096 - 24 + WORD * i for i in range(len(cycles))]
    # No bubble from the first word to the last.
    assert cycles[-1] - cycles[0] == len(cycles) - 1
    assert [last for _, _, last in log] == [0] * (len(cycles) - 1) + [1]


@cocotb.test()
async def writes_a_word_a_cycle(dut):
    await begin(dut)
    log, frames = [], 100
    cocotb.start_soon(serve_writes(dut, log))
    cocotb.start_soon(offer_words(dut, frames))
    await start(dut, "write", 0, frames)
    await until(dut, dut.write_done)
    cycles = [cycle for cycle, _ in log]
    assert [word for _, word in log] == list(range(frames * FRAME_WORDS))
    # The last burst waits for its last words; from the first word to the last there is no other bubble.
    assert cycles[-1] - cycles[0] <= len(cycles) + 16


async def offer_words(dut, frames, lasts=None):
    """Offer numbered words at full rate; `lasts` says which are the last of a frame."""
    for index in range(frames * FRAME_WORDS):
        await FallingEdge(dut.clk)
        dut.s_axis_tvalid.value = 1
        dut.s_axis_tdata.value = index
        last = index % FRAME_WORDS == FRAME_WORDS - 1 if lasts is None else index in lasts
        dut.s_axis_tlast.value = int(last)
        await ReadOnly()
        while dut.s_axis_tready.value != 1:
            await FallingEdge(dut.clk)
            await ReadOnly()
    await FallingEdge(dut.clk)
    dut.s_axis_tvalid.value = 0


@cocotb.test()
@cocotb.parametrize(case=[(SLVERR, "slave"), (DECERR, "decode")])
async def errors_of_the_memory_are_told(dut, case):
    await begin(dut)
    response, name = case
    log = []
    dut.m_axis_tready.value = 1
    cocotb.start_soon(serve_reads(dut, log, errors={64: response}))
    cocotb.start_soon(serve_writes(dut, [], errors={0: response}))
    cocotb.start_soon(offer_words(dut, 10))
    await start(dut, "read", 0, 4)
    await until(dut, getattr(dut, f"read_{name}_error"))
    await start(dut, "write", 0, 10)
    await until(dut, getattr(dut, f"write_{name}_error"))
    for _ in range(100):
        await FallingEdge(dut.clk)
    # The word of an error answer is dropped.
    assert 64 not in [address for _, address, _ in log]


@cocotb.test()
async def a_last_beat_in_a_wrong_place_is_told(dut):
    await begin(dut)
    dut.m_axis_tready.value = 1
    cocotb.start_soon(serve_reads(dut, [], early_last=True))
    await start(dut, "read", 0, 1)
    await until(dut, dut.read_length_error)


@cocotb.test()
@cocotb.parametrize(lasts=[(3,), (5,), (4, 8), (4, 9, 15)])
async def a_short_or_long_frame_is_told(dut, lasts):
    await begin(dut)
    cocotb.start_soon(serve_writes(dut, []))
    cocotb.start_soon(offer_words(dut, 4, lasts))
    await start(dut, "write", 0, 4)
    await until(dut, dut.write_length_error)
    wrong = next(i for i in range(20) if (i in lasts) != (i % FRAME_WORDS == FRAME_WORDS - 1))
    assert dut.s_axis_tdata.value == wrong


@cocotb.test()
async def stop_ends_what_was_offered_and_begins_nothing(dut):
    for moment in (3, 9, 17, 30, 44):
        await begin(dut)
        seen, log = [], []
        dut.m_axis_tready.value = 1
        tasks = [
            cocotb.start_soon(watch_addresses(dut, seen)),
            cocotb.start_soon(serve_reads(dut, [])),
            cocotb.start_soon(serve_writes(dut, log)),
            cocotb.start_soon(offer_words(dut, 40)),
        ]
        await start(dut, "read", 0, 40)
        await start(dut, "write", 0, 40)
        for _ in range(moment):
            await FallingEdge(dut.clk)
        dut.read_stop.value = dut.write_stop.value = 1
        await FallingEdge(dut.clk)
        await FallingEdge(dut.clk)
        offered = len(seen)
        await until(dut, dut.read_quiet)
        await until(dut, dut.write_quiet)
        for _ in range(50):
            await FallingEdge(dut.clk)
        assert len(seen) == offered
        assert len(log) == sum(length + 1 for side, _, length in seen if side == "aw")
        for task in tasks:
            task.cancel()
