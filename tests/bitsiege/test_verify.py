"""``bitsiege verify``; its answers are tested with `attacks.verify`."""

import json

import numpy as np
import pytest

from hw.reference import ReferenceTarget


@pytest.fixture
def labelled(tmp_path, small_build, small_images):
    """The first 6 images with the classes that the network gives them, but for the last one."""
    labels = ReferenceTarget(small_build.graph).infer(small_images[:6]).labels
    labels[5] = (labels[5] + 1) % 3
    np.save(tmp_path / "six.npy", small_images[:6])
    np.save(tmp_path / "classes.npy", labels)
    return ("--images", tmp_path / "six.npy", "--labels", tmp_path / "classes.npy")


def test_counterexamples_can_be_replayed(bitsiege, small_build, labelled, tmp_path):
    output = tmp_path / "verdicts.json"
    options = ("--eps", 3 / 255, "-o", output, "--jobs", 1, "--replay-target", "reference")
    result = bitsiege("verify", small_build.path, *labelled, *options, "--json")
    assert result.status == 0, result.err
    document = json.loads(output.read_text())
    assert document == result.json
    assert document["counts"]["misclassified"] == 1
    assert document["counts"]["unknown"] == 0
    assert sum(document["counts"].values()) == document["images"] == 6
    attacked = document["counts"]["attacked"]
    assert attacked > 0
    assert document["replay"] == {"target": "reference", "images": attacked, "still_wrong": attacked}
    replayed = bitsiege(
        *("replay", tmp_path / "verdicts.npz", "--build", small_build.path, "--targets", "reference"),
        *("-o", tmp_path / "replay.json", "--json"),
    )
    assert replayed.status == 0, replayed.err
    assert replayed.json["targets"][0]["adversarial"]["correct"] == 0
    assert not (tmp_path / "verdicts.json.work").exists()


def test_the_largest_radius_and_a_table(bitsiege, small_build, labelled, tmp_path):
    output = tmp_path / "verdicts.json"
    options = ("--eps", 0.05, "-o", output, "--jobs", 1, "--largest", "--limit", 3, "--work", tmp_path / "w")
    result = bitsiege("verify", small_build.path, *labelled, *options)
    assert result.status == 0, result.err
    for word in ("3 images, eps 0.05 = 12 grey levels", "certified", "unknown"):
        assert word in result.out
    for verdict in json.loads(output.read_text())["verdicts"]:
        assert 0 <= verdict["largest"]["certified_radius"] <= 12
        assert verdict["largest"]["exact"]
    assert len(list((tmp_path / "w").glob("*.json"))) == 3


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--eps", 2), "eps must be"),
        (("--eps", 0.001), "changes no pixel"),
        (("--time-limit", 0), "time limit"),
        (("--solvers", "z3"), "no solver 'z3'"),
        (("--replay-target", "board"), "no target"),
    ],
)
def test_bad_options(bitsiege, small_build, labelled, tmp_path, option, word):
    options = {"--eps": 0.05, "-o": tmp_path / "v.json"} | {option[0]: option[1]}
    words = [word for pair in options.items() for word in pair]
    result = bitsiege("verify", small_build.path, *labelled, *words)
    assert result.status == 2
    assert word in result.err
    assert not (tmp_path / "v.json").exists()


def test_the_output_must_not_replace_an_input(bitsiege, small_build, labelled):
    result = bitsiege("verify", small_build.path, *labelled, "--eps", 0.05, "-o", labelled[1])
    assert result.status == 2
