"""Yosys reads the modules that draw weights, and makes no memory of anything but the means."""

import subprocess
import sys
from pathlib import Path

import pytest

RTL_DIR = Path(__file__).resolve().parents[3] / "hw" / "rtl"
_RUN = "import sys; from pyosys import libyosys as y; y.run_pass('script ' + sys.argv[1], y.Design())"


@pytest.mark.parametrize("simd", [2, 16])
def test_yosys_reads_the_generator(tmp_path: Path, simd: int) -> None:
    (tmp_path / "means.mem").write_text("00\n")
    modules = " ".join(str(RTL_DIR / f"{name}.sv") for name in ("bnn_threefry", "bnn_draw", "bnn_control"))
    (tmp_path / "script").write_text(
        f"read_verilog -sv {modules}\n"
        f"chparam -set MW 32 -set SIMD {simd} bnn_draw\n"
        "hierarchy -check -top bnn_draw\nproc\nflatten\nopt -fast\n"
        "select -assert-count 1 t:$mem_v2 t:$memrd\n"
        "design -reset\n"
        f"read_verilog -sv {modules}\nhierarchy -check -top bnn_control\nproc\ncheck -assert\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", _RUN, "script"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
