"""A run that goes on, and one that must not."""

import numpy as np
import pytest

from export.errors import InputError
from hw.remote.journal import RunJournal

LOGITS = np.array([[1, -2], [3, 4]])


def test_a_run_goes_on(tmp_path):
    folder = tmp_path / "out.npz.partial"
    first = RunJournal(folder, "subject")
    first.add("b1", LOGITS, {"kind": "simulation"})
    again = RunJournal(folder, "subject")
    assert again.run == first.run
    logits, record = again.find("b1")
    assert np.array_equal(logits, LOGITS)
    assert record == {"kind": "simulation"}
    assert again.find("b2") is None
    again.remove()
    assert not folder.exists()


def test_another_subject_is_another_run(tmp_path):
    first = RunJournal(tmp_path / "j", "one")
    first.add("b1", LOGITS, {})
    second = RunJournal(tmp_path / "j", "two")
    assert second.run != first.run
    assert second.find("b1") is None


@pytest.mark.parametrize("cut", [0, 10, -1])
def test_an_answer_that_was_cut_off_is_none(tmp_path, cut):
    journal = RunJournal(tmp_path / "j", "one")
    journal.add("b1", LOGITS, {})
    file = tmp_path / "j" / "b1.npz"
    file.write_bytes(file.read_bytes()[:cut])
    assert journal.find("b1") is None


def test_somebody_else_s_folder_is_left_alone(tmp_path):
    (tmp_path / "j").mkdir()
    (tmp_path / "j" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="in the way"):
        RunJournal(tmp_path / "j", "one")
    assert (tmp_path / "j" / "thesis.tex").exists()
