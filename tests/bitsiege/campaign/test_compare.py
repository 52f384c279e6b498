"""Comparing campaigns that were really run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def other(
    campaign_file: Path, write_digits_build: Callable, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same campaign on another network of the same name, in the same images."""
    from bitsiege.cli import main

    folder = tmp_path_factory.mktemp("other")
    write_digits_build(folder / "net", seed=5)
    (folder / "small.toml").write_text(campaign_file.read_text())
    assert main(["campaign", str(folder / "small.toml"), "--out", str(folder / "run"), "--jobs", "1"]) == 0
    return folder / "run"


def found(result, what: str, where: str) -> dict:
    (difference,) = [d for d in result.json["differences"] if (d["what"], d["where"]) == (what, where)]
    return difference


def test_a_run_is_as_good_as_itself(bitsiege, finished: Path):
    result = bitsiege("compare", finished, finished, "--json")
    assert result.status == 0
    assert result.json["regressed"] is False
    assert {d["verdict"] for d in result.json["differences"]} == {"same"}
    assert {d["what"] for d in result.json["differences"]} >= {
        "accuracy",
        "robustness",
        "images with other logits",
        "ii_cycles",
        "latency_cycles",
        "lut",
    }
    assert "no regressions" in bitsiege("compare", finished, finished).out


def test_images_are_paired(bitsiege, finished: Path, other: Path):
    result = bitsiege("compare", finished, other, "--json")
    clean = found(result, "accuracy", "net clean on reference")
    assert clean["test"] == "mcnemar"
    change = clean["only_after"] - clean["only_before"]
    assert clean["after"] - clean["before"] == pytest.approx(change / 20)
    assert found(result, "images with other logits", "net clean on reference")["verdict"] == "changed"


def test_json_alone_is_compared_as_independent(bitsiege, finished: Path, other: Path):
    result = bitsiege("compare", finished / "campaign.json", other / "campaign.json", "--json")
    clean = found(result, "accuracy", "net clean on reference")
    assert clean["test"] == "fisher"
    low, high = clean["interval"]
    assert low <= clean["after"] - clean["before"] <= high


def test_every_kind_of_regression_fails(bitsiege, finished: Path, tmp_path: Path):
    """The first run's numbers, made worse one at a time."""
    document = json.loads((finished / "campaign.json").read_text())

    def status(change: Callable[[dict], None], *options: object) -> int:
        worse = json.loads(json.dumps(document))
        change(worse)
        (tmp_path / "worse.json").write_text(json.dumps(worse))
        words = ("compare", finished / "campaign.json", tmp_path / "worse.json", *options)
        return bitsiege(*words).status

    def slower(run: dict) -> None:
        run["models"][0]["ii_cycles"] = round(run["models"][0]["ii_cycles"] * 1.1)

    def larger(run: dict) -> None:
        run["models"][0]["resources"]["lut"]["estimate"] *= 1.1

    def diverging(run: dict) -> None:
        run["results"][1]["targets"][1]["adversarial"]["diverging_images"] = 2

    def shorter(run: dict) -> None:
        run["results"].pop()

    assert status(lambda run: None) == 0
    assert status(slower) == 1
    assert status(slower, "--max-cycles-increase", 0.2) == 0
    assert status(larger) == 1
    assert status(larger, "--max-resource-increase", 0.2) == 0
    assert status(diverging) == 1
    assert status(diverging, "--max-divergence-increase", 2) == 0
    assert status(shorter) == 1
    assert status(shorter, "--allow-missing") == 0
    copy = tmp_path / "before.json"

    def with_scores(before: int, after: int, *options: object, images: str = "adversarial") -> int:
        first, second = json.loads(json.dumps(document)), json.loads(json.dumps(document))
        first["results"][0]["targets"][0][images]["correct"] = before
        second["results"][0]["targets"][0][images]["correct"] = after
        copy.write_text(json.dumps(first))
        (tmp_path / "worse.json").write_text(json.dumps(second))
        return bitsiege("compare", copy, tmp_path / "worse.json", *options).status

    assert with_scores(20, 2) == 1
    assert with_scores(20, 2, "--max-robustness-drop", 0.95) == 0
    assert with_scores(20, 2, "--max-accuracy-drop", 0.95) == 1
    assert with_scores(20, 2, "--max-accuracy-drop", 0.95, images="clean") == 0
    # One image of twenty may be chance, unless chance is no excuse.
    assert with_scores(20, 19) == 0
    assert with_scores(20, 19, "--alpha", 1) == 1
    assert with_scores(2, 20) == 0


def test_equal_networks_must_answer_alike(bitsiege, finished: Path, other: Path, tmp_path: Path):
    """The other network's answers under the first one's hash: the hardware changed what it computes."""
    lying = tmp_path / "lying"
    shutil.copytree(other, lying)
    document = json.loads((lying / "campaign.json").read_text())
    original = json.loads((finished / "campaign.json").read_text())
    document["models"] = original["models"]
    (lying / "campaign.json").write_text(json.dumps(document))
    result = bitsiege("compare", finished, lying, "--json", "--max-accuracy-drop", 1)
    assert result.status == 1
    assert found(result, "images with other logits", "net clean on reference")["verdict"] == "regression"


def test_what_is_no_finished_run_is_refused(bitsiege, finished: Path, tmp_path: Path):
    document = json.loads((finished / "campaign.json").read_text())
    half, strange, foreign = tmp_path / "half.json", tmp_path / "strange.json", tmp_path / "foreign.json"
    half.write_text(json.dumps(document | {"finished": False}))
    strange.write_text(json.dumps(document | {"results": [{}]}))
    for result in document["results"]:
        result["title"], result["targets"] = "x", result["targets"][:1]
        result["targets"][0]["target"] = "torch"
    foreign.write_text(json.dumps(document))
    for path, message in (
        (half, "not finished"),
        (strange, "is damaged"),
        (foreign, "nothing in common"),
        (tmp_path, "neither campaign.json nor report.json"),
        (tmp_path / "absent.json", "does not exist"),
    ):
        result = bitsiege("compare", finished, path)
        assert result.status == 2, path
        assert message in result.err
