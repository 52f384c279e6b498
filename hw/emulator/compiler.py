"""Compiling the native code on first use: one library for this machine, kept in the cache."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path

from export.errors import ToolError
from hw.cache import cached_directory, content_key

COMPILER = "g++"
_LIBRARY = "libemulator.so"
_TIMEOUT_S = 600.0
_ERROR_LINES = 5
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-pthread")
# Each instruction set gets exactly its flags; code that all of them share gets what this machine has.
_UNITS: dict[str, tuple[str, ...]] = {
    "engine.cpp": ("-march=native",),
    "steps.cpp": ("-march=native",),
    "drawn_gemm.cpp": ("-march=native",),
    "window_steps.cpp": ("-march=native",),
    "kernel_portable.cpp": (),
}
_UNITS_X86: dict[str, tuple[str, ...]] = {
    "kernel_avx2.cpp": ("-mavx2",),
    "kernel_avx512.cpp": (
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mavx512vnni",
        "-mavx512vpopcntdq",
        "-mprefer-vector-width=512",
    ),
}


def build_library(
    cache_dir: Path | None = None, *, extra_flags: Sequence[str] = (), compiler: str = COMPILER
) -> Path:
    """Return the emulator's shared library for this machine; compile it if the cache has none.

    Args:
        cache_dir: Where compiled code is kept; None for the user's cache directory.
        extra_flags: More flags for every translation unit and the link, such as ``-fsanitize=address``.
        compiler: Name or path of the C++ compiler.

    Raises:
        ToolError: There is no compiler, or it failed.
        InputError: The cache directory can't be written.
    """
    executable = shutil.which(compiler)
    if executable is None:
        raise ToolError(
            f"no C++ compiler: {compiler} is not on the PATH, and the emulator compiles its native code",
            hint="install it: apt-get install g++ (Debian, Ubuntu), dnf install gcc-c++ (Fedora)",
            tool=compiler,
        )
    units = _UNITS | (_UNITS_X86 if platform.machine() == "x86_64" else {})
    with as_file(files("hw.emulator").joinpath("native")) as sources:
        texts = [path.name + path.read_text() for path in sorted(sources.iterdir()) if path.is_file()]
        key = content_key(
            *texts, repr(units), repr((*_FLAGS, *extra_flags)), _compiler_version(executable), _cpu_identity()
        )

        def build(directory: Path) -> None:
            _compile(executable, sources, directory, units, (*_FLAGS, *extra_flags))

        return cached_directory("emulator", key, build, cache_dir=cache_dir) / _LIBRARY


def _compile(
    executable: str, sources: Path, directory: Path, units: dict[str, tuple[str, ...]], flags: tuple[str, ...]
) -> None:
    objects = [str(directory / f"{name}.o") for name in units]
    commands = [
        [executable, *flags, *own_flags, "-c", str(sources / name), "-o", target]
        for (name, own_flags), target in zip(units.items(), objects, strict=True)
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(_run, commands))
    _run([executable, *flags, "-shared", *objects, "-o", str(directory / _LIBRARY)])
    for name in objects:
        Path(name).unlink()


def _run(command: list[str]) -> str:
    try:
        result = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except OSError as error:
        raise ToolError(f"can't run {command[0]}: {error.strerror or error}", tool=command[0]) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"{command[0]} ran longer than {_TIMEOUT_S:.0f} s", tool=command[0]) from error
    if result.returncode != 0:
        lines = result.stderr.splitlines()
        errors = [line for line in lines if "error" in line.lower()] or lines
        shown = "\n".join(errors[:_ERROR_LINES]) or f"exit status {result.returncode}"
        raise ToolError(
            f"{command[0]} could not compile the emulator:\n{shown}",
            hint="the emulator needs g++ 9 or newer; bitsiege doctor shows what is installed",
            tool=command[0],
        )
    return result.stdout


@cache
def _compiler_version(executable: str) -> str:
    return _run([executable, "--version"]) + _run([executable, "-dumpmachine"])


@cache
def _cpu_identity() -> str:
    """Return what ``-march=native`` depends on: a home directory may be shared by different machines."""
    wanted = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags", "Features", "CPU part")
    try:
        text = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return f"{platform.machine()} {platform.processor()} {platform.platform()}"
    first_cpu = text.strip().split("\n\n")[0]
    lines = [line for line in first_cpu.splitlines() if line.split(":")[0].strip() in wanted]
    return platform.machine() + hashlib.sha256("\n".join(lines).encode()).hexdigest()
