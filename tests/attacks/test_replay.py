from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from attacks.archive import load_attack, make_archive, save_attack
from attacks.catalog import make_attack
from attacks.goal import Goal
from attacks.replay import measure, replay
from attacks.torch_target import TorchTarget
from export.errors import CheckFailedError, DivergenceError, InputError
from export.graphfile import graph_hash
from hw.reference import ReferenceTarget, compute_node
from hw.target import Inference, TargetKind


@dataclasses.dataclass
class Faulty:
    """The reference, but one value of one layer flips for one image; it has a clock."""

    graph: object
    image: np.ndarray
    node: str
    channel: int
    name: str = "faulty"
    kind: TargetKind = TargetKind.CYCLE_ACCURATE

    def trace(self, images, first_frame=0):
        values = ReferenceTarget(self.graph).trace(images)
        hit = (images == self.image).reshape(len(images), -1).all(axis=1)
        late = False
        for node in self.graph.nodes:
            if late:
                values[node.name] = compute_node(node, values[node.input])
            if node.name == self.node:
                values[node.name][hit, self.channel] *= -1
                late = True
        return values

    def infer(self, images, first_frame=0):
        return Inference(
            logits=self.trace(images)[self.graph.nodes[-1].name], cycles=np.arange(len(images)) + 90
        )


class Silent:
    """A target without trace."""

    name = "silent"
    kind = TargetKind.HARDWARE

    def __init__(self, inner):
        self._inner = inner

    def infer(self, images, first_frame=0):
        return self._inner.infer(images, first_frame)


@pytest.fixture
def archive(net, graph, images, labels):
    attack = make_attack("pgd", eps=20 / 255, steps=4, goal=Goal.NEXT)
    result = attack.craft(net, images, labels)
    return make_archive(
        attack, result, originals=images, labels=labels, graph_hash=graph_hash(graph), origin="tiny"
    )


def test_equal_targets_have_no_divergence(archive, net, graph):
    targets = [TorchTarget(net, graph), ReferenceTarget(graph), Silent(ReferenceTarget(graph))]
    report = replay(archive, targets, graph_hash=archive.graph_hash, trace=True)
    report.check()
    assert report.divergences == 0
    assert [(result.target, result.kind) for result in report.targets] == [
        ("torch", "simulation"),
        ("reference", "simulation"),
        ("silent", "hardware"),
    ]
    for result in report.targets:
        assert result.clean.accuracy == 1.0
        assert result.adversarial.accuracy < 0.9
        assert result.adversarial.correct == round(result.adversarial.accuracy * 40)
        assert result.adversarial.on_target > result.clean.on_target == 0
        assert result.clean.first_latency_cycles is None
        assert result.clean.images_per_second > 0


@given(image=st.integers(0, 39), channel=st.integers(0, 31))
def test_one_flipped_bit_is_found_with_its_layer(archive, graph, image, channel):
    assume(np.any(archive.adversarial[image] != archive.originals[image]))
    faulty = Faulty(graph, archive.adversarial[image], "mvau_0", channel)
    report = replay(archive, [ReferenceTarget(graph), faulty], graph_hash=archive.graph_hash, trace=True)
    result = report.targets[1]
    assert result.divergences == result.adversarial.diverging_images == 1
    assert result.adversarial.diverging_logits == 5
    first = result.first_divergence
    assert (first.target, first.baseline, first.images, first.image) == (
        "faulty",
        "reference",
        "adversarial",
        image,
    )
    assert (first.layer.node, first.layer.channel, first.layer.position) == ("mvau_0", channel, ())
    assert first.layer.found == -first.layer.expected
    assert first.layer.differing == 1
    with pytest.raises(DivergenceError, match=f"adversarial image {image}.*layer mvau_0, channel") as caught:
        report.check()
    assert caught.value.exit_status == 1
    assert caught.value.context == {
        "target": "faulty",
        "image": image,
        "layer": "mvau_0",
        "channel": channel,
    }


