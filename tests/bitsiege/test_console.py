import io
import sys
from typing import get_args

import pytest

from bitsiege.cli import console
from bitsiege.cli.console import LineProgress, progress
from bitsiege.config import REPLAY_TARGETS, TargetName
from bitsiege.targets import known_targets
from hw.targets import HARDWARE_TARGETS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]):
    with progress() as listener, listener.task("work", total=4) as task:
        task.update(1)
        task.update(2, note="fast enough for no line")
        listener.note("a note")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[:2] == ["work ...", "a note"]
    assert lines[2].startswith("work: done in ")


def test_long_work_shows_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(console, "_LINE_INTERVAL_S", 0.0)
    with LineProgress().task("work") as task:
        task.update(1, total=3, note="loss 0.5")
        task.update(3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[1] == "work: 1/3 loss 0.5"
    assert len(lines) == 3


def test_unfinished_work_is_not_called_done(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(RuntimeError), LineProgress().task("work"):
        raise RuntimeError
    assert "done" not in capsys.readouterr().err


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as listener, listener.task("[1/2] [bold]work", total=4) as task:
        task.update(2, note="half")
        listener.note("a note")
    text = terminal.getvalue()
    assert "[1/2] [bold]work" in text
    assert "4/4" in text
    assert "a note" in text
    assert "\x1b[" in text


def test_all_targets_can_be_configured():
    assert set(get_args(TargetName)) == set(known_targets())
    # The timing model takes its logits from the emulator, so it is no witness; a netlist takes minutes; FINN
    # must be set up first.
    assert set(REPLAY_TARGETS) == set(known_targets()) - {"timing", "netlist", "finn"}
    assert set(HARDWARE_TARGETS) < set(known_targets())
