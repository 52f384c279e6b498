"""The very same driver on the Verilated overlay: real bursts, through a memory that stalls and fails."""

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.graph import DataflowGraph, Flatten, Mvau, Swg, Thresholds
from hw.build import write_build
from hw.folding import Folding, LayerFolding
from hw.overlay import BusChannel, Direction, OverlaySimulation, Response, design_hash
from hw.pynq import Accelerator, ChannelError, SimulationBus, StuckError, WrongOverlayError, parse_manifest
from hw.reference import ReferenceTarget

# Simulated seconds: a million cycles.
TIMEOUT_S = 0.01


def conv_graph():
    """A convolution over 5x5 images of 3 channels, and 7 classes: neither fills its last word of 64 bits."""
    rng = np.random.default_rng(5)

    def signs(*shape):
        return rng.choice(np.array([-1, 1], np.int8), shape)

    nodes = (
        Swg(name="swg_0", input="images", in_type=UINT8, kernel=(3, 3), stride=(1, 1)),
        Mvau(
            name="mvau_0",
            input="swg_0",
            in_type=UINT8,
            weights=signs(4, 27),
            thresholds=Thresholds(steps=rng.integers(-400, 400, (4, 1))),
        ),
        Flatten(name="flatten_0", input="mvau_0", in_type=BIPOLAR),
        Mvau(name="mvau_1", input="flatten_0", in_type=BIPOLAR, weights=signs(7, 36)),
    )
    return DataflowGraph(input_shape=(5, 5, 3), nodes=nodes)


@pytest.fixture
def open_driver(tmp_path, simulator_cache, document):
    """The function that opens the simulation of a network and the driver on it."""

    def make(graph, folding, **options):
        build = write_build(tmp_path / "build", graph=graph, folding=folding, clock_mhz=100)
        simulation = OverlaySimulation(build, cache_dir=simulator_cache)
        draws = any(node.draw is not None for node in graph.mvaus)
        manifest = parse_manifest(document(graph, design_hash=design_hash(build), draws=draws))
        bus = SimulationBus(simulation, manifest)
        return simulation, Accelerator(bus, manifest, timeout_s=TIMEOUT_S, **options)

    return make


@pytest.fixture
def conv(open_driver):
    graph = conv_graph()
    folding = Folding({"mvau_0": LayerFolding(pe=2, simd=3), "mvau_1": LayerFolding(pe=1, simd=4)})
    return graph, *open_driver(graph, folding, batch_size=4)


def images_of(graph, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *graph.input_shape), np.uint8)


def test_a_convolution_through_stalls_errors_and_hangs(conv):
    graph, simulation, accelerator = conv
    images = images_of(graph, 10)
    expected = ReferenceTarget(graph).infer(images).logits
    for seed, stall in enumerate((0.0, 0.3, 0.8)):
        simulation.set_timing(seed=seed, stall=stall, latency_cycles=1 + 20 * seed)
        assert np.array_equal(accelerator.logits(images), expected)
    simulation.set_timing(seed=9, stall=0.2)

    source, sink = accelerator._engine.buffers()
    for direction, buffer, channel in ((Direction.READ, source, "idma0"), (Direction.WRITE, sink, "odma0")):
        for response, words in ((Response.SLVERR, "slave error"), (Response.DECERR, "decode error")):
            simulation.fail_at(direction, buffer.address + 64, 8, response)
            with pytest.raises(ChannelError, match=f"{channel} reports {words}") as caught:
                accelerator.execute(images)
            assert caught.value.context["channel"] == channel
            assert caught.value.context["registers"]["STATUS"] & 1
            simulation.heal()
            assert np.array_equal(accelerator.logits(images), expected)

    simulation.hang(BusChannel.AR)
    with pytest.raises(StuckError, match=r"odma0 is stuck.*idma0 is stuck: 0 of 4 frames after 0.01 s"):
        accelerator.execute(images)
    simulation.heal()
    simulation.reset()
    accelerator.check_circuit()


def test_a_hang_that_ends_is_survived(conv):
    graph, simulation, accelerator = conv
    images = images_of(graph, 4)
    # A stall of 5000 cycles in the middle of a batch is no error.
    accelerator.copy_input_data_to_device(images)
    accelerator.execute_on_buffers(asynch=True)
    simulation.hang(BusChannel.R | BusChannel.B)
    simulation.step(5000)
    simulation.heal()
    accelerator.wait_until_finished()
    packed = np.zeros(accelerator.oshape_packed(), np.uint8)
    accelerator.copy_output_data_from_device(packed)
    found = accelerator.unfold_output(accelerator.unpack_output(packed))
    assert np.array_equal(found, ReferenceTarget(graph).infer(images).logits)
    report = accelerator.clock_report()
    report.check()
    assert report.measured[0] <= 100 <= report.measured[1]


def test_another_circuit_is_refused(conv, document):
    graph, simulation, _ = conv
    manifest = parse_manifest(document(graph, design_hash="ee" * 32))
    with pytest.raises(WrongOverlayError, match="describes eeeeeeeeeeee"):
        Accelerator(SimulationBus(simulation, manifest), manifest)


def test_a_network_of_the_size_of_tfc(open_driver, build_mlp):
    graph = build_mlp((784, 64, 64, 64, 10), seed=2)
    layers = ((16, 49), (8, 8), (8, 8), (5, 8))
    folding = Folding({f"mvau_{index}": LayerFolding(*layer) for index, layer in enumerate(layers)})
    simulation, accelerator = open_driver(graph, folding, batch_size=16)
    simulation.set_timing(seed=3, stall=0.1)
    images = images_of(graph, 40)
    assert np.array_equal(accelerator.logits(images), ReferenceTarget(graph).infer(images).logits)


def test_drawn_weights_follow_seed_and_frame(open_driver, drawn_graph):
    layers = {"drawn": LayerFolding(2, 4), "last": LayerFolding(1, 4)}
    _, accelerator = open_driver(drawn_graph, Folding(layers), batch_size=3)
    images = images_of(drawn_graph, 8)
    accelerator.seed = 11
    for first in (0, 40, 2**32 - 3):
        expected = ReferenceTarget(drawn_graph, seed=11).infer(images, first).logits
        assert np.array_equal(accelerator.logits(images, first_frame=first), expected)
        assert accelerator.frame == (first + 8) % 2**32
    accelerator.reset()
    expected = ReferenceTarget(drawn_graph, seed=11).infer(images).logits
    assert np.array_equal(accelerator.logits(images), expected)
