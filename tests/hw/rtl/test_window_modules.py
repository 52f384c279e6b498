"""Padding, sliding windows and pooling in hardware against NumPy, at their stated latency and II."""

import math

import numpy as np
import pytest

from export.datatypes import BIPOLAR, TERNARY, UINT8, DataType
from export.graph import FmPadding, Pool, Swg
from hw.reference import compute_node
from hw.rtlgen.latency import FMPADDING_LATENCY_CYCLES, POOL_LATENCY_CYCLES, SWG_LATENCY_CYCLES

INT3 = DataType("INT3")

# shape, kernel, stride, lanes, type, buffer's beats or None for the default, groups or 1
WINDOWS = [
    ((5, 6, 4), (3, 3), (1, 1), 2, BIPOLAR, None),
    ((5, 6, 4), (3, 3), (1, 1), 4, TERNARY, None),
    ((6, 7, 3), (2, 3), (2, 1), 1, INT3, None),
    ((8, 8, 2), (2, 2), (2, 2), 1, BIPOLAR, None),
    ((9, 7, 1), (3, 2), (3, 2), 1, UINT8, None),
    ((7, 9, 2), (1, 1), (1, 1), 1, BIPOLAR, None),
    ((7, 9, 2), (1, 1), (2, 3), 2, BIPOLAR, None),
    ((7, 8, 1), (2, 2), (3, 3), 1, UINT8, None),
    ((4, 5, 2), (4, 5), (1, 1), 1, BIPOLAR, None),
    ((1, 12, 2), (1, 5), (1, 2), 2, BIPOLAR, None),
    ((6, 6, 2), (5, 5), (1, 1), 1, BIPOLAR, None),
    ((5, 6, 2), (3, 3), (2, 2), 1, UINT8, 30),  # just one window: slower, but right
    ((5, 6, 4), (3, 3), (1, 1), 2, BIPOLAR, None, 2),
    ((5, 4, 6), (2, 3), (2, 1), 1, INT3, None, 3),
    ((4, 5, 4), (2, 2), (2, 2), 1, TERNARY, None, 4),
    ((4, 4, 4), (1, 1), (1, 1), 1, BIPOLAR, None, 2),
    ((4, 4, 4), (1, 1), (2, 2), 2, UINT8, None, 2),
]
# shape, pads, lanes, type, value
PADDINGS = [
    ((3, 4, 2), (1, 1, 1, 1), 1, BIPOLAR, 0),
    ((3, 4, 2), (1, 1, 1, 1), 2, BIPOLAR, -1),
    ((3, 4, 2), (2, 0, 0, 3), 2, BIPOLAR, 1),
    ((2, 3, 3), (0, 2, 1, 0), 3, INT3, -4),
    ((2, 3, 3), (0, 0, 0, 0), 1, UINT8, 7),
    ((1, 1, 4), (3, 1, 2, 1), 2, UINT8, 200),
]
# channels, lanes, pixels, type
POOLS = [(4, 2, 4, BIPOLAR), (3, 3, 9, INT3), (2, 1, 2, UINT8), (4, 1, 1, UINT8), (2, 2, 3, TERNARY)]
SUMS = [(4, 2, 5, BIPOLAR), (3, 3, 9, INT3), (2, 1, 4, UINT8), (4, 1, 1, BIPOLAR), (2, 2, 3, TERNARY)]


@pytest.fixture
def rng():
    return np.random.default_rng(20261124)


def random_values(rng, dtype, shape):
    if dtype == BIPOLAR:
        return 2 * rng.integers(0, 2, shape) - 1
    return rng.integers(dtype.minimum, dtype.maximum + 1, shape)


