"""Draws of drawn weights: how many, which ones, and whose they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from attacks.catalog import make_attack
from attacks.drawing import one_draw
from attacks.evaluation import Problem
from attacks.landscape import Landscape
from export.errors import InputError


class _Drawn(nn.Module):
    """A linear model whose weights are ``mean + noise``; it keeps what it drew."""

    draws_weights = True

    def __init__(self, noise: float = 1.0) -> None:
        super().__init__()
        self.seed, self.first_frame, self.one_draw, self.noise = 0, 0, False, noise
        self.mean = nn.Parameter(torch.randn(5, 24, generator=torch.Generator().manual_seed(0)))
        self.drawn: list[torch.Tensor] = []

    def forward(self, x):
        assert self.one_draw
        self.drawn.append(torch.randn(5, 24) * self.noise)
        return x.flatten(1) @ (self.mean + self.drawn[-1]).T


@pytest.fixture
def drawn():
    return _Drawn()


def _landscape(model, **parameters):
    return Landscape(model=model, problem=Problem(truth=torch.zeros(3, dtype=torch.int64)), **parameters)


def _distinct(draws):
    return len({tensor.numpy().tobytes() for tensor in draws})


def test_gradient_and_logits_are_means_over_the_draws(drawn):
    position = torch.full((3, 2, 3, 4), 100.0)
    up = torch.zeros(3, 5)
    up[:, 2] = 1
    with one_draw(drawn, seed=3):
        seen, gradient = _landscape(drawn, draws=7).differentiate(position, lambda _: up)
    assert _distinct(drawn.drawn) == len(drawn.drawn) == 7
    weights = drawn.mean.detach() + torch.stack(drawn.drawn).mean(0)
    torch.testing.assert_close(gradient[0].flatten(), weights[2])
    torch.testing.assert_close(seen.logits, (position / 255).flatten(1) @ weights.T)


def test_fixed_draws_are_the_same_in_every_look_and_fresh_ones_are_not(drawn):
    position = torch.full((3, 2, 3, 4), 100.0)
    for seed, distinct in ((None, 12), (11, 4)):
        drawn.drawn.clear()
        with one_draw(drawn, seed=3):
            landscape = _landscape(drawn, draws=4, fixed_seed=seed)
            for _ in range(2):
                landscape.differentiate(position)
            landscape.look(position)
        assert len(drawn.drawn) == 12
        assert _distinct(drawn.drawn) == distinct


@pytest.mark.parametrize("fixed_seed", [None, 11])
def test_confirmation_uses_draws_that_no_look_has_seen(fixed_seed, drawn):
    position = torch.full((3, 2, 3, 4), 100.0)
    with one_draw(drawn, seed=3):
        landscape = _landscape(drawn, draws=2, fixed_seed=fixed_seed)
        landscape.look(position)
        first = landscape.confirm(position, 5)
        landscape.look(position)
        landscape.confirm(position, 5)
    looks = drawn.drawn[:2] + drawn.drawn[7:9]
    confirmations = drawn.drawn[2:7] + drawn.drawn[9:]
    assert _distinct(confirmations) == 10
    assert not {d.numpy().tobytes() for d in looks} & {d.numpy().tobytes() for d in confirmations}
    mean = drawn.mean.detach() + torch.stack(drawn.drawn[2:7]).mean(0)
    torch.testing.assert_close(first.logits, (position / 255).flatten(1) @ mean.T)


@pytest.mark.parametrize("name", ["pgd", "apgd-dlr"])
def test_attack_fields_reach_the_draws(name, drawn, images, labels):
    def draws(**parameters):
        drawn.drawn.clear()
        make_attack(name, eps=0.1, steps=3, **parameters).craft(drawn, images[:4], labels[:4], batch_size=4)
        return len(drawn.drawn), _distinct(drawn.drawn)

    plain = draws()
    assert plain[0] == plain[1]
    # One look at the clean images is outside the search.
    many = draws(eot=5)
    assert many[0] - 1 == 5 * (plain[0] - 1)
    assert draws(eot=5, fixed_draw=True) == (many[0], 6)
    # The end of the walk, its best place, and the result.
    assert draws(eot=5, scoring_draws=9)[0] == many[0] + 3 * 9


def test_expectation_beats_one_draw(images):
    drawn = _Drawn(noise=3.0)
    mean = nn.Sequential(nn.Flatten(), nn.Linear(24, 5, bias=False))
    mean[1].weight = drawn.mean
    labels = mean(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(1).numpy()

    def success(**parameters):
        result = make_attack("pgd", eps=0.1, steps=10, flips=0, random_start=False, **parameters).craft(
            drawn, images, labels
        )
        pixels = torch.from_numpy(result.adversarial).permute(0, 3, 1, 2) / 255
        return np.mean(mean(pixels).argmax(1).numpy() != labels)

    assert success(eot=40, scoring_draws=100) > success(fixed_draw=True) + 0.2


@pytest.mark.parametrize("form", ["grid", "float"])
def test_cw_scored_on_fresh_draws_claims_less_and_holds_more(form, images):
    drawn = _Drawn(noise=0.5)
    with torch.no_grad():
        labels = ((torch.from_numpy(images).permute(0, 3, 1, 2) / 255).flatten(1) @ drawn.mean.T).argmax(1)

    def held(scoring_draws):
        attack = make_attack("cw", form=form, steps=40, learning_rate=0.05, scoring_draws=scoring_draws)
        result = attack.craft(drawn, images, labels.numpy())
        pixels = (torch.from_numpy(result.adversarial).permute(0, 3, 1, 2) / 255).flatten(1)
        noise = torch.randn(50, 5, 24, generator=torch.Generator().manual_seed(8)) * drawn.noise
        logits = pixels @ (drawn.mean.detach() + noise).transpose(1, 2)
        return (logits.argmax(2) != labels).float().mean().item()

    assert held(25) > held(1)


def test_bad_counts_are_refused():
    for parameters in ({"eot": 0}, {"scoring_draws": 0}):
        with pytest.raises(InputError):
            make_attack("pgd", eps=0.1, **parameters)
