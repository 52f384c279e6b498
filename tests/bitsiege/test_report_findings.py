"""Proofs and faults in a report, from what the commands write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitsiege.report.assemble import evaluate_folder
from bitsiege.report.evaluationpage import render_evaluation
from bitsiege.report.findingpage import fault_maps, verdict_bar
from bitsiege.report.findings import find_findings, read_finding
from export.errors import InputError


def _verdicts(**changes: Any) -> dict[str, Any]:
    counts = {"certified": 6, "attacked": 2, "unknown": 1, "misclassified": 1}
    return {
        "kind": "verify",
        "model": "net",
        "version": 1,
        "graph_hash": "0" * 64,
        "eps": 0.01,
        "radius": 2,
        "images": 10,
        "time_limit_s": 5.0,
        "counts": counts,
        "verifiable_accuracy": 0.6,
        "mean_seconds": 0.5,
        "median_seconds": 0.1,
        "proofs_checked": 3,
        "verdicts": [],
        **changes,
    }


def _faults(**changes: Any) -> dict[str, Any]:
    estimate = {"faults": 4, "mean": 0.8, "low": 0.7, "high": 0.9, "worst": 0.2}
    layer = {
        "node": "mvau_0",
        "kind": "weight",
        "bits": 4,
        "exhaustive": True,
        "estimate": estimate,
        "map": {
            "rows": 2,
            "columns": 2,
            "mean": [[0.9, 0.9], [0.8, 0.9]],
            "worst": [[0.9, 0.45], [0.0, 0.9]],
        },
    }
    attack = {
        "memories": [{"node": "mvau_0", "kind": "threshold"}],
        "clean_held_out": 0.9,
        "steps": [{"bits": 1, "accuracy_search": 0.5, "accuracy_held_out": 0.55}],
    }
    return {
        "kind": "faults",
        "model": "net",
        "version": 1,
        "graph_hash": "1" * 64,
        "images": 20,
        "clean_accuracy": 0.9,
        "layers": [layer, {**layer, "node": "mvau_<1>", "exhaustive": False, "map": None}],
        "left_out": [],
        "bursts": [],
        "attacks": [attack],
        "replay": [{}],
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "v.json").write_text(json.dumps(_verdicts()))
    (tmp_path / "f.json").write_text(json.dumps(_faults()))
    return tmp_path


def test_files_are_known_by_their_kind(folder):
    findings = find_findings(folder)
    nameless = _faults()
    del nameless["kind"]
    (folder / "old.json").write_text(json.dumps(nameless))
    assert find_findings(folder) == findings
    with pytest.raises(InputError, match="no finding"):
        find_findings(folder, [folder / "old.json"])
    assert [item.file for item in findings.verify] == ["v.json"]
    assert [item.file for item in findings.faults] == ["f.json"]
    assert findings.faults[0].layers[1].map is None


def test_the_page_shows_both(folder):
    evaluation = evaluate_folder(folder)
    page = render_evaluation(evaluation)
    assert "What is proved of net" in page
    assert "certified 60.0 %" in page
    assert "3 proofs were checked" in page
    assert "Faults in the hardware" in page
    assert "mvau_&lt;1&gt;" in page
    assert "mvau_<1>" not in page
    assert "data:image/png" in page
    certified = next(item for item in evaluation.checklist if item.name == "certified")
    assert certified.answer == "yes"
    assert "6 of 10" in certified.evidence


def test_a_bar_has_a_part_for_each_verdict(folder):
    item = find_findings(folder).verify[0]
    assert verdict_bar(item).count("<rect") == 4
    none = item.model_copy(update={"counts": {"certified": 10}})
    assert verdict_bar(none).count("<rect") == 1


def test_only_memories_that_were_struck_everywhere_have_a_map(folder):
    ((name, image),) = fault_maps(find_findings(folder).faults[0])
    assert name == "mvau_0 weights, 2 x 2"
    assert image.startswith("data:image/png")


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (_verdicts(counts={"sure": 1}), "counts.sure"),
        (_verdicts(verifiable_accuracy=2), "verifiable_accuracy"),
        (_faults(clean_accuracy=-1), "clean_accuracy"),
        (_faults(layers=[{}]), "layers.0.node"),
    ],
)
def test_a_field_that_does_not_fit_is_named(tmp_path, document, place):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=place):
        read_finding(path)
