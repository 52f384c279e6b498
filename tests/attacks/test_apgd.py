from __future__ import annotations

import numpy as np
import pytest

from attacks.apgd import ApgdCe
from attacks.catalog import make_attack
from export.errors import InputError


def test_checkpoints_are_the_published_ones():
    assert ApgdCe(eps=0.1, steps=100).checkpoints()[:6] == [22, 41, 57, 70, 80, 87]
    assert ApgdCe(eps=0.1, steps=1).checkpoints() == [1]


@pytest.mark.parametrize("name", ["apgd-ce", "apgd-dlr"])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_fools_about_as_many_as_pgd(name, norm, net, images, labels):
    eps = 8 / 255 if norm == "linf" else 0.12
    ours = make_attack(name, eps=eps, norm=norm, steps=30).craft(net, images, labels)
    pgd = make_attack("pgd", eps=eps, norm=norm, steps=30).craft(net, images, labels)
    assert 0.1 < ours.success.mean() < 1
    assert ours.success.mean() >= pgd.success.mean() - 0.1


def test_restarts_and_flips_never_hurt(net, images, labels):
    few = make_attack("apgd-ce", eps=8 / 255, steps=10, flips=0).craft(net, images, labels)
    more = make_attack("apgd-ce", eps=8 / 255, steps=10, restarts=3, flips=20).craft(net, images, labels)
    assert np.all(more.success >= few.success)
    assert more.success.sum() > few.success.sum()


def test_flips_help_pgd_where_it_stops_short(net, images, labels):
    plain, flipped = (
        make_attack("pgd", eps=12 / 255, steps=2, flips=flips, random_start=False).craft(net, images, labels)
        for flips in (0, 20)
    )
    assert np.all(flipped.success >= plain.success)
    assert flipped.success.sum() > plain.success.sum()


def test_aiming_at_each_class_finds_what_one_aim_does_not(net, images, labels):
    one, all_of_them = (
        make_attack("apgd-t", eps=8 / 255, steps=8, flips=0, classes=classes).craft(net, images, labels)
        for classes in (1, 9)
    )
    assert np.all(all_of_them.success >= one.success)
    assert all_of_them.success.sum() > one.success.sum()


@pytest.mark.parametrize(
    "parameters", [{"steps": 0}, {"restarts": 0}, {"rho": 2.0}, {"flips": -1}, {"objective": "margin"}]
)
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(InputError):
        make_attack("apgd-ce", eps=0.1, **parameters)
