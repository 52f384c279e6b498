"""Random networks with hostile BatchNorm: every activation and logit equals onnxruntime's and qonnx's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.lowering import lower_with_notes
from hw.qonnx_target import QonnxTarget
from hw.reference import ReferenceTarget

INPUTS = 8


@dataclass
class Norm:
    fused: bool
    gamma: Any
    beta: Any
    mean: Any
    var: Any


@dataclass
class Network:
    weights: list[Any]
    norms: list[Norm]
    gemm: bool
    relu: bool


GAMMAS = [1.0, -1.0, 0.0, -0.0, 1e-40, -1e-40, 1e-30, 3e30, -3e30, 0.1, 1.7, -0.3]
VARS = [0.0, 1e-45, 1.0, 4.0, 1e-8, 318.19666, 1e30, 3e38, 7.3]


@st.composite
def norms(draw: st.DrawFn, neurons: int, fan_in: int) -> Norm:
    def column(values: st.SearchStrategy[float]) -> Any:
        return np.asarray(draw(st.lists(values, min_size=neurons, max_size=neurons)), np.float32)

    whole = st.integers(-fan_in, fan_in).map(float)
    free = st.floats(-3.0 * fan_in, 3.0 * fan_in, width=32)
    gamma = column(st.sampled_from(GAMMAS) | st.floats(-4, 4, width=32))
    mean, var = column(whole | free), column(st.sampled_from(VARS) | st.floats(0, 500, width=32))
    beta = column(st.sampled_from([0.0, -0.0, 1e-45, 1e30]) | st.floats(-4, 4, width=32))
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(var + np.float32(1e-5))
        # Where drawn so, beta puts an accumulator exactly on the tie, up to the roundings on the way.
        tie = -(np.asarray(column(whole), np.float32) - mean) * scale
    chosen = np.asarray(draw(st.lists(st.booleans(), min_size=neurons, max_size=neurons)))
    beta = np.where(chosen & np.isfinite(tie), tie, beta).astype(np.float32)
    return Norm(fused=draw(st.booleans()), gamma=gamma, beta=beta, mean=mean, var=var)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    widths = [INPUTS, *draw(st.lists(st.integers(1, 7), min_size=1, max_size=2)), draw(st.integers(2, 4))]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pairs = list(zip(widths[1:], widths[:-1], strict=True))
    return Network(
        weights=[rng.normal(size=pair).astype(np.float32) for pair in pairs],
        norms=[draw(norms(out, fan_in)) for out, fan_in in pairs[:-1]],
        gemm=draw(st.booleans()),
        relu=draw(st.booleans()),
    )


def build(b: Any, network: Network) -> list[str]:
    """Write the network; returns the names of its hidden activations and logits."""
    names: list[str] = []
    x = b.bipolar(b.node("Sub", b.node("Mul", b.flatten("x"), b.const(2.0)), b.const(1.0)))
    for index, weights in enumerate(network.weights):
        x = b.node("Gemm", x, b.bipolar(b.const(weights)), transB=1) if network.gemm else b.dense(x, weights)
        if index < len(network.norms):
            norm = network.norms[index]
            if network.relu:
                x = b.node("Relu", x)
            if norm.fused:
                x = b.batch_norm(x, norm.gamma, norm.beta, norm.mean, norm.var)
            else:
                with np.errstate(all="ignore"):
                    scale = norm.gamma / np.sqrt(norm.var + np.float32(1e-5))
                    shift = norm.beta - norm.mean * scale
                x = b.node("Add", b.node("Mul", x, b.const(scale)), b.const(shift))
            x = b.bipolar(x)
        names.append(x)
    return names


@settings(max_examples=60)
@given(network=networks())
def test_every_value_equals_onnxruntime_and_qonnx(
    network: Network, builder: Any, ort: Any, all_patterns: Any, tmp_path: Any
) -> None:
    portable = builder(portable=True, shape=("N", 1, 2, 4))
    portable.shape = (256, 1, 2, 4)
    names = build(portable, network)
    expected = ort(portable.model(*names), all_patterns)
    b = builder()
    path = b.save(tmp_path / "m.onnx", build(b, network)[-1])
    lowered = lower_with_notes(path)
    streams = ReferenceTarget(lowered.graph).trace(all_patterns)
    for name, mvau in zip(names, lowered.graph.mvaus, strict=True):
        np.testing.assert_array_equal(streams[mvau.name], expected[name].astype(np.int64), err_msg=mvau.name)
    traced = QonnxTarget(path, lowered.graph).trace(all_patterns[::5])
    assert set(traced) >= {mvau.name for mvau in lowered.graph.mvaus}
    for name, values in traced.items():
        np.testing.assert_array_equal(values, streams[name][::5], err_msg=name)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), scale=st.sampled_from([1.0, 0.5, 4.0]))
def test_eight_bit_input_equals_onnxruntime(
    seed: int, scale: float, builder: Any, ort: Any, tmp_path: Any
) -> None:
    rng = np.random.default_rng(seed)
    hidden, logits = rng.normal(size=(6, 8)), rng.normal(size=(3, 6))
    bias = np.round(rng.normal(size=3) * 16) / 16
    images = rng.integers(0, 256, (200, 2, 4, 1), dtype=np.uint8)

    def network(b: Any) -> tuple[str, str]:
        x = b.node("Round", b.node("Mul", "x", b.const(255.0)))
        x = b.flatten(b.node("Mul", b.node("Sub", x, b.const(128.0)), b.const(2.0**-7)))
        x = b.node("Mul", b.dense(x, hidden, scale), b.const(rng_scale))
        x = b.bipolar(b.node("Add", x, b.const(rng_shift)))
        return x, b.node("Add", b.dense(x, logits, 0.25), b.const(bias))

    rng_scale, rng_shift = rng.normal(size=6), rng.normal(size=6) * 0.3
    portable = builder(portable=True, shape=(200, 1, 2, 4))
    names = network(portable)
    expected = ort(portable.model(*names), images)
    b = builder()
    lowered = lower_with_notes(b.save(tmp_path / "m.onnx", network(b)[-1]))
    streams = ReferenceTarget(lowered.graph).trace(images)
    np.testing.assert_array_equal(streams["mvau_0"], expected[names[0]])
    source = lowered.graph.nodes[-1].source
    assert source is not None
    np.testing.assert_array_equal(streams["mvau_1"], expected[names[1]] * 2.0**source.exponent)


@pytest.mark.parametrize("fan_in", [31, 784])
def test_scan_covers_every_accumulator_of_a_wide_layer(fan_in: int, builder: Any, tmp_path: Any) -> None:
    rng = np.random.default_rng(fan_in)
    means = rng.integers(-fan_in, fan_in + 1, 40).astype(np.float32)
    b = builder(shape=(1, 1, 1, fan_in))
    x = b.dense(b.bipolar(b.node("Sub", b.flatten("x"), b.const(0.5))), rng.normal(size=(40, fan_in)))
    x = b.bipolar(b.node("Sub", x, b.const(means)))
    path = b.save(tmp_path / "m.onnx", b.dense(x, rng.normal(size=(2, 40))))
    first = next(iter(lower_with_notes(path).graph.mvaus))
    assert first.thresholds is not None
    wanted = means + (means - fan_in) % 2
    np.testing.assert_array_equal(first.thresholds.steps[:, 0], wanted)
