"""The melody search over songbook tunes: any position, key and tempo, within the filter, on every path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hmm2song import search
from hmm2song.melody import FRAME_RATE_HZ, Melody, melody_from_notes
from hmm2song.scores import read_scores
from hmm2song.search import MelodySearch
from hmm2song.windows import FilledContour, fill_rests

SONGBOOK = Path(__file__).parent.parent / "assets" / "songbook"
N_SONGS = 40
HUM_S = 8.0


@pytest.fixture(scope="module")
def melodies() -> list[Melody]:
    return [read_scores(path).melodies[0].melody for path in sorted(SONGBOOK.glob("*.abc"))[:N_SONGS]]


@pytest.fixture(scope="module")
def searcher(melodies) -> MelodySearch:
    return MelodySearch(melodies, n_threads=2)


def hummed(
    melody: Melody, start_s: float = 5.0, hum_s: float = HUM_S, speed: float = 1.0, key_st: float = 0.0
) -> FilledContour:
    """Return a hum of a melody from ``start_s`` after its first note."""
    song = fill_rests(melody)
    time_s = start_s + (np.arange(round(hum_s * FRAME_RATE_HZ)) + 0.5) / FRAME_RATE_HZ * speed
    pitch = song.sample(time_s[time_s < song.duration_s])
    return FilledContour(pitch + np.float32(key_st), 0.0)


def everything() -> np.ndarray:
    return np.ones(N_SONGS, dtype=bool)


@pytest.mark.parametrize("song", range(0, N_SONGS, 4))
def test_any_position_of_any_song_is_found(searcher, melodies, song):
    latest_s = fill_rests(melodies[song]).duration_s - HUM_S
    for start_s in np.linspace(0.0, latest_s, 3):
        ranking = searcher.rank(hummed(melodies[song], start_s), everything())
        assert ranking.song[0] == song
        assert ranking.cost_st[0] < min(0.1, ranking.cost_st[1])
        assert (np.diff(ranking.cost_st) >= 0).all()


@pytest.mark.parametrize("key_st", [-24.0, -12.3, -5.0, 3.4, 12.0, 24.0])
def test_any_key_is_found_octaves_included(searcher, melodies, key_st):
    for song in (3, 17, 31):
        hum = hummed(melodies[song], 3.0, key_st=key_st)
        ranking = searcher.rank(hum, everything())
        assert ranking.song[0] == song
        assert searcher.align(hum, ranking, 0).key_shift_st == pytest.approx(key_st, abs=0.05)


@pytest.mark.parametrize("speed", [0.7, 0.85, 1.15, 1.4])
def test_any_usual_tempo_is_found(searcher, melodies, speed):
    for song in (5, 9, 20):
        hum = hummed(melodies[song], 2.0, speed=speed)
        ranking = searcher.rank(hum, everything())
        assert ranking.song[0] == song
        assert searcher.align(hum, ranking, 0).tempo_ratio == pytest.approx(speed, rel=0.06)


def test_the_alignment_says_where(searcher, melodies):
    notes = [(0.5 * number, 0.5, midi) for number, midi in enumerate(np.random.default_rng(1).integers(55, 70, 80))]
    random_song = melody_from_notes([(onset_s + 2.0, duration_s, midi) for onset_s, duration_s, midi in notes])
    searcher = MelodySearch([*melodies[:5], random_song])
    hum = FilledContour(hummed(random_song, 17.0, key_st=2.0).pitch_midi, offset_s=0.6)
    ranking = searcher.rank(hum, np.ones(6, dtype=bool))
    alignment = searcher.align(hum, ranking, 0)
    assert ranking.song[0] == 5
    assert alignment.start_s == pytest.approx(19.0, abs=0.2)  # counted from the beginning of the score, rest included
    assert alignment.end_s == pytest.approx(27.0, abs=0.2)
    assert alignment.hum_time_s[0] == pytest.approx(0.6, abs=0.1)


def test_a_modulation_is_followed():
    verse = np.random.default_rng(2).integers(55, 68, 24)
    notes = [(0.5 * number, 0.5, float(midi)) for number, midi in enumerate([*verse, *(verse[::-1] + 14)])]
    song = melody_from_notes(notes)
    searcher = MelodySearch([song])
    hum = hummed(song, 14.0, key_st=-12.0)
    ranking = searcher.rank(hum, np.array([True]))
    alignment = searcher.align(hum, ranking, 0)
    assert alignment.start_s == pytest.approx(14.0, abs=0.2)
    assert alignment.key_shift_st == pytest.approx(-12.0, abs=0.05)


def test_only_songs_under_the_mask_are_ranked(searcher, melodies):
    mask = np.zeros(N_SONGS, dtype=bool)
    mask[[2, 8, 30]] = True
    hum = hummed(melodies[8])
    assert searcher.rank(hum, mask).song[0] == 8
    assert set(searcher.rank(hum, mask).song) == {2, 8, 30}
    mask[8] = False
    assert set(searcher.rank(hum, mask).song) == {2, 30}


def test_nothing_under_the_mask_gives_nothing(searcher, melodies):
    ranking = searcher.rank(hummed(melodies[0]), ~everything())
    assert len(ranking.song) == len(ranking.cost_st) == 0


def test_songs_much_shorter_than_the_hum_are_left_out(melodies):
    short = melody_from_notes([(0.0, 0.5, 60), (0.5, 0.5, 64), (1.0, 0.5, 67)])
    searcher = MelodySearch([short, melodies[0]])
    ranking = searcher.rank(hummed(melodies[0]), np.ones(2, dtype=bool))
    np.testing.assert_array_equal(ranking.song, [1])


def test_no_song_gets_an_absurd_cost(melodies):
    # song lengths around the limit of what can be reached: a worthless placement must not count as one
    shorts = [melody_from_notes([(0.0, n_frames / FRAME_RATE_HZ, 60)]) for n_frames in range(40, 120)]
    searcher = MelodySearch([melodies[0], *shorts])
    ranking = searcher.rank(hummed(melodies[0]), np.ones(81, dtype=bool))
    assert 1 < len(ranking.song) < 81
    assert ranking.cost_st.max() < 4.0


def test_the_fine_pass_is_for_the_best(searcher, melodies, monkeypatch):
    monkeypatch.setattr(search, "N_REFINED", 5)
    ranking = searcher.rank(hummed(melodies[12]), everything())
    assert len(ranking.song) == 5
    assert ranking.song[0] == 12


@pytest.mark.parametrize("song", [1, 10, 22, 33])
def test_a_scan_within_the_budget_gives_the_same_best(searcher, melodies, monkeypatch, song):
    hum = hummed(melodies[song], 4.0, key_st=-9.5, speed=1.1)
    exact = searcher.rank(hum, everything())
    monkeypatch.setattr(search, "COARSE_BUDGET_S", 300.0)
    scanned = searcher.rank(hum, everything())
    total_s = sum(melodies[index].duration_s for index in scanned.song)
    assert 0 < total_s <= 310.0
    assert len(scanned.song) < len(exact.song) == N_SONGS
    assert exact.song[0] == scanned.song[0] == song
    for name in ("cost_st", "end", "key_st", "speed"):
        assert getattr(exact, name)[0] == getattr(scanned, name)[0]


def test_threads_change_nothing(searcher, melodies):
    hum = hummed(melodies[6], 4.0, key_st=1.3)
    alone, together = MelodySearch(melodies, n_threads=1).rank(hum, everything()), searcher.rank(hum, everything())
    np.testing.assert_array_equal(alone.song, together.song)
    np.testing.assert_array_equal(alone.cost_st, together.cost_st)
