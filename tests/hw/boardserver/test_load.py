"""Several clients, and a server and a client that are killed: each answer right, none lost, none twice."""

import pytest

from benchmarks.board_load import Plan, run_load
from hw.build import load_build


@pytest.mark.timeout(300)
def test_nothing_is_lost_or_computed_twice(tmp_path, build, cache_dir):
    plan = Plan(folder=tmp_path, build=load_build(build.path), images=3000, clients=4, batch=100, limit_s=200)
    result = run_load(plan)
    assert result["images"] == 12_000
    assert result["killed"] == {"server": 1, "clients": 1}
    assert (result["wrong"], result["lost"], result["computed_twice"]) == (0, 0, 0)
    assert result["broken_connections"] > 0
