"""Every command of docs/campaigns.md works, in the order of the page."""

import re
import shlex
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "campaigns.md").read_text()
RUN = """
name = "demo"
[model]
hidden = [8]
[train]
epochs = 1
[[attacks]]
name = "fgsm"
epsilons = [0.3]
[replay]
targets = ["emulator"]
images = 4
"""


def test_the_page_s_commands_work(bitsiege, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text(RUN)
    assert bitsiege("run", "run.toml", "--out", "runs/demo").status == 0
    # Compiling two simulators takes longer than all else; the reference stands in for them.
    example = PAGE.split("```toml\n")[1].split("```")[0].replace("rtl", "reference")
    (tmp_path / "nightly.toml").write_text(example)
    (block,) = re.findall(r"^```console\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    assert len(lines) == 4
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "bitsiege"
        result = bitsiege(*words)
        assert result.status == 0, f"{line}\n{result.err}"
    assert (tmp_path / "runs/nightly/report.html").stat().st_size > 0
    same = bitsiege("compare", "runs/demo", "runs/demo/report.json", "--json")
    assert same.status == 0
    assert {d["test"] for d in same.json["differences"]} == {"fisher", ""}
    own = bitsiege("compare", "runs/demo", "runs/demo", "--json")
    assert "lut" in {d["what"] for d in own.json["differences"]}
