"""Compiling the native code on first use: one library for this machine, kept in the cache."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.resources import as_file, files
from pathlib import Path

from hw.cache import cached_directory, content_key
from hw.compiler import Compiler, find_compiler, run_compiler

_LIBRARY = "libemulator.so"
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
    cache_dir: Path | None = None, *, extra_flags: Sequence[str] = (), compiler: str | None = None
) -> Path:
    """Return the emulator's shared library for this machine; compile it if the cache has none.

    Args:
        cache_dir: Where compiled code is kept; None for the user's cache directory.
        extra_flags: More flags for every translation unit and the link, such as ``-fsanitize=address``.
        compiler: Name or path of the C++ compiler; None for the first one on the PATH.

    Raises:
        ToolError: There is no compiler, or it failed.
        InputError: The cache directory can't be written.
    """
    found = find_compiler(compiler)
    units = _UNITS | (_UNITS_X86 if platform.machine() == "x86_64" else {})
    with as_file(files("hw.emulator").joinpath("native")) as sources:
        texts = [path.name + path.read_text() for path in sorted(sources.iterdir()) if path.is_file()]
        key = content_key(*texts, repr(units), repr((*_FLAGS, *extra_flags)), *found.identity)

        def build(directory: Path) -> None:
            _compile(found, sources, directory, units, (*_FLAGS, *extra_flags))

        return cached_directory("emulator", key, build, cache_dir=cache_dir) / _LIBRARY


def _compile(
    compiler: Compiler,
    sources: Path,
    directory: Path,
    units: dict[str, tuple[str, ...]],
    flags: tuple[str, ...],
) -> None:
    objects = [str(directory / f"{name}.o") for name in units]
    jobs = [
        (*flags, *own_flags, "-c", str(sources / name), "-o", target)
        for (name, own_flags), target in zip(units.items(), objects, strict=True)
    ]
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(partial(run_compiler, compiler), jobs))
    run_compiler(compiler, (*flags, "-shared", *objects, "-o", str(directory / _LIBRARY)))
    for name in objects:
        Path(name).unlink()
