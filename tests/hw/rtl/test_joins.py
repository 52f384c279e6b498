"""Forks and additions in hardware against NumPy, each stream with its own stalls, at their latency and II."""

import numpy as np
import pytest

from export.datatypes import BIPOLAR, TERNARY, UINT8, DataType
from export.graph import Add
from hw.reference import compute_node
from hw.rtlgen.latency import ADD_LATENCY_CYCLES, DUPLICATE_LATENCY_CYCLES

INT4, INT12, UINT2 = DataType("INT4"), DataType("INT12"), DataType("UINT2")
BEATS = 150

# lanes and the types of the two inputs
ADDS = [
    (1, UINT8, UINT8),
    (3, BIPOLAR, BIPOLAR),
    (2, BIPOLAR, INT4),
    (2, INT12, BIPOLAR),
    (1, INT4, INT12),
    (2, UINT2, INT12),
    (1, UINT8, INT4),
    (4, TERNARY, UINT2),
    (1, DataType("UINT32"), DataType("INT32")),
]
# bits of a beat, copies
DUPLICATES = [(1, 2), (9, 3), (40, 5)]


@pytest.fixture
def rng():
    return np.random.default_rng(20261124)


def random_values(rng, dtype, shape):
    if dtype == BIPOLAR:
        return 2 * rng.integers(0, 2, shape) - 1
    values = rng.integers(dtype.minimum, dtype.maximum + 1, shape)
    values[:8] = rng.choice([dtype.minimum, dtype.maximum], (8, *shape[1:]))
    return values


def packed(pack_beats, values, dtype):
    return pack_beats((values > 0).astype(np.int64) if dtype == BIPOLAR else values, dtype.width_bits)


def add_units(unit, pack_beats, rng):
    for k, (lanes, first, second) in enumerate(ADDS):
        node = Add(name=f"add_{k}", input="a", in_type=first, other="b", other_type=second)
        a, b = (random_values(rng, dtype, (BEATS, lanes)) for dtype in (first, second))
        parameters = {"LANES": lanes, "OUT_W": node.out_type.width_bits}
        for side, dtype in enumerate((first, second)):
            parameters[f"IN{side}_W"] = dtype.width_bits
            parameters[f"IN{side}_BIPOLAR"] = int(dtype == BIPOLAR)
            parameters[f"IN{side}_SIGNED"] = int(dtype.is_signed)
        yield unit(
            name=node.name,
            module="bnn_add",
            parameters=parameters,
            in_width=lanes * first.width_bits,
            second_width=lanes * second.width_bits,
            out_width=lanes * node.out_type.width_bits,
            inputs=packed(pack_beats, a, first),
            second=packed(pack_beats, b, second),
            outputs=pack_beats(compute_node(node, a, b), node.out_type.width_bits),
            out_beats=1,
            completes=0,
            latency=ADD_LATENCY_CYCLES,
            ii=1,
        )


def duplicate_units(unit, rng):
    for width, copies in DUPLICATES:
        beats = [int.from_bytes(rng.bytes(8)) >> (64 - width) for _ in range(BEATS)]
        yield unit(
            name=f"duplicate_{copies}",
            module="bnn_duplicate",
            parameters={"DATA_W": width, "COPIES": copies},
            in_width=width,
            out_width=width,
            inputs=beats,
            outputs=beats,
            copies=copies,
            out_beats=1,
            completes=0,
            latency=DUPLICATE_LATENCY_CYCLES,
            ii=1,
        )


def test_joins(run_bench, unit, pack_beats, rng):
    run_bench([*add_units(unit, pack_beats, rng), *duplicate_units(unit, rng)], {})
