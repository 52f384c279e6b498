"""Models of padding, windows and pooling: native against Python, and against the simulated modules."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.datatypes import BIPOLAR, UINT8
from export.errors import CheckFailedError
from export.graph import DataflowGraph, Flatten, FmPadding, Mvau, Pool, Swg, Thresholding, Thresholds
from hw.folding import Folding, LayerFolding
from hw.rtl_target import RtlTarget
from hw.rtlgen.design import Instance, Stream
from hw.rtlgen.generate import RTL_DIR
from hw.timing import StallPattern, TimingChain, TimingEngine, run_golden
from hw.verilator import Design, Simulation, Stalls, build_library

FIELDS = ("first_in_cycle", "last_out_cycle", "in_cycles", "out_cycles", "counts", "total_cycles")
FRAMES = 12


@pytest.fixture(scope="session")
def engine(simulator_cache):
    return TimingEngine(simulator_cache)


def make_chain(
    height,
    width,
    channels,
    *,
    borders=(0, 0, 0, 0),
    kernel=(1, 1),
    stride=(1, 1),
    pool=False,
    depth=None,
    groups=1,
):
    """Padding, a FIFO, windows, and perhaps pooling over them; one channel a beat, 8 bits."""
    top, left, bottom, right = borders
    size = {"CHANNELS": channels, "LANES": 1, "ELEMENT_W": 8}
    padding = {"HEIGHT": height, "WIDTH": width, "TOP": top, "LEFT": left, "BOTTOM": bottom, "RIGHT": right}
    high, wide = height + top + bottom, width + left + right
    windows = {"HEIGHT": high, "WIDTH": wide, "KERNEL_H": kernel[0], "KERNEL_W": kernel[1]}
    windows |= {"GROUPS": groups} if groups > 1 else {}
    windows |= {"STRIDE_H": stride[0], "STRIDE_W": stride[1]} | ({} if depth is None else {"DEPTH": depth})
    rows, columns = (high - kernel[0]) // stride[0] + 1, (wide - kernel[1]) // stride[1] + 1
    pixels = kernel[0] * kernel[1]
    stages = [
        ("bnn_fmpadding", size | padding, high * wide * channels),
        ("bnn_fifo", {"DATA_W": 8, "DEPTH": 2}, high * wide * channels),
        ("bnn_swg", size | windows, rows * columns * pixels * channels),
    ]
    if pool:
        stages.append(("bnn_pool", size | {"PIXELS": pixels}, rows * columns * channels))
    instances = []
    source = Stream(name="s_axis", dtype=UINT8, lanes=1, beats=height * width * channels)
    for index, (module, parameters, beats) in enumerate(stages):
        sink = Stream(name=f"stage_{index}", dtype=UINT8, lanes=1, beats=beats)
        instances.append(
            Instance(
                name=f"u_{index}",
                module=module,
                parameters=parameters,
                sources=(source,),
                sinks=(sink,),
                node="n",
            )
        )
        source = sink
    return TimingChain(instances=tuple(instances))


CHAINS = {
    "same": make_chain(5, 4, 2, borders=(1, 1, 1, 1), kernel=(3, 3)),
    "pooled": make_chain(5, 7, 3, borders=(0, 2, 1, 0), kernel=(2, 2), stride=(2, 2), pool=True),
    "tight": make_chain(6, 5, 1, kernel=(3, 2), stride=(2, 2), depth=(2 * 5 + 2)),
}


def assert_equal_runs(got, expected):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name), err_msg=name)


PROBABILITIES = st.sampled_from([0.0, 0.1, 0.5, 0.9])


def test_frames_that_leave_before_they_enter(engine):
    """All windows of a frame lie in the border."""
    chain = make_chain(1, 1, 2, borders=(2, 0, 0, 1), kernel=(1, 1), stride=(3, 1))
    assert_equal_runs(engine.run(chain, 8, None, beats=True), run_golden(chain, 8, None))


def test_a_hang_names_the_frame_and_the_full_fifos(engine):
    """The window generator's buffer is smaller than a window."""
    chain = make_chain(4, 4, 1, kernel=(3, 3), depth=8)
    with pytest.raises(CheckFailedError, match="frame 0: no beat can move after cycle 10") as caught:
        engine.run(chain, 3)
    assert caught.value.hint == "FIFOs that were full: before n"


@settings(max_examples=50)
@given(data=st.data())
def test_native_equals_python(data, engine):
    border, length = st.integers(0, 2), st.integers(1, 6)
    height, width, borders = data.draw(st.tuples(length, length, st.tuples(border, border, border, border)))
    kernel = (
        data.draw(st.integers(1, min(3, height + borders[0] + borders[2]))),
        data.draw(st.integers(1, min(3, width + borders[1] + borders[3]))),
    )
    channels = data.draw(st.sampled_from([1, 2, 3, 4]))
    chain = make_chain(
        height,
        width,
        channels,
        groups=data.draw(st.sampled_from([g for g in (1, 2, 3, 4) if channels % g == 0])),
        borders=borders,
        kernel=kernel,
        stride=data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        pool=data.draw(st.booleans()),
    )
    stalls = data.draw(
        st.one_of(
            st.none(),
            st.builds(Stalls, seed=st.integers(0, 99), source=PROBABILITIES, sink=PROBABILITIES),
            st.just(StallPattern(source_idle=np.arange(7) < 3, sink_busy=np.arange(5) < 2)),
        )
    )
    assert_equal_runs(engine.run(chain, 8, stalls, beats=True), run_golden(chain, 8, stalls))


