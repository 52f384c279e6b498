"""Compiling the emulator: once a machine, clear errors, no memory errors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from export.errors import InputError, ToolError
from hw import compiler
from hw.emulator.compiler import build_library
from hw.emulator.library import open_library


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def _fake_compiler(path: Path, body: str) -> str:
    """A compiler that answers questions about itself, and runs ``body`` for anything else."""
    return _script(path, f'case "$1" in --version|-dumpmachine) echo fake;; *) {body};; esac')


WRITE_OUTPUT = 'while [ "$1" != -o ]; do shift; done; echo made > "$2"'


def test_a_missing_compiler_is_named_with_the_way_to_install_it(tmp_path):
    with pytest.raises(ToolError, match=r"no-such-g\+\+.*\n.*apt-get install g\+\+") as caught:
        build_library(tmp_path, compiler="no-such-g++")
    assert caught.value.exit_status == 3
    assert list(tmp_path.iterdir()) == []


def test_a_failing_compiler_shows_its_first_errors(tmp_path):
    body = (
        "echo 'x.cpp:1:1: error: first' >&2; echo 'In file' >&2; echo 'x.cpp:2:1: error: second' >&2; exit 1"
    )
    fake = _fake_compiler(tmp_path / "c++", body)
    with pytest.raises(
        ToolError, match=r"compiler failed.*\nx.cpp:1:1: error: first\nx.cpp:2:1: error: second"
    ):
        build_library(tmp_path / "cache", compiler=fake)
    assert not list(tmp_path.glob("cache/emulator/*/"))


def test_a_compiler_that_cannot_run_is_a_tool_error(tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("not a program")
    broken.chmod(0o755)
    with pytest.raises(ToolError, match="can't run"):
        build_library(tmp_path / "cache", compiler=str(broken))


def test_compiles_once_for_the_same_source_flags_and_compiler(tmp_path):
    log = tmp_path / "log"
    fake = _fake_compiler(tmp_path / "c++", f"echo run >> {log}; {WRITE_OUTPUT}")
    first = build_library(tmp_path / "cache", compiler=fake)
    assert [path.name for path in first.parent.iterdir()] == [first.name]
    runs = len(log.read_text().splitlines())
    assert build_library(tmp_path / "cache", compiler=fake) == first
    assert len(log.read_text().splitlines()) == runs
    other_flags = build_library(tmp_path / "cache", compiler=fake, extra_flags=["-g"])
    assert other_flags != first


def test_another_processor_gets_another_library(tmp_path, monkeypatch):
    fake = _fake_compiler(tmp_path / "c++", WRITE_OUTPUT)
    first = build_library(tmp_path / "cache", compiler=fake)
    monkeypatch.setattr(compiler, "processor_identity", lambda: "another processor")
    assert build_library(tmp_path / "cache", compiler=fake) != first


def test_an_unwritable_cache_is_named(tmp_path):
    cache = tmp_path / "cache"
    cache.write_text("in the way")
    fake = _fake_compiler(tmp_path / "c++", WRITE_OUTPUT)
    with pytest.raises(InputError, match=str(cache)):
        build_library(cache, compiler=fake)


def _build(cache: Path, fake: str) -> None:
    build_library(cache, compiler=fake)


def test_a_killed_compile_is_done_again(tmp_path):
    cache = tmp_path / "cache"
    slow = _fake_compiler(tmp_path / "c++", f"{WRITE_OUTPUT}; exec sleep 3")
    process = multiprocessing.get_context("spawn").Process(target=_build, args=(cache, slow))
    process.start()
    deadline = time.monotonic() + 60
    while not list(cache.glob("emulator/.*/*.o")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(cache.glob("emulator/.*-*"))
    # The same compiler, as far as the key can tell, but quick.
    _fake_compiler(tmp_path / "c++", WRITE_OUTPUT)
    built = build_library(cache, compiler=slow)
    assert built.read_text() == "made\n"
    assert not list(cache.glob("emulator/.*-*"))


def test_a_broken_library_is_named_with_the_way_out(tmp_path):
    path = tmp_path / "libemulator.so"
    path.write_text("not a library")
    with pytest.raises(ToolError, match=r"can't load .*\n.*delete"):
        open_library(path)


SANITIZED = """
import itertools, sys
from pathlib import Path
import numpy as np
from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import INPUT_TENSOR, Add, DataflowGraph, Flatten, FmPadding, Mvau, Pool, Swg
from export.graph import Thresholding, Thresholds
from hw.emulator import EmulatorTarget, memory
from hw.emulator.library import ISAS, open_library
from hw.reference import ReferenceTarget

