"""Answers are kept, taken up again, and the same in any number of processes."""

import json

import numpy as np
import pytest

from attacks.verify.radius import largest_radius
from attacks.verify.verdict import Status, Verdict
from attacks.verify.verifier import Settings, Verifier
from attacks.verify.work import Order, verify_images
from export.errors import InputError


def answers(results):
    return [
        (
            r.verdict.status,
            r.verdict.method,
            None if r.verdict.adversarial is None else bytes(r.verdict.adversarial),
        )
        for r in results
    ]


def test_a_killed_run_goes_on(binarised_graph, images, tmp_path):
    labels = np.array([Verifier(binarised_graph).classify(image) for image in images[:6]])
    order = Order(radius=20, settings=Settings())
    whole = verify_images(binarised_graph, images[:6], labels, order, folder=tmp_path / "a")

    class KilledError(Exception):
        pass

    seen = []

    def die(result):
        seen.append(result)
        if len(seen) == 3:
            raise KilledError

    with pytest.raises(KilledError):
        verify_images(binarised_graph, images[:6], labels, order, folder=tmp_path / "b", progress=die)
    again = verify_images(binarised_graph, images[:6], labels, order, folder=tmp_path / "b")
    assert [result.kept for result in again] == [True] * 3 + [False] * 3
    assert answers(again) == answers(whole)


def test_another_question_is_asked_again(binarised_graph, images, tmp_path):
    labels = np.array([Verifier(binarised_graph).classify(images[0])])
    for radius, kept in ((20, False), (20, True), (21, False)):
        order = Order(radius=radius, settings=Settings())
        (result,) = verify_images(binarised_graph, images[:1], labels, order, folder=tmp_path)
        assert result.kept is kept


def test_unknown_is_asked_again_with_more_time(graph, images, labels, tmp_path):
    def ask(time_limit_s):
        settings = Settings(time_limit_s=time_limit_s, solvers=("cpsat",), climb=False, substitute=False)
        order = Order(radius=60, settings=settings)
        (result,) = verify_images(graph, images[:1], labels[:1], order, folder=tmp_path)
        return result

    assert ask(1e-9).verdict.status is Status.UNKNOWN
    assert ask(1e-9).kept
    assert ask(20.0).verdict.status is not Status.UNKNOWN


def test_processes_give_the_same_answers(binarised_graph, images, tmp_path):
    labels = np.array([Verifier(binarised_graph).classify(image) for image in images[:4]])
    order = Order(radius=20, settings=Settings(), proofs=tmp_path / "proofs")
    one = verify_images(binarised_graph, images[:4], labels, order, folder=tmp_path / "a")
    two = verify_images(binarised_graph, images[:4], labels, order, folder=tmp_path / "b", jobs=2)
    assert answers(one) == answers(two)
    for result in one:
        assert result.extra.get("proof", {}).get("checked", False) == (
            result.verdict.status is Status.CERTIFIED
        )


def test_a_damaged_answer_is_named(binarised_graph, images, tmp_path):
    labels = np.array([Verifier(binarised_graph).classify(images[0])])
    order = Order(radius=20, settings=Settings())
    verify_images(binarised_graph, images[:1], labels, order, folder=tmp_path)
    (file,) = tmp_path.glob("*.json")
    for text in ("{", json.dumps({"extra": {}}), json.dumps({"extra": {}, "limit": 1, "image": 0})):
        file.write_text(text)
        with pytest.raises(InputError, match="saved"):
            verify_images(binarised_graph, images[:1], labels, order, folder=tmp_path)


def test_the_largest_radius_is_where_the_answer_changes(binarised_graph, images):
    verifier = Verifier(binarised_graph)
    for image in images[:5]:
        label = verifier.classify(image)
        found = largest_radius(image, 60, lambda r, i=image, c=label: verifier.verify(i, c, r))
        assert verifier.verify(image, label, found.certified).status is Status.CERTIFIED
        if found.certified < 60:
            assert found.attacked == found.certified + 1
            assert verifier.verify(image, label, found.attacked).status is Status.ATTACKED
            assert found.verdict.adversarial is not None


def test_between_unknown_radii_nothing_is_claimed():
    def ask(radius):
        status = Status.CERTIFIED if radius <= 3 else Status.UNKNOWN
        return Verdict(image=0, label=0, predicted=0, radius=radius, status=status)

    found = largest_radius(np.zeros((2, 2, 1), np.uint8), 20, ask)
    assert (found.certified, found.attacked) == (3, None)
