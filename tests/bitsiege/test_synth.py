"""``bitsiege synth``; what Yosys makes of a design is tested with `hw.synth`."""

import json

import pytest

from export.errors import ToolError
from hw.synth import Cost, FlatCost, InstanceCost, SynthReport

REPORT = SynthReport(
    family="xcup",
    yosys="Yosys 9",
    instances=[
        InstanceCost(
            instance="u_mvau_0", module="bnn_mvau", node="mvau_0", cost=Cost(lut=12_345, ff=67), depth=8
        ),
        InstanceCost(
            instance="u_mvau_1", module="bnn_mvau", node="mvau_1", cost=Cost(lut=5, bram36=1.5), depth=3
        ),
    ],
)


@pytest.fixture
def no_yosys(monkeypatch: pytest.MonkeyPatch):
    """Synthesis that takes no time."""
    monkeypatch.setattr("hw.synth.synthesise", lambda *arguments, **options: REPORT)
    whole = FlatCost(cost=Cost(lut=12_000), depth=9)
    monkeypatch.setattr("hw.synth.synthesise_flat", lambda *arguments, **options: whole)


def test_the_table_and_the_file_have_the_counts(bitsiege, small_build, tmp_path, no_yosys):
    result = bitsiege("synth", small_build.path, "-o", tmp_path / "synth.json", "--flat")
    assert result.status == 0, result.err
    for word in ("xcup", "12,345", "12,350", "1.5", "sum of the instances", "in one run", "12,000"):
        assert word in result.out
    written = json.loads((tmp_path / "synth.json").read_text())
    assert written["total"]["lut"] == 12_350
    assert written["graph_hash"] == small_build.graph_hash
    assert written["flat"]["depth"] == 9


def test_json_is_the_file(bitsiege, small_build, tmp_path, no_yosys):
    result = bitsiege("synth", small_build.path, "-o", tmp_path / "synth.json", "--json")
    assert result.json == json.loads((tmp_path / "synth.json").read_text())
    assert result.json["flat"] is None


def test_a_missing_yosys_is_status_3_and_leaves_no_file(
    bitsiege, small_build, tmp_path, monkeypatch: pytest.MonkeyPatch
):
    def missing(*arguments, **options):
        raise ToolError("Yosys is missing", hint="install it with: pip install pyosys")

    monkeypatch.setattr("hw.synth.run.find_yosys", missing)
    result = bitsiege("synth", small_build.path, "-o", tmp_path / "synth.json")
    assert result.status == 3
    assert "pip install pyosys" in result.err
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_status_2(bitsiege, small_build, tmp_path):
    result = bitsiege("synth", small_build.path, "-o", tmp_path / "synth.json", "--family", "virtex2")
    assert result.status == 2
    assert "known: xc7, xcup" in result.err
    assert bitsiege("synth", tmp_path, "-o", tmp_path / "synth.json").status == 2
    assert bitsiege("synth", small_build.path, "-o", tmp_path).status == 2
