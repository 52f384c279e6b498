"""The driver stands alone: it is copied to a board, where nothing else of this repository is."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import hw.pynq

FOLDER = Path(hw.pynq.__file__).parent
ALLOWED = {"numpy", *sys.stdlib_module_names}


def test_it_imports_the_standard_library_and_numpy_only():
    for path in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(), feature_version=(3, 10))):
            if isinstance(node, ast.Import):
                names = {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = {(node.module or "").partition(".")[0]}
            else:
                continue
            assert names <= ALLOWED, f"{path.name} imports {names - ALLOWED}"


def test_it_works_under_another_name(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "bitsiege_pynq")
    program = "import sys, bitsiege_pynq; print(bitsiege_pynq.parse_type('INT3').bits, 'hw' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert found.stdout.split() == ["3", "False"]
