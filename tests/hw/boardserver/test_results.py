"""Answers are kept: asked again, the same bytes come back."""

import pytest

from hw.boardserver.errors import CONFLICT, RequestError
from hw.boardserver.results import Result, ResultStore


def result(payload=b"logits", question="q1"):
    return Result(question=question, header={"ok": True, "n": 3}, payload=payload)


def test_an_answer_outlives_the_server(tmp_path):
    ResultStore(tmp_path).add("anna", "b1", result(b"a\nb\0c"))
    again = ResultStore(tmp_path)
    assert again.find("anna", "b1", "q1") == result(b"a\nb\0c")
    assert again.find("bela", "b1", "q1") is None
    assert again.find("anna", "b2", "q1") is None


def test_a_number_stands_for_one_batch(tmp_path):
    store = ResultStore(tmp_path)
    store.add("anna", "b1", result())
    with pytest.raises(RequestError) as caught:
        store.find("anna", "b1", "q2")
    assert caught.value.code == CONFLICT


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: data[:-1] + b"X"])
def test_a_damaged_answer_is_none(tmp_path, damage):
    ResultStore(tmp_path).add("anna", "b1", result())
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    assert ResultStore(tmp_path).find("anna", "b1", "q1") is None


def test_the_oldest_go(tmp_path):
    store = ResultStore(tmp_path, max_bytes=1000)
    for index in range(5):
        store.add("anna", f"b{index}", result(bytes(300)))
    known = [store.find("anna", f"b{index}", "q1") is not None for index in range(5)]
    assert known == [False, False, False, True, True]
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= 1000
    assert ResultStore(tmp_path, max_bytes=1000).find("anna", "b4", "q1") is not None


def test_what_was_half_written_goes(tmp_path):
    (tmp_path / ".new-abc").write_bytes(b"half")
    store = ResultStore(tmp_path)
    assert list(tmp_path.iterdir()) == []
    store.add("anna", "b1", result())
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
