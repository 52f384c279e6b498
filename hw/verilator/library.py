"""Building a design into one shared library: Verilator, our harness, and Verilator's runtime.

Libraries are cached by the content of everything that goes into them. The memory files of a design do not:
they are read when a simulation starts, so networks of one shape share a library.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hw.cache import cached_directory, content_key
from hw.compiler import Compiler, find_compiler, run_compiler, run_tool
from hw.rtlgen.control import FRAME_ADDRESS, SEED_ADDRESS
from hw.verilator.tools import Verilator, find_verilator

LIBRARY_NAME = "design.so"
_TOP = "bnn_top"
_HARNESS = Path(__file__).parent / "cpp" / "harness.cpp"
_POPCOUNT = Path(__file__).parent / "cpp" / "popcount.h"
FST_DIR = Path(__file__).parent / "cpp" / "fst"
_COMPILE_JOBS = 2

# Source, object, options of one call of the compiler.
_Job = tuple[str, str, tuple[str, ...]]

_VERILATE = (
    *("--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--no-timing"),
    *("-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", _TOP, "--prefix", f"V{_TOP}"),
)
_COMPILE = (
    *("-std=c++17", "-fPIC", "-march=native", "-fno-strict-aliasing", "-w"),
    # Nobody replaces functions of a model, so calls within it need no detour through the dynamic linker's
    # tables, and may be inlined: simulations run a tenth to a quarter faster.
    *("-fno-semantic-interposition", "-fno-plt"),
)
_LINK = ("-shared", "-pthread", "-Wl,-Bsymbolic")
_DEFINES = ("-DVERILATOR=1", "-DVL_USER_FATAL", "-DVM_SC=0", "-DVM_COVERAGE=0", "-DVM_TRACE_VCD=0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """A stream inside the design that a debug library records.

    Attributes:
        name: Of the node that writes it; also the prefix of its wires ``<prefix>_tdata`` and so on.
        prefix: Prefix of the wires in the top module.
        beats: Beats of a frame.
        beat_bytes: Bytes of a beat, rounded up.
    """

    name: str
    prefix: str
    beats: int
    beat_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """What the harness needs to know of a generated ``bnn_top``.

    Attributes:
        sources: SystemVerilog files in the order of compilation.
        input_beats: Input beats of a frame.
        input_beat_bytes: Pixels of an input beat.
        output_beats: Output beats of a frame.
        output_pe: Logits of an output beat.
        logit_bytes: Bytes of a logit, 1 to 8.
        label_bytes: Bytes of the label above the logits; 0 where there is none to check.
        taps: Inner streams.
        draws: Whether weights are drawn, so that the registers of bnn_control set seed and first frame.
        large: Whether the compiler shall optimise little, because there is far more code than time.
        forceable: Whether bits of the inner streams can be forced in a debug library, which is slower still.
    """

    sources: tuple[Path, ...]
    input_beats: int
    input_beat_bytes: int
    output_beats: int
    output_pe: int
    logit_bytes: int
    label_bytes: int
    taps: tuple[Tap, ...] = ()
    draws: bool = False
    large: bool = False
    forceable: bool = False


def build_library(design: Design, *, debug: bool = False, cache_dir: Path | None = None) -> Path:
    """Return the path of a design's shared library; build it where the cache has none.

    Args:
        design: The design.
        debug: Whether inner streams can be recorded and waves written; such a library is slower.
        cache_dir: Where libraries are kept; None for the user's cache directory.

    Raises:
        ToolError: Verilator or the compiler is missing, or fails.
    """
    verilator, compiler = find_verilator(), find_compiler()
    header = _design_header(design, debug=debug)
    key = content_key(
        header,
        _control_file(design, debug=debug),
        str(design.large),
        *(part for source in design.sources for part in (source.name, source.read_bytes())),
        _HARNESS.read_text(encoding="utf-8"),
        _POPCOUNT.read_text(encoding="utf-8"),
        Path(__file__).read_text(encoding="utf-8"),
        *_toolchain(verilator, compiler),
    )

    def build(directory: Path) -> None:
        runtime = _build_runtime(verilator, compiler, debug=debug, cache_dir=cache_dir)
        (directory / "design.h").write_text(header, encoding="utf-8")
        _verilate(design, verilator, directory, debug=debug)
        objects = _compile_model(design, verilator, compiler, directory, debug=debug)
        parts = (*objects, *map(str, sorted(runtime.glob("*.o"))))
        run_compiler(compiler, (*_LINK, "-o", LIBRARY_NAME, *parts), cwd=directory)
        for name in objects:
            (directory / name).unlink()

    return cached_directory("verilator", key, build, cache_dir=cache_dir) / LIBRARY_NAME


def _verilate(design: Design, verilator: Verilator, directory: Path, *, debug: bool) -> None:
    """Translate the design to C++ in ``directory / "model"``."""
    # Sources are copied, so that no path of this machine ends up in a library that others may use.
    (directory / "rtl").mkdir()
    for source in design.sources:
        (directory / "rtl" / source.name).write_bytes(source.read_bytes())
    (directory / "taps.vlt").write_text(_control_file(design, debug=debug), encoding="utf-8")
    options = (*_VERILATE, "--trace-fst") if debug else _VERILATE
    sources = [f"rtl/{source.name}" for source in design.sources]
    run_tool(
        (*verilator.command, *options, "-Mdir", "model", "taps.vlt", *sources),
        what="Verilator",
        cwd=directory,
    )


def _compile_model(
    design: Design, verilator: Verilator, compiler: Compiler, directory: Path, *, debug: bool
) -> tuple[str, ...]:
    """Compile Verilator's output and the harness; return the names of the objects."""
    # One translation unit for what runs in every cycle: the compiler then inlines across files.
    generated = sorted(path.name for path in (directory / "model").glob("*.cpp"))
    slow = [name for name in generated if "Slow" in name or "Trace" in name]
    fast = [name for name in generated if name not in slow]
    (directory / _POPCOUNT.name).write_bytes(_POPCOUNT.read_bytes())
    for name, includes in (("slow.cpp", slow), ("fast.cpp", [_POPCOUNT.name, *fast])):
        text = "".join(f'#include "{include}"\n' for include in includes)
        (directory / name).write_text(text, encoding="utf-8")
    level, slow_level = ("-O1", "-O0") if debug or design.large else ("-O3", "-O1")
    rename, trace = "-DVL_READMEM_N=bitsiege_readmem", f"-DVM_TRACE={int(debug)}"
    jobs = [
        ("fast.cpp", "fast.o", (level, rename, trace)),
        ("slow.cpp", "slow.o", (slow_level, rename, trace)),
        (str(_HARNESS), "harness.o", (level, trace)),
    ]
    _compile_all(compiler, jobs, (".", "model", *_runtime_includes(verilator)), directory)
    return tuple(target for _, target, _ in jobs)


