from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attacks.torch_target import TorchTarget
from export.errors import CheckFailedError, InputError
from hw.reference import ReferenceTarget
from hw.target import TracingTarget


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)),
    hidden=st.integers(1, 9),
    classes=st.integers(1, 5),
    seed=st.integers(0, 1000),
    count=st.integers(0, 5),
)
@settings(max_examples=30)
def test_logits_and_trace_equal_the_reference(tiny_net, tiny_graph, shape, hidden, classes, seed, count):
    net = tiny_net(shape, hidden=hidden, classes=classes, seed=seed)
    graph = tiny_graph(net)
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    target, reference = TorchTarget(net, graph, batch_size=2), ReferenceTarget(graph)
    np.testing.assert_array_equal(target.infer(images).logits, reference.infer(images).logits)
    expected = reference.trace(images)
    found = target.trace(images)
    assert list(found) == ["mvau_0", "mvau_1"]
    for name, values in found.items():
        assert values.dtype == np.int64
        np.testing.assert_array_equal(values, expected[name])


def test_it_is_a_tracing_target(net, graph):
    assert isinstance(TorchTarget(net, graph), TracingTarget)


def test_read_only_images_will_do(net, graph, images):
    images.flags.writeable = False
    assert len(TorchTarget(net, graph).infer(images).logits) == 40


def test_mode_and_hooks_are_put_back(net, graph, images):
    net.train()
    target = TorchTarget(net, graph)
    target.trace(images)
    target.infer(images)
    assert net.training
    assert all(not part._forward_hooks for part in net.modules())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_image_sized_activations_become_nhwc(binarised_graph, images):
    class Sign(nn.Module):
        emits_activation = True

        def forward(self, x):
            return torch.where(x >= 0, 1.0, -1.0)

    class First(nn.Module):
        logit_exponent = 0

        def __init__(self):
            super().__init__()
            self.signs = nn.ModuleList([Sign(), Sign(), Sign()])

        def forward(self, x):
            self.signs[0]((x * 255).round() - 128)
            self.signs[1](torch.ones(len(x), 16))
            self.signs[2](torch.ones(len(x), 12))
            return torch.zeros(len(x), 5)

    found = TorchTarget(First(), binarised_graph).trace(images)
    expected = ReferenceTarget(binarised_graph).trace(images)["thresholding_0"]
    np.testing.assert_array_equal(found["thresholding_0"], expected)


@pytest.mark.parametrize("value", [0.3, float("nan"), float("inf"), 2.0**60])
def test_logits_off_the_grid_are_refused(net, graph, images, value):
    class Off(nn.Module):
        logit_exponent = 3

        def forward(self, x):
            logits = net(x)
            logits[2, 4] = value
            return logits

    with pytest.raises(CheckFailedError, match="logit 4"):
        TorchTarget(Off(), graph).infer(images)


def test_wrong_modules_are_refused(net, graph, images):
    with pytest.raises(InputError, match="logit_exponent"):
        TorchTarget(nn.Identity(), graph)
    with pytest.raises(ValueError, match="batch_size"):
        TorchTarget(net, graph, batch_size=0)
    net.binarise.emits_activation = False
    with pytest.raises(InputError, match="0 activations, the graph has 1"):
        TorchTarget(net, graph).trace(images)
    net.last = nn.Parameter(net.last[:3])
    with pytest.raises(CheckFailedError, match="5 logits"):
        TorchTarget(net, graph).infer(images)


def test_images_are_checked(net, graph, images):
    with pytest.raises(InputError, match="uint8"):
        TorchTarget(net, graph).infer(images / 255)
