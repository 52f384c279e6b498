"""Opening a target of a build by its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from typing import Any

from export.errors import InputError
from hw.build import Build
from hw.reference import ReferenceTarget
from hw.rtlgen import check_rtl
from hw.target import Target


def _open_reference(build: Build, **options: Any) -> Target:
    return ReferenceTarget(build.graph, **options)


def _open_emulator(build: Build, **options: Any) -> Target:
    from hw.emulator import EmulatorTarget

    return EmulatorTarget(build.graph, **options)


def _open_rtl(build: Build, **options: Any) -> Target:
    from hw.rtl_target import RtlTarget

    target = RtlTarget(build.graph, build.folding, **options)
    # What is simulated is generated anew; the build's own files must be the same hardware.
    check_rtl(target.rtl, build.path / "rtl")
    return target


def _open_netlist(build: Build, **options: Any) -> Target:
    from hw.netlist import NetlistTarget

    target = NetlistTarget(build.graph, build.folding, **options)
    check_rtl(target.rtl, build.path / "rtl")
    return target


def _open_timing(build: Build, **options: Any) -> Target:
    from hw.timing_target import TimingTarget

    return TimingTarget(build.graph, build.folding, **options)


def _open_qonnx(build: Build, **options: Any) -> Target:
    if build.model_path is None:
        raise InputError(
            f"the build {build.path} has no model.onnx, which the target qonnx executes",
            hint="compile the QONNX file again, so that it is kept in the build",
        )
    # The qonnx package takes seconds to import; only its own target needs it.
    from hw.qonnx_target import QonnxTarget

    return QonnxTarget(build.model_path, build.graph, **options)


def _open_finn(build: Build, **options: Any) -> Target:
    from hw.finn import FinnTarget

    return FinnTarget(build, **options)


_OPENERS: dict[str, Callable[..., Target]] = {
    "reference": _open_reference,
    "emulator": _open_emulator,
    "timing": _open_timing,
    "rtl": _open_rtl,
    "netlist": _open_netlist,
    "qonnx": _open_qonnx,
    "finn": _open_finn,
}

HARDWARE_TARGETS = tuple(_OPENERS)
REMOTE_PREFIX = "remote:"
"""``remote:NAME`` is the board of that name."""


def open_target(name: str, build: Build, **options: Any) -> Target:
    """Open a target of a build.

    Args:
        name: One of `HARDWARE_TARGETS`, or ``remote:`` and the name of a board.
        build: From `hw.build.load_build`.
        options: Keyword arguments of the target's class, such as ``cache_dir`` or ``workers`` of ``rtl``.

    Raises:
        InputError: No such target, or the build lacks what it needs.
        ToolError: A compiler or simulator is missing, or a board can't be reached.
    """
    if name.startswith(REMOTE_PREFIX):
        from hw.remote import RemoteTarget

        return RemoteTarget(build, name.removeprefix(REMOTE_PREFIX), **options)
    if name not in _OPENERS:
        nearest = difflib.get_close_matches(name, HARDWARE_TARGETS, n=1)
        guess = f"did you mean {nearest[0]}? " if nearest else ""
        raise InputError(
            f"there is no target {name!r}",
            hint=f"{guess}targets: {', '.join(HARDWARE_TARGETS)}, remote:NAME",
            target=name,
        )
    return _OPENERS[name](build, **options)
