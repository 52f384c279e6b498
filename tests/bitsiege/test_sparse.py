"""The graph of a sparse network computes its integers."""

import numpy as np

from bitsiege.sparse import sparse_graph
from hw.reference import ReferenceTarget
from quant_models.verifiable import SparseNetwork


def test_the_graph_is_the_network():
    draw = np.random.default_rng(0)
    weights = tuple(draw.integers(-1, 2, shape, np.int8) for shape in ((6, 18), (5, 6), (4, 5)))
    network = SparseNetwork(
        weights=weights,
        thresholds=tuple(draw.integers(-2, 3, n) for n in (6, 5)),
        bias=draw.integers(-3, 4, 4),
    )
    images = draw.integers(0, 256, (30, 3, 3, 2), np.uint8)
    values = np.where(images.reshape(30, -1) >= 128, 1, -1)
    for layer, thresholds in zip(weights, network.thresholds, strict=False):
        values = np.where(values @ layer.T.astype(int) >= thresholds, 1, -1)
    expected = values @ weights[-1].T.astype(int) + network.bias
    found = ReferenceTarget(sparse_graph(network, (3, 3, 2))).infer(images).logits
    np.testing.assert_array_equal(found, expected)
