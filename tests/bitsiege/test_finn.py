"""``bitsiege finn``; what FINN makes of a network is tested with `hw.finn`."""

from pathlib import Path

import numpy as np
import pytest

from bitsiege.finn import choose, comparison_images
from export.errors import InputError
from hw.finn import FINN, FinnReport
from hw.finn.checks import GraphCheck
from hw.folding.finn import write_finn_folding

CHECK = GraphCheck(
    graph="hardware",
    images="clean",
    count=64,
    wrong_images=3,
    wrong_logits=5,
    wrong_labels=1,
    largest_difference=2.0,
    reason="the moon is full",
)
SIDE = {"cycles": 1234, "ii_cycles": 1234, "lut": 5678, "bram18": None}


@pytest.fixture
def no_finn(monkeypatch: pytest.MonkeyPatch, small_build) -> dict[str, object]:
    """FINN that takes no time, and differs."""
    seen: dict[str, object] = {}

    def build(python: Path, loaded: object, output: Path, **options: object) -> FinnReport:
        seen.update(options, output=output)
        document = {
            "finn": "1.6.1",
            "layers": [{"layer": "mvau_0", "pe": 2, "simd": 3, "rtl": SIDE, "finn": SIDE}],
            "network": {"rtl": SIDE, "finn": SIDE},
            "warnings": ["an accumulator is narrow"],
            "stitched": {
                "modules": {"a": "ours", "b": "FINN's"},
                "replaced": ["bnn_fifo for fifo.sv"],
                "ii_cycles": 99.0,
            },
            "stopped": {"step": "step_hw_ipgen", "reason": "no vitis_hls"},
        }
        return FinnReport(document=document, checks=[CHECK], folding=small_build.folding)

    monkeypatch.setattr("hw.finn.finn_python", lambda cache_dir: Path("python"))
    monkeypatch.setattr("hw.finn.build_with_finn", build)
    return seen


def test_a_difference_is_shown_and_is_the_status(bitsiege, small_build, tmp_path, no_finn):
    result = bitsiege("finn", small_build.path, "-o", tmp_path / "out", "--images", "2")
    assert result.status == 1
    for words in ("1,234", "5,678", "3 images differ", "the moon is full", "an accumulator is narrow"):
        assert words in result.out
    for words in ("1 modules of FINN's, 1 of ours", "bnn_fifo for fifo.sv", "stopped before step_hw_ipgen"):
        assert words in result.out
    assert "hardware graph differs" in result.err
    assert {name: len(x) for name, x in no_finn["images"].items()} == {"clean": 2, "adversarial": 2}


def test_without_its_environment_the_hint_has_the_command(bitsiege, small_build, tmp_path):
    result = bitsiege("finn", small_build.path, "-o", tmp_path / "out", "--cache-dir", tmp_path)
    assert result.status == 3
    assert "bitsiege finn --setup" in result.err
    assert not (tmp_path / "out").exists()


def test_setup_alone_needs_no_build(bitsiege, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("hw.finn.set_up", asked.append)
    result = bitsiege("finn", "--setup", "--cache-dir", tmp_path)
    assert (result.status, asked) == (0, [tmp_path])
    assert str(tmp_path) in "".join((result.out + result.err).split())
    assert bitsiege("finn").status == 2


def test_who_chooses_the_folding(small_build, tmp_path):
    assert choose(small_build, folding=None, fps=None).folding == small_build.folding
    write_finn_folding(small_build.folding, small_build.graph, tmp_path / "f.json")
    chosen = choose(small_build, folding=tmp_path / "f.json", fps=None, rtl=True)
    assert (chosen.folding, chosen.rtl) == (small_build.folding, True)
    assert choose(small_build, folding=None, fps=1000).folding is None
    with pytest.raises(InputError, match="either"):
        choose(small_build, folding=tmp_path / "f.json", fps=1000)
    with pytest.raises(InputError, match="above 0"):
        choose(small_build, folding=None, fps=0)


def test_drawn_images_are_the_same_each_time_and_stay_near(small_build):
    first = comparison_images(small_build, None, 5)
    again = comparison_images(small_build, None, 7)
    for name, images in first.items():
        np.testing.assert_array_equal(images, again[name][:5])
    distance = np.abs(first["clean"].astype(int) - first["adversarial"].astype(int))
    assert 0 < distance.max() <= 77


def test_the_lock_is_complete():
    names = {line.partition("==")[0] for line in FINN.requirements()}
    assert all("==" in line and "://" not in line for line in FINN.requirements())
    assert {"finn-plus", "brevitas", "torch", "psutil", "setuptools", "qonnx"} <= names
