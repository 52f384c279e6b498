"""Samples, intervals, surveys and the greedy search."""

import math
from dataclasses import replace

import numpy as np
import pytest

from attacks.faults.apply import apply_faults
from attacks.faults.evaluator import FaultEvaluator
from attacks.faults.greedy import GreedySearch
from attacks.faults.model import ActivationFault, Effect, ThresholdFault, WeightFault
from attacks.faults.sampling import estimate, memories_of, random_faults, wilson
from attacks.faults.score import Objective, Outcomes, Score, ScoreMap
from attacks.faults.summary import shrink, survey_to_json
from attacks.faults.survey import survey_memory, survey_stream
from attacks.faults.targets import FaultyReference
from export.datatypes import UINT8
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Swg, Thresholds


@pytest.fixture
def labels(images):
    return np.random.default_rng(0).integers(0, 5, len(images))


@pytest.fixture
def evaluator(binarised_graph, images, labels):
    return FaultEvaluator(binarised_graph, images, labels, threads=1)


def convolution() -> DataflowGraph:
    draw = np.random.default_rng(2)
    signs = np.array([-1, 1], np.int8)
    windows = Swg(name="windows", input=INPUT_TENSOR, in_type=UINT8, kernel=(2, 2), stride=(1, 1))
    steps = draw.integers(-200, 200, (4, 1))
    conv = Mvau(
        name="conv",
        input="windows",
        in_type=UINT8,
        weights=draw.choice(signs, (4, 8)),
        thresholds=Thresholds(steps=steps),
    )
    flat = Flatten(name="flat", input="conv", in_type=conv.out_type)
    last = Mvau(name="last", input="flat", in_type=conv.out_type, weights=draw.choice(signs, (5, 24)))
    return DataflowGraph(input_shape=(3, 4, 2), nodes=(windows, conv, flat, last))


def test_memories_are_all_bits_of_weights_and_thresholds(binarised_graph):
    sizes = {(m.node, m.kind): (m.rows, m.columns, m.bits) for m in memories_of(binarised_graph)}
    assert sizes == {
        ("thresholding_0", "threshold"): (2, 1, 9),
        ("mvau_0", "weight"): (16, 24, 1),
        ("mvau_0", "threshold"): (16, 1, 5),
        ("mvau_1", "weight"): (12, 16, 1),
        ("mvau_1", "threshold"): (12, 1, 5),
        ("mvau_2", "weight"): (5, 12, 1),
    }


def test_random_faults_strike_every_bit_once(binarised_graph):
    memories = memories_of(binarised_graph)
    bits = sum(memory.size for memory in memories)
    everything = random_faults(memories, bits, seed=3)
    assert len(set(everything)) == bits
    apply_faults(binarised_graph, everything)
    assert random_faults(memories, 5, seed=3, index=7) == random_faults(memories, 5, seed=3, index=7)
    assert random_faults(memories, 5, seed=3, index=7) != random_faults(memories, 5, seed=3, index=8)
    with pytest.raises(InputError, match="as many bits"):
        random_faults(memories, bits + 1, seed=3)


def test_wilson_s_interval_of_newcombe_s_example():
    # Newcombe (1998), table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20)[0] == pytest.approx(0)


def test_an_estimate_of_all_faults_is_certain():
    scores = ScoreMap(correct=np.array([8, 9, 10, 9]), margin=np.zeros(4, np.int64))
    clean = Score(correct=9, margin=0)
    sampled = estimate(scores, clean=clean, images=10)
    half = 1.959964 * np.std([0.8, 0.9, 1.0, 0.9], ddof=1) / math.sqrt(4)
    assert (sampled.mean, sampled.high) == pytest.approx((0.9, 0.9 + half))
    assert sampled.harmful == 0.25
    certain = estimate(scores, clean=clean, images=10, exhaustive=True)
    assert (certain.low, certain.high, certain.worst) == (certain.mean, certain.mean, 0.8)
    assert (certain.harmful_low, certain.harmful_high) == (0.25, 0.25)


