from __future__ import annotations

import numpy as np
import pytest

from attacks.oracle import Oracle, draws_weights
from export.errors import InputError
from hw.reference import ReferenceTarget
from hw.target import Inference


class _Frames:
    """Answers with the first pixel and the frame."""

    name = "frames"

    def __init__(self):
        self.asked = 0

    def infer(self, images, first_frame=0):
        self.asked += len(images)
        frames = first_frame + np.arange(len(images))
        return Inference(logits=np.stack([images[:, 0, 0, 0].astype(np.int64), frames], axis=1))


def _images(*values):
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


def test_queries_are_counted_and_limited():
    oracle = Oracle(_Frames(), 3, limit=2)
    oracle.logits(_images(1, 2, 3), np.array([0, 2, 2]))
    assert oracle.queries.tolist() == [1, 0, 2]
    assert oracle.left().tolist() == [1, 2, 0]
    assert oracle.may_ask().tolist() == [True, True, False]
    assert oracle.may_ask(2).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="original 2 asks more than 2"):
        oracle.logits(_images(1, 2), np.array([0, 2]))
    assert oracle.queries.tolist() == [1, 0, 2]


def test_each_query_is_a_frame_of_its_own_whatever_comes_with_it():
    oracle = Oracle(_Frames(), 40, limit=9, first_index=100)
    rows = np.array([39, 0, 5, 0, 1, 39, 5, 5])
    answers = oracle.logits(_images(*range(8)), rows)
    np.testing.assert_array_equal(answers[:, 0], np.arange(8))
    queries = np.array([1, 1, 1, 2, 1, 2, 2, 3])
    np.testing.assert_array_equal(answers[:, 1], queries * 2**17 + 100 + rows)
    again = oracle.logits(_images(7), np.array([5]))
    assert again.tolist() == [[7, 4 * 2**17 + 105]]


def test_a_look_adds_up_draws_of_its_own():
    oracle = Oracle(_Frames(), 3, limit=2, draws=3)
    answers = oracle.logits(_images(4, 6), np.array([2, 0]))
    # Queries 1, 2 and 3 of both.
    assert answers.tolist() == [[12, 6 * 2**17 + 6], [18, 6 * 2**17]]
    assert oracle.queries.tolist() == [3, 0, 3]
    assert oracle.left().tolist() == [1, 2, 1]
    oracle.logits(_images(4), np.array([2]))
    assert oracle.may_ask().tolist() == [True, True, False]
    with pytest.raises(ValueError, match="original 2"):
        oracle.logits(_images(4), np.array([2]))


def test_small_gaps_are_filled_and_large_ones_split():
    target = _Frames()
    Oracle(target, 100, limit=1).logits(_images(1, 2, 3), np.array([0, 9, 99]))
    assert target.asked == 11


def test_nothing_may_be_asked():
    assert Oracle(_Frames(), 3, limit=1).logits(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, int)).shape == (
        0,
        2,
    )


def test_targets_with_drawn_weights_are_known(graph, drawn_graph):
    assert not draws_weights(ReferenceTarget(graph))
    assert draws_weights(ReferenceTarget(drawn_graph))
    assert draws_weights(_Frames())


def test_drawn_weights_are_those_of_the_frame(drawn_graph):
    target = ReferenceTarget(drawn_graph, seed=4)
    images = np.random.default_rng(1).integers(0, 256, (6, 3, 4, 2), dtype=np.uint8)
    rows = np.array([4, 0, 2, 4, 1, 3])
    answers = Oracle(target, 5, limit=3, first_index=7).logits(images, rows)
    frames = np.array([1, 1, 1, 2, 1, 1]) * 2**17 + 7 + rows
    for image, frame, answer in zip(images, frames, answers, strict=True):
        np.testing.assert_array_equal(target.infer(image[None], int(frame)).logits[0], answer)


def test_too_many_originals_are_refused():
    with pytest.raises(InputError, match="131072"):
        Oracle(_Frames(), 2**17 + 1, limit=1)
    with pytest.raises(InputError, match="limit of queries"):
        Oracle(_Frames(), 1, limit=0)
