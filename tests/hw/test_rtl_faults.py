"""Masks of codes become masks of beats, and a design refuses memories and streams that it does not have."""

import numpy as np
import pytest

from export.datatypes import BIPOLAR, DataType
from export.errors import InputError
from hw.rtl_faults import CodeMasks, FaultyRtlTarget, beat_masks
from hw.rtl_target import decode_beats
from hw.rtlgen import Stream


@pytest.mark.parametrize("dtype", [BIPOLAR, DataType("UINT3"), DataType("INT9")])
def test_masks_of_beats_do_to_beats_what_masks_of_codes_do_to_codes(dtype):
    draw = np.random.default_rng(1)
    stream = Stream(name="s", dtype=dtype, lanes=3, beats=5)
    top = 1 << dtype.width_bits
    masks = CodeMasks(keep=draw.integers(0, top, 15), turn=draw.integers(0, top, 15))
    keep, turn = beat_masks(masks, stream)
    codes = draw.integers(0, top, 15)

    def beats(values):
        """Codes as beats: masks that keep nothing and turn their bits."""
        return beat_masks(CodeMasks(keep=np.zeros(15, np.int64), turn=values), stream)[1]

    struck = (beats(codes) & keep) ^ turn
    expected = beats((codes & masks.keep) ^ masks.turn)
    assert np.array_equal(decode_beats(struck[None], stream), decode_beats(expected[None], stream))


def test_bits_past_a_beat_are_left_alone():
    stream = Stream(name="s", dtype=BIPOLAR, lanes=3, beats=1)
    keep, turn = beat_masks(CodeMasks(keep=np.zeros(3, np.int64), turn=np.ones(3, np.int64)), stream)
    assert (keep.tolist(), turn.tolist()) == ([[0b11111000]], [[0b00000111]])


def test_what_the_design_lacks_is_refused(cases, simulator_cache):
    case = cases["narrowing"]
    with pytest.raises(InputError, match=r"no memory mvau_0_weights\.mem"):
        FaultyRtlTarget(
            case.graph, case.folding, memories={"mvau_0_weights.mem": "0\n"}, cache_dir=simulator_cache
        )
    masks = CodeMasks(keep=np.zeros(24, np.int64), turn=np.zeros(24, np.int64))
    with pytest.raises(InputError, match="flatten_0 writes no stream"):
        FaultyRtlTarget(case.graph, case.folding, streams={"flatten_0": masks}, cache_dir=simulator_cache)
