"""The registers of the overlay's AXI4-Lite port, as the drivers see them.

One port, three blocks of 4 KiB. The first two have the register map of FINN's IODMA, so that FINN's own
driver works on them; what is ours lies beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_BYTES = 0x1000


@dataclass(frozen=True, slots=True)
class Field:
    """Bits of a register.

    Attributes:
        name: Its name.
        first_bit: The lowest bit.
        bits: How many there are.
        description: What they mean.
    """

    name: str
    first_bit: int
    bits: int
    description: str


@dataclass(frozen=True, slots=True)
class Register:
    """A register of 32 bits.

    Attributes:
        name: Its name.
        offset: Bytes from the start of its block.
        access: ``read-write`` or ``read-only``.
        description: What it is.
        fields: Its parts, where it has any.
    """

    name: str
    offset: int
    access: str
    description: str
    fields: tuple[Field, ...] = ()


@dataclass(frozen=True, slots=True)
class RegisterBlock:
    """A block of registers that drivers know by a name.

    Attributes:
        name: Name of the IP in the hardware description.
        kind: Name of its type there.
        offset: Bytes from the start of the port's window.
        registers: What is in it.
        reaches_memory: Whether its hardware is a master of the memory.
    """

    name: str
    kind: str
    offset: int
    registers: tuple[Register, ...]
    reaches_memory: bool = False


_RW, _RO = "read-write", "read-only"

_DMA = (
    Register(
        "CTRL",
        0x00,
        _RW,
        "Starts a transfer and tells its end",
        (
            Field("AP_START", 0, 1, "Write 1 to start; reads 1 while it runs"),
            Field("AP_DONE", 1, 1, "Reads 1 once after the end, and clears on read"),
            Field("AP_IDLE", 2, 1, "Nothing runs"),
        ),
    ),
    Register("ADDRESS_LOW", 0x10, _RW, "Address of the buffer, lower 32 bits"),
    Register("ADDRESS_HIGH", 0x14, _RW, "Address of the buffer, upper 32 bits"),
    Register("NUM_REPS", 0x1C, _RW, "Frames to transfer"),
    Register(
        "STATUS",
        0x20,
        _RW,
        "Errors; write 1 to clear",
        (
            Field("HALTED", 0, 1, "Stopped after an error"),
            Field("INTERNAL_ERROR", 4, 1, "The stream is longer or shorter than its frames"),
            Field("SLAVE_ERROR", 5, 1, "The memory answered with an error"),
            Field("DECODE_ERROR", 6, 1, "No memory has that address"),
        ),
    ),
    Register("FRAME_BYTES", 0x24, _RO, "Bytes of a frame in memory"),
    Register("FRAMES_DONE", 0x28, _RO, "Frames that are finished"),
    Register("RESET", 0x2C, _RW, "Write 1 to abort everything and reset the accelerator"),
)

_CONTROL = (
    Register("SEED", 0x00, _RW, "Seed of drawn weights"),
    Register("FRAME", 0x04, _RW, "Index of the next frame, for drawn weights"),
    Register("STATUS", 0x08, _RO, "State of the frame counter"),
    Register("MAGIC", 0x10, _RO, "0x42495453"),
    Register("VERSION", 0x14, _RO, "1"),
    Register("CYCLES_LOW", 0x18, _RO, "Clock cycles since reset, lower 32 bits"),
    Register("CYCLES_HIGH", 0x1C, _RO, "Clock cycles since reset, upper 32 bits"),
    *(Register(f"DESIGN_HASH_{i}", 0x20 + 4 * i, _RO, f"Word {i} of the design's SHA-256") for i in range(8)),
)

BLOCKS = (
    RegisterBlock("idma0", "bnn_dma", 0x0000, _DMA, reaches_memory=True),
    RegisterBlock("odma0", "bnn_dma", 0x1000, _DMA, reaches_memory=True),
    RegisterBlock("control0", "bnn_control", 0x2000, _CONTROL),
)
"""All blocks, by their offset."""
