from __future__ import annotations

import numpy as np
import pytest

from attacks.saltpepper import SaltPepper
from export.errors import InputError
from hw.reference import ReferenceTarget


def test_fewest_pixels_of_a_linear_model_are_found(linear_graph):
    # The pixels sum to 1920, and class 1 begins below 1600: three black pixels of 120 are needed.
    images = np.full((6, 4, 4, 1), 120, np.uint8)
    result = SaltPepper(max_queries=400, seed=1).craft(
        ReferenceTarget(linear_graph), images, np.zeros(6, int)
    )
    assert result.success.all()
    changed = result.adversarial != images
    assert np.all(changed.sum(axis=(1, 2, 3)) == 3)
    assert np.all(result.adversarial[changed] == 0)


@pytest.mark.parametrize(("eps", "expected"), [(2 / 16, False), (5 / 16, True)])
def test_a_budget_bounds_the_pixels(linear_graph, eps, expected):
    images = np.full((6, 4, 4, 1), 120, np.uint8)
    attack = SaltPepper(eps=eps, max_queries=3000, tries=400)
    result = attack.craft(ReferenceTarget(linear_graph), images, np.zeros(6, int))
    assert result.success.tolist() == [expected] * 6


def test_all_channels_of_a_pixel_get_the_same_grain(graph, images, labels):
    result = SaltPepper(eps=0.5, max_queries=50).craft(ReferenceTarget(graph), images, labels)
    changed = (result.adversarial != images).any(axis=3)
    assert changed.any()
    values = result.adversarial[changed]
    assert set(values.ravel().tolist()) <= {0, 255}
    np.testing.assert_array_equal(values[:, 0], values[:, 1])


@pytest.mark.parametrize("parameters", [{"tries": 0}, {"levels": 0}])
def test_bad_parameters_are_refused(parameters):
    with pytest.raises(InputError, match="saltpepper"):
        SaltPepper(**parameters)
