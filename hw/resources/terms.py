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
    rom_luts,
    written_memory,
)

Terms = dict[str, dict[str, float]]
_Parameters = Mapping[str, int | str]

FORMULAS = ("bram36", "lutram")


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
    in_w, weight_w, levels, acc_w = (_int(p, k) for k in ("IN_W", "WEIGHT_W", "LEVELS", "ACC_W"))
    sf, nf = mw // simd, mh // pe
    binary, thresholds = weight_w == 1, bool(p["THRESHOLD_EN"])
    lanes = pe * simd * (in_w if binary else in_w * weight_w)
    sum_w = counter_bits(simd + 1) + (0 if p["IN_BIPOLAR"] and binary else in_w + (0 if binary else weight_w))
    param_bits = pe * (levels * acc_w if thresholds else _int(p, "OUT_W"))
    weight_bits = pe * simd * weight_w
    block = p.get("RAM_STYLE", "auto") == "block"
    replay = written_memory(simd * in_w, sf, registered_read=False) if nf > 1 else MemoryCost()
    control = counter_bits(sf) + counter_bits(nf) + counter_bits(sf * nf)
    compared = pe * levels * acc_w if thresholds else 0
    return {
        "lut": {
            "unit": 1,
            "bits of counters": control,
            "binary products": lanes if binary and in_w == 1 else 0,
            "bit-plane products": lanes if binary and in_w > 1 else 0,
            "bits multiplied": 0 if binary else lanes,
            "bits accumulated": pe * acc_w,
            "bits compared": compared,
            "weights in logic": 0 if block else rom_luts(weight_bits, sf * nf),
            "thresholds in logic": rom_luts(param_bits, nf),
            "replayed bits": simd * in_w if nf > 1 else 0,
        },
        "ff": {
            "unit": 1,
            "bits of counters": control,
            "bits of inputs": simd * in_w,
            "bits of weights": 0 if block or sf * nf == 1 else weight_bits,
            "bits of sums": pe * sum_w,
            "bits accumulated": pe * acc_w,
            "bits of thresholds": param_bits if nf > 1 else 0,
            "bits of outputs": pe * _int(p, "OUT_W"),
            "bits kept": replay.flip_flops,
        },
        "lutram": {"replay buffer": replay.lutram},
        "bram36": {"weights": bram36(weight_bits, sf * nf) if block else 0.0},
    }


def _fifo(p: _Parameters) -> Terms:
    width, depth = _int(p, "DATA_W"), _int(p, "DEPTH")
    memory = written_memory(width, depth, registered_read=False)
    wide = width * math.ceil(depth / 64) if depth > 64 else 0
    return {
        "lut": {
            "unit": 1,
            "bits of pointers": counter_bits(depth),
            "bits in flip-flops": memory.flip_flops,
            "bits of wide reads": wide,
        },
        "ff": {"unit": 1, "bits of pointers": counter_bits(depth), "bits in flip-flops": memory.flip_flops},
        "lutram": {"words": memory.lutram},
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
    width = _int(p, "LANES") * _int(p, "ELEMENT_W")
    beats = _int(p, "CHANNELS") // _int(p, "LANES")
    memory = written_memory(width, beats, registered_read=False)
    counters = counter_bits(beats) + counter_bits(_int(p, "PIXELS"))
    return {
        "lut": {
            "unit": 1,
            "bits of counters": counters,
            "bits": width if _int(p, "ELEMENT_W") == 1 else 0,
            "bits compared": width if _int(p, "ELEMENT_W") > 1 else 0,
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
    pe, in_w, out_w, label_w = (_int(p, k) for k in ("PE", "IN_W", "LOGIT_W", "LABEL_W"))
    counters = counter_bits(_int(p, "DEPTH"))
    logits = pe * out_w if p["LOGITS_EN"] else 0
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
            "bits of the best": 2 * in_w + 2 * label_w,
            "bits of logits": 2 * logits,
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


def _int(parameters: _Parameters, name: str) -> int:
    return int(parameters[name])
