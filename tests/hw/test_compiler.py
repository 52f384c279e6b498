import shutil
import stat

import pytest

from export.errors import ToolError
from hw.compiler import Compiler, find_compiler, processor_identity, run_compiler, run_tool


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_the_first_compiler_on_the_path_is_taken(monkeypatch, tmp_path):
    found = {name: program(tmp_path / name, f"echo {name} 13.1; echo more") for name in ("clang++", "c++")}
    monkeypatch.setattr(shutil, "which", found.get)
    assert find_compiler() == Compiler(command=found["c++"], version="c++ 13.1")
    assert find_compiler("clang++") == Compiler(command=found["clang++"], version="clang++ 13.1")
    assert find_compiler().identity == (found["c++"], "c++ 13.1", processor_identity())


def test_a_missing_compiler_is_named_with_the_way_to_install_it(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    for name, said in ((None, r"g\+\+ or c\+\+ or clang\+\+"), ("icc", "icc")):
        with pytest.raises(ToolError, match=rf"{said} is not on the PATH.*\n.*apt-get install g") as caught:
            find_compiler(name)
        assert caught.value.exit_status == 3


def test_a_failing_compiler_shows_its_errors(tmp_path):
    text = "echo 'In file a' >&2; echo 'x.cpp:1: error: first' >&2; echo 'a | ^' >&2; echo 'x: error: 2' >&2"
    compiler = Compiler(command=program(tmp_path / "c++", f"{text}; exit 1"), version="c++ 5")
    with pytest.raises(ToolError, match=r"\(status 1\):\nx.cpp:1: error: first\nx: error: 2\n.*c\+\+ 5"):
        run_compiler(compiler, ("-c", "x.cpp"))
    silent = Compiler(command=program(tmp_path / "silent", "exit 2"), version="")
    with pytest.raises(ToolError, match=r"failed \(status 2\)"):
        run_compiler(silent, ())


def test_a_program_that_cannot_run_is_a_tool_error(tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("not a program")
    broken.chmod(0o755)
    with pytest.raises(ToolError, match=r"can't run the C\+\+ compiler"):
        find_compiler(str(broken))
    with pytest.raises(ToolError, match="can't run the tool: No such file"):
        run_tool((str(tmp_path / "none"),), what="the tool")


def test_a_failing_tool_says_why(tmp_path):
    tool = program(tmp_path / "tool", "echo first line >&2; exit 3")
    with pytest.raises(ToolError, match=r"^the tool failed \(status 3\): first line\ntry another$") as caught:
        run_tool((tool,), what="the tool", hint="try another")
    assert caught.value.exit_status == 3
