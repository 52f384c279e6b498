"""The stand-ins for lz4 and zlib, against a decoder of the LZ4 block format and Python's zlib."""

import subprocess
import zlib

import numpy as np
import pytest

from hw.verilator import find_compiler
from hw.verilator.library import FST_DIR

PROGRAM = r"""
#include <cstdio>
#include <cstring>
#include <iterator>
#include <vector>
#include "lz4.h"
#include "zlib.h"

int main(int, char** argv) {
    std::vector<char> in, out;
    for (int c; (c = std::getchar()) != EOF;) in.push_back(static_cast<char>(c));
    if (std::strcmp(argv[1], "lz4") == 0) {
        out.resize(LZ4_compressBound(in.size()));
        out.resize(LZ4_compress_default(in.data(), out.data(), in.size(), out.size()));
    } else {
        uLongf size = compressBound(in.size());
        out.resize(size);
        const int status = compress2(reinterpret_cast<Bytef*>(out.data()), &size,
                                     reinterpret_cast<const Bytef*>(in.data()), in.size(), 9);
        if (status != Z_OK) return 1;
        out.resize(size);
    }
    std::fwrite(out.data(), 1, out.size(), stdout);
}
"""

RANDOM = np.random.default_rng(0)
INPUTS = {
    "one": b"a",
    "short": b"abc",
    "13 equal": b"a" * 13,
    "zeros": bytes(200_000),
    "text": b"module bnn_top; wire bnn_mvau_0; wire bnn_mvau_1; endmodule\n" * 50,
    "random": RANDOM.bytes(70_000),
    "far": RANDOM.bytes(40) + bytes(66_000) + RANDOM.bytes(20) * 2,
    "mixed": b"".join(RANDOM.bytes(int(n)) + b"xy" * int(m) for n, m in RANDOM.integers(0, 600, (60, 2))),
}


@pytest.fixture(scope="module")
def compress(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fst")
    (folder / "main.cpp").write_text(PROGRAM)
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    subprocess.run(
        [find_compiler().command, "-std=c++17", *sanitize, f"-I{FST_DIR}", "main.cpp", "-o", "main"],
        cwd=folder,
        check=True,
    )

    def run(kind: str, data: bytes) -> bytes:
        return subprocess.run([folder / "main", kind], input=data, capture_output=True, check=True).stdout

    return run


def decode_lz4(block: bytes) -> bytes:
    out, at = bytearray(), 0

    def length(start: int) -> int:
        nonlocal at
        total = start
        while start == 15:
            total += block[at]
            at += 1
            if block[at - 1] != 255:
                break
        return total

    while at < len(block):
        token = block[at]
        at += 1
        literals = length(token >> 4)
        out += block[at : at + literals]
        at += literals
        if at == len(block):
            assert literals >= 5 or len(out) < 13
            break
        distance = block[at] | block[at + 1] << 8
        at += 2
        assert 0 < distance <= len(out)
        for _ in range(length(token & 15) + 4):
            out.append(out[-distance])
    return bytes(out)


@pytest.mark.parametrize("name", INPUTS)
def test_round_trips(compress, name):
    data = INPUTS[name]
    packed = compress("lz4", data)
    assert decode_lz4(packed) == data
    assert len(packed) <= len(data) + len(data) // 255 + 16
    assert zlib.decompress(compress("zlib", data)) == data


def test_lz4_makes_what_repeats_smaller(compress):
    assert len(compress("lz4", INPUTS["text"])) < 150
    assert len(compress("lz4", INPUTS["zeros"])) < 1000
