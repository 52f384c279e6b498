"""The integer logits stand on the grid that the model says its float logits are on."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from attacks.torch_target import TorchTarget
from export.errors import BitsiegeError
from export.lowering import lower_model
from export.onnxfile import LOGIT_EXPONENT
from export.qonnx_export import export_qonnx
from hw.reference import ReferenceTarget
from quant_models.mlp import BinaryMlp, build_model
from quant_models.spec import MlpSpec

IMAGES = np.random.default_rng(3).integers(0, 256, (50, 4, 4, 1), dtype=np.uint8)


def affine_model(scale: list[float], bias: list[float], input_mode: str = "binary") -> BinaryMlp:
    torch.manual_seed(5)
    spec = MlpSpec(
        name="m",
        input_shape=(4, 4, 1),
        hidden=(8,),
        classes=3,
        input_mode=input_mode,  # pyright: ignore[reportArgumentType]
        output_affine=True,
    )
    model = build_model(spec)
    assert model.affine is not None
    with torch.no_grad():
        model.affine.weight.copy_(torch.tensor(scale))
        model.affine.bias.copy_(torch.tensor(bias))
    return model.eval()


@pytest.mark.parametrize(
    ("scale", "bias"),
    [
        ([0.5, 0.5, 0.5], [0.0, 0.0, 0.0]),
        ([0.046875, 0.046875, 0.046875], [0.078125, 0.078125, 0.078125]),
        ([0.25, 0.5, 0.75], [0.5, 0.0, -1.0]),
        ([0.015625, 0.5, 0.75], [0.046875, 0.0, -1.0]),
    ],
)
@pytest.mark.parametrize("input_mode", ["binary", "uint8"])
def test_torch_and_reference_agree(
    scale: list[float], bias: list[float], input_mode: str, tmp_path: Path
) -> None:
    model = affine_model(scale, bias, input_mode)
    export_qonnx(model, tmp_path / "m.onnx", input_shape=(4, 4, 1))
    graph = lower_model(tmp_path / "m.onnx")
    expected = ReferenceTarget(graph).infer(IMAGES).logits
    np.testing.assert_array_equal(TorchTarget(model, graph).infer(IMAGES).logits, expected)
    assert len(np.unique(expected)) > 3


@pytest.mark.parametrize("value", ["x", "", "-60", "0", "1e3", "99"])
def test_a_grid_that_does_not_fit_is_refused(value: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export_qonnx(affine_model([0.25, 0.5, 0.75], [0.5, 0.0, -1.0]), path, input_shape=(4, 4, 1))
    proto = onnx.load(path)
    del proto.metadata_props[:]
    proto.metadata_props.add(key=LOGIT_EXPONENT, value=value)
    onnx.save(proto, path)
    with pytest.raises(BitsiegeError, match=r"grid|small integer"):
        lower_model(path)
