"""Conversations with a process that is no FINN: deadlines, failures, and nothing left behind."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from export.errors import ToolError
from hw.finn.process import Conversation, command


def fake(tmp_path: Path, script: str) -> Path:
    """A program in the place of FINN's Python."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    (tmp_path / "job.json").write_text("{}")
    return python


def start(tmp_path: Path, script: str) -> Conversation:
    return Conversation(fake(tmp_path, script), "serve", tmp_path / "job.json", tmp_path / "log")


def test_no_variable_of_pythons_reaches_it(tmp_path: Path) -> None:
    python, isolated, *_, mode, job = command(tmp_path / "python", "flow", tmp_path / "job.json")
    assert (python, isolated, mode, job) == (
        str(tmp_path / "python"),
        "-I",
        "flow",
        str(tmp_path / "job.json"),
    )


def test_questions_are_answered_in_order(tmp_path: Path) -> None:
    talk = start(tmp_path, "while read line; do echo '{\"done\": 1}'; done")
    assert talk.ask({"a": 1}, 20) == {"done": 1}
    assert talk.ask({"a": 2}, 20) == {"done": 1}
    talk.close()
    talk.close()


def test_an_error_is_told_with_the_end_of_the_log(tmp_path: Path) -> None:
    talk = start(tmp_path, 'echo deep trouble >&2; echo \'{"error": "KeyError: 5"}\'; exit 1')
    with pytest.raises(ToolError, match="KeyError: 5\ndeep trouble"):
        talk.ask({}, 20)


def test_an_end_without_an_answer_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="ended with status"):
        start(tmp_path, "exit 3").answer(20)
    with pytest.raises(ToolError, match="ended with status 3\nit printed nothing"):
        start(tmp_path, "exit 3").wait(20)


def test_a_deadline_ends_it_with_all_that_it_started(tmp_path: Path) -> None:
    talk = start(tmp_path, f"sleep 600 & echo $! > {tmp_path}/child; wait")
    with pytest.raises(ToolError, match=r"did not answer within 1 s"):
        talk.answer(1)
    child = int((tmp_path / "child").read_text())
    assert gone(child)
    with pytest.raises(ToolError, match=r"took more than 0\.2 s"):
        start(tmp_path, "exec sleep 600").wait(0.2)


def gone(process: int) -> bool:
    for _ in range(200):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        # A zombie whose new parent does not collect it has ended all the same.
        if "\nState:\tZ" in Path(f"/proc/{process}/status").read_text():
            return True
        time.sleep(0.05)
    return False


def test_what_ends_well_has_succeeded(tmp_path: Path) -> None:
    start(tmp_path, "exit 0").wait(20)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text("{}")
    with pytest.raises(ToolError, match="can't start"):
        Conversation(tmp_path / "none", "serve", tmp_path / "job.json", tmp_path / "log")
