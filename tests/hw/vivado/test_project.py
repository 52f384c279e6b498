"""What an overlay's folder holds."""

import hashlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export.errors import InputError
from export.graph import DataflowGraph
from hw.boards import BOARDS, Board, find_board
from hw.reference import ReferenceTarget
from hw.vivado import KnownAnswers, known_answers, plan_overlay, read_about, write_overlay
from hw.vivado.wrapper import top_ports, wrapper_text

_BOARDS = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.key)


def test_the_folder_is_complete_and_hashed(make_overlay: Callable):
    overlay = make_overlay(find_board("ZCU104"), clock_mhz=200.0)
    about = read_about(overlay.path)
    name = "tfc_mnist_zcu104_0123456789ab"
    assert about["name"] == name
    assert set(about["files"]) == {f"{name}.hwh", "known_answers.npz", "settings.json", "README.md"}
    for file, digest in about["files"].items():
        assert hashlib.sha256((overlay.path / file).read_bytes()).hexdigest() == digest
    assert about["registers"] == {
        "idma0": "0xa0000000",
        "odma0": "0xa0001000",
        "control0": "0xa0002000",
    }
    assert about["clock"] == {"asked_mhz": 200.0, "planned_mhz": 187.498125, "achieved_mhz": None}
    assert about["output"] == {"classes": 5, "dtype": "int32", "bytes_per_frame": 24}
    assert (about["built"], about["draws"], about["ps"]) == (False, False, "ZU+")
    project = {path.name for path in overlay.project.iterdir()}
    assert project == {
        *(f"{name}.tcl", f"{name}.xdc", "build_ip.tcl", "build_bitstream.tcl", "check_timing.tcl"),
        *("makefile", "rtl"),
    }
    driver = {path.name for path in (overlay.path / "driver").iterdir()}
    assert driver == {"bitsiege_pynq", "bitsiege_boardserver", "pyproject.toml"}
    assert "187.498125 MHz" in (overlay.path / "README.md").read_text()


def test_the_same_overlay_has_the_same_bytes(make_overlay: Callable):
    def digests() -> dict[str, str]:
        path = make_overlay(BOARDS[0]).path
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return {str(f.relative_to(path)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}

    assert digests() == digests()


def test_answers_are_the_reference_s(graph: DataflowGraph, answers: KnownAnswers, tmp_path: Path):
    clean = np.full((40, 4, 3, 2), 7, np.uint8)
    more = known_answers(graph, clean)
    assert len(more.images) == len(answers.images) + 32 >= 48
    assert np.array_equal(more.images[:32], clean[:32])
    assert len(np.unique(answers.images.reshape(len(answers.images), -1), axis=0)) == len(answers.images)
    more.save(tmp_path / "known_answers.npz")
    with np.load(tmp_path / "known_answers.npz", allow_pickle=False) as file:
        assert set(file.files) == {"images", "logits"}
        assert (file["images"].dtype, file["logits"].dtype) == (np.uint8, np.int64)
        assert np.array_equal(file["logits"], ReferenceTarget(graph).infer(file["images"]).logits)
    with pytest.raises(InputError):
        known_answers(graph, np.zeros((2, 5, 5, 1), np.uint8))


@pytest.mark.parametrize("draws", [False, True])
def test_the_copied_driver_reads_what_is_written(
    make_overlay: Callable, answers: KnownAnswers, draws: bool, tmp_path: Path
):
    """In a process of its own, with nothing of this repository but the copy."""
    overlay = make_overlay(find_board("Pynq-Z1"))
    replace(answers, draws=draws).save(overlay.path / "known_answers.npz")
    code = (
        "import pathlib, bitsiege_pynq as driver\n"
        "folder = pathlib.Path('..')\n"
        "manifest = driver.read_manifest(folder)\n"
        "manifest.check_file(manifest.name + '.hwh')\n"
        "answers = driver.read_known_answers(folder / 'known_answers.npz', manifest)\n"
        "print(manifest.board, manifest.classes, len(answers.images))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys; sys.path[:0] = ['.']\n{code}"],
        cwd=overlay.path / "driver",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout.split(), done.stderr) == (["Pynq-Z1", "5", str(len(answers.images))], "")


@_BOARDS
def test_the_description_tells_the_processor_and_three_blocks(make_overlay: Callable, board: Board):
    overlay = make_overlay(board)
    root = ElementTree.parse(overlay.path / f"{overlay.plan.name}.hwh").getroot()
    modules = {module.get("INSTANCE"): module for module in root.iter("MODULE")}
    assert list(modules) == ["ps", "idma0", "odma0", "control0"]
    ranges = [
        (r.get("INSTANCE"), int(r.get("BASEVALUE", ""), 16), int(r.get("HIGHVALUE", ""), 16))
        for r in modules["ps"].iter("MEMRANGE")
    ]
    base = board.addresses.control
    assert ranges == [
        (name, base + 0x1000 * index, base + 0x1000 * index + 0xFFF)
        for index, name in enumerate(("idma0", "odma0", "control0"))
    ]
    values = {p.get("NAME"): p.get("VALUE") for p in modules["ps"].iter("PARAMETER")}
    prefix, suffix = {
        "PS7": ("PCW_FCLK0_PERIPHERAL_DIVISOR", "PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ"),
        "ZU+": ("PSU__CRL_APB__PL0_REF_CTRL__DIVISOR", "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ"),
    }[board.ps.kind]
    divisor = int(values[f"{prefix}0"]) * int(values[f"{prefix}1"])
    assert float(values[suffix]) == pytest.approx(board.clock.pll_mhz / divisor)
    offsets = {
        r.get("NAME"): int(p.get("VALUE"), 16)
        for r in modules["odma0"].iter("REGISTER")
        for p in r.iter("PROPERTY")
        if p.get("NAME") == "ADDRESS_OFFSET"
    }
    assert (offsets["CTRL"], offsets["ADDRESS_LOW"], offsets["ADDRESS_HIGH"]) == (0, 0x10, 0x14)
    assert (offsets["NUM_REPS"], offsets["STATUS"], offsets["RESET"]) == (0x1C, 0x20, 0x2C)


