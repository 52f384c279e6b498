"""The parts of a board that isn't there: clock registers, loading, bitstreams, folders, the command."""

import json
import shutil

import numpy as np
import pytest

from export.errors import InputError, ToolError
from hw.build import write_build
from hw.folding import Folding, LayerFolding
from hw.pynq import read_manifest
from hw.pynqremote import (
    describe_overlay,
    emulated_board,
    emulation_folder,
    firmware_of,
    folder_firmware,
    placeholder_bitstream,
    private_pynq,
)
from hw.pynqremote.__main__ import main
from hw.pynqremote.psclocks import PS7, ULTRASCALE, PsRegisters
from hw.reference import ReferenceTarget


@pytest.fixture
def graph(build_mlp):
    return build_mlp((12, 8, 5), seed=3)


@pytest.fixture
def manifest(graph, tmp_path):
    return describe_overlay(graph, tmp_path / "overlay")


@pytest.mark.parametrize(("layout", "start"), [(PS7, 100.0), (ULTRASCALE, 99.999)])
def test_clock_follows_its_dividers(layout, start):
    registers = PsRegisters(layout)
    assert registers.frequency_mhz == pytest.approx(start)
    before = registers.cycles()
    first, second = layout.divisors
    registers.write(layout.control, 2 << first | 10 << second)
    assert registers.frequency_mhz == pytest.approx(layout.pll_mhz / 20)
    registers.write(layout.control, 0)
    stopped = registers.cycles()
    assert stopped == registers.cycles() >= before
    assert registers.read(0x1234) == 0
    registers.write(0x1234, 7)
    assert registers.read(0x1234) == 7


def test_logic_is_empty_until_its_own_bitstream_is_loaded(graph, manifest):
    board = emulated_board(manifest, ReferenceTarget(graph), firmware=folder_firmware(manifest))
    magic = manifest.registers["control0"] + 0x10
    board.write(manifest.registers["idma0"] + 0x10, 5)
    assert board.read(magic) == 0
    board.load(b"another")
    assert board.read(magic) == 0
    board.load(folder_firmware(manifest))
    assert board.read(magic) == 0x42495453
    assert board.read(manifest.registers["idma0"] + 0x10) == 0
    assert emulated_board(manifest, ReferenceTarget(graph)).read(magic) == 0x42495453


def test_a_placeholder_is_a_bitfile_that_configures_nothing(manifest):
    data = placeholder_bitstream(manifest)
    firmware = firmware_of(data)
    words = np.frombuffer(firmware, "<u4").astype(">u4").tobytes()
    assert manifest.design_hash.encode() in words
    # The synchronisation word of 7-series and UltraScale configurations.
    assert b"\xaa\x99\x55\x66" not in data
    for wrong, message in (
        (data[:-1], "cut off"),
        (data[:20], "ends in its header"),
        (b"", "ends in its header"),
        (data.replace(b"\0\1a", b"\0\1z", 1), "unknown field"),
    ):
        with pytest.raises(InputError, match=message):
            firmware_of(wrong)


def test_a_folder_for_an_emulation(manifest, tmp_path):
    copy = emulation_folder(manifest.folder, tmp_path / "copy")
    assert copy.check_file(f"{manifest.name}.bit").read_bytes() == placeholder_bitstream(manifest)
    assert copy.check_file("known_answers.npz").is_file()
    # A bitstream that is there stays.
    assert emulation_folder(tmp_path / "copy", tmp_path / "again").files == copy.files
    (tmp_path / "copy" / f"{manifest.name}.bit").write_bytes(b"changed")
    with pytest.raises(InputError, match="is not the file"):
        folder_firmware(copy)
    with pytest.raises(InputError, match="can't read"):
        emulation_folder(tmp_path / "none", tmp_path / "other")


def test_pynq_with_state_of_its_own(tmp_path):
    package = tmp_path / "env" / "lib" / "python3.11" / "site-packages" / "pynq"
    (package / "pl_server").mkdir(parents=True)
    for name in ("__init__.py", "pl_server/__init__.py", "pl_server/_current_metadata.pkl"):
        (package / name).touch()
    site = private_pynq(tmp_path / "env" / "bin" / "python", tmp_path / "site")
    assert (site / "pynq" / "__init__.py").is_symlink()
    assert [path.name for path in (site / "pynq" / "pl_server").iterdir()] == ["__init__.py"]
    shutil.rmtree(package)
    with pytest.raises(ToolError, match="no pynq in the environment"):
        private_pynq(tmp_path / "env" / "bin" / "python", tmp_path / "other")


def test_the_command_says_what_is_missing(manifest, build_mlp, tmp_path, pynq_python, capsys):
    assert main([]) == 2
    assert "give a build and an overlay" in capsys.readouterr().err
    other = build_mlp((12, 5))
    layers = Folding({node.name: LayerFolding(1, 1) for node in other.mvaus})
    write_build(tmp_path / "build", graph=other, folding=layers, clock_mhz=100)
    assert main([str(tmp_path / "build"), str(manifest.folder)]) == 2
    assert "is not the overlay of" in capsys.readouterr().err
    assert main(["--setup"]) == 0
    assert str(pynq_python) in capsys.readouterr().out


def test_settings_are_those_of_the_manifest(manifest):
    settings = json.loads((manifest.folder / "settings.json").read_text())["driver_information"]
    assert settings["io_shape_dict"]["oshape_packed"] == [[1, manifest.output_bytes]]
    assert read_manifest(manifest.folder) == manifest
