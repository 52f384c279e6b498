"""What a board file says, and what of that is refused."""

from __future__ import annotations

import math
import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

# Where the addresses of the port that the block design uses lie, first and last.
# Sources: AMD UG585 (Zynq-7000) chapter 4, M_AXI_GP0; UG1085 (Zynq UltraScale+) chapter 10, M_AXI_HPM0_FPD.
_CONTROL_RANGES = {"PS7": (0x4000_0000, 0x7FFF_FFFF), "ZU+": (0xA000_0000, 0xAFFF_FFFF)}
# Of the accelerator's registers; the window must be aligned to its own size.
CONTROL_BYTES = 0x1_0000
# Both dividers in front of the logic's first clock count to 63 (UG585 chapter 25, UG1085 chapter 37).
_LARGEST_DIVISOR = 63
_FAMILIES = {"PS7": "xc7", "ZU+": "xcup"}
_PARTS = {"PS7": r"xc7z", "ZU+": r"xczu|xck|xazu"}


def _word(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.+:-]+", text):
        raise ValueError("may hold letters, digits and _ . + : -")
    return text


# Text that goes into Tcl, XML and file names; so nothing in it may mean anything there.
Word = Annotated[str, Field(min_length=1, max_length=120), AfterValidator(_word)]


class _Table(BaseModel):
    """A table of the file: frozen, and no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ProcessingSystem(_Table):
    """The processor system and the ports through which it and the accelerator reach each other.

    Attributes:
        kind: ``PS7`` (Zynq-7000) or ``ZU+`` (Zynq UltraScale+, Kria, RFSoC).
        memory_port_bits: Width of the port into memory, S_AXI_HP0 [bits].
        config: Settings of the processor's block that are set after those of the board's preset, such as
            ``PCW_UIPARAM_DDR_PARTNO``; a board without ``board_part`` needs them for its memory.
    """

    kind: Literal["PS7", "ZU+"]
    memory_port_bits: Literal[32, 64, 128] = 64
    config: dict[Word, Word] = {}

    @model_validator(mode="after")
    def _fits(self) -> ProcessingSystem:
        if self.kind == "PS7" and self.memory_port_bits == 128:
            raise ValueError("memory_port_bits of a PS7 is 32 or 64")
        prefix = "PCW_" if self.kind == "PS7" else "PSU_"
        for key in self.config:
            if not key.startswith(prefix):
                raise ValueError(f"config has the key {key}; those of a {self.kind} start with {prefix}")
        return self


class Clock(_Table):
    """The clock that the processor gives to the programmable logic.

    Attributes:
        pll_mhz: What it is divided from by two numbers from 1 to 63 [MHz].
        default_mhz: What is asked for where nobody says anything else [MHz].
        max_mhz: What is refused above [MHz].
    """

    pll_mhz: Annotated[float, Field(gt=0, le=4000)]
    default_mhz: Annotated[float, Field(gt=0, le=1000)] = 100.0
    max_mhz: Annotated[float, Field(gt=0, le=1000)] = 250.0

    @model_validator(mode="after")
    def _fits(self) -> Clock:
        if self.default_mhz > self.max_mhz:
            raise ValueError("default_mhz is more than max_mhz")
        if self.max_mhz > self.pll_mhz:
            raise ValueError("max_mhz is more than pll_mhz")
        return self

    def divisors(self, asked_mhz: float) -> tuple[int, int]:
        """Return the two dividers for the highest clock that is not above the one asked for.

        Args:
            asked_mhz: Clock [MHz].

        Raises:
            ValueError: Even the largest dividers leave a higher clock.
        """
        # A thousandth above counts as equal: 100 MHz asked of 999.99 is 99.999 and not 90.9.
        enough = self.pll_mhz / asked_mhz / 1.001
        pairs = (
            (first, second)
            for first in range(1, _LARGEST_DIVISOR + 1)
            for second in range(1, first + 1)
            if first * second >= enough
        )
        best = min(pairs, key=lambda pair: (pair[0] * pair[1], -pair[1]), default=None)
        if best is None:
            lowest = self.pll_mhz / _LARGEST_DIVISOR**2
            raise ValueError(f"the lowest clock is {lowest:.3f} MHz, {asked_mhz:g} MHz are below it")
        return best

    def planned_mhz(self, asked_mhz: float) -> float:
        """Return the clock that the dividers give for the one asked for [MHz]."""
        return self.pll_mhz / math.prod(self.divisors(asked_mhz))


class Resources(_Table):
    """What the FPGA has.

    Attributes:
        lut: LUT6s.
        ff: Flip-flops.
        bram36: Block RAMs of 36 kbit.
        dsp: DSP48 slices.
        uram: UltraRAMs of 288 kbit; the generated hardware uses none.
    """

    lut: Annotated[int, Field(ge=1)]
    ff: Annotated[int, Field(ge=1)]
    bram36: Annotated[int, Field(ge=0)]
    dsp: Annotated[int, Field(ge=0)]
    uram: Annotated[int, Field(ge=0)] = 0


class Addresses(_Table):
    """Where things lie in the processor's address space.

    Attributes:
        control: Registers of the accelerator, 64 KiB.
        memory_bytes: Memory from address 0 on that the accelerator may reach.
    """

    control: Annotated[int, Field(ge=0)]
    memory_bytes: Annotated[int, Field(ge=1 << 20, le=1 << 31)]

    @model_validator(mode="after")
    def _fits(self) -> Addresses:
        if self.control % CONTROL_BYTES:
            raise ValueError(f"control is {self.control:#x}, which is no multiple of {CONTROL_BYTES:#x}")
        if self.memory_bytes & (self.memory_bytes - 1):
            raise ValueError(f"memory_bytes is {self.memory_bytes:#x}, which is no power of two")
        return self


class Board(_Table):
    """A board.

    Attributes:
        name: Name that the command line takes.
        other_names: More such names.
        part: The device in full, with package and speed grade, as Vivado has it.
        board_part: Vivado's name of the board, whose preset sets up the processor's memory and pins; None
            where there is none.
        board_files: Where Vivado gets that preset from, for the reader.
        ps: The processor system.
        clock: The clock of the programmable logic.
        resources: What the FPGA has.
        addresses: Where things lie.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,39}$")]
    other_names: tuple[Word, ...] = Field(default=(), strict=False)
    part: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-zA-Z0-9]+)+$")]
    board_part: Annotated[str, Field(pattern=r"^[^:\s]+:[^:\s]+:part[0-9]+:[0-9.]+$")] | None = None
    board_files: str = ""
    ps: ProcessingSystem
    clock: Clock
    resources: Resources
    addresses: Addresses

    @model_validator(mode="after")
    def _fits(self) -> Board:
        if self.board_part is not None:
            _word(self.board_part)
        if not re.match(_PARTS[self.ps.kind], self.part):
            raise ValueError(f"the part {self.part} is none with a {self.ps.kind}")
        first, last = _CONTROL_RANGES[self.ps.kind]
        if not first <= self.addresses.control <= last + 1 - CONTROL_BYTES:
            raise ValueError(
                f"addresses.control is {self.addresses.control:#x}; "
                f"a {self.ps.kind} reaches the logic from {first:#x} to {last:#x}"
            )
        if self.board_part is None and not self.ps.config:
            raise ValueError("give either board_part or ps.config: nothing else sets up the memory")
        return self

    @property
    def key(self) -> str:
        """The name in lower case without punctuation, for names of files."""
        return name_key(self.name)

    @property
    def device(self) -> str:
        """The device without package and speed grade, such as XC7Z020."""
        seven_series = re.match(r"xc7z\d{3}s?", self.part)
        return (seven_series.group() if seven_series else self.part.partition("-")[0]).upper()

    @property
    def family(self) -> str:
        """Family that synthesis maps to: ``xc7`` or ``xcup``."""
        return _FAMILIES[self.ps.kind]

    @property
    def lut(self) -> int:
        """LUT6s."""
        return self.resources.lut

    @property
    def ff(self) -> int:
        """Flip-flops."""
        return self.resources.ff

    @property
    def bram36(self) -> int:
        """Block RAMs of 36 kbit."""
        return self.resources.bram36

    @property
    def dsp(self) -> int:
        """DSP48 slices."""
        return self.resources.dsp

    @property
    def uram(self) -> int:
        """UltraRAMs of 288 kbit."""
        return self.resources.uram


def name_key(name: str) -> str:
    """Return a name as it is compared: case, hyphens, underscores, dots and spaces don't matter."""
    return re.sub(r"[-_. ]", "", name.lower())
