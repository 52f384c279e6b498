"""Drawn weights: torch, surrogate and reference agree frame by frame, and attacks are repeatable."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks.archive import make_archive
from attacks.catalog import make_attack
from attacks.drawing import one_draw, set_frames
from attacks.replay import replay
from attacks.surrogate import Surrogate
from attacks.torch_target import TorchTarget
from export.datatypes import BIPOLAR, UINT8
from export.errors import InputError
from export.graph import INPUT_TENSOR, DataflowGraph, Flatten, Mvau, Swg, Thresholds
from export.graphfile import graph_hash
from hw.reference import ReferenceTarget


@pytest.fixture(scope="module")
def drawn_graph():
    rng = np.random.default_rng(4)

    def means(*shape):
        return rng.integers(-128, 128, shape).astype(np.int8)

    steps = rng.integers(-300, 300, (6, 1)).astype(np.int64)
    nodes = (
        Swg(name="swg_0", input=INPUT_TENSOR, in_type=UINT8, kernel=(3, 3), stride=(2, 2)),
        Mvau(
            name="mvau_0",
            input="swg_0",
            in_type=UINT8,
            weights=means(6, 9),
            draw=0,
            thresholds=Thresholds(steps=steps),
        ),
        Flatten(name="flatten_0", input="mvau_0", in_type=BIPOLAR),
        Mvau(name="mvau_1", input="flatten_0", in_type=BIPOLAR, weights=means(5, 54), draw=3),
    )
    return DataflowGraph(input_shape=(7, 7, 1), nodes=nodes)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(5).integers(0, 256, (40, 7, 7, 1), dtype=np.uint8)


def test_surrogate_draws_what_the_reference_draws(drawn_graph, pictures):
    target = TorchTarget(Surrogate(drawn_graph), drawn_graph, batch_size=16, seed=77)
    golden = ReferenceTarget(drawn_graph, seed=77)
    expected = golden.trace(pictures, 1000)
    found = target.trace(pictures, 1000)
    assert set(found) == {"mvau_0", "mvau_1"}
    for name, values in found.items():
        assert np.array_equal(values, expected[name])
    assert np.array_equal(target.infer(pictures[7:], 1007).logits, expected["mvau_1"][7:])
    other = ReferenceTarget(drawn_graph, seed=78).infer(pictures, 1000).logits
    assert not np.array_equal(other, expected["mvau_1"])
    assert target.infer(pictures[:0]).logits.shape == (0, 5)


def test_a_seed_beyond_the_register_is_refused(drawn_graph):
    with pytest.raises(InputError, match="seed"):
        TorchTarget(Surrogate(drawn_graph), drawn_graph, seed=1 << 32)


def test_replay_is_the_same_in_batches_of_any_size(drawn_graph, pictures):
    labels = ReferenceTarget(drawn_graph).infer(pictures).labels
    surrogate = Surrogate(drawn_graph)
    attack = make_attack("pgd", eps=0.1, steps=2, seed=1)
    result = attack.craft(surrogate, pictures, labels)
    archive = make_archive(
        attack, result, originals=pictures, labels=labels, graph_hash=graph_hash(drawn_graph)
    )
    targets = [ReferenceTarget(drawn_graph, seed=3), TorchTarget(surrogate, drawn_graph, seed=3)]
    reports = [replay(archive, targets, graph_hash=archive.graph_hash, batch_size=size) for size in (None, 7)]
    assert [report.divergences for report in reports] == [0, 0]
    assert reports[0].targets[0].adversarial.correct == reports[1].targets[0].adversarial.correct
    skewed = [ReferenceTarget(drawn_graph, seed=3), TorchTarget(surrogate, drawn_graph, seed=4)]
    report = replay(archive, skewed, graph_hash=archive.graph_hash, trace=True)
    assert report.divergences > 0
    assert report.targets[1].first_divergence.layer.node == "mvau_0"


def test_crafting_repeats_itself_and_leaves_no_trace(drawn_graph, pictures):
    labels = ReferenceTarget(drawn_graph).infer(pictures).labels
    surrogate = Surrogate(drawn_graph)
    set_frames(surrogate, seed=9, first_frame=2)
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    attack = make_attack("pgd", eps=0.1, steps=2, seed=1)
    first, second = (attack.craft(surrogate, pictures, labels, batch_size=16) for _ in range(2))
    assert np.array_equal(first.adversarial, second.adversarial)
    assert torch.equal(torch.random.get_rng_state(), state)
    another = make_attack("pgd", eps=0.1, steps=2, seed=2).craft(surrogate, pictures, labels)
    assert not np.array_equal(first.adversarial, another.adversarial)
    found = surrogate(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255) * 2.0**surrogate.logit_exponent
    assert np.array_equal(found.numpy(), ReferenceTarget(drawn_graph, seed=9).infer(pictures, 2).logits)


def test_one_draw_is_shared_by_a_batch_and_new_in_each_call(drawn_graph, pictures):
    surrogate = Surrogate(drawn_graph)
    same = torch.from_numpy(pictures[:1]).permute(0, 3, 1, 2).expand(4, -1, -1, -1) / 255
    with one_draw(surrogate, seed=5):
        calls = torch.stack([surrogate(same) for _ in range(4)])
    assert torch.equal(calls, calls[:, :1].expand_as(calls))
    assert len(torch.unique(calls[:, 0], dim=0)) > 1
