"""The ``.bit`` format, as far as a board that isn't there needs it.

Where no tool made a bitstream, a placeholder stands in: it has the format and the hash of the design, and
nothing that would configure a device.
"""

from __future__ import annotations

import struct

from export.errors import InputError
from hw.pynq.manifest import Manifest

_FIRST_FIELD = bytes.fromhex("0ff00ff00ff00ff000")
_DESIGN, _PART, _DATE, _TIME, _DATA = b"a", b"b", b"c", b"d", b"e"
_WORD_BYTES = 4


def placeholder_bitstream(manifest: Manifest) -> bytes:
    """Return a ``.bit`` that configures nothing: its data are a sentence and the hash of the design.

    An FPGA ignores it, since the synchronisation word of a configuration isn't in it.
    """
    text = f"no bitstream: stands for the design {manifest.design_hash} in an emulation. "
    data = text.encode("ascii")
    data += b" " * (-len(data) % _WORD_BYTES)
    fields = ((_DESIGN, f"{manifest.name};emulation"), (_PART, manifest.part), (_DATE, "-"), (_TIME, "-"))
    head = struct.pack(">H", len(_FIRST_FIELD)) + _FIRST_FIELD + struct.pack(">H", 1)
    for key, value in fields:
        coded = value.encode("ascii") + b"\0"
        head += key + struct.pack(">H", len(coded)) + coded
    return head + _DATA + struct.pack(">I", len(data)) + data


def firmware_of(bitfile: bytes) -> bytes:
    """Return what PYNQ hands to the FPGA manager for a ``.bit``: its data, each word turned round.

    Raises:
        InputError: It is no ``.bit``, or cut off.
    """
    try:
        (skipped,) = struct.unpack_from(">H", bitfile)
        place = 2 + skipped + 2
        while bitfile[place : place + 1] != _DATA:
            key, length = struct.unpack_from(">cH", bitfile, place)
            if key not in (_DESIGN, _PART, _DATE, _TIME):
                raise InputError("it is no .bit file: it has an unknown field")
            place += 3 + length
        (length,) = struct.unpack_from(">I", bitfile, place + 1)
    except struct.error as error:
        raise InputError("it is no .bit file: it ends in its header") from error
    data = bitfile[place + 5 :]
    if len(data) != length or length % _WORD_BYTES:
        raise InputError(f"the .bit file is cut off: {len(data)} of {length} bytes of data")
    words = struct.iter_unpack(">I", data)
    return b"".join(struct.pack("<I", word) for (word,) in words)