@pytest.mark.parametrize("effect", list(Effect))
def test_surveys_name_the_faults_of_their_scores(evaluator, effect):
    for memory in memories_of(evaluator.graph):
        survey = survey_memory(evaluator, memory, effect=effect, samples=1000, seed=0)
        assert survey.exhaustive
        for fault, score in survey.worst(3):
            assert evaluator.score([fault]) == score
    stream = survey_stream(evaluator, evaluator.graph.nodes[0], effect=effect, samples=5, seed=0)
    for fault, score in stream.worst(3):
        assert isinstance(fault, ActivationFault)
        assert evaluator.score([fault]) == score


def test_convolutions_are_sampled(images, labels):
    graph = convolution()
    evaluator = FaultEvaluator(graph, images, labels, threads=1)
    memory = next(m for m in memories_of(graph) if (m.node, m.kind) == ("conv", "weight"))
    survey = survey_memory(evaluator, memory, effect=Effect.FLIP, samples=9, seed=1)
    assert not survey.exhaustive
    assert len(survey.faults) == 9
    for fault, score in survey.worst(9):
        assert evaluator.score([fault]) == score
    found = survey_to_json(survey, clean=evaluator.clean.score, images=len(images))
    assert (found["bits"], found["estimate"]["faults"], found["map"]) == (32, 9, None)


def test_the_first_step_is_the_worst_of_all_single_faults(binarised_graph, images, labels):
    memories = memories_of(binarised_graph)
    evaluator = FaultEvaluator(binarised_graph, images, labels, threads=1)
    every = [evaluator.score([memory.fault(i)]) for memory in memories for i in range(memory.size)]
    for objective in Objective:
        search = GreedySearch(
            graph=binarised_graph,
            images=images,
            labels=labels,
            memories=memories,
            objective=objective,
            threads=1,
        )
        steps = search.run(3)
        assert steps[0].candidates == len(every)
        assert steps[0].score.key(objective) == min(score.key(objective) for score in every)
        for count, step in enumerate(steps):
            assert evaluator.score([s.fault for s in steps[: count + 1]]) == step.score
    assert len({step.fault for step in steps}) == 3


def test_a_channel_s_thresholds_are_struck_once(binarised_graph, images, labels):
    memories = [m for m in memories_of(binarised_graph, ("threshold",)) if m.node == "mvau_1"]
    search = GreedySearch(graph=binarised_graph, images=images, labels=labels, memories=memories, threads=1)
    steps = search.run(20)
    channels = [step.fault.channel for step in steps if isinstance(step.fault, ThresholdFault)]
    assert sorted(channels) == list(range(12))


def test_maps_shrink_to_blocks():
    grid = np.arange(5 * 3 * 2, dtype=float).reshape(5, 3, 2)
    found = shrink(grid, side=2)
    assert (found["row_starts"], found["column_starts"]) == ([0, 2], [0, 1])
    assert found["worst"] == [[0, 2], [12, 14]]
    assert found["mean"][1][1] == grid[2:, 1:].mean()


def test_weights_of_a_survey_are_in_c_order(evaluator):
    memory = memories_of(evaluator.graph, ("weight",))[0]
    assert memory.fault(25) == WeightFault(node="mvau_0", row=1, column=1)


def test_drawn_weights_are_those_of_seed_and_frame(binarised_graph, images, labels):
    hidden = binarised_graph.nodes[3]
    means = np.random.default_rng(1).integers(-128, 128, hidden.weights.shape).astype(np.int8)
    drawn = replace(hidden, weights=means, draw=3)
    graph = replace(binarised_graph, nodes=(*binarised_graph.nodes[:3], drawn, binarised_graph.nodes[4]))
    fault = WeightFault(node="mvau_1", row=1, column=2, bit=7)
    evaluator = FaultEvaluator(graph, images, labels, threads=1, seed=9, first_frame=5)
    logits = FaultyReference(graph, [fault], seed=9).infer(images, 5).logits
    assert evaluator.score([fault]) == Outcomes.of(logits, labels).score
    search = GreedySearch(
        graph=graph,
        images=images,
        labels=labels,
        memories=memories_of(graph, ("weight",)),
        samples=4,
        seed=9,
        threads=1,
    )
    (step,) = search.run(1)
    logits = FaultyReference(graph, [step.fault], seed=9).infer(images).logits
    assert step.score == Outcomes.of(logits, labels).score
