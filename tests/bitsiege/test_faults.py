"""``bitsiege faults`` from its options to its file."""

import json

import pytest


@pytest.fixture
def words(small_build, image_file, label_file, tmp_path):
    output = tmp_path / "faults.json"
    return ("faults", small_build.path, "--images", image_file, "--labels", label_file, "-o", output), output


def test_maps_attacks_and_bursts_are_in_the_file(bitsiege, words):
    command, output = words
    result = bitsiege(*command, "--bits", 3, "--samples", 20, "--burst", 2, "--replay", 0)
    assert result.status == 0, result.err
    assert "mvau_0 weight" in result.out
    found = json.loads(output.read_text())
    layers = {(layer["node"], layer["kind"]): layer for layer in found["layers"]}
    assert list(layers) == [
        ("mvau_0", "weight"),
        ("mvau_0", "threshold"),
        ("mvau_1", "weight"),
        ("mvau_0", "activation"),
        ("mvau_1", "activation"),
    ]
    weights = layers["mvau_0", "weight"]
    assert (weights["shape"], weights["bits"], weights["exhaustive"]) == ([6, 16, 1], 96, True)
    assert (len(weights["by_row"]), len(weights["map"]["mean"]), len(weights["map"]["worst"][0])) == (
        6,
        6,
        16,
    )
    assert weights["worst"][0]["accuracy"] == weights["estimate"]["worst"]
    assert [attack["memories"][0]["kind"] for attack in found["attacks"]] == ["weight", "threshold"]
    assert {attack["held_out_images"] for attack in found["attacks"]} == {10}
    assert 0 <= found["attacks"][0]["clean_held_out"] <= 1
    assert [step["bits"] for step in found["attacks"][0]["steps"]] == [1, 2, 3]
    assert {burst["estimate"]["faults"] for burst in found["bursts"]} == {20}
    assert found["random"][0]["bits"] == 1
    assert found["replay"] == []


def test_the_same_seed_gives_the_same_file(bitsiege, words):
    command, output = words
    options = ("--bits", 2, "--samples", 10, "--replay", 0, "--seed", 4, "--layers", "mvau_0")
    results = []
    for _ in range(2):
        assert bitsiege(*command, *options).status == 0
        results.append(json.loads(output.read_text()))
        del results[-1]["timing"]
    assert results[0] == results[1]
    assert {layer["node"] for layer in results[0]["layers"]} == {"mvau_0"}


def test_what_is_worst_is_replayed(bitsiege, words):
    command, output = words
    options = ("--kinds", "weight", "--layers", "mvau_1", "--bits", 2, "--samples", 5, "--replay", 7)
    result = bitsiege(*command, *options, "--json")
    assert result.status == 0, result.err
    assert result.json == json.loads(output.read_text())
    replays = result.json["replay"]
    assert [replay["scenario"] for replay in replays] == [
        "attack on 2 bits of weights",
        "worst weight of mvau_1",
    ]
    targets = [target for replay in replays for target in replay["targets"]]
    assert {target["target"] for target in targets} == {"emulator", "reference", "rtl"}
    assert {target["diverging_images"] for target in targets} == {0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--effect", "melt"), "--effect 'melt' is unknown"),
        (("--objective", "loss"), "--objective 'loss' is unknown"),
        (("--kinds", "weights"), "'weights' is no kind of fault"),
        (("--layers", "mvau_7"), "'mvau_7' is no node"),
        (("--search-images", 21), "can't search on 21 of 20 images"),
    ],
)
def test_bad_options_are_named(bitsiege, words, options, message):
    result = bitsiege(*words[0], *options)
    assert result.status == 2
    assert message in result.err
