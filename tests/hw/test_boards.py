import pytest

from export.errors import InputError
from hw.boards import BOARDS, find_board
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