def test_difference_in_the_logits_alone(archive, graph):
    faulty = Faulty(graph, archive.originals[7], "mvau_1", 2)
    targets = [ReferenceTarget(graph), faulty]
    logits = targets[0].infer(archive.originals[7:8]).logits[0]
    report = replay(archive, targets, graph_hash=archive.graph_hash)
    first = report.targets[1].first_divergence
    assert (first.images, first.image, first.channel, first.layer) == ("clean", 7, 2, None)
    assert first.expected == tuple(logits)
    assert first.found[2] == -logits[2]
    with pytest.raises(DivergenceError, match=r"clean image 7: logit 2.*\n.*--trace"):
        report.check()


def test_untraceable_and_unrepeatable_differences_say_so(archive, graph):
    faulty = Faulty(graph, archive.adversarial[3], "mvau_0", 1)
    report = replay(
        archive, [ReferenceTarget(graph), Silent(faulty)], graph_hash=archive.graph_hash, trace=True
    )
    assert "silent cannot trace" in str(report.targets[1].first_divergence)

    class OnlyInBatches(Faulty):
        def trace(self, images, first_frame=0):
            return super().trace(images) if len(images) > 1 else ReferenceTarget(self.graph).trace(images)

    fickle = OnlyInBatches(graph, archive.adversarial[3], "mvau_0", 1)
    report = replay(archive, [ReferenceTarget(graph), fickle], graph_hash=archive.graph_hash, trace=True)
    assert report.divergences == 1
    with pytest.raises(DivergenceError, match="traced alone"):
        report.check()


def test_image_sized_layers_name_row_and_column(binarised_graph, images):
    labels = ReferenceTarget(binarised_graph).infer(images).labels
    attack = make_attack("fgsm", eps=0)
    result = attack.craft(_Constant(), images, labels)
    archive = make_archive(
        attack, result, originals=images, labels=labels, graph_hash=graph_hash(binarised_graph)
    )

    class Wrong(ReferenceTarget):
        name = "wrong"

        def trace(self, images, first_frame=0):
            values = super().trace(images)
            values["thresholding_0"][:, 2, 3, 1] *= -1
            values["mvau_2"][:, 4] += 1
            return values

    targets = [ReferenceTarget(binarised_graph), Wrong(binarised_graph)]
    report = replay(archive, targets, graph_hash=archive.graph_hash, trace=True)
    layer = report.targets[1].first_divergence.layer
    assert (layer.node, layer.position, layer.channel) == ("thresholding_0", (2, 3), 1)
    assert "thresholding_0[2][3], channel 1" in str(report.targets[1].first_divergence)
    assert report.divergences == 80


def _Constant():
    import torch
    from torch import nn

    class Constant(nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :5] * torch.arange(5)

    return Constant()


def test_cycles_and_batches(archive, graph):
    faulty = Faulty(graph, np.full((3, 4, 2), 1, np.uint8), "mvau_0", 0)
    whole = replay(archive, [faulty], graph_hash=archive.graph_hash).targets[0]
    assert (whole.clean.first_latency_cycles, whole.clean.steady_latency_cycles) == (90, 129)
    seen = []
    parts = replay(
        archive,
        [faulty],
        graph_hash=archive.graph_hash,
        batch_size=16,
        progress=lambda *step: seen.append(step),
    ).targets[0]
    assert parts.clean.steady_latency_cycles == 97
    assert parts.adversarial.accuracy == whole.adversarial.accuracy
    assert [done for _, done, _ in seen] == [16, 32, 40, 56, 72, 80]
    assert seen[-1] == ("faulty", 80, 80)


def test_report_is_json(archive, graph):
    faulty = Faulty(graph, archive.adversarial[0], "mvau_0", 1)
    report = replay(archive, [ReferenceTarget(graph), faulty], graph_hash=archive.graph_hash, trace=True)
    data = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert data["divergences"] == 1
    assert data["targets"][1]["adversarial"]["first"]["layer"]["node"] == "mvau_0"
    assert data["parameters"]["goal"] == "next"


