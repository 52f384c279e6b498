"""Models of the FPGA's primitives for simulation: ours where Yosys has none or a slow one, else Yosys' own.

Yosys' file of models is part of the installed tool. What a netlist needs of it is read from there, and
nothing of it is in this repository.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from export.errors import ToolError

CELLS_PATH = Path(__file__).parent / "cells.sv"
_MODELS = Path("xilinx") / "cells_sim.v"
_OWN = re.compile(r"^module (\w+)", re.MULTILINE)
_MODULE = re.compile(r"^module (\w+).*?^endmodule", re.MULTILINE | re.DOTALL)
# Delays, which Verilator does not simulate.
_SPECIFY = re.compile(r"^\s*specify\b.*?\bendspecify\b", re.MULTILINE | re.DOTALL)
_BLACK_BOX = re.compile(r"\bassign\b|\balways\b")
# Address bits of a single bit, and data bits of one port.
_BLOCK_RAMS = {"RAMB18E1": (14, 16), "RAMB36E1": (15, 32)}


def cell_models(used: Iterable[str]) -> str:
    """Return modules for the primitives of a netlist, as Verilog text.

    Args:
        used: Names of the primitives.

    Raises:
        ToolError: A primitive has no model, or Yosys' file of models is not where it should be.
    """
    own_text = CELLS_PATH.read_text(encoding="utf-8")
    own = set(_OWN.findall(own_text))
    others = sorted(set(used) - own)
    texts = [own_text]
    texts += [_block_ram(name, *_BLOCK_RAMS[name]) for name in others if name in _BLOCK_RAMS]
    wanted = [name for name in others if name not in _BLOCK_RAMS]
    if wanted:
        library = _library()
        for name in wanted:
            if not _BLACK_BOX.search(library.get(name, "")):
                raise ToolError(
                    f"there is no model of the primitive {name}, which the synthesised netlist has",
                    hint="simulate the network with the target rtl",
                )
            texts.append(library[name] + "\n")
    return "\n".join(texts)


def _library() -> dict[str, str]:
    """Return Yosys' models without their delays, by name."""
    text = _SPECIFY.sub("", _library_path().read_text(encoding="utf-8"))
    return {match[1]: match[0] for match in _MODULE.finditer(text)}


def _library_path() -> Path:
    spec = importlib.util.find_spec("pyosys")
    places = [Path(place) / "share" for place in (spec and spec.submodule_search_locations) or []]
    program = shutil.which("yosys")
    if program is not None:
        places.append(Path(program).resolve().parents[1] / "share" / "yosys")
    for place in places:
        if (place / _MODELS).is_file():
            return place / _MODELS
    raise ToolError(
        f"Yosys' models of primitives, {_MODELS}, are not in its installation",
        hint="install it with: pip install pyosys",
    )


