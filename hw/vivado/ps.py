"""What the two processor systems call their ports, clocks and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from hw.boards import Board

CLOCKS = 4
"""Clocks of the programmable logic; the first one drives the overlay."""
CONTROL_PORT_BITS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class PsNames:
    """Names of one kind of processor system.

    Attributes:
        ip: Name of its block in Vivado's catalogue.
        version: Version of that block that the hardware description names.
        rule: Vivado's automation that applies the board's preset.
        clock: Pin of the first clock for the logic.
        reset: Pin of the reset that goes with it, active low.
        control: Master port for registers.
        control_clock: Pin of that port's clock.
        memory: Slave port into memory.
        memory_clock: Pin of that port's clock.
        memory_segment: The memory behind it, in Vivado's address editor.
        other_segments: What else is behind it there; the overlay leaves it alone.
        timing_clock: What the first clock is called in timing.
        address_space: The processor's own address space.
    """

    ip: str
    version: str
    rule: str
    clock: str
    reset: str
    control: str
    control_clock: str
    memory: str
    memory_clock: str
    memory_segment: str
    other_segments: tuple[str, ...]
    timing_clock: str
    address_space: str = "Data"


_NAMES: Mapping[str, PsNames] = MappingProxyType(
    {
        "PS7": PsNames(
            ip="processing_system7",
            version="5.5",
            rule="xilinx.com:bd_rule:processing_system7",
            clock="FCLK_CLK0",
            reset="FCLK_RESET0_N",
            control="M_AXI_GP0",
            control_clock="M_AXI_GP0_ACLK",
            memory="S_AXI_HP0",
            memory_clock="S_AXI_HP0_ACLK",
            memory_segment="S_AXI_HP0/HP0_DDR_LOWOCM",
            other_segments=(),
            timing_clock="clk_fpga_0",
        ),
        "ZU+": PsNames(
            ip="zynq_ultra_ps_e",
            version="3.5",
            rule="xilinx.com:bd_rule:zynq_ultra_ps_e",
            clock="pl_clk0",
            reset="pl_resetn0",
            control="M_AXI_HPM0_FPD",
            control_clock="maxihpm0_fpd_aclk",
            memory="S_AXI_HP0_FPD",
            memory_clock="saxihp0_fpd_aclk",
            memory_segment="SAXIGP2/HP0_DDR_LOW",
            other_segments=("SAXIGP2/HP0_DDR_HIGH", "SAXIGP2/HP0_LPS_OCM", "SAXIGP2/HP0_QSPI"),
            timing_clock="clk_pl_0",
        ),
    }
)


def ps_names(board: Board) -> PsNames:
    """Return the names of a board's processor system."""
    return _NAMES[board.ps.kind]


def ps_settings(board: Board, planned_mhz: float) -> dict[str, str]:
    """Return the settings of the block that an overlay needs, in the order in which they are set.

    Ports that a board's preset switches on and the overlay does not connect are switched off: their clock
    pins would stay open.

    Args:
        board: The board; its own settings come first.
        planned_mhz: Clock of the logic; one that the dividers give, so Vivado can't choose another [MHz].
    """
    if board.ps.kind == "PS7":
        needed = {
            "PCW_USE_M_AXI_GP0": "1",
            "PCW_USE_M_AXI_GP1": "0",
            "PCW_USE_S_AXI_HP0": "1",
            "PCW_S_AXI_HP0_DATA_WIDTH": str(board.ps.memory_port_bits),
            "PCW_EN_CLK0_PORT": "1",
            "PCW_EN_RST0_PORT": "1",
            "PCW_FPGA0_PERIPHERAL_FREQMHZ": f"{planned_mhz:.6f}",
        }
    else:
        needed = {
            "PSU__USE__M_AXI_GP0": "1",
            "PSU__MAXIGP0__DATA_WIDTH": str(CONTROL_PORT_BITS),
            "PSU__USE__M_AXI_GP1": "0",
            "PSU__USE__M_AXI_GP2": "0",
            "PSU__USE__S_AXI_GP2": "1",
            "PSU__SAXIGP2__DATA_WIDTH": str(board.ps.memory_port_bits),
            "PSU__FPGA_PL0_ENABLE": "1",
            "PSU__CRL_APB__PL0_REF_CTRL__SRCSEL": "IOPLL",
            "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": f"{planned_mhz:.6f}",
        }
    return {**board.ps.config, **needed}


def described_settings(board: Board, asked_mhz: float) -> dict[str, str]:
    """Return the settings that PYNQ reads from the hardware description.

    PYNQ sets the clock's dividers from them, and on UltraScale+ the width of the ports.

    Args:
        board: The board.
        asked_mhz: Clock of the logic [MHz].
    """
    divisors = board.clock.divisors(asked_mhz)
    settings: dict[str, str] = {}
    for index in range(CLOCKS):
        first, second = divisors if index == 0 else (1, 1)
        enabled = str(int(index == 0))
        mhz = f"{board.clock.pll_mhz / (first * second):.6f}"
        if board.ps.kind == "PS7":
            settings[f"PCW_FCLK{index}_PERIPHERAL_CLKSRC"] = "IO PLL"
            settings[f"PCW_FCLK{index}_PERIPHERAL_DIVISOR0"] = str(first)
            settings[f"PCW_FCLK{index}_PERIPHERAL_DIVISOR1"] = str(second)
            settings[f"PCW_FPGA_FCLK{index}_ENABLE"] = enabled
            settings[f"PCW_ACT_FPGA{index}_PERIPHERAL_FREQMHZ"] = mhz
            # pynqmetadata 0.2.0 looks for the other processor's name here, and Overlay() fails without it.
            settings[f"PSU__CRL_APB__PL{index}_REF_CTRL__ACT_FREQMHZ"] = mhz
        else:
            prefix = f"PSU__CRL_APB__PL{index}_REF_CTRL__"
            settings[f"{prefix}SRCSEL"] = "IOPLL"
            settings[f"{prefix}DIVISOR0"] = str(first)
            settings[f"{prefix}DIVISOR1"] = str(second)
            settings[f"{prefix}ACT_FREQMHZ"] = mhz
            settings[f"PSU__FPGA_PL{index}_ENABLE"] = enabled
    if board.ps.kind == "PS7":
        settings["PCW_S_AXI_HP0_DATA_WIDTH"] = str(board.ps.memory_port_bits)
    else:
        settings["C_MAXIGP0_DATA_WIDTH"] = str(CONTROL_PORT_BITS)
        settings["C_SAXIGP2_DATA_WIDTH"] = str(board.ps.memory_port_bits)
    return settings
