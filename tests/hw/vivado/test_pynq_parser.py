"""PYNQ 4.0.0's own parser, unmodified and in its own environment, reads the description of every board."""

import json
import subprocess
from pathlib import Path

import pytest

from export.graph import DataflowGraph
from hw.boards import BOARDS
from hw.environments import create_environment
from hw.pynqremote import ENVIRONMENT
from hw.vivado import plan_overlay
from hw.vivado.hwh import hwh_text
from hw.vivado.registers import BLOCKS

_PROGRAM = """
import json, sys
from pynqmetadata.frontends import Metadata
from pynqmetadata.views.runtime import RuntimeMetadataParser

found = {}
for path in sys.argv[1:]:
    parser = RuntimeMetadataParser(Metadata(input=path))
    ps = parser.ip_dict[parser.ps_name]["parameters"]
    found[path] = {
        "family": parser.family_ps,
        "blocks": {
            name: [ip["phys_addr"], ip["addr_range"], ip["type"], sorted(ip["registers"])]
            for name, ip in parser.ip_dict.items() if "phys_addr" in ip
        },
        "clocks": [parser.clock_dict[index] for index in range(4)],
        "memory_bits": ps.get("C_SAXIGP2_DATA_WIDTH", ps.get("PCW_S_AXI_HP0_DATA_WIDTH")),
    }
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def plans(graph: DataflowGraph):
    return [
        plan_overlay(
            graph, model="net", board=board, graph_hash="a" * 64, design_hash="b" * 64, clock_mhz=150.0
        )
        for board in BOARDS
    ]


def test_it_finds_processor_blocks_and_clocks(plans, tmp_path: Path):
    for plan in plans:
        (tmp_path / f"{plan.name}.hwh").write_text(hwh_text(plan))
    files = [f"{plan.name}.hwh" for plan in plans]
    command = [str(create_environment(ENVIRONMENT)), "-c", _PROGRAM, *files]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for plan in plans:
        read = found[f"{plan.name}.hwh"]
        ps7 = plan.board.ps.kind == "PS7"
        assert read["family"] == ("processing_system7" if ps7 else "zynq_ultra_ps_e")
        assert read["memory_bits"] == str(plan.board.ps.memory_port_bits)
        assert read["blocks"] == {
            block.name: [
                plan.registers[block.name],
                0x1000,
                f"bitsiege:hardware:{block.kind}:1.0",
                sorted(register.name for register in block.registers),
            ]
            for block in BLOCKS
        }
        first, *others = read["clocks"]
        assert first["enable"] == 1
        assert first["frequency"] == pytest.approx(plan.planned_mhz)
        assert plan.board.clock.pll_mhz / (first["divisor0"] * first["divisor1"]) == pytest.approx(
            plan.planned_mhz
        )
        assert [clock["enable"] for clock in others] == [0, 0, 0]