@pytest.mark.parametrize("name", list(CHAINS))
def test_frames_follow_each_other_without_a_gap(name, engine):
    chain = CHAINS[name]
    run = engine.run(chain, 500)
    assert run.period_frames
    beats = [instance.sink.beats for instance in chain.instances]
    ii_cycles = run.period_cycles / run.period_frames
    if name == "tight":
        assert ii_cycles > max(beats)
    else:
        assert ii_cycles == max(beats)


def top_text(chain):
    """SystemVerilog of a bnn_top that is nothing but the chain."""
    wires, modules, names = [], [], ["s_axis"]
    for instance in chain.instances:
        source, sink = names[-1], instance.sink.name
        names.append(sink)
        wires.append(f"logic [7:0] {sink}_tdata; logic {sink}_tvalid, {sink}_tready;")
        parameters = ", ".join(f".{name}({value})" for name, value in instance.parameters.items())
        ports = ", ".join(
            f".{side}_{wire}({stream}_{wire})"
            for side, stream in (("s_axis", source), ("m_axis", sink))
            for wire in ("tdata", "tvalid", "tready")
        )
        modules.append(f"{instance.module} #({parameters}) {instance.name} (.clk, .rst_n, {ports});")
    last = names[-1]
    return "\n".join(
        [
            "module bnn_top (input wire clk, input wire rst_n,",
            "input wire [7:0] s_axis_tdata, input wire s_axis_tvalid, output wire s_axis_tready,",
            "output wire [7:0] m_axis_tdata, output wire m_axis_tvalid, output wire m_axis_tlast,",
            "input wire m_axis_tready);",
            *wires,
            *modules,
            "logic [31:0] beat;",
            f"assign m_axis_tdata = {last}_tdata, m_axis_tvalid = {last}_tvalid;",
            f"assign {last}_tready = m_axis_tready, m_axis_tlast = (beat == {chain.out_beats - 1});",
            "always_ff @(posedge clk) if (!rst_n) beat <= 0;",
            "else if (m_axis_tvalid && m_axis_tready) beat <= m_axis_tlast ? 0 : beat + 1;",
            "endmodule",
        ]
    )


PATTERNS = [None] + [
    Stalls(seed=seed, source=source, sink=sink)
    for seed, (source, sink) in enumerate(itertools.product((0, 0.1, 0.7), repeat=2))
]


@pytest.mark.parametrize("name", list(CHAINS))
def test_equals_the_modules_in_every_beat(name, engine, simulator_cache, tmp_path):
    chain = CHAINS[name]
    top = tmp_path / "bnn_top.sv"
    top.write_text(top_text(chain))
    modules = dict.fromkeys(RTL_DIR / f"{instance.module}.sv" for instance in chain.instances)
    design = Design(
        sources=(*modules, top),
        input_beats=chain.in_beats,
        input_beat_bytes=1,
        output_beats=chain.out_beats,
        output_pe=1,
        logit_bytes=1,
        label_bytes=0,
    )
    images = np.random.default_rng(0).integers(0, 256, (FRAMES, chain.in_beats), np.uint8)
    library = build_library(design, cache_dir=simulator_cache)
    with Simulation(library, design, tmp_path) as simulation:
        for stalls in PATTERNS:
            measured = simulation.stream(images, deadline_cycles=5000, stalls=stalls, beats=True)
            run = engine.run(chain, FRAMES, stalls, beats=True)
            np.testing.assert_array_equal(run.in_cycles, measured.in_cycles)
            np.testing.assert_array_equal(run.out_cycles, measured.out_cycles)


def small_network():
    """Binarised 5x4 images of 2 channels, a padded 3x3 layer, a pool, and a dense layer."""

    def signs(rows, columns):
        return np.random.default_rng(0).choice(np.array([-1, 1], np.int8), (rows, columns))

    binarise = Thresholds(steps=np.array([[128]]))
    steps = Thresholds(steps=np.zeros((4, 1), np.int64))
    nodes = [Thresholding(name="sign_0", input="images", in_type=UINT8, thresholds=binarise)]
    nodes.append(FmPadding(name="pad_0", input="sign_0", in_type=BIPOLAR, pads=(1, 1, 1, 1), value=0))
    ternary = nodes[-1].out_type
    nodes.append(Swg(name="windows_0", input="pad_0", in_type=ternary, kernel=(3, 3), stride=(1, 1)))
    nodes.append(
        Mvau(name="mvau_0", input="windows_0", in_type=ternary, weights=signs(4, 18), thresholds=steps)
    )
    nodes.append(Pool(name="pool_0", input="mvau_0", in_type=BIPOLAR, kernel=(2, 2), stride=(2, 2)))
    nodes.append(Flatten(name="flatten_0", input="pool_0", in_type=BIPOLAR))
    nodes.append(
        Mvau(name="mvau_1", input="flatten_0", in_type=BIPOLAR, weights=signs(3, 16), thresholds=None)
    )
    folding = Folding({"mvau_0": LayerFolding(2, 2), "mvau_1": LayerFolding(1, 4)})
    return DataflowGraph(input_shape=(5, 4, 2), nodes=tuple(nodes)), folding


def test_equals_the_rtl_of_a_convolutional_network(engine, simulator_cache):
    graph, folding = small_network()
    target = RtlTarget(graph, folding, cache_dir=simulator_cache, workers=1)
    images = np.random.default_rng(0).integers(0, 256, (FRAMES, *graph.input_shape), np.uint8)
    for stalls in PATTERNS:
        measured = target.stream(images, stalls, beats=True)
        run = engine.run(TimingChain.of(target.rtl), FRAMES, stalls, beats=True)
        np.testing.assert_array_equal(run.in_cycles, measured.in_cycles)
        np.testing.assert_array_equal(run.out_cycles, measured.out_cycles)