def _block_ram(name: str, addr_w: int, half_w: int) -> str:
    """Return the module of a block RAM: the vendor's ports and parameters around ours.

    In the simple dual port mode, "SDP", port A reads and port B writes, and the widest word is split over
    both ports' data pins.
    """
    lanes, kbits = half_w // 8, 2**addr_w // 256
    data = [f"INIT_{i:02X}" for i in range(kbits)]
    parity = [f"INITP_{i:02X}" for i in range(kbits // 8)]
    contents = ",\n".join(f"    parameter logic [255:0] {word} = '0" for word in (*data, *parity))
    address = addr_w if name == "RAMB18E1" else addr_w + 1
    wide = 9 * 2 * lanes
    return f"""
module {name} #(
{contents},
    parameter RAM_MODE = "TDP",
    parameter WRITE_MODE_A = "WRITE_FIRST", parameter WRITE_MODE_B = "WRITE_FIRST",
    parameter RAM_EXTENSION_A = "NONE", parameter RAM_EXTENSION_B = "NONE",
    parameter int READ_WIDTH_A = 0, parameter int READ_WIDTH_B = 0,
    parameter int WRITE_WIDTH_A = 0, parameter int WRITE_WIDTH_B = 0,
    parameter int DOA_REG = 0, parameter int DOB_REG = 0,
    parameter logic [{9 * lanes - 1}:0] INIT_A = '0, parameter logic [{9 * lanes - 1}:0] INIT_B = '0,
    parameter logic [{9 * lanes - 1}:0] SRVAL_A = '0, parameter logic [{9 * lanes - 1}:0] SRVAL_B = '0,
    parameter logic IS_CLKARDCLK_INVERTED = 0, parameter logic IS_CLKBWRCLK_INVERTED = 0,
    parameter logic IS_ENARDEN_INVERTED = 0, parameter logic IS_ENBWREN_INVERTED = 0,
    parameter logic IS_RSTRAMARSTRAM_INVERTED = 0, parameter logic IS_RSTRAMB_INVERTED = 0,
    parameter logic IS_RSTREGARSTREG_INVERTED = 0, parameter logic IS_RSTREGB_INVERTED = 0
) (
    input CLKARDCLK, input CLKBWRCLK, input ENARDEN, input ENBWREN,
    input REGCEAREGCE, input REGCEB, input RSTRAMARSTRAM, input RSTRAMB,
    input RSTREGARSTREG, input RSTREGB, input CASCADEINA, input CASCADEINB,
    input [{address - 1}:0] ADDRARDADDR, input [{address - 1}:0] ADDRBWRADDR,
    input [{half_w - 1}:0] DIADI, input [{half_w - 1}:0] DIBDI,
    input [{lanes - 1}:0] DIPADIP, input [{lanes - 1}:0] DIPBDIP,
    input [{lanes - 1}:0] WEA, input [{2 * lanes - 1}:0] WEBWE,
    output [{half_w - 1}:0] DOADO, output [{half_w - 1}:0] DOBDO,
    output [{lanes - 1}:0] DOPADOP, output [{lanes - 1}:0] DOPBDOP,
    output CASCADEOUTA, output CASCADEOUTB
);
  localparam bit SPLIT_READ = RAM_MODE == "SDP" && READ_WIDTH_A == {wide};
  localparam bit SPLIT_WRITE = RAM_MODE == "SDP" && WRITE_WIDTH_B == {wide};
  if (DOA_REG != 0 || DOB_REG != 0) $error("{name}: its output registers are not modelled");
  if (RAM_EXTENSION_A != "NONE" || RAM_EXTENSION_B != "NONE") $error("{name}: a cascade is not modelled");
  if (|SRVAL_A || |SRVAL_B) $error("{name}: an output after reset that is not 0 is not modelled");

  wire [{2 * half_w - 1}:0] dout[2];
  wire [{2 * lanes - 1}:0] doutp[2];
  block_ram #(
    .ADDR_W({addr_w}), .BYTES({2 * lanes}),
    .DATA({{{", ".join(reversed(data))}}}),
    .PARITY({{{", ".join(reversed(parity))}}}),
    .READ_WIDTH('{{READ_WIDTH_A, READ_WIDTH_B}}), .WRITE_WIDTH('{{WRITE_WIDTH_A, WRITE_WIDTH_B}}),
    .READ_FIRST('{{WRITE_MODE_A == "READ_FIRST", WRITE_MODE_B == "READ_FIRST"}}),
    .NO_CHANGE('{{WRITE_MODE_A == "NO_CHANGE", WRITE_MODE_B == "NO_CHANGE"}})
  ) u_cells (
    .clk('{{CLKARDCLK ^ IS_CLKARDCLK_INVERTED, CLKBWRCLK ^ IS_CLKBWRCLK_INVERTED}}),
    .enable('{{ENARDEN ^ IS_ENARDEN_INVERTED, ENBWREN ^ IS_ENBWREN_INVERTED}}),
    .reset('{{RSTRAMARSTRAM ^ IS_RSTRAMARSTRAM_INVERTED, RSTRAMB ^ IS_RSTRAMB_INVERTED}}),
    .addr('{{ADDRARDADDR[{addr_w - 1}:0], ADDRBWRADDR[{addr_w - 1}:0]}}),
    .write('{{{{{lanes}'b0, WEA}}, WEBWE}}),
    .din('{{{{{half_w}'b0, DIADI}}, SPLIT_WRITE ? {{DIBDI, DIADI}} : {{{half_w}'b0, DIBDI}}}}),
    .dinp('{{{{{lanes}'b0, DIPADIP}}, SPLIT_WRITE ? {{DIPBDIP, DIPADIP}} : {{{lanes}'b0, DIPBDIP}}}}),
    .dout(dout), .doutp(doutp)
  );
  assign DOADO = dout[0][{half_w - 1}:0];
  assign DOPADOP = doutp[0][{lanes - 1}:0];
  assign DOBDO = SPLIT_READ ? dout[0][{2 * half_w - 1}:{half_w}] : dout[1][{half_w - 1}:0];
  assign DOPBDOP = SPLIT_READ ? doutp[0][{2 * lanes - 1}:{lanes}] : doutp[1][{lanes - 1}:0];
  assign CASCADEOUTA = 1'b0;
  assign CASCADEOUTB = 1'b0;
endmodule
"""
