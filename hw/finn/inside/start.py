"""Start finn-plus as a library, on a machine that may have no Vivado.

It refuses to be imported without: it asks for the tool's root and for the class of its simulation engine.
Neither is used before the steps that run the vendor's tools.
"""
# This runs in FINN's environment, whose packages the type checker does not see.
# pyright: basic, reportMissingImports=false

from __future__ import annotations

import os
import shutil
from pathlib import Path

# It must not look like a version, for FINN would stamp that into its reports.
_NO_VIVADO = "/no-vivado"
TOOLS = ("vivado", "vitis_hls")


def start(work: Path) -> None:
    """Set FINN up before anything else of it is imported.

    Args:
        work: Directory for what it generates.
    """
    work.mkdir(parents=True, exist_ok=True)
    variables = {"FINN_BUILD_DIR": str(work), "OMP_NUM_THREADS": "1"}
    vivado = shutil.which("vivado")
    if vivado is None:
        variables["XILINX_VIVADO"] = _NO_VIVADO
    else:
        os.environ.setdefault("XILINX_VIVADO", str(Path(vivado).resolve().parent.parent))  # noqa: TID251
    # FINN takes these from nowhere else, and this process is only for it.
    os.environ.update(variables)  # noqa: TID251
    import finn.util.settings
    import finn.xsi

    finn.util.settings.initialize_dummy_settings()
    if vivado is None:
        finn.xsi.SimEngine = type("SimEngine", (), {})


def missing_tools() -> list[str]:
    """Names of the vendor's programs that are not on PATH."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]
