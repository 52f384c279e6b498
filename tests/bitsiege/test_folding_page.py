"""Every command of docs/folding.md works, and says what it costs with the error of that."""

import re
import shlex
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "folding.md"


def test_the_page_s_commands_work(bitsiege, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    assert len(lines) > 4
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "bitsiege"
        result = bitsiege(*words)
        assert result.status == 0, f"{line}\n{result.err}"
        if words[0] == "compile" and "--json" not in words:
            assert re.search(r"[\d,]+ LUT ± \d+ %", result.out), line
