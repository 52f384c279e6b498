"""Compiling needs no C++ compiler; the latency does."""

import pytest

import hw.timing
from bitsiege.building import Compiled
from bitsiege.cli import compile_
from export.errors import ToolError


def compiled_text(build, latency_cycles, notes):
    compiled = Compiled(build=build, notes=tuple(notes), estimate=None, budget="")
    result = compile_._summary(compiled) | {"latency_cycles": latency_cycles, "notes": notes}
    assert result["ii_cycles"] == build.folding.ii_cycles(build.graph)
    return compile_._text(compiled, result)


def test_the_latency_is_shown(small_build):
    latency, note = compile_._latency(small_build)
    assert latency > small_build.folding.ii_cycles(small_build.graph)
    assert note is None
    assert "cycles, latency 52 cycles: " in compiled_text(small_build, 52, [])


def test_without_a_compiler_the_note_says_why(small_build, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object, **__: object) -> None:
        raise ToolError("there is no C++ compiler", hint="install it")

    monkeypatch.setattr(hw.timing, "predict", fail)
    latency, note = compile_._latency(small_build)
    assert latency is None
    assert note == "the latency is not predicted: there is no C++ compiler"
    text = compiled_text(small_build, None, [note])
    assert "latency" not in text.split("note:", maxsplit=1)[0]
    assert text.endswith(f"note: {note}")
