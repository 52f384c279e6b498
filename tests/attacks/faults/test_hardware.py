"""The generated hardware with faults gives the logits of the emulator and of the definition."""

from dataclasses import replace

import numpy as np
import pytest

from attacks.faults import replay
from attacks.faults.apply import apply_faults
from attacks.faults.hardware import faulty_rtl
from attacks.faults.layout import Address, MemoryLayout, faulty_memories, random_bursts
from attacks.faults.model import ActivationFault, Effect, ThresholdFault, WeightFault
from attacks.faults.replay import Scenario, replay_faults
from attacks.faults.targets import FaultyEmulator, FaultyReference
from export.datatypes import UINT8, DataType
from export.errors import DivergenceError, InputError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.rtlgen import plan_rtl

PLAIN, INTEGER = DataType("BIPOLAR"), DataType("UINT2")


def mlp() -> tuple[DataflowGraph, Folding]:
    """Agreeing positions, sums of integers, integer weights, one threshold and three."""
    draw = np.random.default_rng(11)

    def mvau(name, source, in_type, shape, out, kind=PLAIN):
        values = np.array([-1, 1]) if kind.is_bipolar else np.arange(kind.minimum, kind.maximum + 1)
        weights = draw.choice(values, shape).astype(np.int8)
        levels = 1 if out is None or out.is_bipolar else 3
        steps = np.sort(draw.integers(-3, 6, (shape[0], levels)), axis=1)
        thresholds = None if out is None else Thresholds(steps=steps, out_type=out)
        return Mvau(
            name=name, input=source, in_type=in_type, weights=weights, weight_type=kind, thresholds=thresholds
        )

    binarise = Thresholds(steps=draw.integers(100, 150, (3, 1)))
    nodes = (
        Thresholding(name="binarise", input=INPUT_TENSOR, in_type=UINT8, thresholds=binarise),
        Flatten(name="flat", input="binarise", in_type=PLAIN),
        mvau("agree", "flat", PLAIN, (8, 12), INTEGER),
        mvau("sum", "agree", INTEGER, (8, 8), PLAIN),
        mvau("multiply", "sum", PLAIN, (6, 8), PLAIN, DataType("INT4")),
        mvau("logits", "multiply", PLAIN, (4, 6), None, DataType("INT4")),
    )
    # Sums up to 30, so six bits of logits.
    fives = np.vstack([np.full((1, 6), 5, np.int8), np.clip(nodes[-1].weights[1:], -4, 4)])
    nodes = (*nodes[:-1], replace(nodes[-1], weights=fives))
    layers = {"agree": (2, 6), "sum": (4, 4), "multiply": (2, 4), "logits": (2, 3)}
    folding = Folding({name: LayerFolding(*layer) for name, layer in layers.items()})
    return DataflowGraph(input_shape=(2, 2, 3), nodes=nodes), folding


@pytest.fixture(scope="module")
def case():
    return mlp()


@pytest.fixture(scope="module")
def layout(case):
    return MemoryLayout.of(*case, plan_rtl(*case))


@pytest.fixture(scope="session")
def simulator_cache(tmp_path_factory):
    return tmp_path_factory.getbasetemp().parent / "simulator-cache"


MEMORY = (
    WeightFault(node="agree", row=7, column=11),
    WeightFault(node="sum", row=2, column=5, effect=Effect.STUCK_AT_1),
    WeightFault(node="multiply", row=3, column=2, bit=3),
    WeightFault(node="logits", row=1, column=4),
    ThresholdFault(node="binarise", channel=1, bit=6),
    ThresholdFault(node="agree", channel=3, level=0, bit=3),
    ThresholdFault(node="sum", channel=5, bit=0),
    ThresholdFault(node="multiply", channel=4, bit=2, effect=Effect.STUCK_AT_1),
)
STREAMS = (
    ActivationFault(node="binarise", element=7),
    ActivationFault(node="agree", element=6, bit=1, effect=Effect.STUCK_AT_1),
    ActivationFault(node="agree", element=6, bit=0),
    ActivationFault(node="agree", element=6, bit=0, effect=Effect.STUCK_AT_0),
    ActivationFault(node="sum", element=2, effect=Effect.STUCK_AT_0),
    ActivationFault(node="multiply", element=5),
    ActivationFault(node="logits", element=3, bit=2),
)


@pytest.mark.parametrize("faults", [MEMORY, STREAMS, (*MEMORY, *STREAMS)], ids=["memory", "streams", "both"])
def test_hardware_emulator_and_definition_agree(case, faults, simulator_cache):
    graph, folding = case
    images = np.random.default_rng(4).integers(0, 256, (40, 2, 2, 3), dtype=np.uint8)
    expected = FaultyReference(graph, faults).trace(images)
    assert not np.array_equal(expected["logits"], FaultyReference(graph, ()).infer(images).logits)
    assert np.array_equal(FaultyEmulator(graph, faults, threads=1).infer(images).logits, expected["logits"])
    target = faulty_rtl(graph, folding, faults, cache_dir=simulator_cache, workers=1)
    assert np.array_equal(target.infer(images).logits, expected["logits"])
    if faults != MEMORY:
        for name, values in target.trace(images[:9]).items():
            assert np.array_equal(values, expected[name][:9]), name


