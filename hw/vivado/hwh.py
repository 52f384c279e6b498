"""The hardware description (HWH) that PYNQ reads beside a bitstream.

Vivado writes one too, but it shows the overlay's single AXI4-Lite port as one block. Drivers want the three
that are behind it, so this one lists them: processor system, idma0, odma0, control0.
"""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from hw.vivado.plan import OverlayPlan
from hw.vivado.ps import PsNames, described_settings, ps_names
from hw.vivado.registers import BLOCK_BYTES, BLOCKS, Register, RegisterBlock

_AXI = "xilinx.com:interface:aximm:1.0"
_PS = "ps"
_PORT = "S_AXIL"
_MASTER = "M_AXI"
_LIBRARY = "bitsiege:hardware"


def hwh_text(plan: OverlayPlan) -> str:
    """Return the text of the hardware description.

    Args:
        plan: The overlay.
    """
    root = Element(
        "EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="Thu Jan  1 00:00:00 1970", VIVADOVERSION="2024.1"
    )
    part = plan.board.part
    SubElement(root, "SYSTEMINFO", ARCH="zynq", DEVICE=part.partition("-")[0], NAME=plan.name, PART=part)
    SubElement(root, "EXTERNALPORTS")
    SubElement(root, "EXTERNALINTERFACES")
    modules = SubElement(root, "MODULES")
    _add_processor(modules, plan)
    for block in BLOCKS:
        _add_block(modules, plan, block)
    indent(root)
    return "<?xml version='1.0' encoding='UTF-8'?>\n" + tostring(root, encoding="unicode") + "\n"


def _add_processor(modules: Element, plan: OverlayPlan) -> None:
    names = ps_names(plan.board)
    module = _module(modules, _PS, f"xilinx.com:ip:{names.ip}:{names.version}", "PERIPHERAL", names.ip)
    _add_parameters(module, described_settings(plan.board, plan.asked_mhz))
    interfaces = SubElement(module, "BUSINTERFACES")
    SubElement(interfaces, "BUSINTERFACE", NAME=names.control, TYPE="MASTER", VLNV=_AXI)
    SubElement(interfaces, "BUSINTERFACE", NAME=names.memory, TYPE="SLAVE", VLNV=_AXI)
    memory = SubElement(module, "MEMORYMAP")
    for block in BLOCKS:
        base = plan.registers[block.name]
        _add_range(
            memory,
            base=base,
            size=BLOCK_BYTES,
            kind="REGISTER",
            block="reg0",
            instance=block.name,
            master=names.control,
            slave=_PORT,
        )


def _add_block(modules: Element, plan: OverlayPlan, block: RegisterBlock) -> None:
    module = _module(modules, block.name, f"{_LIBRARY}:{block.kind}:1.0", "PERIPHERAL", block.kind)
    names = ps_names(plan.board)
    blocks = SubElement(module, "ADDRESSBLOCKS")
    area = SubElement(
        blocks,
        "ADDRESSBLOCK",
        ACCESS="read-write",
        INTERFACE=_PORT,
        NAME="reg0",
        RANGE=str(BLOCK_BYTES),
        USAGE="register",
    )
    registers = SubElement(area, "REGISTERS")
    for register in block.registers:
        _add_register(registers, register)
    _add_parameters(
        module,
        {
            "C_BASEADDR": f"0x{plan.registers[block.name]:08X}",
            "C_HIGHADDR": f"0x{plan.registers[block.name] + BLOCK_BYTES - 1:08X}",
        },
    )
    interfaces = SubElement(module, "BUSINTERFACES")
    SubElement(interfaces, "BUSINTERFACE", NAME=_PORT, TYPE="SLAVE", VLNV=_AXI)
    if block.reaches_memory:
        SubElement(interfaces, "BUSINTERFACE", NAME=_MASTER, TYPE="MASTER", VLNV=_AXI)
        _add_memory(module, plan, names)


def _add_memory(module: Element, plan: OverlayPlan, names: PsNames) -> None:
    _add_range(
        SubElement(module, "MEMORYMAP"),
        base=0,
        size=plan.board.addresses.memory_bytes,
        kind="MEMORY",
        block=names.memory_segment.rpartition("/")[2],
        instance=_PS,
        master=_MASTER,
        slave=names.memory,
    )


def _module(modules: Element, name: str, vlnv: str, kind: str, module_type: str) -> Element:
    return SubElement(
        modules,
        "MODULE",
        COREREVISION="1",
        FULLNAME=f"/{name}",
        HWVERSION=vlnv.rpartition(":")[2],
        INSTANCE=name,
        IPTYPE=kind,
        IS_ENABLE="1",
        MODCLASS=kind,
        MODTYPE=module_type,
        VLNV=vlnv,
    )


def _add_parameters(module: Element, values: dict[str, str]) -> None:
    parameters = SubElement(module, "PARAMETERS")
    for name, value in values.items():
        SubElement(parameters, "PARAMETER", NAME=name, VALUE=value)


def _add_range(
    parent: Element, *, base: int, size: int, kind: str, block: str, instance: str, master: str, slave: str
) -> None:
    SubElement(
        parent,
        "MEMRANGE",
        ADDRESSBLOCK=block,
        BASENAME="C_BASEADDR",
        BASEVALUE=f"0x{base:08X}",
        HIGHNAME="C_HIGHADDR",
        HIGHVALUE=f"0x{base + size - 1:08X}",
        INSTANCE=instance,
        IS_DATA="TRUE",
        IS_INSTRUCTION="FALSE",
        MASTERBUSINTERFACE=master,
        MEMTYPE=kind,
        SLAVEBUSINTERFACE=slave,
    )


def _add_register(parent: Element, register: Register) -> None:
    element = SubElement(parent, "REGISTER", NAME=register.name)
    for name, value in (
        ("DESCRIPTION", register.description),
        ("ADDRESS_OFFSET", f"0x{register.offset:X}"),
        ("SIZE", "32"),
        ("ACCESS", register.access),
        ("IS_ENABLED", "true"),
    ):
        SubElement(element, "PROPERTY", NAME=name, VALUE=value)
    if not register.fields:
        return
    fields = SubElement(element, "FIELDS")
    for field in register.fields:
        entry = SubElement(fields, "FIELD", NAME=field.name)
        for name, value in (
            ("DESCRIPTION", field.description),
            ("BIT_OFFSET", str(field.first_bit)),
            ("BIT_WIDTH", str(field.bits)),
            ("ACCESS", register.access),
        ):
            SubElement(entry, "PROPERTY", NAME=name, VALUE=value)
