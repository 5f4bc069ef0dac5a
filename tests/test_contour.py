"""Filled contours, and the windows and pieces cut from them."""

from __future__ import annotations

import numpy as np
import pytest
from contours import contour, random_notes

from hmm2song.melody.contour import (
    MAX_PIECE_S,
    MIN_PHRASE_S,
    PAUSE_S,
    FilledContour,
    cut_at_pauses,
    cut_evenly,
    cut_windows,
    fill_rests,
)
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody

NAN = np.nan


# Filled contours ----------------------------------------------------------------------------------------


def test_rests_are_held_and_outer_ones_dropped():
    filled = fill_rests(Melody([NAN, NAN, 60, NAN, NAN, 62, 63, NAN]))
    np.testing.assert_array_equal(filled.pitch_midi, [60, 60, 60, 62, 63])
    np.testing.assert_array_equal(filled.voiced, [True, False, False, True, True])
    assert filled.offset_s == pytest.approx(0.08)
    assert filled.duration_s == pytest.approx(0.2)


def test_without_a_voice_the_contour_is_empty_and_is_not_cut():
    for melody in (Melody([]), Melody([NAN, NAN])):
        filled = fill_rests(melody)
        assert len(filled.pitch_midi) == len(filled.voiced) == filled.duration_s == 0
        assert cut_at_pauses(filled)[0] is filled


def test_outside_a_contour_there_is_no_pitch_and_no_voice():
    filled = FilledContour(np.float32([60, 61]), np.array([True, False]), 5.0)
    time_s = np.array([[-0.01, 0.0], [0.039, 0.04], [0.079, 0.08]])
    np.testing.assert_array_equal(filled.sample(time_s), [[NAN, 60], [60, 61], [61, NAN]])
    np.testing.assert_array_equal(filled.sample_voiced(time_s), [[False, True], [True, False], [False, False]])


def test_a_part_keeps_its_voice_and_its_place():
    filled = fill_rests(Melody([NAN, 60, NAN, 62, 63, NAN, 64]))
    part = filled.part(1, 4)
    np.testing.assert_array_equal(part.pitch_midi, [60, 62, 63])
    np.testing.assert_array_equal(part.voiced, [False, True, True])
    assert part.offset_s == pytest.approx(0.08)
    np.testing.assert_array_equal(filled.part(4, 99).pitch_midi, [63, 64])
    assert len(filled.part(6, 9).pitch_midi) == len(filled.part(2, 2).voiced) == 0


# Windows ------------------------------------------------------------------------------------------------


def test_windows_cover_the_contour_and_are_centred():
    ramp = contour(np.arange(250))  # 10 s
    windows = cut_windows(ramp, window_s=4.0, hop_s=1.0, n_frames=16, min_fill=0.4)
    np.testing.assert_allclose(windows.start_s, np.arange(9))  # the one from 8 s is filled by half
    assert windows.pitch_st.shape == windows.voiced.shape == (9, 16)
    np.testing.assert_allclose(np.nanmedian(windows.pitch_st, axis=1), 0.0, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(windows.pitch_st).sum(axis=1), [0, 0, 0, 0, 0, 0, 0, 4, 8])
    np.testing.assert_array_equal(windows.voiced, ~np.isnan(windows.pitch_st))
    assert len(cut_windows(ramp, 4.0, 1.0, 16, min_fill=1.0).start_s) == 6


def test_windows_know_what_was_sung_and_what_filled():
    melody = np.full(200, 60.0)
    melody[50:75] = NAN  # from 2 to 3 s
    windows = cut_windows(fill_rests(Melody(melody)), window_s=4.0, hop_s=1.0, n_frames=16)
    expected = np.ones((5, 16), bool)
    for row, rest in enumerate((slice(8, 12), slice(4, 8), slice(0, 4))):
        expected[row, rest] = False
    np.testing.assert_array_equal(windows.voiced[:5], expected)
    assert not np.isnan(windows.pitch_st[:5]).any()


def test_a_fast_hum_is_stretched_to_song_time():
    fast = random_notes(1)
    stretched = cut_windows(fast, 4.0, 1.0, 16, speed=2.0)
    as_written = cut_windows(contour(np.repeat(fast.pitch_midi, 2)), 4.0, 1.0, 16)
    np.testing.assert_array_equal(stretched.start_s, as_written.start_s)
    np.testing.assert_array_equal(stretched.pitch_st, as_written.pitch_st)


# Pieces -------------------------------------------------------------------------------------------------


def hum(*seconds: float) -> FilledContour:
    """Sung and silent by turns, sung first; in every second of it the pitch is one semitone higher."""
    frames = [round(each * FRAME_RATE_HZ) for each in seconds]
    pitch_midi = np.arange(sum(frames)) / FRAME_RATE_HZ
    sung = np.repeat(np.arange(len(frames)) % 2 == 0, frames)
    return fill_rests(Melody(np.where(sung, pitch_midi, NAN)))


def spans_s(pieces: list[FilledContour]) -> list[tuple[float, float]]:
    return [(round(piece.offset_s, 3), round(piece.offset_s + piece.duration_s, 3)) for piece in pieces]


@pytest.mark.parametrize("seconds", [(4.0, PAUSE_S, 3.0), (1.0, 1.2, 1.0, 1.2, 1.0)], ids=["no pause", "no phrase"])
def test_without_pauses_or_phrases_the_hum_stays_whole(seconds):
    whole = hum(*seconds)
    assert cut_at_pauses(whole)[0] is whole and len(cut_at_pauses(whole)) == 1


def test_phrases_are_what_lies_between_pauses():
    phrases = cut_at_pauses(hum(3.0, 1.2, 4.0, 0.8, 2.0, 5.0, 3.6))
    assert spans_s(phrases) == [(0.0, 3.0), (4.2, 11.0), (16.0, 19.6)]
    assert [float(phrase.pitch_midi[0]) for phrase in phrases] == pytest.approx([0.0, 4.2, 16.0])


@pytest.mark.parametrize("scrap_s", [0.4, MIN_PHRASE_S - 0.04])
def test_a_false_start_and_an_afterthought_are_no_phrases(scrap_s):
    (phrase,) = cut_at_pauses(hum(scrap_s, 1.2, 6.0, 3.0, scrap_s))
    assert (phrase.offset_s, phrase.duration_s) == pytest.approx((scrap_s + 1.2, 6.0))


def test_a_long_hum_is_cut_evenly():
    assert spans_s(cut_evenly(hum(2.2 * MAX_PIECE_S))) == [(0.0, 11.0), (11.0, 22.0), (22.0, 33.0)]
    assert len(cut_evenly(hum(MAX_PIECE_S))) == 1
