"""The data sheets say what the shipped networks say about themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quant_models.checkpoint import load_checkpoint
from quant_models.zoo import shipped_for_hardware, shipped_path

_PAGES = Path(__file__).resolve().parents[1] / "docs" / "networks"


def test_each_shipped_network_has_a_page_and_a_row() -> None:
    assert {path.stem for path in _PAGES.glob("*.md")} == {*shipped_for_hardware(), "README"}
    rows = re.findall(r"^\| \[([^]]+)\]", (_PAGES / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(shipped_for_hardware())


@pytest.mark.parametrize("name", shipped_for_hardware())
def test_a_page_agrees_with_its_checkpoint_and_itself(name: str) -> None:
    text = (_PAGES / f"{name}.md").read_text(encoding="utf-8")
    checkpoint = load_checkpoint(shipped_path(name))
    assert f"| {100 * (checkpoint.metadata.test_accuracy or 0):.2f} % |" in text
    assert f"{checkpoint.metadata.epochs} epochs, seed {checkpoint.metadata.seed}" in text
    units = re.findall(r"^\| mvau_\d+ \|(.*)\|$", text, re.MULTILINE)
    cells = [[int(cell.replace(",", "")) for cell in re.findall(r" ([\d,]+) ", unit)] for unit in units]
    macs = re.search(r"\| Multiply-accumulates an image \| ([\d,]+) \|", text)
    interval = re.search(r"\| Cycles from one image to the next \| ([\d,]+) \|", text)
    assert macs is not None
    assert interval is not None
    assert int(macs[1].replace(",", "")) == sum(unit[-2] for unit in cells)
    # A window generator may be slower than every unit.
    assert int(interval[1].replace(",", "")) >= max(unit[-1] for unit in cells)
