"""Every entry of a map is the score of that one fault, computed from the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.faults.codes import weight_bits
from attacks.faults.criticality import activation_scores
from attacks.faults.evaluator import FaultEvaluator
from attacks.faults.model import ActivationFault, Effect, ThresholdFault, WeightFault
from attacks.faults.score import Outcomes, Score, ScoreMap
from attacks.faults.targets import FaultyReference
from export.datatypes import BIPOLAR, UINT8, DataType
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Thresholding, Thresholds

SHAPE = (2, 3, 1)


def dense(seed: int, hidden: DataType, weights: DataType, first: DataType) -> DataflowGraph:
    """Two hidden layers and logits, with a scale where the seed is odd."""
    draw = np.random.default_rng(seed)
    values = [-1, 1] if weights.is_bipolar else np.arange(weights.minimum, weights.maximum + 1)
    nodes: list = []
    if first.is_bipolar:
        binarise = Thresholds(steps=np.array([[128]]))
        nodes.append(Thresholding(name="start", input=INPUT_TENSOR, in_type=UINT8, thresholds=binarise))
    source = nodes[-1].name if nodes else INPUT_TENSOR
    nodes.append(Flatten(name="flat", input=source, in_type=first))
    sizes = (6, 5, 4, 3)
    for index in range(3):
        before, shape = nodes[-1], (sizes[index + 1], sizes[index])
        spread = max(1, before.out_type.maximum) * 3
        levels = 1 if hidden.is_bipolar else hidden.maximum - hidden.minimum
        steps = np.sort(draw.integers(-spread, spread + 1, (shape[0], levels)), axis=1)
        last = index == 2
        thresholds = None if last else Thresholds(steps=steps, out_type=hidden, out_bias=hidden.minimum)
        scaled = last and seed % 2
        nodes.append(
            Mvau(
                name=f"layer_{index}",
                input=before.name,
                in_type=before.out_type,
                weights=draw.choice(values, shape).astype(np.int8),
                weight_type=weights,
                thresholds=thresholds,
                scale=draw.integers(-3, 4, 3) if scaled else None,
                bias=draw.integers(-3, 4, 3) if scaled else None,
            )
        )
    return DataflowGraph(input_shape=SHAPE, nodes=tuple(nodes))


graphs = st.builds(
    dense,
    seed=st.integers(0, 99),
    hidden=st.sampled_from(["BIPOLAR", "BIPOLAR", "INT2"]).map(DataType),
    weights=st.sampled_from(["BIPOLAR", "BIPOLAR", "INT3"]).map(DataType),
    first=st.sampled_from([BIPOLAR, UINT8]),
)


def expected(graph, images, labels, fault) -> Score:
    logits = FaultyReference(graph, [fault]).infer(images).logits
    return Outcomes.of(logits, labels).score


def entry(scores: ScoreMap, *place: int) -> Score:
    return Score(correct=int(scores.correct[place]), margin=int(scores.margin[place]))


@settings(max_examples=6)
@given(graph=graphs, effect=st.sampled_from(list(Effect)), seed=st.integers(0, 9))
def test_maps_hold_the_scores_of_single_faults(graph, effect, seed):
    draw = np.random.default_rng(seed)
    images = draw.integers(0, 256, (30, *SHAPE), dtype=np.uint8)
    labels = draw.integers(0, 3, 30)
    evaluator = FaultEvaluator(graph, images, labels, threads=1)
    for node in graph.mvaus:
        layer = evaluator.layer(node)
        for bit in range(weight_bits(node)):
            scores = layer.weight_scores(bit, effect)
            for row, column in zip(*map(list, np.indices((node.mh, node.mw)).reshape(2, -1)), strict=True):
                fault = WeightFault(node=node.name, row=int(row), column=int(column), bit=bit, effect=effect)
                assert entry(scores, row, column) == expected(graph, images, labels, fault)
        if node.thresholds is not None:
            scores = layer.threshold_scores(effect)
            for place in np.ndindex(scores.correct.shape):
                channel, level, bit = place
                fault = ThresholdFault(node=node.name, channel=channel, level=level, bit=bit, effect=effect)
                assert entry(scores, *place) == expected(graph, images, labels, fault)
        top = node.out_type.width_bits - 1
        scores = activation_scores(layer.probe, node.out_type, top, effect)
        for element in range(node.mh):
            fault = ActivationFault(node=node.name, element=element, bit=top, effect=effect)
            assert entry(scores, element) == expected(graph, images, labels, fault)


def test_the_evaluator_s_scores_are_those_of_the_definition(binarised_graph, images):
    labels = np.random.default_rng(0).integers(0, 5, len(images))
    evaluator = FaultEvaluator(binarised_graph, images, labels, threads=1)
    weight = WeightFault(node="mvau_1", row=2, column=3)
    threshold = ThresholdFault(node="mvau_0", channel=1, bit=4)
    activation = ActivationFault(node="mvau_0", element=9)
    for faults in ([weight], [weight, threshold], [threshold, activation], [weight], []):
        logits = FaultyReference(binarised_graph, faults).infer(images).logits
        assert evaluator.score(faults) == Outcomes.of(logits, labels).score
    assert evaluator.score([]) == evaluator.clean.score


def test_of_equal_scores_the_first_place_comes_first():
    scores = ScoreMap(correct=np.array([[5, 3], [3, 3]]), margin=np.array([[0, 7], [2, 7]]))
    assert [place for place, _ in scores.worst(3)] == [(1, 0), (0, 1), (1, 1)]
    assert len(scores.worst(9)) == 4


def test_labels_must_fit_the_images(binarised_graph, images):
    with pytest.raises(InputError, match="one label an image"):
        FaultEvaluator(binarised_graph, images, np.zeros(3, np.int64))
