import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.errors import InputError
from hw.boards import BOARDS, find_board, load_board
from hw.boards.board import name_key
from hw.synth import FAMILIES


def test_the_7z020_has_what_its_data_sheet_says():
    board = find_board("pynq-z1")
    assert (board.lut, board.ff, board.bram36, board.dsp) == (53_200, 106_400, 140, 220)
    assert find_board("PYNQ_Z2").lut == board.lut


def test_every_board_is_found_and_can_be_synthesised_for():
    for board in BOARDS:
        assert find_board(board.name) is board
        assert board.family in FAMILIES
        assert board.ff == 2 * board.lut
    assert find_board("k26").name == "KV260"


def test_an_unknown_board_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="did you mean ZCU104") as caught:
        find_board("zcu10")
    assert "Ultra96" in caught.value.hint
    with pytest.raises(InputError) as caught:
        find_board("vcu118")
    assert caught.value.message == "the board 'vcu118' is unknown"


MINE = """
name = "My-Board"
part = "xc7z010clg400-1"
board_part = "example.org:my-board:part0:1.0"
[ps]
kind = "PS7"
memory_port_bits = 64
[clock]
pll_mhz = 1000.0
[resources]
lut = 17_600
ff = 35_200
bram36 = 60
dsp = 80
[addresses]
control = 0x4000_0000
memory_bytes = 0x2000_0000
"""


def test_a_board_of_one_s_own_is_a_file(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    board = find_board(str(path))
    assert (board.name, board.key, board.device, board.family) == ("My-Board", "myboard", "XC7Z010", "xc7")
    assert board.lut == 17_600


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("lut = 17_600", "luts = 17_600", "resources.luts: unknown key; did you mean lut", "bram36"),
        ('name = "My-Board"', "", "name: field required", "docs/boards.md"),
        ('kind = "PS7"', 'kind = "PS8"', "ps.kind: must be 'PS7' or 'ZU\\+'", "it is 'PS8'"),
        ("xc7z010clg400-1", "xczu3eg-sbva484-1-e", "the part xczu3eg-sbva484-1-e is none with a PS7", ""),
        ("0x4000_0000", "0xA000_0000", "reaches the logic from 0x40000000 to 0x7fffffff", ""),
        ("0x4000_0000", "0x4000_1000", "no multiple of 0x10000", ""),
        ("0x2000_0000", "0x2100_0000", "no power of two", ""),
        ("memory_port_bits = 64", "memory_port_bits = 128", "32 or 64", ""),
        ('board_part = "example.org:my-board:part0:1.0"', "", "board_part or ps.config", ""),
        ("[clock]", '[ps.config]\nPSU_A = "1"\n[clock]', "start with PCW_", ""),
        (
            "[clock]",
            '[ps.config]\nPCW_A = "[exit]"\n[clock]',
            "ps.config.PCW_A: may hold letters, digits",
            "",
        ),
        ("lut = 17_600", 'lut = "many"', "resources.lut", "it is 'many'"),
        ("pll_mhz = 1000.0", "pll_mhz = 200.0", "max_mhz is more than pll_mhz", ""),
        ("[ps]", "[ps", "is no TOML", ""),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, old: str, new: str, message: str, hint: str):
    path = tmp_path / "mine.toml"
    assert old in MINE
    path.write_text(MINE.replace(old, new, 1))
    with pytest.raises(InputError, match=message) as caught:
        find_board(str(path))
    assert str(path) in caught.value.message
    assert hint in caught.value.hint


def test_a_file_that_is_none_is_refused(tmp_path: Path):
    with pytest.raises(InputError, match="can't read the board file"):
        find_board(str(tmp_path / "none.toml"))
    big = tmp_path / "big.toml"
    big.write_text("#" * 70_000)
    with pytest.raises(InputError, match="larger"):
        find_board(str(big))


def test_names_are_unique():
    names = [name_key(n) for board in BOARDS for n in (board.name, *board.other_names)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("asked", "planned"), [(100, 99.999), (200, 187.498125), (214.3, 214.283571)])
def test_a_clock_is_what_the_dividers_give_and_not_more(asked: float, planned: float):
    clock = find_board("ZCU104").clock
    assert clock.planned_mhz(asked) == pytest.approx(planned)
    first, second = clock.divisors(asked)
    assert clock.pll_mhz / (first * second) == clock.planned_mhz(asked)


@given(asked=st.floats(0.5, 1000))
def test_no_pair_of_dividers_is_nearer(asked: float):
    clock = find_board("ZCU104").clock
    planned = clock.planned_mhz(asked)
    assert planned <= asked * 1.001 + 1e-9
    others = {clock.pll_mhz / a / b for a in range(1, 64) for b in range(1, 64)}
    assert max(f for f in others if f <= asked * 1.001) == pytest.approx(planned)


def test_a_clock_below_the_dividers_is_refused():
    with pytest.raises(ValueError, match=r"the lowest clock is 0\.378 MHz"):
        find_board("ZCU104").clock.divisors(0.3)


def test_the_page_s_board_file_is_one(tmp_path: Path):
    page = Path(__file__).parents[3] / "docs" / "boards.md"
    (block,) = re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    path = tmp_path / "my-board.toml"
    path.write_text(block)
    assert load_board(path).name == "My-Board"
