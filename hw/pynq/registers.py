"""The registers of an overlay, by byte offset from their block; 32 bits each.

The first five of a DMA channel are those of FINN's IODMA, so that FINN's own driver finds what it looks for.
"""

from __future__ import annotations

# A DMA channel, idma0 or odma0.
CTRL = 0x00
ADDRESS_LOW = 0x10
ADDRESS_HIGH = 0x14
FRAMES = 0x1C
STATUS = 0x20
FRAME_BYTES = 0x24
FRAMES_DONE = 0x28
SOFT_RESET = 0x2C

# Bits of CTRL. Done reads as 1 once, then it is cleared by that.
START = 1 << 0
DONE = 1 << 1
IDLE = 1 << 2

# Bits of STATUS, written as 1 to clear them; those of AMD's AXI DMA.
HALTED = 1 << 0
ERRORS = {
    1 << 4: "length error: the stream was longer or shorter than the frames asked for",
    1 << 5: "slave error: memory answered SLVERR",
    1 << 6: "decode error: nothing answers at the address (DECERR)",
}

# control0: the seed of drawn weights, what the circuit is, and its clock.
SEED = 0x00
FRAME = 0x04
DRAW_STATUS = 0x08
MAGIC = 0x10
VERSION = 0x14
CYCLES_LOW = 0x18
CYCLES_HIGH = 0x1C
DESIGN_HASH = 0x20

# "BITS", and what this driver speaks.
MAGIC_VALUE = 0x4249_5453
VERSION_VALUE = 1
HASH_BYTES = 32
BLOCK_BYTES = 0x1000


def error_names(status: int) -> list[str]:
    """Return what the error bits of a channel's STATUS say, one sentence each."""
    return [text for bit, text in ERRORS.items() if status & bit]
