"""Reference pages of the RTL modules, made from the modules' own headers.

``python -m hw.rtl_pages`` writes ``docs/rtl/<module>.md`` for every module of ``hw/rtl``. The headers are the
only source, so a page can't say something else than the code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from export.errors import InputError
from export.files import atomic_file

RTL_DIR = Path(__file__).parent / "rtl"
PAGES_DIR = Path(__file__).parent.parent / "docs" / "rtl"

_MODULE = re.compile(r"^module (\w+)(?: #\((?P<parameters>.*?)\n\))? \((?P<ports>.*?)\n\);", re.M | re.S)
_PARAMETER = re.compile(r"^(parameter|localparam)\s+((?:\w+\s+|\[[^\]]*\]\s+)*?)(\w+)\s*=\s*(.*)$")
_PORT = re.compile(r"^(input|output)\s+(?:wire\s+)?logic\s*(\[[^\]]*\])?\s*(\w+)(?:\s*=\s*\S+)?$")


@dataclass(frozen=True, slots=True)
class Entry:
    """A parameter or a port.

    Attributes:
        name: As in the source.
        kind: ``parameter``, ``localparam``, ``input`` or ``output``.
        value: Default of a parameter, or width of a port; as in the source.
        text: What the header says about it, on one line.
    """

    name: str
    kind: str
    value: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleHeader:
    """What a module says about itself.

    Attributes:
        name: Of the module.
        description: The comment above it, line by line.
        parameters: In order.
        ports: In order.
    """

    name: str
    description: tuple[str, ...]
    parameters: tuple[Entry, ...]
    ports: tuple[Entry, ...]


def read_header(text: str, *, where: str) -> ModuleHeader:
    """Parse the header of the only module in a SystemVerilog file of ours.

    Args:
        text: Content of the file.
        where: Its name, for messages.

    Raises:
        InputError: The file does not follow the layout of hw/rtl: a ``///`` description at the top, a ``///``
            line before each parameter, one declaration a line.
    """
    found = _MODULE.search(text)
    description = tuple(_comment_lines(text[: text.find("`default_nettype")]))
    if found is None or not description:
        raise InputError(f"{where}: no module with a description above it", hint="see hw/rtl for the layout")
    parameters = _entries(found["parameters"] or "", where)
    for entry in parameters:
        if not entry.text:
            raise InputError(f"{where}: parameter {entry.name} has no /// line that explains it")
    return ModuleHeader(
        name=found[1], description=description, parameters=parameters, ports=_entries(found["ports"], where)
    )


def write_page(header: ModuleHeader) -> str:
    """Return the Markdown page of a module."""
    parts = [f"# {header.name}", "", f"From [the module's header](../../hw/rtl/{header.name}.sv).", ""]
    parts += ["```text", *header.description, "```", ""]
    for title, entries, label in (
        ("Parameters", header.parameters, "default"),
        ("Ports", header.ports, "width"),
    ):
        if entries:
            parts += [f"## {title}", "", f"| name | kind | {label} | |", "|---|---|---|---|"]
            parts += [_row(entry) for entry in entries]
            parts.append("")
    return "\n".join(parts)


def pages() -> Mapping[str, str]:
    """Return the text of every page by file name.

    Raises:
        InputError: A module's header can't be read.
    """
    sources = sorted(RTL_DIR.glob("*.sv"))
    headers = (read_header(path.read_text(), where=path.name) for path in sources)
    return {f"{header.name}.md": write_page(header) for header in headers}


def write_pages(directory: Path) -> None:
    """Write all pages; pages of modules that are no more go away."""
    wanted = pages()
    directory.mkdir(parents=True, exist_ok=True)
    for stale in set(directory.glob("*.md")) - {directory / name for name in wanted}:
        stale.unlink()
    for name, text in wanted.items():
        with atomic_file(directory / name) as temporary:
            temporary.write_text(text)


def _entries(block: str, where: str) -> tuple[Entry, ...]:
    entries: list[Entry] = []
    for comment, declaration in _declarations(block):
        if match := _PARAMETER.match(declaration):
            entries.append(Entry(match[3], match[1], match[4], comment))
        elif match := _PORT.match(declaration):
            entries.append(Entry(match[3], match[1], match[2] or "1", comment))
        else:
            raise InputError(
                f"{where}: can't read the declaration {declaration!r}", hint="declare one name at a time"
            )
    return tuple(entries)


def _declarations(block: str) -> list[tuple[str, str]]:
    """Split a list into declarations, each with the comment before it; a long one spans lines."""
    found: list[tuple[list[str], list[str]]] = [([], [])]
    for line in filter(None, map(str.strip, block.splitlines())):
        is_comment = line.startswith("///")
        if found[-1][1] and (is_comment or re.match(r"(parameter|localparam|input|output)\b", line)):
            found.append(([], []))
        found[-1][0 if is_comment else 1].append(line.removeprefix("///").strip())
    return [(" ".join(comment), " ".join(lines).removesuffix(",")) for comment, lines in found if lines]


def _comment_lines(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.startswith("///")]
    return [line[3:].removeprefix(" ") for line in lines]


def _row(entry: Entry) -> str:
    value = re.sub(r"\s+", " ", entry.value).replace("|", "\\|")
    text = entry.text.replace("|", "\\|")
    return f"| `{entry.name}` | {entry.kind} | `{value}` | {text} |"


if __name__ == "__main__":
    write_pages(PAGES_DIR)
