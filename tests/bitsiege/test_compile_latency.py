"""Compiling needs no C++ compiler; the latency does."""

from pathlib import Path

import pytest

import hw.timing
from bitsiege.cli import compile_
from export.errors import ToolError


def test_the_latency_is_shown(small_build):
    latency, note = compile_._latency(small_build)
    assert latency > small_build.folding.ii_cycles(small_build.graph)
    assert note is None
    text = compile_._text(small_build, compile_._summary(small_build) | {"latency_cycles": 52, "notes": []})
    assert "cycles, latency 52 cycles: " in text


def test_without_a_compiler_the_note_says_why(small_build, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise ToolError("there is no C++ compiler", hint="install it")

    monkeypatch.setattr(hw.timing, "predict", fail)
    latency, note = compile_._latency(small_build)
    assert latency is None
    assert note == "the latency is not predicted: there is no C++ compiler"
    summary = compile_._summary(small_build) | {"latency_cycles": None, "notes": [note]}
    text = compile_._text(small_build, summary)
    assert "latency" not in text.split("note:", maxsplit=1)[0]
    assert Path(summary["build"]) == small_build.path
    assert summary["ii_cycles"] == small_build.folding.ii_cycles(small_build.graph)
