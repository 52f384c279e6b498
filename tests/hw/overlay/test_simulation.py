"""An overlay gives the emulator's logits through registers and memory, and says so where it can't."""

import numpy as np
import pytest

from export.errors import CheckFailedError
from hw.overlay import BusChannel, Direction, RegisterError, Response
from hw.reference import ReferenceTarget

IDMA, ODMA, CONTROL = 0x0000, 0x1000, 0x2000
CTRL, ADDRESS, FRAMES, STATUS, BYTES, FINISHED, RESET = 0x00, 0x10, 0x1C, 0x20, 0x24, 0x28, 0x2C
INPUTS, OUTPUTS = 0x1000_0FC0, 0x1004_0FD0
HALTED, LENGTH, SLAVE, DECODE = 1, 0x10, 0x20, 0x40


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_logits_equal_the_reference(driver, cases, count):
    images = cases["integers"].images(count)
    expected = ReferenceTarget(cases["integers"].graph).infer(images).logits
    np.testing.assert_array_equal(driver.infer(images), expected)
    assert driver.simulation.read(IDMA + FINISHED) == driver.simulation.read(ODMA + FINISHED) == count
    assert driver.status(IDMA) == driver.status(ODMA) == 0


@pytest.mark.parametrize(("stall", "latency"), [(0.0, 0), (0.5, 3), (0.9, 40)])
def test_transfers_follow_each_other_whatever_the_memory_does(driver, cases, stall, latency):
    driver.simulation.set_timing(seed=3, stall=stall, latency_cycles=latency)
    target = ReferenceTarget(cases["integers"].graph)
    for count in (3, 1, 40, 5):
        images = cases["integers"].images(count, seed=count)
        # Frames of 10 bytes end within a word; what fills it up must not reach the next transfer.
        np.testing.assert_array_equal(driver.infer(images), target.infer(images).logits)


def test_every_place_of_a_buffer_in_a_page_works(driver, cases):
    images = cases["integers"].images(60)
    expected = ReferenceTarget(cases["integers"].graph).infer(images).logits
    for place in range(0, 4096, 8 * 37):
        np.testing.assert_array_equal(
            driver.infer(images, source=INPUTS + place, sink=OUTPUTS + place), expected
        )


def test_a_convolution_with_an_odd_frame(conv_driver, conv_network):
    simulation = conv_driver.simulation
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 5, 3), np.uint8)
    assert simulation.read(IDMA + BYTES) == 75
    # Seven logits of four bytes, and four bytes more for whole words.
    assert simulation.read(ODMA + BYTES) == 32
    expected = ReferenceTarget(conv_network).infer(images).logits
    np.testing.assert_array_equal(conv_driver.infer(images), expected)


def test_a_frame_a_cycle(open_driver, cases):
    """Three logits in one beat: the fourth place of the frame is filled up."""
    case = cases["unrolled"]
    driver = open_driver(case.graph, case.folding)
    images = case.images(200)
    np.testing.assert_array_equal(driver.infer(images), ReferenceTarget(case.graph).infer(images).logits)
    before = driver.simulation.cycles
    driver.infer(images)
    # 8 bytes in and 16 out a frame: the output's two words a frame are the limit.
    assert driver.simulation.cycles - before < 2 * 200 + 150


def test_registers_read_back_and_say_which_circuit_it_is(driver):
    simulation = driver.simulation
    digest = b"".join(simulation.read(CONTROL + 0x20 + 4 * i).to_bytes(4, "little") for i in range(8))
    assert digest == simulation.design.digest
    assert simulation.read(CONTROL + 0x10) == 0x42495453
    assert simulation.read(CONTROL + 0x14) == 1
    first = simulation.read(CONTROL + 0x18)
    simulation.step(1000)
    assert 1000 <= simulation.read(CONTROL + 0x18) - first < 1020
    assert simulation.read(CONTROL + 0x1C) == 0
    for base in (IDMA, ODMA):
        simulation.write(base + ADDRESS, 0x1234_5678)
        simulation.write(base + FRAMES, 9)
        assert simulation.read(base + ADDRESS) == 0x1234_5678
        assert simulation.read(base + FRAMES) == 9
        assert simulation.read(base + CTRL) == 4
    for unused in (0x0004, 0x0FFC, 0x2000, 0x2004, 0x2008, 0x2FF0, 0x3000, 0x4000, 0xFFFC):
        assert simulation.read(unused) == 0
        simulation.write(unused, 1)


def test_part_of_a_word_is_refused(driver):
    with pytest.raises(RegisterError, match="SLVERR"):
        driver.simulation.write(IDMA + FRAMES, 5, strobes=3)
    assert driver.simulation.read(IDMA + FRAMES) == 0


def test_done_is_read_once_and_frames_of_zero_are_done_at_once(driver):
    simulation = driver.simulation
    driver.start(ODMA, OUTPUTS, 0)
    simulation.step(100)
    assert simulation.read(ODMA + CTRL) == 6
    assert simulation.read(ODMA + CTRL) == 4
    driver.start(IDMA, INPUTS, 0)
    simulation.step(100)
    # A start clears it too.
    driver.start(IDMA, INPUTS, 1)
    assert simulation.read(IDMA + CTRL) == 1