def test_settings_are_what_finn_s_driver_asks_for(make_overlay: Callable):
    overlay = make_overlay(find_board("Pynq-Z2"))
    settings = json.loads((overlay.path / "settings.json").read_text())["driver_information"]
    shapes = settings["io_shape_dict"]
    assert (settings["driver_type"], settings["platform"]) == ("FINNDMAOverlay", "zynq-iodma")
    assert shapes["ishape_normal"] == shapes["ishape_packed"] == [[1, 4, 3, 2]]
    assert (shapes["oshape_normal"], shapes["oshape_packed"]) == ([[1, 5]], [[1, 24]])
    assert (shapes["idt"], shapes["odt"]) == (["DataType['UINT8']"], ["DataType['INT32']"])
    assert (shapes["idma_names"], shapes["odma_names"]) == (["idma0"], ["odma0"])


def test_the_wrapper_passes_every_port_on(make_overlay: Callable):
    overlay = make_overlay(BOARDS[0])
    rtl = overlay.project / "rtl"
    ports, parameters = top_ports((rtl / "bnn_overlay.sv").read_text())
    wrapper = (rtl / "bnn_overlay_ip.v").read_text()
    assert parameters == {"MEM_DIR", "ADDR_W"}
    assert len(ports) == 2 + 2 * 18
    for port in ports:
        assert f".{port.name}({port.name})" in wrapper
        assert f"{port.way} wire" in wrapper
    assert "input wire [31:0] s_axil_awaddr" in wrapper
    assert "output wire [32-1:0] m_axi_araddr" in wrapper
    assert '"xilinx.com:interface:aximm:1.0 m_axi WDATA"' in wrapper


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("module other (input wire clk);\nendmodule", "no module bnn_overlay"),
        ("module bnn_overlay (input wire clk);\nendmodule", "lacks the ports m_axi_awvalid, m_axi_rready"),
        ("module bnn_overlay (axi_if.slave bus);\nendmodule", "can't pass on: axi_if.slave bus"),
    ],
)
def test_a_top_without_the_ports_is_refused(source: str, message: str):
    with pytest.raises(InputError, match=message):
        wrapper_text(source)


@pytest.mark.parametrize(
    ("clock_mhz", "message"),
    [(251.0, "251 MHz are out of the range"), (0.0, "out of the range"), (0.2, "the lowest clock is")],
)
def test_a_clock_that_the_board_lacks_is_refused(graph: DataflowGraph, clock_mhz: float, message: str):
    with pytest.raises(InputError, match=message):
        plan_overlay(
            graph,
            model="x",
            board=find_board("Pynq-Z1"),
            graph_hash="a" * 64,
            design_hash="b" * 64,
            clock_mhz=clock_mhz,
        )


@pytest.mark.parametrize(
    ("model", "name"), [("CNV (W1A1)", "cnv_w1a1"), ("2nd", "n2nd"), ("x" * 60, "x" * 40)]
)
def test_names_are_identifiers(graph: DataflowGraph, model: str, name: str):
    plan = plan_overlay(
        graph, model=model, board=find_board("KV260"), graph_hash="a" * 64, design_hash="b" * 64
    )
    assert plan.name == f"{name}_kv260_{'b' * 12}"
    with pytest.raises(InputError, match="no letter or digit"):
        plan_overlay(graph, model="--", board=plan.board, graph_hash="a", design_hash="b")


def test_what_is_no_overlay_is_not_replaced(make_overlay: Callable, answers: KnownAnswers, tmp_path: Path):
    overlay = make_overlay(BOARDS[0])
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("all of it")
    with pytest.raises(InputError, match="something else than an overlay"):
        write_overlay(precious, overlay.plan, answers, lambda folder: None)
    assert (precious / "thesis.tex").read_text() == "all of it"
    with pytest.raises(InputError, match=r"no bnn_overlay\.sv"):
        write_overlay(overlay.path, overlay.plan, answers, lambda folder: None)
    assert read_about(overlay.path)["name"] == overlay.plan.name


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other"}'])
def test_a_damaged_description_is_refused(tmp_path: Path, text: str):
    (tmp_path / "overlay.json").write_text(text)
    with pytest.raises(InputError, match=r"overlay\.json"):
        read_about(tmp_path)