# Small blocks, so that some fill their buffers to the last byte.
memory._MAX_BLOCK_IMAGES = 8
library = open_library(Path(sys.argv[1]))
rng = np.random.default_rng(0)


def graph(shape, binarised, hidden, out_type, weight_type, flatten_first):
    nodes, source, stream = [], INPUT_TENSOR, UINT8
    size = shape

    def add(make):
        nonlocal source, stream, size
        node = make(input=source, in_type=stream, name=f"node_{len(nodes)}")
        source, stream, size = node.name, node.out_type, node.out_shape(size)
        nodes.append(node)

    def dense(mh, weight_type, thresholds):
        low = max(weight_type.minimum, -128)
        weights = rng.integers(low, weight_type.maximum + 1, (mh, size[-1])).astype(np.int8)
        weights[weights == 0] = 1
        add(lambda **f: Mvau(weights=weights, weight_type=weight_type, thresholds=thresholds, **f))

    if flatten_first:
        add(Flatten)
    if binarised:
        add(lambda **f: Thresholding(thresholds=Thresholds(steps=np.array([[128]])), **f))
    levels = 1 if out_type.is_bipolar else 3
    levels = np.sort(rng.integers(-9, 9, (hidden, levels)), axis=1)
    dense(hidden, weight_type, Thresholds(steps=levels, out_type=out_type))
    if not flatten_first:
        add(Flatten)
    dense(10, BIPOLAR, None)
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes))


shapes = [(1, 1, 1), (3, 5, 3), (2, 2, 64), (28, 28, 1), (2, 3, 65)]
kinds = [(BIPOLAR, BIPOLAR), (DataType("UINT2"), BIPOLAR), (BIPOLAR, DataType("INT8"))]
for shape, binarised, hidden, (out_type, weight_type), flatten_first in itertools.product(
    shapes, (True, False), (1, 9, 70), kinds, (True, False)
):
    network = graph(shape, binarised, hidden, out_type, weight_type, flatten_first)
    images = rng.integers(0, 256, (19, *shape)).astype(np.uint8)
    for isa in filter(library.supports, ISAS):
        target = EmulatorTarget(network, isa=isa, threads=2, library=library)
        target.infer(images)
        target.trace(images)


# Padding with zeros and a pool between two convolutions; the output of the second one has four levels.
def convolutions(shape, padding, hidden, weight_type):
    nodes, source, stream, size = [], INPUT_TENSOR, UINT8, shape
    sign = Thresholds(steps=np.zeros((1, 1), np.int64))
    levels = Thresholds(steps=np.array([[-3, 0, 5]]), out_type=DataType("INT3"))

    def weights(mh):
        return rng.choice(np.array([-1, 1], np.int8), (mh, size[-1]))

    makers = [
        lambda **f: FmPadding(pads=padding, **f),
        lambda **f: Swg(kernel=(3, 2), **f),
        lambda **f: Mvau(weights=weights(hidden), weight_type=weight_type, thresholds=sign, **f),
        lambda **f: Pool(kernel=(2, 2), stride=(2, 1), **f),
        lambda **f: FmPadding(pads=padding, **f),
        lambda **f: Swg(kernel=(2, 2), stride=(2, 2), **f),
        lambda **f: Mvau(weights=weights(hidden), thresholds=levels, **f),
        lambda **f: Swg(kernel=(1, 1), **f),
        lambda **f: Mvau(weights=weights(3), weight_type=weight_type, **f),
        Flatten,
    ]
    for make in makers:
        node = make(input=source, in_type=stream, name=f"node_{len(nodes)}")
        source, stream, size = node.name, node.out_type, node.out_shape(size)
        nodes.append(node)
    return DataflowGraph(input_shape=shape, nodes=tuple(nodes))


