"""Building an overlay into a shared library: Verilator, our memory model, and Verilator's runtime."""

from __future__ import annotations

from pathlib import Path

from hw.cache import cached_directory, content_key
from hw.compiler import Compiler, find_compiler, run_compiler, run_tool
from hw.overlay.design import OverlayDesign
from hw.overlay.verilog import OVERLAY_TOP
from hw.verilator import Verilator, find_verilator

LIBRARY_NAME = "overlay.so"
_KIND = "overlay"
_CPP_DIR = Path(__file__).parent / "cpp"
_HARNESS = _CPP_DIR / "overlay.cpp"
_POPCOUNT = Path(__file__).parent.parent / "verilator" / "cpp" / "popcount.h"
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")

_VERILATE = (
    *("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--no-timing"),
    *("-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", OVERLAY_TOP, "--prefix", f"V{OVERLAY_TOP}"),
)
_COMPILE = (
    *("-std=c++17", "-fPIC", "-march=native", "-fno-strict-aliasing", "-w"),
    *("-fno-semantic-interposition", "-fno-plt"),
    *("-DVERILATOR=1", "-DVL_USER_FATAL", "-DVM_SC=0", "-DVM_COVERAGE=0", "-DVM_TRACE=0"),
)
_LINK = ("-shared", "-pthread", "-Wl,-Bsymbolic")


def build_overlay_library(design: OverlayDesign, cache_dir: Path | None = None) -> Path:
    """Return the path of an overlay's shared library; build it where the cache has none.

    Each network has a library of its own: the circuit holds the digest of its memory files.

    Args:
        design: The overlay.
        cache_dir: Where libraries are kept; None for the user's cache directory.

    Raises:
        ToolError: Verilator or the compiler is missing, or fails.
    """
    verilator, compiler = find_verilator(), find_compiler()
    sources = {name: design.files[name] for name in design.sources}
    key = content_key(
        *(part for name, text in sources.items() for part in (name, text)),
        *(path.read_text(encoding="utf-8") for path in (_HARNESS, _POPCOUNT, Path(__file__))),
        *(verilator.version, *compiler.identity),
    )

    def build(directory: Path) -> None:
        runtime = _build_runtime(verilator, compiler, cache_dir)
        (directory / "rtl").mkdir()
        for name, text in sources.items():
            (directory / "rtl" / name).write_bytes(text)
        names = [f"rtl/{name}" for name in sources]
        command = (*verilator.command, *_VERILATE, "-Mdir", "model", *names)
        run_tool(command, what="Verilator", cwd=directory)
        (directory / _POPCOUNT.name).write_bytes(_POPCOUNT.read_bytes())
        generated = sorted(path.name for path in (directory / "model").glob("*.cpp"))
        slow = [name for name in generated if "Slow" in name]
        fast = [_POPCOUNT.name, *(name for name in generated if name not in slow)]
        for name, includes in (("slow.cpp", slow), ("fast.cpp", fast)):
            text = "".join(f'#include "{include}"\n' for include in includes)
            (directory / name).write_text(text, encoding="utf-8")
        rename = "-DVL_READMEM_N=bitsiege_readmem"
        _compile(compiler, verilator, directory, ("fast.cpp", "fast.o", "-O2", rename))
        _compile(compiler, verilator, directory, ("slow.cpp", "slow.o", "-O0", rename))
        _compile(compiler, verilator, directory, (str(_HARNESS), "harness.o", "-O2"))
        objects = ("fast.o", "slow.o", "harness.o", *map(str, sorted(runtime.glob("*.o"))))
        run_compiler(compiler, (*_LINK, "-o", LIBRARY_NAME, *objects), cwd=directory)

    return cached_directory(_KIND, key, build, cache_dir=cache_dir) / LIBRARY_NAME


def _build_runtime(verilator: Verilator, compiler: Compiler, cache_dir: Path | None) -> Path:
    """Return the directory of Verilator's compiled runtime, which all overlays share."""
    key = content_key("runtime", *_COMPILE, verilator.version, *compiler.identity)

    def build(directory: Path) -> None:
        for source in _RUNTIME:
            job = (str(verilator.include / source), f"{Path(source).stem}.o", "-O2")
            _compile(compiler, verilator, directory, job)

    return cached_directory(_KIND, key, build, cache_dir=cache_dir)


def _compile(compiler: Compiler, verilator: Verilator, directory: Path, job: tuple[str, ...]) -> None:
    source, target, *options = job
    includes = [".", "model", str(verilator.include), str(verilator.include / "vltstd")]
    paths = [f"-I{path}" for path in includes]
    run_compiler(compiler, (*_COMPILE, *options, *paths, "-c", source, "-o", target), cwd=directory)