@pytest.mark.parametrize(("response", "bit"), [(Response.SLVERR, SLAVE), (Response.DECERR, DECODE)])
@pytest.mark.parametrize("direction", Direction)
def test_an_error_of_the_memory_halts_and_a_reset_mends_it(driver, cases, direction, response, bit):
    simulation, images = driver.simulation, cases["integers"].images(50)
    side = IDMA if direction is Direction.READ else ODMA
    address = (INPUTS if side == IDMA else OUTPUTS) + 200
    simulation.fail_at(direction, address, 8, response)
    driver.begin(images)
    assert simulation.run_until(lambda: bool(driver.status(side)), 20_000)
    assert driver.status(side) == bit | HALTED
    assert simulation.read(side + CTRL) == 4
    assert not driver.finished()
    # Clearing the bit doesn't end the halt, and nothing starts meanwhile.
    simulation.write(side + STATUS, bit)
    assert driver.status(side) == HALTED
    simulation.write(side + CTRL, 1)
    assert simulation.read(side + CTRL) == 4
    simulation.heal()
    assert driver.reset()
    expected = ReferenceTarget(cases["integers"].graph).infer(images).logits
    np.testing.assert_array_equal(driver.infer(images), expected)


def test_memory_that_is_not_there_is_a_decode_error(driver):
    driver.start(IDMA, 0x5000_0000, 3)
    assert driver.simulation.run_until(lambda: bool(driver.status(IDMA)), 2000)
    assert driver.status(IDMA) == DECODE | HALTED


@pytest.mark.parametrize("address", [INPUTS + 4, 1 << 40])
def test_an_address_that_cannot_be_used_is_refused(driver, address):
    driver.start(IDMA, address, 3)
    assert driver.status(IDMA) == LENGTH | HALTED
    assert driver.simulation.words_moved == (0, 0)


@pytest.mark.parametrize("channel", BusChannel)
def test_a_stuck_bus_is_waited_for(driver, cases, channel):
    simulation, images = driver.simulation, cases["integers"].images(50)
    simulation.hang(channel)
    driver.begin(images)
    assert not simulation.run_until(driver.finished, 5000)
    # The bursts that were offered must end before the reset may; AXI knows no way to call one back.
    assert not driver.reset()
    simulation.heal()
    assert simulation.run_until(lambda: not simulation.read(ODMA + RESET), 2000)
    expected = ReferenceTarget(cases["integers"].graph).infer(images).logits
    np.testing.assert_array_equal(driver.infer(images), expected)


def test_a_reset_at_any_moment_leaves_nothing_behind(driver, cases):
    simulation, images = driver.simulation, cases["integers"].images(30)
    expected = ReferenceTarget(cases["integers"].graph).infer(images).logits
    simulation.set_timing(seed=1, stall=0.3, latency_cycles=7)
    for moment in range(0, 400, 23):
        driver.begin(images)
        simulation.step(moment)
        assert driver.reset()
        assert simulation.read(ODMA + ADDRESS) == 0
    np.testing.assert_array_equal(driver.infer(images), expected)


def test_seed_and_frame_of_drawn_weights(drawn_driver, drawn_network):
    """The accelerator's own registers are behind the overlay's, and refuse while a frame is on its way."""
    simulation = drawn_driver.simulation
    images = np.random.default_rng(1).integers(0, 256, (12, *drawn_network.input_shape), np.uint8)
    for seed, first in ((0, 0), (7, 1000), (0xFFFF_FFFF, 3)):
        simulation.write(CONTROL, seed)
        simulation.write(CONTROL + 4, first)
        expected = ReferenceTarget(drawn_network, seed=seed).infer(images, first).logits
        np.testing.assert_array_equal(drawn_driver.infer(images), expected)
        assert simulation.read(CONTROL + 4) == first + len(images)
        assert simulation.read(CONTROL + 8) == 0
    # The next transfer goes on with the next frame.
    expected = ReferenceTarget(drawn_network, seed=0xFFFF_FFFF).infer(images, 3 + len(images)).logits
    np.testing.assert_array_equal(drawn_driver.infer(images), expected)
    # Let the output wait until its buffer is full, so that frames stay on their way.
    simulation.hang(BusChannel.AW)
    drawn_driver.begin(np.tile(images, (4, 1, 1, 1)))
    simulation.step(2000)
    assert simulation.read(CONTROL + 8) == 1
    with pytest.raises(RegisterError, match="SLVERR"):
        simulation.write(CONTROL, 1)
    simulation.heal()
    assert simulation.run_until(drawn_driver.finished, 20_000)
    assert drawn_driver.reset()
    assert simulation.read(CONTROL) == simulation.read(CONTROL + 4) == 0


def test_a_closed_simulation_says_so(driver):
    driver.simulation.close()
    driver.simulation.close()
    with pytest.raises(ValueError, match="closed"):
        driver.simulation.step()


def test_memory_outside_is_refused(driver):
    with pytest.raises(ValueError, match="not in the simulated memory"):
        driver.simulation.read_memory(0, 8)
    with pytest.raises(ValueError, match="probability"):
        driver.simulation.set_timing(stall=1.0)


def test_register_errors_are_failed_checks():
    assert issubclass(RegisterError, CheckFailedError)
