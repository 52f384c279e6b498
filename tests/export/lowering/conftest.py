"""Comparing a lowered file with its execution by onnxruntime and qonnx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from export.lowering import lower_with_notes
from hw.qonnx_executor import open_executor
from hw.qonnx_target import QonnxTarget
from hw.reference import ReferenceTarget

IMAGES = np.random.default_rng(11).integers(0, 256, (24, 7, 6, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def exact(builder: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """Lower what ``write`` writes and compare every stream that has a tensor with the file's execution."""

    def compare(write: Callable[[Any], str], images: Any = IMAGES) -> Any:
        height, width, channels = images.shape[1:]
        b = builder(shape=(1, channels, height, width))
        output = write(b)
        path = b.save(tmp_path_factory.mktemp("spatial") / "m.onnx", output)
        lowered = lower_with_notes(path)
        streams = ReferenceTarget(lowered.graph).trace(images)
        target = QonnxTarget(path, lowered.graph)
        for name, values in target.trace(images).items():
            np.testing.assert_array_equal(streams[name], values, err_msg=name)
        last = lowered.graph.nodes[-1]
        if last.source is not None:
            np.testing.assert_array_equal(streams[last.name], target.infer(images).logits)
        floats = (images.astype(np.float32) / np.float32(255)).transpose(0, 3, 1, 2)
        executor = open_executor(path)
        for image, logits in zip(floats, streams[last.name], strict=True):
            expected = executor.run(np.ascontiguousarray(image[None]))[output][0]
            np.testing.assert_array_equal(
                logits.argsort(kind="stable"), expected.argsort(kind="stable"), err_msg=last.name
            )
        return lowered

    return compare
