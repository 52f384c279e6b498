"""The page about the paper's experiments shows what the kept cells say, of the weights that ship."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.paper.models import MODELS, available, open_model
from benchmarks.paper.rows import ROWS
from benchmarks.paper.table import as_json, markdown

_DOCS = Path(__file__).resolve().parents[1] / "docs"
_TEXT = (_DOCS / "paper.md").read_text(encoding="utf-8")
_KEPT = (_DOCS / "paper.json").read_text(encoding="utf-8")
_CELLS: dict[tuple[str, str], dict[str, Any]] = {
    (cell["model"], cell["row"]): cell for cell in json.loads(_KEPT)
}
_FLOAT = [model.key for model in available() if not model.in_hardware]


def test_the_table_is_that_of_the_cells_and_has_every_shipped_model() -> None:
    assert markdown(_CELLS, available(), ROWS) in _TEXT
    assert {model for model, _ in _CELLS} == {model.key for model in available()}
    assert as_json(_CELLS) + "\n" == _KEPT


@pytest.mark.parametrize("key", [*_FLOAT, "C-hw+"])
def test_cells_are_of_the_weights_that_ship(key: str) -> None:
    assert {cell["hash"] for (model, _), cell in _CELLS.items() if model == key} == {open_model(key).hash}


def test_no_logit_differs_and_their_number_is_the_page_s() -> None:
    others = [target for cell in _CELLS.values() for target in cell["targets"][1:]]
    assert sum(target["differing_logits"] for target in others) == 0
    logits = sum(10 * target["images"] for target in others)
    assert f"0 of {logits:,} logits differ" in _TEXT
    assert {target["target"] for target in others} == {"torch", "rtl"}


def test_letters_are_explained_and_what_has_no_weights_is_said() -> None:
    known = {model.key for model in MODELS}
    named = set(re.findall(r"\*\*([ABCS](?: \w+)?(?:-hw)?\+?)\*\*", _TEXT))
    assert {"A", "B", "C", "S"} <= named <= known
    missing = known - {model.key for model in available()}
    assert all(f"{key} has no weights" in _TEXT for key in missing)
