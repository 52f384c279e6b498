"""The commands of docs/vivado.md and of the ten steps work, and say what the pages say."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def commands(bitsiege, tmp_path: Path, monkeypatch):
    """Runs a page's console lines; returns what each printed, by line."""

    def run(page: str) -> dict[str, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        images = np.random.default_rng(0).integers(0, 256, (64, 28, 28, 1), np.uint8)
        np.save("x.npy", images)
        blocks = re.findall(r"^```console\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL)
        found = {}
        for line in "".join(blocks).splitlines():
            program, *words = shlex.split(line.removeprefix("$ "))
            assert program == "bitsiege"
            result = bitsiege(*words)
            assert result.status == 0, f"{line}\n{result.err}"
            found[line] = result.out + result.err
        return found

    return run


def test_the_ten_steps(commands):
    printed = commands("from-nothing-to-a-board.md")
    assert len(printed) == 5
    assert "1,250,000 frames/s at 100 MHz" in printed[next(line for line in printed if " compile " in line)]
    packaged = printed[next(line for line in printed if " package " in line)]
    assert re.search(r"tfc_mnist_pynqz1_[0-9a-f]{12}", packaged)
    assert "no bitstream: Vivado is not on the PATH. The project is complete" in packaged
    with np.load("emulator.npz") as emulator, np.load("rtl.npz") as rtl:
        assert np.array_equal(emulator["logits"], rtl["logits"])


def test_the_page_about_overlays(commands, bitsiege, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert bitsiege("export", "tfc-mnist", "-o", "tfc.onnx").status == 0
    assert bitsiege("compile", "tfc.onnx", "-o", "tfc").status == 0
    assert len(commands("vivado.md")) == 2
    text = (DOCS / "vivado.md").read_text()
    for name in ("overlay.json", "known_answers.npz", "settings.json", "driver", "project"):
        assert (tmp_path / "overlay" / name).exists()
        assert f"`{name}" in text