for shape, padding, hidden, weight_type in itertools.product(
    [(7, 6, 1), (6, 7, 64)], [(0, 0, 0, 0), (1, 2, 0, 1)], (9, 70), (BIPOLAR, DataType("INT8"))
):
    network = convolutions(shape, padding, hidden, weight_type)
    images = rng.integers(0, 256, (9, *shape)).astype(np.uint8)
    golden = ReferenceTarget(network).infer(images).logits
    for isa in filter(library.supports, ISAS):
        target = EmulatorTarget(network, isa=isa, threads=2, library=library)
        if not np.array_equal(target.infer(images).logits, golden):
            sys.exit(f"{isa} differs")
        target.trace(images)


# A branch around a grouped convolution, sums of windows, and weights drawn on a padded map and in groups.
def residual(channels, groups, neurons):
    nodes, source, stream, size = [], INPUT_TENSOR, UINT8, (5, 6, channels)
    sign = Thresholds(steps=np.zeros((1, 1), np.int64))
    levels = Thresholds(steps=np.array([[-3, 0, 5]]), out_type=DataType("INT3"))

    def add(make, **fields):
        nonlocal source, stream, size
        node = make(input=source, in_type=stream, name=f"node_{len(nodes)}", **fields)
        source, stream, size = node.name, node.out_type, node.out_shape(size)
        nodes.append(node)

    def product(mh, groups=1, draw=None, thresholds=None):
        low, high = (-1, 1) if draw is None else (-128, 127)
        weights = rng.integers(low, high + 1, (mh, size[-1] // groups)).astype(np.int8)
        weights[weights == 0] = 1
        add(Mvau, weights=weights, groups=groups, draw=draw, thresholds=thresholds)

    product(neurons, groups)
    branch = source, stream, size
    add(Thresholding, thresholds=sign)
    add(FmPadding, pads=(1, 1, 1, 1))
    add(Swg, kernel=(3, 3))
    product(neurons, draw=7)
    add(Add, other=branch[0], other_type=branch[1])
    add(Thresholding, thresholds=levels)
    add(Swg, kernel=(2, 2), groups=groups)
    product(neurons, groups, draw=8, thresholds=sign)
    add(Swg, kernel=(2, 2), groups=groups)
    product(neurons, groups, thresholds=levels)
    add(Pool, kernel=(2, 2), stride=(1, 2), mode="sum")
    add(Flatten)
    product(3)
    return DataflowGraph(input_shape=(5, 6, channels), nodes=tuple(nodes))


for channels, groups, neurons in [(2, 2, 18), (3, 1, 16), (4, 2, 128), (4, 4, 40)]:
    network = residual(channels, groups, neurons)
    images = rng.integers(0, 256, (9, *network.input_shape)).astype(np.uint8)
    golden = ReferenceTarget(network, seed=3).infer(images, 5).logits
    for isa in filter(library.supports, ISAS):
        target = EmulatorTarget(network, isa=isa, threads=2, library=library, seed=3)
        if not np.array_equal(target.infer(images, 5).logits, golden):
            sys.exit(f"{isa} differs on branches")
        target.trace(images)
print("clean")
"""


def test_no_memory_errors_or_undefined_behaviour(tmp_path):
    """Every step kind under the address and undefined-behaviour sanitizers."""
    runtime = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if not Path(runtime).is_absolute():
        pytest.skip("g++ has no address sanitizer here")
    flags = [
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
    ]
    library = build_library(tmp_path, extra_flags=flags)
    settings = [f"LD_PRELOAD={runtime}", "ASAN_OPTIONS=detect_leaks=0"]
    result = subprocess.run(
        ["/usr/bin/env", *settings, sys.executable, "-c", SANITIZED, str(library)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "clean\n"), result.stderr[-2000:]