def _build_runtime(verilator: Verilator, compiler: Compiler, *, debug: bool, cache_dir: Path | None) -> Path:
    """Return the directory of Verilator's compiled runtime, which all designs share."""
    sources = ["verilated.cpp", "verilated_threads.cpp", *(["verilated_fst_c.cpp"] if debug else [])]
    key = content_key("runtime", str(debug), *_toolchain(verilator, compiler))

    def build(directory: Path) -> None:
        jobs = [
            (
                str(verilator.include / source),
                f"{Path(source).stem}.o",
                ("-O2", f"-DVM_TRACE={int(debug)}"),
            )
            for source in sources
        ]
        _compile_all(compiler, jobs, _runtime_includes(verilator), directory)

    return cached_directory("verilator", key, build, cache_dir=cache_dir)


def _compile_all(
    compiler: Compiler,
    jobs: Sequence[_Job],
    includes: Sequence[str],
    directory: Path,
) -> None:
    """Compile in ``directory``, a few files at a time."""

    def compile_one(job: _Job) -> None:
        source, target, options = job
        paths = [f"-I{path}" for path in includes]
        arguments = (*_COMPILE, *_DEFINES, *options, *paths, "-c", source, "-o", target)
        run_compiler(compiler, arguments, cwd=directory)

    with ThreadPoolExecutor(_COMPILE_JOBS) as pool:
        list(pool.map(compile_one, jobs))


def _runtime_includes(verilator: Verilator) -> tuple[str, ...]:
    return (str(FST_DIR), str(verilator.include), str(verilator.include / "vltstd"))


def _toolchain(verilator: Verilator, compiler: Compiler) -> tuple[str, ...]:
    """What decides how anything is compiled here."""
    flags = (*_VERILATE, *_COMPILE, *_LINK, *_DEFINES)
    headers = [path.read_text(encoding="utf-8") for path in sorted(FST_DIR.glob("*.h"))]
    return (verilator.version, *compiler.identity, *flags, *headers)


def _control_file(design: Design, *, debug: bool) -> str:
    """Verilator's configuration: which wires stay visible. In a fast library none must."""
    lines = ["`verilator_config"]
    if debug:
        lines += [
            f'public_flat_rd -module "{_TOP}" -var "{tap.prefix}_{signal}"'
            for tap in design.taps
            for signal in ("tdata", "tvalid", "tready")
        ]
    if debug and design.forceable:
        lines += [f'forceable -module "{_TOP}" -var "{tap.prefix}_tdata"' for tap in design.taps]
    return "\n".join(lines) + "\n"


def _design_header(design: Design, *, debug: bool) -> str:
    """The constants of the harness, and in a debug library the code that reads the inner streams."""
    constants = {
        "kInBeats": design.input_beats,
        "kInBytes": design.input_beat_bytes,
        "kOutBeats": design.output_beats,
        "kPe": design.output_pe,
        "kLogitBytes": design.logit_bytes,
        "kLabelBytes": design.label_bytes,
        "kTaps": len(design.taps),
    }
    if design.draws:
        constants |= {"kSeedAddress": SEED_ADDRESS, "kFrameAddress": FRAME_ADDRESS}
    lines = [
        "// Generated by hw/verilator/library.py.",
        "#pragma once",
        f'#include "V{_TOP}.h"',
        f'#include "V{_TOP}___024root.h"',
        f"#define BITSIEGE_DEBUG {int(debug)}",
        f"#define BITSIEGE_CONTROL {int(design.draws)}",
        f"#define BITSIEGE_FORCE {int(debug and design.forceable)}",
        *(f"constexpr int {name} = {value};" for name, value in constants.items()),
    ]
    if debug:
        lines += [
            '#include "verilated_fst_c.h"',
            "using WaveFile = VerilatedFstC;",
            "#define BITSIEGE_TAPS(TAP) \\",
            *(
                f"    TAP({index}, {_TOP}__DOT__{tap.prefix}, {tap.beats}, {tap.beat_bytes}) \\"
                for index, tap in enumerate(design.taps)
            ),
            "",
        ]
    return "\n".join(lines) + "\n"
