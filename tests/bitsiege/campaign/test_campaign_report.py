import json
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from attacks.archive import load_attack
from bitsiege.cli import main
from bitsiege.report.assemble import evaluate_folder
from bitsiege.report.evaluation import Evaluation
from bitsiege.report.evaluationpage import render_evaluation, write_evaluation
from export.errors import InputError
from hw.build import load_build
from hw.reference import ReferenceTarget

HOSTILE = '<script>alert("x")</script>'
MASKING = {
    "kind": "masking",
    "model": "net",
    "graph_hash": "ab" * 32,
    "gradients": "checkpoint",
    "target": "emulator",
    "seed": 0,
    "draw_seed": 0,
    "eps": 0.1,
    "images": 50,
    "accuracy": {"clean": 0.9, "pgd": 0.5, "unbounded": 0.0},
    "curves": {"eps": [[0.05, 0.7], [0.1, 0.5]], "steps": [[1, 0.8], [10, 0.5], [40, 0.5]]},
    "strongest": "pgd",
    "checks": [{"name": "noise", "question": "?", "masked": False, "evidence": HOSTILE, "values": {"a": 1}}],
    "masked": False,
    "sentence": "no sign of gradient masking in 1 checks",
}


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A copy of the campaign, which a test may change."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="module")
def evaluation(finished: Path) -> Evaluation:
    return evaluate_folder(finished)


def check_page(text: str) -> None:
    ET.fromstring(re.sub(r"^<!DOCTYPE html>\s*", "", text))
    assert "<script" not in text
    assert not re.search(r"https?://|@import|url\(|\bsrc=\"(?!data:image/png)", text)


def test_the_data_read_back_and_the_page_stands_alone(evaluation: Evaluation, tmp_path: Path):
    data, page = write_evaluation(evaluation, tmp_path)
    assert Evaluation.model_validate_json(data.read_text()) == evaluation
    text = page.read_text()
    check_page(text)
    for part in ("All 2 targets agree", "net · L∞", "Which attack breaks what", "white box"):
        assert part in text


def test_the_worst_case_is_that_of_each_image(finished: Path, evaluation: Evaluation):
    """Broken by any archive of the norm within the budget, or wrong from the start."""
    assert evaluation.campaign is not None
    (case,) = evaluation.campaign.worst
    reference = ReferenceTarget(load_build(finished / "models" / "net").graph)
    archives = [load_attack(path) for path in sorted(finished.glob("results/*/*/*/attack.npz"))]
    assert [point.epsilon for point in case.points] == [0.05, 0.1]
    for point in case.points:
        lost = reference.infer(archives[0].originals).labels != archives[0].labels
        for archive in archives:
            change = np.abs(archive.adversarial.astype(int) - archive.originals).max(axis=(1, 2, 3)) / 255
            wrong = reference.infer(archive.adversarial).labels != archive.labels
            lost |= wrong & (change <= point.epsilon)
        assert point.correct == int((~lost).sum())
        assert point.images == 20
        assert point.low <= point.accuracy <= point.high


def test_the_checklist_says_what_is_missing(evaluation: Evaluation):
    answers = {item.name: item.answer for item in evaluation.checklist}
    assert answers["several attacks"] == answers["restarts"] == answers["finished"] == "yes"
    assert answers["black box"] == answers["several budgets"] == "no"
    assert answers["same on hardware"] == answers["gradients not masked"] == "not shown"
    assert answers["adaptive: drawn weights"] == "does not apply"


def test_a_campaign_that_is_not_finished_reports_what_it_has(folder: Path):
    shutil.rmtree(folder / "results")
    shards = sorted((folder / "shards").glob("*/*"))
    for shard in shards[::2]:
        shutil.rmtree(shard)
    partial = evaluate_folder(folder)
    assert partial.campaign is not None
    assert not partial.campaign.finished
    assert partial.campaign.shards_done == len(shards) - len(shards[::2])
    text = render_evaluation(partial)
    check_page(text)
    assert "Not finished" in text
    assert next(item for item in partial.checklist if item.name == "finished").answer == "no"


def test_a_campaign_without_any_result_has_a_page(folder: Path):
    shutil.rmtree(folder / "results")
    shutil.rmtree(folder / "shards")
    empty = evaluate_folder(folder)
    check_page(render_evaluation(empty))
    assert {item.answer for item in empty.checklist} <= {"not shown", "no"}


def test_masking_gets_a_section_and_is_escaped(folder: Path):
    (folder / "masking.json").write_text(json.dumps(MASKING))
    found = evaluate_folder(folder)
    answers = {item.name: item.answer for item in found.checklist}
    assert answers["gradients not masked"] == answers["enough steps"] == answers["without a budget"] == "yes"
    text = render_evaluation(found)
    check_page(text)
    assert "Are gradients of net masked?" in text
    assert "&lt;script&gt;" in text


@pytest.mark.parametrize(
    ("change", "message"), [({"images": -1}, "images"), ({"surprise": 1}, "surprise"), ({"eps": None}, "eps")]
)
def test_a_wrong_finding_is_refused(folder: Path, change: dict, message: str):
    (folder / "masking.json").write_text(json.dumps(MASKING | change))
    with pytest.raises(InputError, match=message):
        evaluate_folder(folder)


def test_another_file_is_refused_only_where_it_is_given(folder: Path, tmp_path: Path):
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')
    with pytest.raises(InputError, match="no finding"):
        evaluate_folder(folder, [other])
    shutil.copy(other, folder / "other.json")
    evaluate_folder(folder)


def test_the_command_writes_both_files(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["report", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["finished"] is True
    assert (folder / "report.html").is_file()
    assert Evaluation.model_validate_json((folder / "report.json").read_text()).kind == "evaluation"
    assert main(["report", str(tmp_path)]) == 2
