"""hmm2song/melody/pieces.py: where a hum is cut."""

from __future__ import annotations

import numpy as np
import pytest

from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody
from hmm2song.melody.pieces import MAX_PIECE_S, MIN_PHRASE_S, PAUSE_S, cut_at_pauses, cut_evenly


def hum(*seconds: float) -> FilledContour:
    """Sung and silent by turns, begun with what is sung; the pitch is the frame's number."""
    frames = [round(each * FRAME_RATE_HZ) for each in seconds]
    pitch_midi = np.arange(sum(frames), dtype=np.float32)
    for number in range(1, len(frames), 2):
        start = sum(frames[:number])
        pitch_midi[start : start + frames[number]] = np.nan
    return fill_rests(Melody(pitch_midi))


def spans_s(pieces: list[FilledContour]) -> list[tuple[float, float]]:
    return [(round(piece.offset_s, 3), round(piece.offset_s + piece.duration_s, 3)) for piece in pieces]


def test_a_hum_without_a_pause_stays_as_it_is():
    whole = hum(4.0, PAUSE_S, 3.0)
    assert cut_at_pauses(whole)[0] is whole and len(cut_at_pauses(whole)) == 1


def test_phrases_are_what_lies_between_pauses():
    phrases = cut_at_pauses(hum(3.0, 1.2, 4.0, 0.8, 2.0, 5.0, 3.6))
    assert spans_s(phrases) == [(0.0, 3.0), (4.2, 11.0), (16.0, 19.6)]
    assert [float(phrase.pitch_midi[0]) for phrase in phrases] == [0.0, 105.0, 400.0]


@pytest.mark.parametrize("scrap_s", [0.4, MIN_PHRASE_S - 0.04])
def test_a_false_start_and_an_afterthought_are_no_phrases(scrap_s: float):
    (phrase,) = cut_at_pauses(hum(scrap_s, 1.2, 6.0, 3.0, scrap_s))
    assert phrase.offset_s == pytest.approx(scrap_s + 1.2)
    assert phrase.duration_s == pytest.approx(6.0)


def test_scraps_alone_are_the_whole_hum():
    whole = hum(1.0, 1.2, 1.0, 1.2, 1.0)
    assert cut_at_pauses(whole)[0] is whole


def test_nothing_is_not_cut():
    nothing = fill_rests(Melody(np.full(50, np.nan)))
    assert cut_at_pauses(nothing)[0] is nothing


def test_a_long_hum_is_cut_evenly():
    pieces = cut_evenly(hum(2.2 * MAX_PIECE_S))
    assert spans_s(pieces) == [(0.0, 11.0), (11.0, 22.0), (22.0, 33.0)]
    assert len(cut_evenly(hum(MAX_PIECE_S))) == 1
