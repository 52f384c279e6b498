"""What an overlay consists of: the accelerator, its DMA, its registers, and the digest of it all."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from export.datatypes import UINT8
from export.errors import InputError
from export.graph import DataflowGraph
from hw.overlay.verilog import OVERLAY_TOP, write_overlay
from hw.rtlgen import RtlDesign
from hw.rtlgen.generate import RTL_DIR

MODULES = (
    *("bnn_fifo", "bnn_dwc", "bnn_dma_length", "bnn_dma_read", "bnn_dma_write"),
    *("bnn_dma_unpack", "bnn_dma_pack", "bnn_dma_registers", "bnn_dma_reset", "bnn_axil", "bnn_identity"),
)
"""The modules around a ``bnn_top``."""

RESULT_BYTES = 4
_WORD_BYTES = 8
_MOST_LOGIT_W = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlayDesign:
    """An overlay: everything that is synthesised, without vendor blocks.

    Attributes:
        rtl: The accelerator inside.
        files: Content of every file by name: sources and memories, the text of the top among them.
        sources: Names of the SystemVerilog files in the order of compilation; the top is the last one.
        digest: SHA-256 of all of it, which the circuit also holds in its registers.
        frame_bytes: Bytes of an image in memory.
        classes: Logits of a frame.
    """

    rtl: RtlDesign
    files: Mapping[str, bytes]
    sources: tuple[str, ...]
    digest: bytes
    frame_bytes: int
    classes: int

    @property
    def result_bytes(self) -> int:
        """Bytes of a frame's logits in memory."""
        return result_bytes(self.classes)


def result_format(graph: DataflowGraph) -> tuple[str, int]:
    """Return NumPy's name of the type of a logit in memory, and the bytes of a frame of them."""
    return "int32", result_bytes(graph.classes)


def result_bytes(classes: int) -> int:
    """Return the bytes of a frame of logits in memory, whole 64-bit words."""
    return -(-classes * RESULT_BYTES // _WORD_BYTES) * _WORD_BYTES


def plan_overlay(rtl: RtlDesign, accelerator: Mapping[str, bytes]) -> OverlayDesign:
    """Describe the overlay around an accelerator.

    Args:
        rtl: The accelerator.
        accelerator: Content of its files by name, without other things.

    Raises:
        InputError: Its images aren't bytes, or its logits don't fit 32 bits.
    """
    if rtl.input.dtype != UINT8:
        raise InputError(f"the overlay's images are uint8, but the network reads {rtl.input.dtype}")
    if rtl.logit_w > _MOST_LOGIT_W:
        raise InputError(
            f"the network's logits have {rtl.logit_w} bits; an overlay writes them to memory in "
            f"{_MOST_LOGIT_W}",
            hint="use a smaller scale in the last layer",
        )
    others = {f"{name}.sv": (RTL_DIR / f"{name}.sv").read_bytes() for name in MODULES}
    parts = {**others, **accelerator, f"{OVERLAY_TOP}.sv": write_overlay(rtl, bytes(32)).encode()}
    digest = _digest(parts)
    top = f"{OVERLAY_TOP}.sv"
    return OverlayDesign(
        rtl=rtl,
        files={**parts, top: write_overlay(rtl, digest).encode()},
        sources=(*dict.fromkeys((*others, *rtl.sources)), top),
        digest=digest,
        frame_bytes=rtl.input.lanes * rtl.input.beats,
        classes=rtl.output.lanes * rtl.output.beats,
    )


def _digest(files: Mapping[str, bytes]) -> bytes:
    """Hash names and contents, so that any change of the circuit changes it."""
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.digest()
