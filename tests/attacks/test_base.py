from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attacks.catalog import ATTACKS, make_attack
from attacks.fgsm import Fgsm
from attacks.goal import Goal
from attacks.pgd import Pgd
from attacks.stepping import SteppingAttack
from attacks.threat import Budget, Norm, verify_budget
from export.errors import CheckFailedError, InputError

# Those of the black box take a target instead of a model, and have their own tests.
WALKERS = sorted(name for name, kind in ATTACKS.items() if issubclass(kind, SteppingAttack))


def _labels_on(net, images):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        return net(pixels).argmax(1).numpy()


@pytest.mark.parametrize("name", WALKERS)
@pytest.mark.parametrize("goal", [Goal.UNTARGETED, Goal.NEXT, Goal.RANDOM])
def test_images_stay_in_ball_and_success_is_what_the_model_says(name, goal, net, images, labels):
    attack = make_attack(name, eps=20 / 255, goal=goal, seed=3)
    result = attack.craft(net, images, labels, batch_size=16)
    distance = np.abs(result.adversarial.astype(int) - images)
    assert result.adversarial.dtype == np.uint8
    assert 0 < distance.max() <= attack.budget(images.shape[1:]).limit(images.shape[1:]) == 20
    found = _labels_on(net, result.adversarial)
    expected = found != labels if goal is Goal.UNTARGETED else found == result.targets
    np.testing.assert_array_equal(result.success, expected)
    assert result.classes == 5
    assert (result.targets is None) == (goal is Goal.UNTARGETED)
    if result.targets is not None:
        assert np.all(result.targets != labels)


@pytest.mark.parametrize("name", WALKERS)
def test_attack_fools_the_model(name, net, images, labels):
    result = make_attack(name, eps=30 / 255).craft(net, images, labels)
    assert result.success.mean() > 0.3


@given(eps=st.floats(0, 1), seed=st.integers(0, 2**40), steps=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_ball_holds_for_any_budget(eps, seed, steps):
    if 0 < eps < 1 / 255:
        eps = 0.0
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    images = np.random.default_rng(seed).integers(0, 256, (3, 2, 2, 1), dtype=np.uint8)
    labels = np.array([0, 1, 2])
    for attack in (Fgsm(eps=eps), Pgd(eps=eps, seed=seed, steps=steps)):
        adversarial = attack.craft(net, images, labels, batch_size=3).adversarial
        assert np.abs(adversarial.astype(int) - images).max() <= np.floor(255 * eps + 1e-9)


@pytest.mark.parametrize("k", range(256))
def test_radius_of_grid_budgets_is_exact(k):
    assert Budget(norm=Norm.LINF, eps=k / 255).limit((1, 1, 1)) == k


def test_zero_budget_returns_the_originals(net, images, labels):
    for attack in (Fgsm(eps=0), Pgd(eps=0.0)):
        np.testing.assert_array_equal(attack.craft(net, images, labels).adversarial, images)


def test_same_seed_same_bytes_in_any_batch(net, images, labels):
    attack = Pgd(eps=0.1, steps=5, restarts=2, seed=5)
    whole = attack.craft(net, images, labels, batch_size=64)
    for batch_size in (7, 40):
        other = attack.craft(net, images, labels, batch_size=batch_size)
        assert other.adversarial.tobytes() == whole.adversarial.tobytes()
    tail = attack.craft(net, images[33:], labels[33:], batch_size=64, first_index=33)
    assert tail.adversarial.tobytes() == whole.adversarial[33:].tobytes()


def test_read_only_arrays_will_do(net, images, labels):
    images.flags.writeable = labels.flags.writeable = False
    targets = (labels + 1) % 5
    targets.flags.writeable = False
    assert Pgd(eps=0.1, steps=1, goal=Goal.GIVEN).craft(net, images, labels, targets=targets).classes == 5


def test_another_seed_gives_other_bytes(net, images, labels):
    one, two = (Pgd(eps=0.1, steps=2, seed=seed).craft(net, images, labels).adversarial for seed in (0, 1))
    assert one.tobytes() != two.tobytes()


def test_model_is_left_as_it_was(images, labels):
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(24, 5))
    net.train()
    net[1].eval()
    with torch.inference_mode():
        Pgd(eps=0.1, steps=2).craft(net, images, labels)
    assert [part.training for part in net] == [True, False, True]
    assert net.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_mode_is_restored_after_a_failure(images, labels):
    net = nn.Sequential(nn.Flatten(), nn.Linear(7, 5)).train()
    with pytest.raises(RuntimeError):
        Fgsm(eps=0.1).craft(net, images, labels)
    assert net.training


