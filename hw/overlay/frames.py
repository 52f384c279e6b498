"""Configuration frames of a 7-series part as text, and whether a bitstream holds exactly them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from export.errors import CheckFailedError, InputError

Bit = tuple[int, int, int]
"""A configuration bit: address of its frame, word in the frame, bit in the word."""

_WORDS = 101
_WORD_BITS = 32
# The low bits of this word are the frame's checksum, which the writer of the bitstream computes.
_CHECK_WORD, _CHECK_BITS = 50, 13
_READ_BIT = re.compile(r"^bit_([0-9a-f]{8})_(\d{3})_(\d{2})$")


def parse_frames(text: str, *, where: str) -> set[Bit]:
    """Return the bits that are set in frames as fasm2frames writes them.

    A line is a frame: ``0x<address> 0x<word>,0x<word>,...`` with 101 words. Checksums are left out.

    Args:
        text: The frames.
        where: Name of the file, for messages.

    Raises:
        InputError: A line is something else; the message names it.
    """
    bits: set[Bit] = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            head, _, tail = line.partition(" ")
            address, words = int(head, 16), [int(word, 16) for word in tail.split(",")]
        except ValueError as error:
            raise InputError(f"{where}, line {number}: this is no configuration frame") from error
        if len(words) != _WORDS:
            raise InputError(f"{where}, line {number}: a frame has {_WORDS} words, not {len(words)}")
        bits.update(_bits(address, words))
    return bits


def parse_read_bits(text: str) -> set[Bit]:
    """Return the bits that bitread found set in a bitstream (``bitread -y``)."""
    found = (_READ_BIT.match(line) for line in text.splitlines())
    return {(int(m[1], 16), int(m[2]), int(m[3])) for m in found if m is not None}


def compare_bits(written: set[Bit], read: set[Bit], *, what: str) -> None:
    """Check that a bitstream holds the frames that it was written from.

    Raises:
        CheckFailedError: Bits are missing or too many; the message names the first of them.
    """
    if not written:
        raise CheckFailedError(f"{what} sets no configuration bit at all: that is no design")
    lost, added = written - read, read - written
    if lost or added:
        raise CheckFailedError(
            f"{what} doesn't hold the frames that it was written from: {len(lost)} bits are missing "
            f"{_first(lost)}and {len(added)} too many {_first(added)}".rstrip(),
            lost=len(lost),
            added=len(added),
        )


def _bits(address: int, words: list[int]) -> Iterable[Bit]:
    for index, word in enumerate(words):
        low = _CHECK_BITS if index == _CHECK_WORD else 0
        for bit in range(low, _WORD_BITS):
            if word >> bit & 1:
                yield address, index, bit


def _first(bits: set[Bit]) -> str:
    if not bits:
        return ""
    address, word, bit = min(bits)
    return f"(first: frame 0x{address:08x}, word {word}, bit {bit}) "