def test_logits_that_are_too_large_wrap_around(case, simulator_cache):
    graph, folding = case
    # Six weights of 7 and all inputs +1: 42, which six bits hold as -22.
    faults = [
        *(WeightFault(node="logits", row=0, column=column, bit=1) for column in range(6)),
        *(
            ActivationFault(node="multiply", element=element, effect=Effect.STUCK_AT_1)
            for element in range(6)
        ),
    ]
    images = np.random.default_rng(4).integers(0, 256, (5, 2, 2, 3), dtype=np.uint8)
    reference = FaultyReference(graph, faults).infer(images).logits
    assert set(reference[:, 0]) == {-22}
    assert np.array_equal(FaultyEmulator(graph, faults, threads=1).infer(images).logits, reference)
    target = faulty_rtl(graph, folding, faults, cache_dir=simulator_cache, workers=1)
    assert np.array_equal(target.infer(images).logits, reference)
    with pytest.raises(InputError, match="INT7, hardware has INT6"):
        apply_faults(graph, faults[:6])


@pytest.mark.parametrize("fault", MEMORY, ids=lambda fault: f"{fault.node}-{fault.kind}")
def test_memories_hold_what_the_faulty_graph_s_hold(case, layout, fault):
    graph, folding = case
    found = faulty_memories(plan_rtl(graph, folding).memories, layout, [fault])
    faulty = plan_rtl(apply_faults(graph, [fault]), folding).memories
    sorted_away = fault.node == "agree" and isinstance(fault, ThresholdFault)
    for name, text in found.items():
        assert (text == faulty[name]) != sorted_away


def test_addresses_follow_the_folding(layout):
    assert layout.addresses(WeightFault(node="agree", row=7, column=11)) == (
        Address(file="agree_weights.mem", word=7, bit=6 + 5),
    )
    # 1 + 4 + 4 bits: one of the input, four of a weight, four that count eight inputs.
    assert layout.addresses(ThresholdFault(node="multiply", channel=5, bit=8)) == (
        Address(file="multiply_params.mem", word=2, bit=9 + 8),
    )


def test_a_burst_strikes_the_neighbours_in_a_word(case, layout):
    burst = layout.burst("multiply", "weight", word=3, bit=14, length=4)
    places = [(fault.row, fault.column, fault.bit) for fault in burst]
    assert places == [(2, 7, 2), (2, 7, 3), (3, 4, 0), (3, 4, 1)]
    assert [layout.addresses(fault)[0].bit for fault in burst] == [14, 15, 16, 17]
    levels = layout.burst("agree", "threshold", word=0, bit=3, length=2)
    assert [(fault.channel, fault.level, fault.bit) for fault in levels] == [(0, 0, 3), (0, 1, 0)]
    with pytest.raises(InputError, match="no bit in a word 32"):
        layout.burst("multiply", "weight", word=3, bit=30, length=3)


def test_random_bursts_are_the_same_however_many_there_are(layout):
    many = random_bursts(layout, "agree", "weight", length=3, count=9, seed=5)
    assert many[:4] == random_bursts(layout, "agree", "weight", length=3, count=4, seed=5)
    assert len({burst[0] for burst in many}) > 1


def test_a_word_that_channels_share_has_no_bit_for_one_of_them(case):
    graph, folding = case
    same = replace(graph.nodes[0], thresholds=Thresholds(steps=np.full((3, 1), 128)))
    shared = replace(graph, nodes=(same, *graph.nodes[1:]))
    narrow = Folding({**folding.layers, "agree": LayerFolding(2, 4)})
    layout = MemoryLayout.of(shared, narrow, plan_rtl(shared, narrow))
    with pytest.raises(InputError, match="share one word"):
        layout.addresses(ThresholdFault(node="binarise", channel=1))


def test_a_replay_compares_all_targets(case, simulator_cache):
    graph, folding = case
    images = np.random.default_rng(5).integers(0, 256, (20, 2, 2, 3), dtype=np.uint8)
    labels = np.zeros(20, np.int64)
    scenario = Scenario(name="all", faults=(*MEMORY, *STREAMS))
    found = replay_faults(graph, folding, scenario, images, labels, workers=1, cache_dir=simulator_cache)
    found.check()
    targets = found.to_json()["targets"]
    assert [target["target"] for target in targets] == ["emulator", "reference", "rtl"]
    assert len({target["correct"] for target in targets}) == 1
    assert targets[2]["how"] == "memory contents and forced streams"


def test_a_replay_names_image_layer_and_channel(case, simulator_cache, monkeypatch):
    graph, folding = case
    images = np.random.default_rng(5).integers(0, 256, (20, 2, 2, 3), dtype=np.uint8)

    def other_fault(graph, folding, faults, **options):
        return faulty_rtl(graph, folding, [*faults, ActivationFault(node="agree", element=2)], **options)

    monkeypatch.setattr(replay, "faulty_rtl", other_fault)
    scenario = Scenario(name="one", faults=STREAMS[:1])
    found = replay_faults(
        graph, folding, scenario, images, np.zeros(20, np.int64), workers=1, cache_dir=simulator_cache
    )
    assert [result.diverging_images > 0 for result in found.targets] == [False, False, True]
    with pytest.raises(DivergenceError, match=r"rtl differs from emulator .* first in layer agree"):
        found.check()


def test_where_channels_share_a_word_the_faulty_network_is_generated(case, simulator_cache):
    graph, folding = case
    shared = replace(graph.nodes[0], thresholds=Thresholds(steps=np.full((1, 1), 128)))
    graph = replace(graph, nodes=(shared, *graph.nodes[1:]))
    narrow = Folding({**folding.layers, "agree": LayerFolding(2, 4)})
    fault = ThresholdFault(node="binarise", channel=1, bit=8)
    target, how = replay.open_hardware(graph, narrow, [fault], cache_dir=simulator_cache)
    assert (target.name, how) == ("rtl", "generated from the faulty graph")
