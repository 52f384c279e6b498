"""A copy of the proofs and of the hardware, in which a test may break a module."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hw.formal import Verdict, prove

HW_DIR = Path(__file__).resolve().parents[3] / "hw"


@pytest.fixture
def run_proof(tmp_path: Path) -> Callable[..., Verdict]:
    """Return a function that runs a proof, on a module with a passage replaced where one is given."""

    def run(proof: str, task: str, module: str = "", old: str = "", new: str = "") -> Verdict:
        for name in ("formal", "rtl"):
            shutil.copytree(
                HW_DIR / name, tmp_path / name, ignore=shutil.ignore_patterns("*.py", "__pycache__")
            )
        if module:
            path = tmp_path / "rtl" / f"{module}.sv"
            text = path.read_text()
            assert text.count(old) == 1, f"{module} has {text.count(old)} times: {old}"
            path.write_text(text.replace(old, new))
        return prove(tmp_path / "formal" / f"{proof}.sby", task, tmp_path / "run")

    return run
