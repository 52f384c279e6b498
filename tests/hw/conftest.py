"""Small networks and foldings that cross every kind of module, and the emulator's native library."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8, DataType
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.emulator.library import ISAS, load_library
from hw.folding import Folding, LayerFolding


def make_mlp(
    sizes: Sequence[int],
    *,
    input_type: DataType = BIPOLAR,
    hidden: DataType = BIPOLAR,
    scaled: bool = False,
    seed: int = 0,
) -> DataflowGraph:
    """A dense network with random weights and thresholds; images are ``(sizes[0], 1, 1)``."""
    rng = np.random.default_rng(seed)
    levels = 1 if hidden.is_bipolar else hidden.maximum - hidden.minimum
    nodes = []
    if input_type.is_bipolar:
        binarise = Thresholds(steps=np.full((1, 1), 128))
        nodes.append(Thresholding(name="thresholding_0", input="images", in_type=UINT8, thresholds=binarise))
    source = nodes[-1].name if nodes else "images"
    nodes.append(Flatten(name="flatten_0", input=source, in_type=input_type))
    for index, (mw, mh) in enumerate(itertools.pairwise(sizes)):
        last = index == len(sizes) - 2
        in_type = nodes[-1].out_type
        spread = int(np.sqrt(mw) * max(1, in_type.maximum / 2)) + 1
        steps = np.sort(rng.integers(-spread, spread + 1, (mh, levels)), axis=1)
        nodes.append(
            Mvau(
                name=f"mvau_{index}",
                input=nodes[-1].name,
                in_type=in_type,
                weights=rng.choice(np.array([-1, 1], np.int8), (mh, mw)),
                thresholds=None
                if last
                else Thresholds(steps=steps, out_type=hidden, out_bias=hidden.minimum),
                scale=rng.integers(-9, 10, mh) if last and scaled else None,
                bias=rng.integers(-50, 51, mh) if last and scaled else None,
            )
        )
    return DataflowGraph(input_shape=(sizes[0], 1, 1), nodes=tuple(nodes))


def make_folding(*layers: tuple[int, int]) -> Folding:
    """(PE, SIMD) of mvau_0, mvau_1, ..."""
    return Folding({f"mvau_{index}": LayerFolding(*layer) for index, layer in enumerate(layers)})


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and its folding."""

    graph: DataflowGraph
    folding: Folding

    def images(self, count: int, seed: int = 1) -> np.ndarray:
        rng = np.random.default_rng(seed)
        return rng.integers(0, 256, (count, *self.graph.input_shape), np.uint8)


CASES = {
    # Narrowing by 4, equal widths, several output beats; the middle layer is the slowest.
    "narrowing": Case(graph=make_mlp((24, 16, 12, 6)), folding=make_folding((8, 12), (2, 2), (3, 2))),
    # 8-bit input, 2-bit activations, a ratio of widths that is no integer, a scaled output.
    "integers": Case(
        graph=make_mlp((10, 12, 8, 5), input_type=UINT8, hidden=DataType("INT2"), scaled=True, seed=1),
        folding=make_folding((6, 5), (2, 4), (1, 8)),
    ),
    # One-bit integers 0 and -1: the higher value is bit 0.
    "one_bit": Case(
        graph=make_mlp((9, 6, 4), hidden=DataType("INT1"), seed=6), folding=make_folding((2, 3), (2, 3))
    ),
    # Everything at once: one frame a cycle.
    "unrolled": Case(graph=make_mlp((8, 6, 3), seed=2), folding=make_folding((6, 8), (3, 6))),
    # One multiplication a cycle and layer; the first layer is the slowest.
    "serial": Case(graph=make_mlp((9, 5, 4), seed=3), folding=make_folding((1, 1), (1, 1))),
    # Widening; the last layer is the slowest, and makes all before it wait.
    "waiting": Case(graph=make_mlp((12, 8, 16, 8), seed=4), folding=make_folding((4, 6), (4, 8), (1, 4))),
    # Layers of 24, 23 and 25 cycles: the FIFOs fill over many frames.
    "balanced": Case(graph=make_mlp((6, 4, 23, 5), seed=5), folding=make_folding((1, 1), (1, 4), (1, 23))),
}


@pytest.fixture(scope="session")
def build_mlp():
    """The function that makes a network of given sizes."""
    return make_mlp


@pytest.fixture(params=list(CASES))
def case(request) -> Case:
    """Each of the networks in turn."""
    return CASES[request.param]


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    """All of them by name."""
    return CASES


@pytest.fixture(scope="session")
def simulator_cache(tmp_path_factory) -> Path:
    """One cache of simulators for all test processes of a run."""
    return tmp_path_factory.getbasetemp().parent / "simulator-cache"


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The emulator's native library."""
    # The parent is shared by the workers of one run: one of them compiles.
    return load_library(tmp_path_factory.getbasetemp().parent / "emulator-cache")


@pytest.fixture(params=ISAS)
def isa(request, library):
    """Each instruction set that this processor has."""
    if not library.supports(request.param):
        pytest.skip(f"this processor has no {request.param}")
    return request.param
