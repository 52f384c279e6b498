"""Every command that finds something about a network writes a file that a report reads."""

from pathlib import Path

import pytest

from bitsiege.findings import model_name
from bitsiege.report.findings import read_finding
from hw.build import Build

CHEAP = {
    "masking": ("--target", "reference", "--steps", 1, "--queries", 2),
    "verify": ("--eps", 0.004, "--limit", 1, "--jobs", 1),
    "faults": ("--kinds", "threshold", "--bits", 1, "--replay", 0, "--samples", 2),
}


@pytest.mark.parametrize("kind", CHEAP)
def test_a_finding_says_what_it_is_and_of_which_network(
    bitsiege, small_build: Build, image_file: Path, label_file: Path, tmp_path: Path, kind: str
):
    output = tmp_path / "found.json"
    words = (kind, small_build.path, "--images", image_file, "--labels", label_file, "-o", output)
    result = bitsiege(*words, *CHEAP[kind])
    assert result.status == 0, result.err
    finding = read_finding(output)
    assert finding is not None
    assert (finding.model, finding.graph_hash) == (small_build.path.parent.name, small_build.graph_hash)


def test_a_folder_named_build_tells_nothing():
    assert model_name(Path("runs/demo/build")) == "demo"
    assert model_name(Path("runs/tfc")) == "tfc"