def test_confident_logits_do_not_hide_the_gradient(net, images, labels):
    class Loud(nn.Module):
        def forward(self, x):
            return net(x) * 1e4

    result = Fgsm(eps=30 / 255).craft(Loud(), images, labels)
    assert np.all(np.abs(result.adversarial.astype(int) - images).reshape(len(images), -1).max(axis=1) > 0)


def test_progress_counts_to_the_end(net, images, labels):
    seen = []
    Fgsm(eps=0.1).craft(net, images, labels, batch_size=16, progress=lambda *counts: seen.append(counts))
    assert seen == [(16, 40), (32, 40), (40, 40)]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": np.zeros((40, 3, 4, 2))}, "uint8"),
        ({"images": np.zeros((40, 24), np.uint8)}, "uint8 array"),
        ({"images": np.zeros((0, 3, 4, 2), np.uint8), "labels": np.zeros(0, int)}, "nothing to attack"),
        ({"labels": np.zeros(39, int)}, "labels must be"),
        ({"labels": np.zeros(40)}, "labels must be"),
        ({"labels": np.full(40, 5)}, "label 5 of image 0"),
        ({"labels": np.array([0] * 39 + [-1])}, "label -1 of image 39"),
        ({"batch_size": 0}, "batch size"),
        ({"targets": np.ones(40, int)}, "goal given"),
    ],
)
def test_bad_input_is_named(changes, words, net, images, labels):
    arguments = {"images": images, "labels": labels} | changes
    with pytest.raises(InputError, match=words):
        Fgsm(eps=0.1).craft(net, **arguments)


def test_target_cannot_be_the_label_or_out_of_range(net, images, labels):
    attack = Pgd(eps=0.1, goal=Goal.GIVEN, steps=1)
    with pytest.raises(InputError, match="own label"):
        attack.craft(net, images, labels, targets=labels)
    with pytest.raises(InputError, match="target class 9 of image 0"):
        attack.craft(net, images, labels, targets=np.full(40, 9))
    with pytest.raises(InputError, match="goal given"):
        attack.craft(net, images, labels)


def test_given_targets_are_reached_more_often_than_by_chance(net, images, labels):
    targets = (labels + 1) % 5
    attack = Pgd(eps=60 / 255, goal=Goal.GIVEN)
    result = attack.craft(net, images, labels, targets=targets)
    np.testing.assert_array_equal(result.success, _labels_on(net, result.adversarial) == targets)
    assert result.success.mean() > np.mean(_labels_on(net, images) == targets) + 0.2


@pytest.mark.parametrize("eps", [-0.1, 1.1, float("nan"), 0.003, "0.1", True])
def test_bad_budget_is_refused(eps):
    with pytest.raises(InputError, match="eps"):
        Fgsm(eps=eps)


@pytest.mark.parametrize("module", [nn.Flatten(0), nn.Identity()])
def test_wrong_logits_are_refused(module, images, labels):
    with pytest.raises(InputError, match="logits"):
        Fgsm(eps=0.1).craft(module, images, labels)


def test_model_without_gradient_is_refused(images, labels):
    class Blind(nn.Module):
        def forward(self, x):
            return x.detach().flatten(1)[:, :5].round()

    with pytest.raises(InputError, match="gradient"):
        Fgsm(eps=0.1).craft(Blind(), images, labels)


def test_gradient_that_is_not_finite_is_refused(images, labels):
    class Root(nn.Module):
        def forward(self, x):
            return (x.flatten(1)[:, :5] * 0).sqrt()

    with pytest.raises(InputError, match="gradient"):
        Fgsm(eps=0.1).craft(Root(), images, labels)


def test_verify_names_the_image_outside_the_ball(images):
    broken = images.copy()
    broken[3, 0, 0, 0] ^= 64
    with pytest.raises(CheckFailedError, match="image 3 is 64"):
        verify_budget(images, broken, Budget(norm=Norm.LINF, eps=63 / 255))
    verify_budget(images, broken, Budget(norm=Norm.LINF, eps=64 / 255))


def test_parameters_are_json_values():
    assert Pgd(eps=0.1, goal=Goal.NEXT).parameters()["goal"] == "next"
    assert set(Fgsm(eps=0.1).parameters()) == {field.name for field in dataclasses.fields(Fgsm)}
