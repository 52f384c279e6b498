"""The driver on the emulated overlay: exact logits, and every fault an error in time."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.emulator import EmulatorTarget
from hw.pynq import (
    Accelerator,
    BadInputError,
    ChannelError,
    ClockError,
    DriverError,
    KnownAnswers,
    SelfTestError,
    SimulationBus,
    StuckError,
    WrongOverlayError,
    finn_shapes,
    parse_manifest,
)
from hw.pynqremote import EmulatedOverlay, Faults
from hw.reference import ReferenceTarget


def images_of(graph, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *graph.input_shape), np.uint8)


@pytest.fixture
def graph(build_mlp):
    return build_mlp((12, 8, 5), seed=3)


@pytest.mark.parametrize("output", ["int8", "int16", "int32", "int64"])
def test_logits_are_exact(graph, make_overlay, output):
    _, accelerator = make_overlay(graph, output=output, batch_size=4)
    images = images_of(graph, 11)
    expected = ReferenceTarget(graph).infer(images)
    found = accelerator.execute(images)
    assert found.dtype == np.dtype(output)
    assert np.array_equal(found, expected.logits)
    assert np.array_equal(accelerator.logits(images), expected.logits)
    assert np.array_equal(accelerator.predict(images), expected.labels)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(0, 9), batch=st.integers(1, 6))
def test_no_image_of_a_partial_batch_is_dropped(build_mlp, document, count, batch):
    graph = build_mlp((12, 8, 5), seed=3)
    manifest = parse_manifest(document(graph))
    device = EmulatedOverlay(manifest, ReferenceTarget(graph))
    images = images_of(graph, count, seed=count)
    with Accelerator(SimulationBus(device, manifest), manifest, batch_size=batch) as accelerator:
        found = accelerator.logits(images)
    assert np.array_equal(found, ReferenceTarget(graph).infer(images).logits)
    assert device.computed_frames == count


def test_images_of_other_types_and_lists(graph, make_overlay):
    _, accelerator = make_overlay(graph)
    images = images_of(graph, 3)
    expected = accelerator.execute(images)
    assert np.array_equal(accelerator.execute([images]), expected)
    assert np.array_equal(accelerator.execute(images.astype(np.float32)), expected)
    for wrong, words in (
        (images.astype(np.float32) + 0.5, "whole numbers"),
        (images.astype(np.int64) - 300, "don't fit UINT8"),
        (images[:, :5], "must have the shape"),
        ([images, images], "one input"),
    ):
        with pytest.raises(BadInputError, match=words):
            accelerator.execute(wrong)


def test_finn_names_and_shapes(graph, document, make_overlay):
    _, accelerator = make_overlay(graph, batch_size=4)
    assert accelerator.ishape_normal() == accelerator.ishape_folded() == (4, 12, 1, 1)
    assert accelerator.ishape_packed() == (4, 12, 1, 1)
    assert accelerator.oshape_normal() == accelerator.oshape_folded() == (4, 5)
    assert accelerator.oshape_packed() == (4, 24)
    images = images_of(graph, 4)
    accelerator.copy_input_data_to_device(accelerator.pack_input(accelerator.fold_input(images)))
    accelerator.execute_on_buffers(asynch=True)
    accelerator.wait_until_finished(1.0)
    packed = np.zeros(accelerator.oshape_packed(), np.uint8)
    accelerator.copy_output_data_from_device(packed)
    found = accelerator.unfold_output(accelerator.unpack_output(packed))
    assert np.array_equal(found, ReferenceTarget(graph).infer(images).logits)
    with pytest.raises(BadInputError, match="one input"):
        accelerator.ishape_normal(1)

    for names in ({"input_dma_name": "idma0"}, {"input_dma_name": ["idma0"]}, {"idma_names": ["idma0"]}):
        shapes = finn_shapes(parse_manifest(document(graph)))
        del shapes["idma_names"], shapes["input_dma_name"]
        _, other = make_overlay(graph, io_shape_dict={**shapes, **names})
        assert np.array_equal(other.execute(images), found)
    with pytest.raises(BadInputError, match="no DMA idma7"):
        make_overlay(graph, io_shape_dict={**shapes, "idma_names": ["idma7"]})
    with pytest.raises(BadInputError, match="oshape_normal"):
        make_overlay(graph, io_shape_dict={**shapes, "oshape_normal": [[1, 6]]})
    with pytest.raises(BadInputError, match="INT16"):
        make_overlay(graph, io_shape_dict={**shapes, "odt": ["DataType['INT16']"]})
    with pytest.raises(BadInputError, match="lacks or garbles 'idt'"):
        make_overlay(graph, io_shape_dict={key: value for key, value in shapes.items() if key != "idt"})


def test_throughput_test_has_the_keys_of_finn(graph, make_overlay):
    _, accelerator = make_overlay(graph, batch_size=10)
    result = accelerator.throughput_test()
    assert set(result) == {
        "runtime[ms]",
        "throughput[images/s]",
        "DRAM_in_bandwidth[MB/s]",
        "DRAM_out_bandwidth[MB/s]",
        "fclk[mhz]",
        "batch_size",
        "fold_input[ms]",
        "pack_input[ms]",
        "copy_input_data_to_device[ms]",
        "copy_output_data_from_device[ms]",
        "unpack_output[ms]",
        "unfold_output[ms]",
    }
    # 10 frames of 100 cycles at 100 MHz, and what starting and polling take.
    assert 0.01 <= result["runtime[ms]"] < 0.02
    assert result["fclk[mhz]"] == 100
    assert result["throughput[images/s]"] == pytest.approx(10 / result["runtime[ms]"] * 1000)
    assert result["DRAM_in_bandwidth[MB/s]"] == pytest.approx(result["throughput[images/s]"] * 12e-6)


@pytest.mark.parametrize("channel", ["idma0", "odma0"])
def test_stuck_channel_is_named_and_reset(graph, make_overlay, channel):
    faults = Faults(stuck=frozenset({channel}), starts=1)
    device, accelerator = make_overlay(graph, faults=faults, timeout_s=0.5, batch_size=3)
    images = images_of(graph, 3)
    with pytest.raises(StuckError, match=r"odma0 is stuck: 0 of 3 frames after 0.5 s \(CTRL=0x1") as caught:
        accelerator.execute(images)
    assert "idma0 is stuck" in caught.value.message
    assert caught.value.context["channel"] == "odma0"
    assert device.cycles < 100e6
    # It was reset: the same batch works.
    assert np.array_equal(accelerator.execute(images), ReferenceTarget(graph).infer(images).logits)


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        (Faults(errors={"odma0": 0x10}), "odma0 reports length error"),
        (Faults(errors={"idma0": 0x20}), "idma0 reports slave error"),
        (Faults(errors={"idma0": 0x40}), "idma0 reports decode error"),
        (Faults(errors={"odma0": 0x60}), "slave error.*decode error"),
        (Faults(short=2), "odma0 reports length error.*FRAMES_DONE=0x2"),
    ],
)
def test_error_bits_are_raised_and_cleared(graph, make_overlay, faults, words):
    _, accelerator = make_overlay(graph, faults=replace(faults, starts=1), batch_size=3)
    images = images_of(graph, 3)
    with pytest.raises(ChannelError, match=words):
        accelerator.execute(images)
    assert np.array_equal(accelerator.execute(images), ReferenceTarget(graph).infer(images).logits)


def test_results_that_stop_early_without_an_error_bit_are_refused(graph, make_overlay):
    device, accelerator = make_overlay(graph, batch_size=3)
    original = device.read
    device.read = lambda offset: 2 if offset == 0x1028 else original(offset)
    with pytest.raises(ChannelError, match="stopped after 2 of 3 frames"):
        accelerator.execute(images_of(graph, 3))


def test_hardware_that_stays_silent_after_a_reset_is_given_up(graph, make_overlay):
    _, accelerator = make_overlay(graph, faults=Faults(stuck=frozenset({"odma0"}), deaf=True), timeout_s=0.01)
    with pytest.raises(StuckError, match="odma0 is stuck") as caught:
        accelerator.execute(images_of(graph, 1))
    assert caught.value.hint == "idma0 and odma0 did not become idle after a reset: load the overlay again"
    with pytest.raises(DriverError, match="did not become idle after a reset\nload the overlay again"):
        accelerator.execute(images_of(graph, 1))


def test_a_channel_that_is_not_idle_is_reset(graph, make_overlay):
    device, accelerator = make_overlay(graph)
    device.write(0x1000, 1)
    with pytest.raises(ChannelError, match="odma0 is not idle"):
        accelerator.execute(images_of(graph, 1))
    assert len(accelerator.execute(images_of(graph, 1))) == 1


def test_another_circuit_is_refused(graph, document):
    manifest = parse_manifest(document(graph))
    target = ReferenceTarget(graph)
    for changed, words in (
        (replace(manifest, design_hash="cd" * 32), "the circuit in the device is cdcdcdcdcdcd"),
        (replace(manifest, output_bytes=32), "odma0 moves 32 bytes a frame, not 24"),
    ):
        device = EmulatedOverlay(changed, target)
        with pytest.raises(WrongOverlayError, match=words):
            Accelerator(SimulationBus(device, manifest), manifest)
    device = EmulatedOverlay(manifest, target)
    device.read = lambda offset: 0
    with pytest.raises(WrongOverlayError, match="no accelerator answers at 0x43c02000"):
        Accelerator(SimulationBus(device, manifest), manifest)


def test_known_images_find_wrong_answers(graph, make_overlay):
    images = images_of(graph, 5)
    answers = KnownAnswers(images=images, logits=ReferenceTarget(graph).infer(images).logits)
    _, accelerator = make_overlay(graph)
    accelerator.self_test(answers)
    _, accelerator = make_overlay(graph, faults=Faults(garbled=True))
    with pytest.raises(SelfTestError, match="5 of 5; the first is image 0, class 0"):
        accelerator.self_test(answers)


def test_clock_is_measured_and_refused(graph, make_overlay):
    _, accelerator = make_overlay(graph)
    report = accelerator.set_clock(80.0)
    assert report.measured[0] <= 80 <= report.measured[1]
    assert report.measured[1] / report.measured[0] < 1.001
    assert (report.asked, report.planned, report.achieved, report.set) == (100, 100, None, 80)
    with pytest.raises(ClockError, match="120 MHz is more than"):
        accelerator.set_clock(120.0)
    clock = {"clock": {"asked_mhz": 200, "planned_mhz": 200, "achieved_mhz": 187.5}}
    _, accelerator = make_overlay(graph, changes=clock)
    with pytest.raises(ClockError, match=r"200 MHz is more than .* 187.5"):
        accelerator.set_clock(200.0)
    # Set rightly, but the logic runs at another rate: simulated time passes by the true cycles.
    device, accelerator = make_overlay(graph, faults=Faults(clock_factor=2.0))
    accelerator.bus.now = lambda: device._cycles / 100e6
    with pytest.raises(ClockError, match=r"is set to 100 MHz, but the logic counts 199\.99"):
        accelerator.set_clock(100.0)
    accelerator.bus.clock_mhz = lambda: None
    with pytest.raises(ClockError, match=r"counts 199\.99.* MHz, its timing was closed at 100"):
        accelerator.clock_report().check()


def test_seeds_and_frames_of_drawn_weights(drawn_graph, library, make_overlay):
    graph = drawn_graph
    target = EmulatorTarget(graph, threads=1, library=library)
    _, accelerator = make_overlay(graph, draws=True, target=target, batch_size=4)
    images = images_of(graph, 10)
    accelerator.seed = 7
    expected = EmulatorTarget(graph, threads=1, library=library, seed=7).infer(images, 5).logits
    assert np.array_equal(accelerator.logits(images, first_frame=5), expected)
    assert accelerator.frame == 15
    # Going on where it stopped, in other batches.
    accelerator.frame = 5
    accelerator.batch_size = 3
    parts = [accelerator.logits(images[:2]), accelerator.logits(images[2:])]
    assert np.array_equal(np.concatenate(parts), expected)
    # A reset keeps the seed, and another one gives other weights.
    accelerator.reset()
    assert np.array_equal(accelerator.logits(images, first_frame=5), expected)
    accelerator.seed = 8
    assert accelerator.frame == 0
    assert not np.array_equal(accelerator.logits(images, first_frame=5), expected)
    with pytest.raises(BadInputError, match="a seed is"):
        accelerator.seed = 1 << 32


def test_there_is_no_seed_where_nothing_is_drawn(graph, make_overlay):
    _, accelerator = make_overlay(graph)
    for use in (lambda: accelerator.seed, lambda: accelerator.execute(images_of(graph, 1), first_frame=3)):
        with pytest.raises(BadInputError, match="draws no weights"):
            use()


def test_buffers_are_kept_and_freed(graph, make_overlay):
    _, accelerator = make_overlay(graph, batch_size=8)
    memory = accelerator.bus.memory
    images = images_of(graph, 8)
    accelerator.execute(images)
    assert memory.taken_bytes == 8 * 12 + 8 * 24
    accelerator.execute(images)
    assert memory.taken_bytes == 8 * 12 + 8 * 24
    accelerator.batch_size = 2
    assert memory.taken_bytes == 0
    with accelerator:
        accelerator.execute(images)
        assert memory.taken_bytes == 2 * 12 + 2 * 24
    assert memory.taken_bytes == 0
    for wrong in (0, -1, 1.5):
        with pytest.raises(BadInputError, match="batch_size"):
            accelerator.batch_size = wrong
    accelerator.batch_size = 2
    with pytest.raises(BadInputError, match="from 1 to 2"):
        accelerator.execute_on_buffers(batch_size=3)


def test_threads_take_turns(graph, make_overlay):
    _, accelerator = make_overlay(graph, batch_size=4)
    images = [images_of(graph, 6, seed) for seed in range(8)]
    expected = [ReferenceTarget(graph).infer(batch).logits for batch in images]
    found = [None] * len(images)

    def work(index):
        found[index] = accelerator.logits(images[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


def test_memory_that_is_full_is_named(graph, make_overlay):
    _, accelerator = make_overlay(graph, batch_size=1 << 25)
    with pytest.raises(DriverError, match="bytes of memory are free"):
        accelerator.execute(images_of(graph, 1))
    accelerator.batch_size = 1
    assert len(accelerator.execute(images_of(graph, 1))) == 1