def frames_for(beats):
    return max(8, -(-120 // beats))


def packed(pack_beats, values, dtype, lanes):
    bits = (values > 0).astype(np.int64) if dtype == BIPOLAR else values
    return pack_beats(bits.reshape(-1, lanes), dtype.width_bits)


def swg_units(unit, pack_beats, rng):
    for k, (shape, kernel, stride, lanes, dtype, depth, *more) in enumerate(WINDOWS):
        groups = more[0] if more else 1
        node = Swg(
            name=f"swg_{k}", input="images", in_type=dtype, kernel=kernel, stride=stride, groups=groups
        )
        in_beats = math.prod(shape) // lanes
        out_beats = math.prod(node.out_shape(shape)) // lanes
        values = random_values(rng, dtype, (frames_for(in_beats) + (8 if depth is None else 0), *shape))
        parameters = {
            "ELEMENT_W": dtype.width_bits,
            "CHANNELS": shape[2],
            "GROUPS": groups,
            "LANES": lanes,
            "HEIGHT": shape[0],
            "WIDTH": shape[1],
            "KERNEL_H": kernel[0],
            "KERNEL_W": kernel[1],
            "STRIDE_H": stride[0],
            "STRIDE_W": stride[1],
        }
        # In the smallest buffer the next windows' pixels wait: measured once, so that a change is seen.
        ii = max(in_beats, out_beats) if depth is None else 90
        yield unit(
            name=node.name,
            module="bnn_swg",
            parameters=parameters if depth is None else parameters | {"DEPTH": depth},
            in_width=lanes * dtype.width_bits,
            out_width=lanes * dtype.width_bits,
            inputs=packed(pack_beats, values, dtype, lanes),
            outputs=packed(pack_beats, compute_node(node, values), dtype, lanes),
            out_beats=out_beats,
            completes=0,
            latency=SWG_LATENCY_CYCLES,
            ii=ii,
            settle_frames=4,
        )


def fmpadding_units(unit, pack_beats, rng):
    for k, (shape, pads, lanes, dtype, value) in enumerate(PADDINGS):
        node = FmPadding(name=f"pad_{k}", input="images", in_type=dtype, pads=pads, value=value)
        beats = shape[2] // lanes
        values = random_values(rng, dtype, (frames_for(math.prod(shape) // lanes), *shape))
        ternary = node.out_type == TERNARY
        code = int(value > 0) if node.out_type == BIPOLAR else value
        top, left, bottom, right = pads
        rows, columns, _ = node.out_shape(shape)
        yield unit(
            name=node.name,
            module="bnn_fmpadding",
            parameters={
                "ELEMENT_W": dtype.width_bits,
                "TERNARY": int(ternary),
                "CHANNELS": shape[2],
                "LANES": lanes,
                "HEIGHT": shape[0],
                "WIDTH": shape[1],
                "TOP": top,
                "LEFT": left,
                "BOTTOM": bottom,
                "RIGHT": right,
                "VALUE": code,
            },
            in_width=lanes * dtype.width_bits,
            out_width=lanes * node.out_type.width_bits,
            inputs=packed(pack_beats, values, dtype, lanes),
            outputs=packed(pack_beats, compute_node(node, values), node.out_type, lanes),
            out_beats=rows * columns * beats,
            completes=0,
            latency=FMPADDING_LATENCY_CYCLES,
            measured=(top * columns + left) * beats,
            ii=rows * columns * beats,
        )


def pool_units(unit, pack_beats, rng):
    cases = [(*pool, "max") for pool in POOLS] + [(*pool, "sum") for pool in SUMS]
    for k, (channels, lanes, pixels, dtype, mode) in enumerate(cases):
        window = {"kernel": (1, pixels), "stride": (1, pixels), "mode": mode}
        node = Pool(name=f"pool_{k}", input="images", in_type=dtype, **window)
        values = random_values(rng, dtype, (1, 30, pixels, channels))
        if dtype == BIPOLAR:
            values[:, ::3] = -1  # most windows of random bits hold a +1
        beats = channels // lanes
        yield unit(
            name=node.name,
            module="bnn_pool",
            parameters={
                "ELEMENT_W": dtype.width_bits,
                "SIGNED": int(dtype in (INT3, TERNARY)),
                "BIPOLAR": int(dtype == BIPOLAR),
                "SUM": int(mode == "sum"),
                "OUT_W": node.out_type.width_bits,
                "CHANNELS": channels,
                "LANES": lanes,
                "PIXELS": pixels,
            },
            in_width=lanes * dtype.width_bits,
            out_width=lanes * node.out_type.width_bits,
            inputs=packed(pack_beats, values, dtype, lanes),
            outputs=packed(pack_beats, compute_node(node, values), node.out_type, lanes),
            out_beats=beats,
            completes=(pixels - 1) * beats,
            latency=POOL_LATENCY_CYCLES,
            ii=pixels * beats,
        )


def test_window_modules(run_bench, unit, pack_beats, rng):
    units = [
        *swg_units(unit, pack_beats, rng),
        *fmpadding_units(unit, pack_beats, rng),
        *pool_units(unit, pack_beats, rng),
    ]
    run_bench(units, {})
