"""Writing the overlay of a build, and its hash."""

from __future__ import annotations

from pathlib import Path

from export.errors import InputError
from hw.build import Build
from hw.overlay.design import OverlayDesign, plan_overlay
from hw.rtlgen import RtlDesign, plan_rtl
from hw.rtlgen.generate import check_rtl


def design_of(build: Build) -> OverlayDesign:
    """Return the overlay of a build.

    Raises:
        InputError: The build's hardware was changed or is of another version, or an overlay can't hold it.
    """
    rtl = plan_rtl(build.graph, build.folding)
    check_rtl(rtl, build.rtl_path)
    return plan_overlay(rtl, read_accelerator(rtl, build.rtl_path))


def design_hash(build: Build) -> str:
    """Return the hash of a build's overlay, 64 hexadecimal digits.

    It is the SHA-256 of every file of the circuit with the hash itself left out, so it changes whenever the
    circuit does; board and clock are no part of it. Address ``0x2020`` of the overlay holds its bytes.

    Raises:
        InputError: See `design_of`.
    """
    return design_of(build).digest.hex()


def generate_overlay(build: Build, directory: Path) -> OverlayDesign:
    """Write ``bnn_overlay.sv`` and everything that it needs, flat, into an empty directory.

    Its parameters: ``MEM_DIR``, the folder of the memory files with its final slash; ``ADDR_W``, the bits of
    an address on ``m_axi``, 40 where it isn't set.

    Returns:
        What was written.

    Raises:
        InputError: See `design_of`; or the directory isn't empty, or can't be written.
    """
    design = design_of(build)
    write_overlay_files(design, directory)
    return design


def write_overlay_files(design: OverlayDesign, directory: Path) -> None:
    """Write the files of an overlay into an empty directory, which is made where it is missing.

    Raises:
        InputError: The directory isn't empty, or can't be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise InputError(f"{directory} is not empty", hint="give an empty directory, or a new one")
        for name, content in design.files.items():
            (directory / name).write_bytes(content)
    except OSError as error:
        raise InputError(f"can't write to {directory}: {error.strerror or error}") from error


def read_accelerator(rtl: RtlDesign, directory: Path) -> dict[str, bytes]:
    """Return the files of an accelerator by name.

    Args:
        rtl: The accelerator, with the contents of its memories.
        directory: Where they are; `check_rtl` has compared them.
    """
    return {name: (directory / name).read_bytes() for name in (*rtl.sources, *rtl.memories)}
