"""Sparse networks: their form, and that training them is repeatable and learns."""

from dataclasses import replace

import numpy as np
import pytest

from export.errors import InputError
from quant_models.data import ImageSet, load_dataset
from quant_models.verifiable import SparseConfig, train_sparse

CONFIG = SparseConfig(
    hidden=(32, 16),
    fan_in=(8, 6, 16),
    epochs=3,
    batch_size=64,
    shift_pixels=0.0,
    rotate_degrees=0.0,
    zoom=0.0,
)


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")


def predicted(network, images: ImageSet) -> np.ndarray:
    values = np.where(images.images.reshape(len(images.images), -1) >= 128, 1, -1)
    for weights, thresholds in zip(network.weights, network.thresholds, strict=False):
        values = np.where(values @ weights.T.astype(int) >= thresholds, 1, -1)
    return (values @ network.weights[-1].T.astype(int) + network.bias).argmax(axis=1)


def test_neurons_keep_their_fan_in_and_learn(digits):
    network = train_sparse(digits.train, replace(CONFIG, epochs=12), classes=10)
    for weights, fan_in in zip(network.weights, CONFIG.fan_in, strict=True):
        assert set(np.unique(weights)) <= {-1, 0, 1}
        np.testing.assert_array_equal(np.abs(weights.astype(int)).sum(axis=1), fan_in)
    assert np.mean(predicted(network, digits.test) == digits.test.labels) > 0.7


def test_the_same_seed_gives_the_same_integers(digits):
    first, second, other = (
        train_sparse(digits.train, replace(CONFIG, epochs=1, seed=seed), classes=10) for seed in (1, 1, 2)
    )
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert any((a != b).any() for a, b in zip(first.weights, other.weights, strict=True))


@pytest.mark.parametrize("wrong", [{"fan_in": (8, 8)}, {"epochs": 0}, {"epsilon": 2.0}, {"steadiness": -1.0}])
def test_bad_settings(wrong):
    with pytest.raises(InputError, match="sparse network"):
        replace(CONFIG, **wrong)
