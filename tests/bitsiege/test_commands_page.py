"""Every line of docs/commands.md works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_page_s_commands_work(bitsiege, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (configuration,) = blocks("toml")
    (tmp_path / "quick.toml").write_text(configuration)
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(lines) > 10
    for line in lines:
        program, *words = shlex.split(line)
        if program == "python":
            subprocess.run([sys.executable, *words], check=True)
            continue
        assert program == "bitsiege"
        result = bitsiege(*words)
        assert result.status == 0, f"{line}\n{result.err}"
    for path in (
        "runs/quick/report.html",
        "out.npz",
        "image3.fst",
        "attack.npz",
        "replay.json",
        "tfc/build.json",
    ):
        assert (tmp_path / path).stat().st_size > 0
