"""``bitsiege timing``; the model itself is tested with `hw.timing`."""

import numpy as np
import pytest

# The small build's layers take 12 and 9 cycles.


def test_the_table_shows_every_layer(bitsiege, small_build, tmp_path):
    result = bitsiege("timing", small_build.path, "--cache-dir", tmp_path, "--frames", 100, "--fifos")
    assert result.status == 0, result.err
    for word in ("100 images", "II 12.0", "mvau_0", "mvau_1", "starved", "smallest"):
        assert word in result.out


def test_json(bitsiege, small_build, tmp_path):
    free, stalled = (
        bitsiege("timing", small_build.path, "--cache-dir", tmp_path, "--frames", 100, "--json", *stalls).json
        for stalls in ((), ("--source-stalls", 0.9, "--sink-stalls", 0.1, "--seed", 5))
    )
    assert free["ii_cycles"] == 12
    assert free["stalls"] is None
    assert free["smallest_fifos"] is None
    assert free["graph_hash"] == small_build.graph_hash
    assert [m["busy_cycles"] for m in free["modules"] if m["module"] == "bnn_mvau"] == [1200, 900]
    assert stalled["stalls"] == {"seed": 5, "source": 0.9, "sink": 0.1}
    assert stalled["total_cycles"] > free["total_cycles"]


@pytest.mark.parametrize("option", [("--frames", 0), ("--sink-stalls", 1.0), ("--seed", -1)])
def test_bad_options(bitsiege, small_build, option):
    assert bitsiege("timing", small_build.path, *option).status == 2


def test_infer_on_target_timing(bitsiege, small_build, image_file, tmp_path):
    for target in ("timing", "emulator"):
        output = tmp_path / f"{target}.npz"
        options = (
            "--target",
            target,
            "--images",
            image_file,
            "-o",
            output,
            "--cache-dir",
            tmp_path / "cache",
        )
        assert bitsiege("infer", small_build.path, *options).status == 0
    with np.load(tmp_path / "timing.npz") as timing, np.load(tmp_path / "emulator.npz") as emulator:
        np.testing.assert_array_equal(timing["logits"], emulator["logits"])
        assert np.all(timing["cycles"] > 12)