def test_perturbation_is_measured(archive):
    difference = (archive.adversarial / 255 - archive.originals / 255).reshape(40, -1)
    found = measure(archive)
    assert found.radius == 20
    assert found.linf_max == pytest.approx(np.abs(difference).max())
    assert found.linf_mean == pytest.approx(np.abs(difference).max(axis=1).mean())
    assert found.l2_mean == pytest.approx(np.linalg.norm(difference, axis=1).mean())
    assert found.changed_mean == pytest.approx((difference != 0).mean())


def test_another_network_is_refused(archive, graph, binarised_graph):
    other = graph_hash(binarised_graph)
    with pytest.raises(InputError) as caught:
        replay(archive, [ReferenceTarget(graph)], graph_hash=other)
    assert other in str(caught.value)
    assert archive.graph_hash in str(caught.value)


def test_wrong_logits_and_misuse_are_refused(archive, graph, binarised_graph):
    class Short(ReferenceTarget):
        def infer(self, images, first_frame=0):
            return Inference(logits=super().infer(images).logits[:-1])

    with pytest.raises(CheckFailedError, match=r"int64 \(39, 5\) for 40 images"):
        replay(archive, [Short(graph)], graph_hash=archive.graph_hash)
    with pytest.raises(ValueError, match="different names"):
        replay(archive, [ReferenceTarget(graph)] * 2, graph_hash=archive.graph_hash)
    with pytest.raises(ValueError, match="different names"):
        replay(archive, [], graph_hash=archive.graph_hash)
    with pytest.raises(ValueError, match="batch_size"):
        replay(archive, [ReferenceTarget(graph)], graph_hash=archive.graph_hash, batch_size=0)


def test_traces_of_different_shape_are_a_failed_check(archive, graph):
    class Reshaped(Faulty):
        def trace(self, images, first_frame=0):
            values = super().trace(images)
            return values | {"mvau_0": values["mvau_0"][:, :-1]} if len(images) == 1 else values

    target = Reshaped(graph, archive.adversarial[0], "mvau_0", 1)
    with pytest.raises(CheckFailedError, match="traces mvau_0"):
        replay(archive, [ReferenceTarget(graph), target], graph_hash=archive.graph_hash, trace=True)


def test_a_shard_sees_the_draws_of_its_place(drawn_graph, images, labels, tmp_path):
    """Whatever part of an archive is replayed: the draws are those of the attack's own last look."""
    attack = make_attack("square", eps=40 / 255, max_queries=20)
    target = ReferenceTarget(drawn_graph, seed=5)
    result = attack.craft(target, images, labels, first_index=7)
    digest = graph_hash(drawn_graph)
    whole = make_archive(attack, result, originals=images, labels=labels, graph_hash=digest, first_index=7)
    save_attack(tmp_path / "a.npz", whole)
    whole = load_attack(tmp_path / "a.npz")
    assert (whole.first_index, whole[10:20].first_index) == (7, 17)
    for part, success in ((whole, result.success), (whole[13:], result.success[13:])):
        report = replay(part, [ReferenceTarget(drawn_graph, seed=5)], graph_hash=digest, batch_size=4)
        assert report.first_image == part.first_index
        assert report.targets[0].adversarial.correct == int((~success).sum())
    elsewhere = dataclasses.replace(whole, first_index=0)
    report = replay(elsewhere, [ReferenceTarget(drawn_graph, seed=5)], graph_hash=digest)
    assert report.targets[0].adversarial.correct != int((~result.success).sum())


def test_another_network_s_attack_is_judged_where_that_is_asked_for(archive, graph):
    with pytest.raises(InputError, match="bitsiege replay --transfer"):
        replay(archive, [ReferenceTarget(graph)], graph_hash="0" * 64)
    report = replay(archive, [ReferenceTarget(graph)], graph_hash="0" * 64, transfer=True)
    assert (report.graph_hash, report.source_hash) == ("0" * 64, archive.graph_hash)
