"""The search against trying everything, with a made-up resource model."""

import itertools
import math
import zlib
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8
from export.errors import InputError
from export.graph import (
    Add,
    DataflowGraph,
    Flatten,
    FmPadding,
    Mvau,
    Node,
    Pool,
    Swg,
    Thresholding,
    Thresholds,
)
from hw.boards import find_board
from hw.explore import Budget, Choice, board_budget, fastest, least_hardware
from hw.explore.tables import is_chain, layer_choices
from hw.folding import Folding
from hw.resources import RESOURCES, FittedModule, FittedResource, ResourceModel
from hw.resources.terms import known_modules
from hw.rtlgen import plan_rtl

QUICK = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
CLOCK_MHZ = 100.0


class Coefficients(dict[str, float]):
    """A coefficient between 0.5 and 3.5 for every term, by its name."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def get(self, key, default=None):
        return 0.5 + zlib.crc32(f"{self.seed}{key}".encode()) % 4


class Ones(dict[str, float]):
    def get(self, key, default=None):
        return 1.0


def make_model(seed: int = 0) -> ResourceModel:
    """Every module known; block RAMs and distributed memories by their formulas."""
    modules = {
        module: FittedModule(
            resources={
                name: FittedResource(
                    coefficients=Ones() if name in ("bram36", "lutram") else Coefficients(seed),
                    median_error=0.1,
                    worst_error=0.3,
                )
                for name in RESOURCES
            },
            points=1,
        )
        for module in known_modules()
    }
    return ResourceModel(family="xc7", yosys="none", modules=modules, points=())


MODEL = make_model()


def dense(*sizes: int) -> DataflowGraph:
    """A binarised-input MLP."""
    rng = np.random.default_rng(0)
    binarise = Thresholds(steps=np.full((1, 1), 128))
    nodes: list[Node] = [
        Thresholding(name="thresholding_0", input="images", in_type=UINT8, thresholds=binarise),
        Flatten(name="flatten_0", input="thresholding_0", in_type=BIPOLAR),
    ]
    for index, (mw, mh) in enumerate(itertools.pairwise(sizes)):
        last = index == len(sizes) - 2
        nodes.append(
            Mvau(
                name=f"mvau_{index}",
                input=nodes[-1].name,
                in_type=BIPOLAR,
                weights=rng.choice(np.array([-1, 1], np.int8), (mh, mw)),
                thresholds=None if last else Thresholds(steps=rng.integers(-2, 3, (mh, 1))),
            )
        )
    return DataflowGraph(input_shape=(sizes[0], 1, 1), nodes=tuple(nodes))


def convolution(channels: int, rows: int, *, pads: int = 0) -> DataflowGraph:
    """A 2x2 convolution of a byte image, a pool of windows that overlap, and a dense layer."""
    rng = np.random.default_rng(0)
    shape: tuple[int, ...] = (5, 5, channels)
    nodes: list[Node] = []
    if pads:
        nodes.append(FmPadding(name="pad", input="images", in_type=UINT8, pads=(pads, pads, pads, pads)))
    nodes += [
        Swg(name="swg", input=nodes[-1].name if nodes else "images", in_type=UINT8, kernel=(2, 2)),
        Mvau(
            name="conv",
            input="swg",
            in_type=UINT8,
            weights=rng.choice(np.array([-1, 1], np.int8), (rows, 4 * channels)),
            thresholds=Thresholds(steps=rng.integers(-99, 99, (rows, 1))),
        ),
        Pool(name="pool", input="conv", in_type=BIPOLAR, kernel=(3, 3), stride=(1, 1)),
        Flatten(name="flat", input="pool", in_type=BIPOLAR),
    ]
    pooled = shape
    for node in nodes:
        pooled = node.out_shape(pooled)
    weights = rng.choice(np.array([-1, 1], np.int8), (2, *pooled))
    nodes.append(Mvau(name="dense", input="flat", in_type=BIPOLAR, weights=weights))
    return DataflowGraph(input_shape=(5, 5, channels), nodes=tuple(nodes))


def residual() -> DataflowGraph:
    """Two dense layers around which a branch goes, and a last one."""
    rng = np.random.default_rng(0)
    trunk = dense(3, 3, 3, 2)
    nodes = list(trunk.nodes[:-1])
    join = Add(name="add", input="mvau_0", in_type=BIPOLAR, other="mvau_1", other_type=BIPOLAR)
    weights = rng.choice(np.array([-1, 1], np.int8), (2, 3))
    nodes += [join, Mvau(name="mvau_2", input="add", in_type=join.out_type, weights=weights)]
    return DataflowGraph(input_shape=trunk.input_shape, nodes=tuple(nodes))


def costs(graph: DataflowGraph, folding: Folding, model: ResourceModel) -> tuple[float, float]:
    instances = plan_rtl(graph, folding, with_contents=False).instances
    return model.luts(instances), model.bram36(instances)


def all_foldings(graph: DataflowGraph) -> Iterator[Folding]:
    nodes = list(graph.mvaus)
    for layers in itertools.product(*(layer_choices(graph, node) for node in nodes)):
        yield Folding({node.name: layer for node, layer in zip(nodes, layers, strict=True)})


def cycles_of(graph: DataflowGraph, folding: Folding) -> int:
    """Cycles a frame: of the layers, and of the busiest stream."""
    streams = [
        stream.beats
        for i in plan_rtl(graph, folding, with_contents=False).instances
        for stream in (*i.sources, *i.sinks)
    ]
    return max(folding.ii_cycles(graph), *streams)


def check(choice: Choice, graph: DataflowGraph, model: ResourceModel) -> None:
    lut, bram36 = costs(graph, choice.folding, model)
    assert choice.estimate.lut.value == pytest.approx(lut)
    assert choice.estimate.bram36.value == pytest.approx(bram36)
    assert choice.ii_cycles == choice.folding.ii_cycles(graph)


@QUICK
@given(
    sizes=st.tuples(*(st.sampled_from((2, 3, 4, 6)) for _ in range(3))),
    part=st.floats(0.0, 1.0),
    seed=st.integers(0, 99),
)
def test_the_least_hardware_is_the_cheapest_of_all(sizes, part, seed):
    graph, model = dense(*sizes), make_model(seed)
    known = [(cycles_of(graph, f), *costs(graph, f, model)) for f in all_foldings(graph)]
    slowest = max(cycles for cycles, _, _ in known)
    cycles = 1 + round(part * slowest)
    budget = Budget(lut_per_bram36=20.0)
    least = min(budget.price(lut, bram) for c, lut, bram in known if c <= cycles)
    choice = least_hardware(graph, fps=1e6, clock_mhz=cycles, budget=budget, model=model)
    check(choice, graph, model)
    assert choice.ii_cycles <= cycles
    assert budget.price(choice.estimate.lut.value, choice.estimate.bram36.value) == pytest.approx(least)


@QUICK
@given(
    sizes=st.tuples(*(st.sampled_from((2, 3, 4, 6)) for _ in range(3))),
    lut=st.floats(0.0, 1.0),
    bram36=st.sampled_from((0.0, 0.5, 1.0)),
    seed=st.integers(0, 99),
)
def test_the_fastest_is_the_fastest_of_all_that_fit(sizes, lut, bram36, seed):
    graph, model = dense(*sizes), make_model(seed)
    known = [(cycles_of(graph, f), *costs(graph, f, model)) for f in all_foldings(graph)]
    all_luts = sorted(luts for _, luts, _ in known)
    budget = Budget(lut=all_luts[0] + lut * (all_luts[-1] - all_luts[0]), bram36=bram36, lut_per_bram36=20.0)
    fitting = [one for one in known if one[1] <= budget.lut and one[2] <= bram36]
    if not fitting:
        with pytest.raises(InputError, match="does not fit"):
            fastest(graph, budget, model=model)
        return
    choice = fastest(graph, budget, model=model)
    check(choice, graph, model)
    assert choice.estimate.lut.value <= budget.lut + 1e-6
    assert choice.estimate.bram36.value <= bram36
    least = min(c for c, _, _ in fitting)
    assert choice.ii_cycles == least
    price = min(budget.price(luts, bram) for c, luts, bram in fitting if c == least)
    assert budget.price(choice.estimate.lut.value, choice.estimate.bram36.value) == pytest.approx(price)


@pytest.mark.parametrize("pads", [0, 1])
def test_convolutions_pools_and_borders_are_searched_exactly(pads):
    graph = convolution(2, 2, pads=pads)
    known = [(cycles_of(graph, f), *costs(graph, f, MODEL)) for f in all_foldings(graph)]
    budget = Budget(lut_per_bram36=20.0)
    for cycles in sorted({c for c, _, _ in known})[::4]:
        least = min(budget.price(lut, bram) for c, lut, bram in known if c <= cycles)
        choice = least_hardware(graph, fps=1e6, clock_mhz=cycles, budget=budget, model=MODEL)
        assert cycles_of(graph, choice.folding) <= cycles
        assert budget.price(choice.estimate.lut.value, choice.estimate.bram36.value) == pytest.approx(least)


def test_a_network_with_branches_keeps_its_budget_and_its_rate():
    graph = residual()
    assert not is_chain(graph)
    assert is_chain(dense(4, 2))
    known = [(f.ii_cycles(graph), *costs(graph, f, MODEL)) for f in all_foldings(graph)]
    budget = Budget(lut_per_bram36=20.0)
    for cycles in (1, 3, 9):
        choice = least_hardware(graph, fps=1e6, clock_mhz=cycles, budget=budget, model=MODEL)
        check(choice, graph, MODEL)
        assert choice.ii_cycles <= cycles
        least = min(budget.price(lut, bram) for c, lut, bram in known if c <= cycles)
        assert budget.price(choice.estimate.lut.value, choice.estimate.bram36.value) <= 1.15 * least
    least_lut = min(lut for _, lut, _ in known)
    slowest = math.inf
    for factor in (1.1, 2.0):
        choice = fastest(graph, Budget(lut=factor * least_lut), model=MODEL)
        assert choice.estimate.lut.value <= factor * least_lut
        assert choice.ii_cycles <= slowest
        slowest = choice.ii_cycles


def test_a_larger_budget_is_never_slower_and_a_higher_rate_never_cheaper():
    graph = dense(24, 12, 12, 4)
    everything = least_hardware(graph, fps=1e6, clock_mhz=1e6, model=MODEL).estimate.lut.value
    cycles = math.inf
    for factor in (1.02, 1.2, 1.5, 2.0, 3.0, 5.0):
        choice = fastest(graph, Budget(lut=factor * everything), model=MODEL)
        assert choice.ii_cycles <= cycles
        cycles = choice.ii_cycles
    price = 0.0
    for limit in (300, 200, 100, 50, 20, 5):
        choice = least_hardware(graph, fps=1e6, clock_mhz=limit, model=MODEL)
        assert choice.ii_cycles <= limit
        found = Budget().price(choice.estimate.lut.value, choice.estimate.bram36.value)
        assert found >= price - 1e-6
        price = found


def test_a_rate_out_of_reach_names_the_best_that_fits():
    graph = dense(24, 12, 4)
    with pytest.raises(InputError, match="fastest possible is 100,000,000 frames/s"):
        least_hardware(graph, fps=2e8, clock_mhz=CLOCK_MHZ, model=MODEL)
    least = least_hardware(graph, fps=1.0, clock_mhz=CLOCK_MHZ, model=MODEL).estimate.lut.value
    budget = Budget(lut=1.3 * least, bram36=0)
    best = fastest(graph, budget, model=MODEL)
    with pytest.raises(InputError, match="the best that fits is") as caught:
        least_hardware(graph, fps=1e8, clock_mhz=CLOCK_MHZ, budget=budget, model=MODEL)
    assert f"{CLOCK_MHZ * 1e6 / best.ii_cycles:,.10g} frames/s" in caught.value.message
    assert "± 10 %" in caught.value.message
    with pytest.raises(InputError, match="does not fit 1 LUT"):
        least_hardware(graph, fps=1.0, clock_mhz=CLOCK_MHZ, budget=Budget(lut=1), model=MODEL)
    with pytest.raises(InputError, match="the least needs"):
        fastest(graph, Budget(lut=1), model=MODEL)


def test_flip_flops_and_dsp_slices_are_bounds_too():
    graph = dense(12, 6, 4)
    assert fastest(graph, Budget(ff=1e6), model=MODEL).ii_cycles == 1
    with pytest.raises(InputError, match="does not fit"):
        fastest(graph, Budget(ff=1), model=MODEL)


def test_a_board_s_budget_leaves_head_room():
    board = find_board("pynq-z1")
    budget = board_budget(board)
    assert budget.lut == 45_220
    assert budget.bram36 == 133
    assert budget.dsp == board.dsp
    assert budget.lut_per_bram36 == pytest.approx(380)
    assert budget.text() == "45,220 LUT, 90,440 FF, 133 BRAM36, 220 DSP"


@pytest.mark.parametrize(("fps", "clock"), [(0, 100), (float("nan"), 100), (1, float("inf"))])
def test_senseless_rates_are_refused(fps, clock):
    with pytest.raises(InputError, match="must be a number above 0"):
        least_hardware(dense(4, 2), fps=fps, clock_mhz=clock, model=MODEL)
