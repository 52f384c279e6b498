"""An overlay's manifest, and the emulated overlay that it describes."""

import hashlib

import numpy as np
import pytest

from export.datatypes import BIPOLAR, UINT8
from export.graph import DataflowGraph, Flatten, Mvau, Thresholding, Thresholds
from hw.pynq import Accelerator, SimulationBus, parse_manifest
from hw.pynqremote import EmulatedOverlay
from hw.reference import ReferenceTarget

BASE = 0x43C0_0000


def make_document(graph, *, output="int32", draws=False, **changes):
    classes = graph.classes
    size = classes * int(output[3:]) // 8
    return {
        "format": "bitsiege-overlay",
        "version": 1,
        "name": "test_pynqz1_0123456789ab",
        "board": "Pynq-Z1",
        "part": "xc7z020clg400-1",
        "graph_hash": "ab" * 32,
        "design_hash": hashlib.sha256(repr(graph.input_shape).encode()).hexdigest(),
        "model": "test",
        "input": {"shape": list(graph.input_shape), "dtype": "uint8"},
        "output": {"classes": classes, "dtype": output, "bytes_per_frame": -(-size // 8) * 8},
        "registers": {
            name: hex(BASE + 0x1000 * index) for index, name in enumerate(("idma0", "odma0", "control0"))
        },
        "clock": {"asked_mhz": 100, "planned_mhz": 100.0, "achieved_mhz": None},
        "draws": draws,
        "files": {},
        **changes,
    }


@pytest.fixture(scope="session")
def document():
    """The function that makes an overlay.json of a graph."""
    return make_document


@pytest.fixture
def make_overlay():
    """The function that makes an emulated overlay and the driver on it."""

    def make(graph, *, output="int32", draws=False, target=None, faults=None, changes=None, **options):
        manifest = parse_manifest(make_document(graph, output=output, draws=draws, **(changes or {})))
        device = EmulatedOverlay(manifest, target or ReferenceTarget(graph), faults=faults)
        return device, Accelerator(SimulationBus(device, manifest), manifest, **options)

    return make


@pytest.fixture(scope="session")
def drawn_graph():
    """A network whose weights are drawn."""
    rng = np.random.default_rng(5)

    def layer(name, source, mh, mw, draw, thresholds=None):
        weights = rng.integers(-128, 128, (mh, mw)).astype(np.int8)
        return Mvau(
            name=name, input=source, in_type=BIPOLAR, weights=weights, draw=draw, thresholds=thresholds
        )

    sign = Thresholds(steps=np.zeros((1, 1), int))
    binarise = Thresholds(steps=np.full((1, 1), 128))
    return DataflowGraph(
        input_shape=(12, 1, 1),
        nodes=(
            Thresholding(name="bits", input="images", in_type=UINT8, thresholds=binarise),
            Flatten(name="flat", input="bits", in_type=BIPOLAR),
            layer("drawn", "flat", 8, 12, 0, sign),
            layer("last", "drawn", 5, 8, 1),
        ),
    )
