import numpy as np
import pytest

from export.datatypes import UINT8
from export.errors import InputError
from export.graph import DataflowGraph, Flatten, Mvau
from hw.build import write_build
from hw.folding import Folding, LayerFolding
from hw.targets import HARDWARE_TARGETS, open_target


@pytest.fixture
def build(tmp_path):
    graph = DataflowGraph(
        input_shape=(1, 2, 1),
        nodes=(
            Flatten(name="flatten_0", input="images", in_type=UINT8),
            Mvau(
                name="mvau_0", input="flatten_0", in_type=UINT8, weights=np.array([[1, -1], [1, 1]], np.int8)
            ),
        ),
    )
    return write_build(
        tmp_path / "build", graph=graph, folding=Folding({"mvau_0": LayerFolding(1, 1)}), clock_mhz=100
    )


def test_opens_the_reference(build):
    target = open_target("reference", build)
    assert target.name == "reference"
    images = np.array([[[[3], [5]]]], np.uint8)
    assert target.infer(images).logits.tolist() == [[-2, 8]]


def test_names():
    assert HARDWARE_TARGETS == ("reference", "emulator", "timing", "rtl", "netlist", "qonnx", "finn")


def test_unknown_target_gets_the_nearest(build):
    with pytest.raises(
        InputError, match="no target 'emulater'\ndid you mean emulator\\? targets: reference,"
    ):
        open_target("emulater", build)
    with pytest.raises(InputError, match="no target 'xyz'\ntargets: reference"):
        open_target("xyz", build)


def test_qonnx_needs_the_model(build):
    with pytest.raises(InputError, match=r"has no model.onnx"):
        open_target("qonnx", build)


@pytest.mark.parametrize("name", ["bnn_mvau.sv", "bnn_top.sv", "mvau_0_weights.mem"])
def test_changed_hardware_is_refused(build, name):
    path = build.path / "rtl" / name
    path.write_text(path.read_text() + " ")
    with pytest.raises(InputError, match=name):
        open_target("rtl", build)
    path.unlink()
    with pytest.raises(InputError, match=name):
        open_target("rtl", build)
