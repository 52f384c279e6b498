"""What the cost of a module depends on: terms of its parameters, each with a meaning in hardware.

A resource of an instance is the sum of its terms, each times a coefficient that is fitted to synthesis.
Resources in `FORMULAS` have no coefficients: their terms are the count itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from hw.resources.memory import (
    MemoryCost,
    bram36,
    counter_bits,
    is_block_rom,
    rom_luts,
    written_memory,
)

Terms = dict[str, dict[str, float]]
_Parameters = Mapping[str, int | str]

FORMULAS = ("bram36", "lutram")
# LUTs that a unit of a term takes at least, whatever the mapper does: an adder has one for each bit, a lane
# of a dot product one for its product and most of one in the sum, a bit of a replayed input one to choose it.
LEAST_LUTS: Mapping[str, float] = {
    "products with constants": 0.5,
    "products with few weights": 1.6,
    "binary products": 1.3,
    "bit-plane products": 1.3,
    "bits accumulated": 1.0,
    "replayed bits": 1.0,
    "weights in logic": 1.0,
    "bits of counters": 1.0,
    "bits of pointers": 1.0,
    "bits of addresses": 1.0,
}
# From bnn_mvau: weights of so few words are no memory, and so are the thresholds of so few groups.
_FUSED_DEPTH, _FUSED_PARAMS = 32, 8
# From bnn_fifo: deeper ones are read through a register.
_DIRECT_DEPTH = 512


def module_terms(module: str, parameters: _Parameters) -> Terms:
    """Return the terms of an instance: resource, name of the term, value.

    Raises:
        ValueError: The module is unknown.
    """
    if module not in _MODULES:
        raise ValueError(f"no terms of {module}")
    terms = _MODULES[module](parameters)
    return {"lut": {}, "lutram": {}, "ff": {}, "bram36": {}, "dsp": {}} | terms


def known_modules() -> tuple[str, ...]:
    """Return the modules whose cost can be estimated."""
    return tuple(_MODULES)


def _mvau(p: _Parameters) -> Terms:
    mw, mh, simd, pe = (_int(p, k) for k in ("MW", "MH", "SIMD", "PE"))
    in_w, weight_w, levels = (_int(p, k) for k in ("IN_W", "WEIGHT_W", "LEVELS"))
    sf, nf = mw // simd, mh // pe
    depth, groups, draws = sf * nf, _int(p, "GROUPS", 1), bool(_int(p, "DRAW", 0))
    binary, style = weight_w == 1, p.get("RAM_STYLE", "auto")
    counts = bool(p["IN_BIPOLAR"]) and binary
    # A few words of weights are part of the LUTs that compare them with the inputs.
    fused = counts and not draws and style != "block" and depth <= _FUSED_DEPTH
    weight_bits = pe * simd * weight_w
    block = style == "block" or (style == "auto" and not fused and is_block_rom(weight_bits, depth))
    in_logic = not (fused or block or draws)
    lanes = pe * simd * (in_w if binary else in_w * weight_w)
    compared = pe * levels * _int(p, "ACC_W") if p["THRESHOLD_EN"] and levels > 1 else 0
    summed = pe * (_int(p, "ACC_W") if p["THRESHOLD_EN"] else _int(p, "OUT_W"))
    param_bits = pe * (levels * _int(p, "ACC_W") if p["THRESHOLD_EN"] else _int(p, "OUT_W"))
    replays = nf // groups > 1
    replay = written_memory(simd * in_w, sf, one_port=True) if replays else MemoryCost()
    control = counter_bits(sf) + counter_bits(nf) + counter_bits(depth)
    sum_w = counter_bits(simd + 1) + (0 if counts else in_w) + (0 if binary else weight_w)
    fetched = nf > _FUSED_PARAMS or compared > 0
    block_params = fetched and is_block_rom(param_bits, nf)
    return {
        "lut": {
            "unit": 1,
            "bits of counters": control,
            "products with constants": lanes if fused and depth == 1 else 0,
            "products with few weights": lanes if fused and depth > 1 else 0,
            "binary products": lanes if counts and not fused else 0,
            "bit-plane products": lanes if binary and not counts else 0,
            "bits multiplied": 0 if binary else lanes,
            "bits accumulated": summed,
            "bits compared": compared,
            "weights in logic": rom_luts(weight_bits, depth) if in_logic else 0,
            "weights in deep logic": rom_luts(weight_bits, depth) if in_logic and depth > 64 else 0,
            "thresholds in adders": param_bits if 1 < nf <= _FUSED_PARAMS else 0,
            "thresholds in logic": rom_luts(param_bits, nf) if nf > _FUSED_PARAMS and not block_params else 0,
            "replayed bits": simd * in_w if replays else 0,
            "generators": draws,
            "bits drawn": pe * simd if draws else 0,
        },
        "ff": {
            "unit": 1,
            "bits of counters": control,
            "bits of inputs": simd * in_w,
            "bits of weights": weight_bits if in_logic and depth > 1 else 0,
            "bits of sums": pe * sum_w,
            "bits accumulated": summed,
            "bits of thresholds": param_bits if fetched and not block_params else 0,
            "bits of outputs": pe * _int(p, "OUT_W"),
            "bits kept": replay.flip_flops,
            "generators": draws,
            "bits drawn": pe * simd if draws else 0,
        },
        "lutram": {"replay buffer": replay.lutram},
        "bram36": {
            "weights": bram36(weight_bits, depth) if block else 0.0,
            "thresholds": bram36(param_bits, nf) if block_params else 0.0,
        },
    }


def _fifo(p: _Parameters) -> Terms:
    width, depth = _int(p, "DATA_W"), _int(p, "DEPTH")
    registered = bool(_int(p, "REGISTERED", int(depth > _DIRECT_DEPTH)))
    memory = written_memory(width, depth, registered_read=registered)
    pointer = counter_bits(depth)
    return {
        "lut": {
            "unit": 1,
            "bits of pointers": pointer,
            "pointers that wrap": 0 if depth & (depth - 1) == 0 else pointer,
            "bits in flip-flops": memory.flip_flops,
            "bits of wide reads": width * math.ceil(depth / 64) if memory.lutram and depth > 64 else 0,
            "bits passed by": width if registered else 0,
        },
        "ff": {
            "unit": 1,
            "bits of pointers": pointer,
            "bits in flip-flops": memory.flip_flops,
            "bits passed by": width if registered else 0,
        },
        "lutram": {"words": memory.lutram},
        "bram36": {"words": memory.bram36},
    }


def _dwc(p: _Parameters) -> Terms:
    element, lanes_in, lanes_out = (_int(p, k) for k in ("ELEMENT_W", "IN_LANES", "OUT_LANES"))
    wide, narrow = max(lanes_in, lanes_out), min(lanes_in, lanes_out)
    even = wide % narrow == 0
    unit = math.gcd(lanes_in, lanes_out)
    units = (lanes_in + lanes_out) // unit - 1
    held = (wide if even else units * unit) * element
    return {
        "lut": {
            "unit": 1,
            "bits of counters": counter_bits(wide // narrow + 1 if even else units + 1),
            "bits narrowed": held if even and lanes_in > lanes_out else 0,
            "bits shifted": 0 if even else held * max(1, counter_bits(units)),
        },
        "ff": {
            "unit": 1,
            "bits of counters": counter_bits(wide // narrow + 1 if even else units + 1),
            "bits held": held,
        },
    }


def _swg(p: _Parameters) -> Terms:
    width, depth = _int(p, "LANES") * _int(p, "ELEMENT_W"), _int(p, "DEPTH")
    memory = written_memory(width, depth, registered_read=True)
    rows = (_int(p, "HEIGHT") - _int(p, "KERNEL_H")) // _int(p, "STRIDE_H") + 1
    columns = (_int(p, "WIDTH") - _int(p, "KERNEL_W")) // _int(p, "STRIDE_W") + 1
    beats = _int(p, "KERNEL_W") * _int(p, "CHANNELS") // _int(p, "LANES")
    counters = sum(map(counter_bits, (rows, columns, beats, _int(p, "KERNEL_H"))))
    address = counter_bits(depth)
    in_blocks = memory.bram36 > 0
    return {
        "lut": {
            "unit": 1,
            "bits of addresses": address,
            "bits of counters": counters,
            "bits of wide reads": 0 if in_blocks or depth <= 64 else width * math.ceil(depth / 64),
        },
        "ff": {
            "unit": 1,
            "bits of addresses": address,
            "bits of counters": counters,
            "bits of outputs": 0 if in_blocks else width,
            "bits in flip-flops": memory.flip_flops,
        },
        "lutram": {"pixels": memory.lutram},
        "bram36": {"pixels": memory.bram36},
    }


def _fmpadding(p: _Parameters) -> Terms:
    width = _int(p, "LANES") * (2 if p["TERNARY"] else _int(p, "ELEMENT_W"))
    beats = (_int(p, "LEFT") + _int(p, "WIDTH") + _int(p, "RIGHT")) * _int(p, "CHANNELS") // _int(p, "LANES")
    counters = counter_bits(beats + 1) + counter_bits(_int(p, "TOP") + _int(p, "HEIGHT") + _int(p, "BOTTOM"))
    terms = {"unit": 1.0, "bits of counters": float(counters), "bits of outputs": float(width)}
    return {"lut": terms, "ff": dict(terms)}


def _pool(p: _Parameters) -> Terms:
    width = _int(p, "LANES") * _int(p, "OUT_W", _int(p, "ELEMENT_W"))
    beats = _int(p, "CHANNELS") // _int(p, "LANES")
    memory = written_memory(width, beats)
    counters = counter_bits(beats) + counter_bits(_int(p, "PIXELS"))
    sums, wide = bool(_int(p, "SUM", 0)), _int(p, "ELEMENT_W") > 1
    return {
        "lut": {
            "unit": 1,
            "bits of counters": counters,
            "bits": width if not (sums or wide) else 0,
            "bits compared": width if wide and not sums else 0,
            "bits added": width if sums else 0,
            "bits in flip-flops": memory.flip_flops,
        },
        "ff": {"unit": 1, "bits of counters": counters, "bits": width, "bits kept": memory.flip_flops},
        "lutram": {"greatest": memory.lutram},
    }


def _thresholding(p: _Parameters) -> Terms:
    lanes, in_w, levels, depth = (_int(p, k) for k in ("LANES", "IN_W", "LEVELS", "DEPTH"))
    return {
        "lut": {
            "unit": 1,
            "bits of counters": counter_bits(depth),
            "bits compared with constants": lanes * levels * in_w if depth == 1 else 0,
            "bits compared": lanes * levels * in_w if depth > 1 else 0,
            "thresholds in logic": rom_luts(lanes * levels * (in_w + 1), depth),
            "levels counted": lanes * levels if levels > 1 else 0,
        },
        "ff": {"unit": 1, "bits of counters": counter_bits(depth), "bits": lanes * _int(p, "OUT_W")},
    }


def _label_select(p: _Parameters) -> Terms:
    pe, in_w = _int(p, "PE"), _int(p, "IN_W")
    counters = counter_bits(_int(p, "DEPTH"))
    return {
        "lut": {
            "unit": 1,
            "bits of counters": counters,
            "bits compared": (pe - 1) * in_w,
            "bits of the best": in_w,
            "bits of labels chosen": (pe - 1) * counter_bits(pe),
        },
        "ff": {
            "unit": 1,
            "bits of counters": counters,
            "labels of several beats": _int(p, "LABEL_W") if counters else 0,
            "bits of the best": 2 * in_w,
            "bits of logits": 2 * pe * in_w if p["LOGITS_EN"] else 0,
        },
    }


def _scale_bias(p: _Parameters) -> Terms:
    pe, in_w, scale_w, out_w, depth = (_int(p, k) for k in ("PE", "IN_W", "SCALE_W", "OUT_W", "DEPTH"))
    counters = counter_bits(depth)
    return {
        "lut": {
            "unit": 1,
            "bits of counters": counters,
            "bits multiplied": pe * in_w * scale_w,
            "bits added": pe * out_w,
            "constants in logic": rom_luts(pe * (scale_w + out_w), depth),
        },
        "ff": {"unit": 1, "bits of counters": counters, "bits of results": pe * out_w},
        "dsp": {"multipliers": pe},
    }


def _add(p: _Parameters) -> Terms:
    bits = _int(p, "LANES") * _int(p, "OUT_W")
    return {"lut": {"unit": 1, "bits added": bits}, "ff": {"unit": 1, "bits added": bits}}


def _duplicate(p: _Parameters) -> Terms:
    return {
        "lut": {"unit": 1, "copies": _int(p, "COPIES")},
        "ff": {"unit": 1, "copies": _int(p, "COPIES"), "bits": _int(p, "DATA_W")},
    }


_MODULES: Mapping[str, Callable[[_Parameters], Terms]] = {
    "bnn_mvau": _mvau,
    "bnn_fifo": _fifo,
    "bnn_dwc": _dwc,
    "bnn_swg": _swg,
    "bnn_fmpadding": _fmpadding,
    "bnn_pool": _pool,
    "bnn_thresholding": _thresholding,
    "bnn_label_select": _label_select,
    "bnn_scale_bias": _scale_bias,
    "bnn_add": _add,
    "bnn_duplicate": _duplicate,
}


def _int(parameters: _Parameters, name: str, default: int | None = None) -> int:
    value = parameters[name] if default is None else parameters.get(name, default)
    return int(value)
