"""The native library as Python functions."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import InputError, ToolError
from hw.emulator.compiler import build_library
from hw.emulator.steps import Plan

# Fastest last; the index is the number that the native code knows it by.
ISAS = ("portable", "avx2", "avx512")


@dataclass(frozen=True, slots=True, eq=False)
class NativeLibrary:
    """The loaded shared library."""

    handle: ctypes.CDLL

    def supports(self, isa: str) -> bool:
        """Whether this processor can run the kernels of an instruction set."""
        return bool(self.handle.bitsiege_isa_available(ISAS.index(isa)))

    def choose_isa(self, isa: str | None) -> str:
        """Return ``isa`` if this processor has it; the fastest one that it has for None.

        Raises:
            ValueError: No kernel has this name.
            InputError: This processor can't run it.
        """
        if isa is None:
            return next(name for name in reversed(ISAS) if self.supports(name))
        if isa not in ISAS:
            raise ValueError(f"unknown instruction set {isa!r}; known: {', '.join(ISAS)}")
        if not self.supports(isa):
            raise InputError(f"this processor has no {isa}", hint="leave the choice to the program")
        return isa

    def popcount_macs(self, isa: str, iterations: int) -> int:
        """Run xor, popcount and add on registers, and return the multiply-accumulates done.

        Timed, it tells the most that the emulator could reach on one thread of this machine.
        """
        return int(self.handle.bitsiege_popcount_macs(ISAS.index(isa), iterations))

    def dependent_adds(self, iterations: int) -> int:
        """Run additions that wait for each other, one a clock cycle, and return how many."""
        return int(self.handle.bitsiege_dependent_adds(iterations))


@cache
def load_library(cache_dir: Path | None = None) -> NativeLibrary:
    """Compile the native library if need be, and load it.

    Raises:
        ToolError: There is no compiler, or it failed, or the library can't be loaded.
        InputError: The cache directory can't be written.
    """
    return open_library(build_library(cache_dir))


def open_library(path: Path) -> NativeLibrary:
    """Load a compiled library.

    Raises:
        ToolError: It can't be loaded.
    """
    try:
        handle = ctypes.CDLL(str(path))
    except OSError as error:
        raise ToolError(
            f"can't load {path}: {error}", hint=f"delete {path.parent}; it is compiled again", path=str(path)
        ) from error
    integer, pointer = ctypes.c_int64, ctypes.c_void_p
    signatures: dict[str, tuple[Any, list[Any]]] = {
        "bitsiege_isa_available": (integer, [integer]),
        "bitsiege_create": (
            pointer,
            # Steps, buffers and outputs, constants, and the memory of a block.
            [
                *[integer, pointer, integer, pointer, integer, integer],
                *[pointer, integer, integer, pointer, integer, integer],
            ],
        ),
        "bitsiege_destroy": (None, [pointer]),
        "bitsiege_patch": (integer, [pointer, integer, ctypes.c_char_p, integer]),
        "bitsiege_run": (integer, [pointer, pointer, integer, pointer, integer, integer, integer]),
        "bitsiege_popcount_macs": (integer, [integer, integer]),
        "bitsiege_dependent_adds": (integer, [integer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(handle, name)
        function.restype = result
        function.argtypes = arguments
    return NativeLibrary(handle)


class NativeEngine:
    """A plan in native memory. Several Python threads may run it at once."""

    def __init__(self, library: NativeLibrary, isa: str, plan: Plan) -> None:
        steps = np.ascontiguousarray(plan.steps)
        sizes = np.ascontiguousarray(plan.image_bytes)
        offsets = np.ascontiguousarray(plan.arena_offsets)
        constants = np.frombuffer(plan.constants, np.uint8)
        engine = library.handle.bitsiege_create(
            ISAS.index(isa),
            steps.ctypes.data,
            len(steps),
            sizes.ctypes.data,
            len(sizes),
            plan.outputs,
            constants.ctypes.data,
            len(constants),
            plan.block_images,
            offsets.ctypes.data,
            plan.arena_bytes,
            plan.scratch_bytes,
        )
        if not engine:
            raise MemoryError("the emulator's engine")
        self._library = library
        self._engine = engine
        self._finalizer = weakref.finalize(self, library.handle.bitsiege_destroy, engine)

    def patch(self, offset: int, data: bytes) -> None:
        """Write into the plan's constants, from byte ``offset`` on; no thread may run the engine meanwhile.

        Raises:
            ValueError: The constants end before.
        """
        if self._library.handle.bitsiege_patch(self._engine, offset, data, len(data)):
            raise ValueError(f"there are no {len(data)} bytes of constants from {offset} on")

    def run(
        self,
        images: npt.NDArray[np.uint8],
        outputs: Sequence[npt.NDArray[np.int64]],
        threads: int,
        *,
        seed: int = 0,
        first_frame: int = 0,
    ) -> None:
        """Compute contiguous uint8 images ``(N, ...)`` into int64 arrays, one a plan's output.

        ``seed`` and ``first_frame``, below 2**32, are what drawn weights depend on.
        """
        pointers = np.array([array.ctypes.data for array in outputs], np.uintp)
        status = self._library.handle.bitsiege_run(
            self._engine, images.ctypes.data, len(images), pointers.ctypes.data, threads, seed, first_frame
        )
        if status != 0:
            raise MemoryError("the emulator's working memory")
