"""Weights that a file draws: each frame computes what a file with that frame's weights computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from export.draws import draw_weights
from export.errors import LoweringError
from export.graph import Mvau
from export.graphfile import load_graph, save_graph
from export.lowering import lower_model
from export.onnxdraws import DRAW_DOMAIN, DRAW_OPERATOR
from hw.reference import ReferenceTarget

SEED, CONV, DENSE = 21, 4, 9
SHAPE = (1, 2, 5, 4)
IMAGES = np.random.default_rng(2).integers(0, 256, (6, 5, 4, 2), dtype=np.uint8)
CONV_SHAPE, FEATURES = (5, 2, 3, 2), 5 * 3 * 3
RNG = np.random.default_rng(3)
CONV_MEANS = RNG.integers(-128, 128, CONV_SHAPE)
DENSE_MEANS = RNG.integers(-128, 128, (4, FEATURES))


def drawn(b: Any, means: Any, layer: int | None) -> str:
    attributes = {} if layer is None else {"layer": layer}
    return b.node(DRAW_OPERATOR, b.const(np.asarray(means) / 128.0), domain=DRAW_DOMAIN, **attributes)


def network(b: Any, conv: str, dense: str, gamma: Any = 1.0) -> str:
    x = b.bipolar(b.node("Sub", "x", b.const(0.5)))
    sums = b.node("Conv", x, conv)
    x = b.bipolar(b.node("Add", b.node("Mul", sums, b.const(gamma)), b.const(0.5)))
    return b.node("MatMul", b.flatten(x), b.node("Transpose", dense, perm=[1, 0]))


def saved(builder: Any, path: Path, write: Any) -> Any:
    b = builder(shape=SHAPE)
    return lower_model(b.save(path / "m.onnx", write(b)))


def conv_weights(frame: int) -> Any:
    """The convolution's weights in a frame, in ONNX's order."""
    rows = CONV_MEANS.transpose(0, 2, 3, 1).reshape(5, -1).astype(np.int8)
    found = draw_weights(rows, seed=SEED, layer=CONV, frame=frame)
    return found.reshape(5, 3, 2, 2).transpose(0, 3, 1, 2)


def dense_weights(frame: int) -> Any:
    """The dense layer's: its columns are drawn in the order of the stream, row, column, channel."""
    order = np.arange(FEATURES).reshape(5, 3, 3).transpose(1, 2, 0).reshape(-1)
    found = np.empty((4, FEATURES), np.int8)
    found[:, order] = draw_weights(DENSE_MEANS[:, order].astype(np.int8), seed=SEED, layer=DENSE, frame=frame)
    return found


@pytest.mark.parametrize("falling", [False, True])
def test_each_frame_has_weights_of_its_own(builder: Any, tmp_path: Path, falling: bool) -> None:
    gamma = np.reshape([1, -2, 3, -1, 1], (1, 5, 1, 1)) if falling else 1.0

    def write(b: Any) -> str:
        # What falls with a drawn sum must be turned over where it is read, by a layer that does not draw.
        dense = b.bipolar(b.const(DENSE_MEANS + 0.5)) if falling else drawn(b, DENSE_MEANS, DENSE)
        return network(b, drawn(b, CONV_MEANS, CONV), dense, gamma)

    graph = saved(builder, tmp_path, write)
    layers = [node for node in graph.nodes if isinstance(node, Mvau)]
    assert [layer.draw for layer in layers] == [CONV, None if falling else DENSE]
    assert np.array_equal(layers[0].weights, CONV_MEANS.transpose(0, 2, 3, 1).reshape(5, -1))
    found = ReferenceTarget(graph, seed=SEED).infer(IMAGES, 70).logits
    for index in range(len(IMAGES)):
        conv = conv_weights(70 + index)
        dense = DENSE_MEANS + 0.5 if falling else dense_weights(70 + index)

        def write_fixed(b: Any, conv: Any = conv, dense: Any = dense) -> str:
            return network(b, b.bipolar(b.const(conv)), b.bipolar(b.const(dense)), gamma)

        fixed = saved(builder, tmp_path, write_fixed)
        expected = ReferenceTarget(fixed).infer(IMAGES[index : index + 1]).logits
        assert np.array_equal(found[index : index + 1], expected)
    assert len(np.unique(ReferenceTarget(graph).infer(np.repeat(IMAGES[:1], 6, axis=0)).logits, axis=0)) > 1


def test_a_graph_file_keeps_the_means(builder: Any, tmp_path: Path) -> None:
    graph = saved(
        builder,
        tmp_path,
        lambda b: network(b, drawn(b, CONV_MEANS, CONV), drawn(b, DENSE_MEANS, DENSE)),
    )
    save_graph(graph, tmp_path / "g")
    loaded = load_graph(tmp_path / "g")
    assert np.array_equal(
        ReferenceTarget(loaded, seed=1).infer(IMAGES).logits,
        ReferenceTarget(graph, seed=1).infer(IMAGES).logits,
    )


REFUSED = {
    "no multiples of 1/128": lambda b: network(b, drawn(b, CONV_MEANS + 0.5, 1), drawn(b, DENSE_MEANS, 2)),
    "has -1 as layer": lambda b: network(b, drawn(b, CONV_MEANS, None), drawn(b, DENSE_MEANS, 2)),
    "computes with weights that are drawn": lambda b: network(
        b, b.node("Mul", drawn(b, CONV_MEANS, 1), b.const(2.0)), drawn(b, DENSE_MEANS, 2)
    ),
    "whose result falls with its sum": lambda b: b.node(
        "Neg", network(b, drawn(b, CONV_MEANS, 1), drawn(b, DENSE_MEANS, 2))
    ),
    "inputs are turned over or moved": lambda b: b.node(
        "Conv",
        b.node("Sub", b.node("Round", b.node("Mul", "x", b.const(255.0))), b.const(128.0)),
        drawn(b, RNG.integers(-128, 128, (3, 2, 5, 4)), 1),
    ),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_no_hardware_draws_is_refused(builder: Any, tmp_path: Path, sentence: str) -> None:
    with pytest.raises(LoweringError, match=sentence):
        saved(builder, tmp_path, REFUSED[sentence])
