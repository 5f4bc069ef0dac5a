"""The melody search over songbook tunes: any position, key and tempo, within the filter, everywhere or near a place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from contours import contour, hummed

from hmm2song.match import search
from hmm2song.match.align import place
from hmm2song.match.places import Placements, Places
from hmm2song.match.search import MelodySearch
from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody, melody_from_notes
from hmm2song.melody.packed import PackedMelodies
from hmm2song.melody.scores import read_scores

SONGBOOK = Path(__file__).parent.parent / "assets" / "songbook"
N_SONGS = 40
HUM_S = 8.0


@pytest.fixture(scope="module")
def melodies() -> list[Melody]:
    return [read_scores(path).melodies[0].melody for path in sorted(SONGBOOK.glob("*.abc"))[:N_SONGS]]


@pytest.fixture(scope="module")
def searcher(melodies) -> MelodySearch:
    return MelodySearch(melodies, n_threads=2)


def everything() -> np.ndarray:
    return np.ones(N_SONGS, dtype=bool)


@pytest.mark.parametrize("song", range(0, N_SONGS, 4))
def test_any_position_of_any_song_is_found(searcher, melodies, song):
    latest_s = searcher.melodies.contour(song).duration_s - HUM_S
    for start_s in np.linspace(0.0, latest_s, 3):
        ranking = searcher.rank(hummed(searcher.melodies.contour(song), start_s), everything())
        assert ranking.song[0] == song
        assert ranking.cost_st[0] < min(0.1, ranking.cost_st[1])
        assert (np.diff(ranking.cost_st) >= 0).all()


def test_medians_that_no_melody_has_do_not_make_keys_that_no_melody_has(melodies, monkeypatch):
    tensors = PackedMelodies.of(melodies).tensors
    medians = np.array(tensors["median_midi"])
    medians[1::4], medians[3::4] = 1e30, -1e30
    asked = []
    monkeypatch.setattr(search, "place", lambda *options: asked.append(options[3:5]) or place(*options))
    searcher = MelodySearch(PackedMelodies({**tensors, "median_midi": medians}), n_threads=1)
    hum = hummed(searcher.melodies.contour(3), 3.0)
    searcher.rank(hum, everything())
    lowest, highest = asked[0]
    assert lowest.min() >= -127 and highest.max() <= 254 and len(asked) == 2


@pytest.mark.parametrize("key_st", [-24.0, -12.3, -5.0, 3.4, 12.0, 24.0])
def test_any_key_is_found_octaves_included(searcher, melodies, key_st):
    for song in (3, 17, 31):
        hum = hummed(searcher.melodies.contour(song), 3.0, key_st=key_st)
        ranking = searcher.rank(hum, everything())
        assert ranking.song[0] == song
        assert searcher.align(hum, ranking, 0).key_shift_st == pytest.approx(key_st, abs=0.05)


@pytest.mark.parametrize("speed", [0.7, 0.85, 1.15, 1.4])
def test_any_usual_tempo_is_found(searcher, melodies, speed):
    for song in (5, 9, 20):
        hum = hummed(searcher.melodies.contour(song), 2.0, speed=speed)
        ranking = searcher.rank(hum, everything())
        assert ranking.song[0] == song
        assert searcher.align(hum, ranking, 0).tempo_ratio == pytest.approx(speed, rel=0.06)


def test_the_alignment_says_where(searcher, melodies):
    notes = [(0.5 * number, 0.5, midi) for number, midi in enumerate(np.random.default_rng(1).integers(55, 70, 80))]
    random_song = melody_from_notes([(onset_s + 2.0, duration_s, midi) for onset_s, duration_s, midi in notes])
    searcher = MelodySearch([*melodies[:5], random_song])
    hum = contour(hummed(searcher.melodies.contour(5), 17.0, key_st=2.0).pitch_midi, offset_s=0.6)
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
    hum = hummed(searcher.melodies.contour(0), 14.0, key_st=-12.0)
    ranking = searcher.rank(hum, np.array([True]))
    alignment = searcher.align(hum, ranking, 0)
    assert alignment.start_s == pytest.approx(14.0, abs=0.2)
    assert alignment.key_shift_st == pytest.approx(-12.0, abs=0.05)


def test_only_songs_under_the_mask_are_ranked(searcher, melodies):
    mask = np.zeros(N_SONGS, dtype=bool)
    mask[[2, 8, 30]] = True
    hum = hummed(searcher.melodies.contour(8))
    assert searcher.rank(hum, mask).song[0] == 8
    assert set(searcher.rank(hum, mask).song) == {2, 8, 30}
    mask[8] = False
    assert set(searcher.rank(hum, mask).song) == {2, 30}


def test_nothing_under_the_mask_gives_nothing(searcher, melodies):
    ranking = searcher.rank(hummed(searcher.melodies.contour(0)), ~everything())
    assert len(ranking.song) == len(ranking.cost_st) == 0


def test_songs_much_shorter_than_the_hum_are_left_out(melodies):
    short = melody_from_notes([(0.0, 0.5, 60), (0.5, 0.5, 64), (1.0, 0.5, 67)])
    searcher = MelodySearch([short, melodies[0]])
    ranking = searcher.rank(hummed(searcher.melodies.contour(1)), np.ones(2, dtype=bool))
    np.testing.assert_array_equal(ranking.song, [1])


def test_no_song_gets_an_absurd_cost(melodies):
    # song lengths around the limit of what can be reached: a worthless placement must not count as one
    shorts = [melody_from_notes([(0.0, n_frames / FRAME_RATE_HZ, 60)]) for n_frames in range(40, 120)]
    searcher = MelodySearch([melodies[0], *shorts])
    ranking = searcher.rank(hummed(searcher.melodies.contour(0)), np.ones(81, dtype=bool))
    assert 1 < len(ranking.song) < 81
    assert ranking.cost_st.max() < 4.0


def test_the_fine_pass_is_for_the_best(searcher, melodies, monkeypatch):
    monkeypatch.setattr(search, "N_REFINED", 5)
    ranking = searcher.rank(hummed(searcher.melodies.contour(12)), everything())
    assert len(ranking.song) == 5
    assert ranking.song[0] == 12


# Near proposed places -----------------------------------------------------------------------------------


def propose(*places: tuple[int, float] | tuple[int, float, float], hum_s: float = HUM_S) -> Places:
    """Propose (song, start_s) or (song, start_s, speed)."""
    song, start_s, speed = map(np.array, zip(*((*place, 1.0)[:3] for place in places), strict=True))
    return Places(song, start_s, start_s + speed * hum_s)


def near(searcher: MelodySearch, hum: FilledContour, *places: tuple) -> Placements:
    """Rank by the places proposed alone."""
    return searcher.rank(hum, np.zeros(searcher.n_songs, dtype=bool), propose(*places, hum_s=hum.duration_s))


def assert_same_best(found: Placements, expected: Placements) -> None:
    assert found.song[0] == expected.song[0]
    assert found.cost_st[0] == pytest.approx(expected.cost_st[0], abs=0.005)


@pytest.mark.parametrize("song", range(1, N_SONGS, 6))
@pytest.mark.parametrize(("start_s", "key_st", "speed"), [(0.0, 0.0, 1.0), (4.0, -9.5, 1.1), (8.0, 15.2, 0.8)])
def test_near_the_right_place_the_best_is_that_of_a_full_search(searcher, song, start_s, key_st, speed):
    hum = hummed(searcher.melodies.contour(song), start_s, HUM_S, speed, key_st)
    others = [(other, 3.0) for other in range(N_SONGS) if other != song]
    for proposed_s in (start_s, start_s - 2.5, start_s + 2.5):
        found = near(searcher, hum, *others, (song, proposed_s, speed))
        assert_same_best(found, searcher.rank(hum, everything()))


def test_only_places_proposed_are_looked_at(searcher):
    hum = hummed(searcher.melodies.contour(7), 18.0, 5.0)
    everywhere = searcher.rank(hum, np.arange(N_SONGS) == 7)
    elsewhere = near(searcher, hum, (7, 2.0), (3, 0.0))
    assert set(elsewhere.song) == {3, 7}
    assert everywhere.cost_st[0] < 0.05 < elsewhere.cost_st.min()


def test_a_song_may_be_placed_repeatedly_and_each_score_chooses_its_best_places(searcher):
    hum = hummed(searcher.melodies.contour(12), 9.0)
    found = near(searcher, hum, (12, 0.0), (4, 1.0), (12, 9.5), (4, 8.0), (12, 20.0))
    assert sorted(found.song) == [4, 4, 12, 12, 12]
    assert_same_best(found, searcher.rank(hum, everything()))
    by_cost = found.take(found.best_of_songs(-found.cost_st))
    assert by_cost.song.tolist() == [12, 4]
    assert by_cost.end_s[0] == found.end_s[0]
    worst = found.take(found.best_of_songs(found.cost_st))
    assert sorted(worst.song) == [4, 12]
    assert worst.cost_st.max() == found.cost_st.max()
    assert (np.diff(worst.cost_st) >= 0).all()


def test_the_stretches_of_placements_hold_the_hum(searcher):
    hum = hummed(searcher.melodies.contour(12), 9.0, speed=1.1)
    found = near(searcher, hum, (12, 9.5))
    stretches = found.stretches(hum.duration_s)
    (start_s,), (end_s,) = stretches.start_s, stretches.end_s
    traced = searcher.align(hum, found, 0)
    assert end_s == pytest.approx(traced.end_s, abs=0.1)
    assert start_s <= traced.start_s <= start_s + (search.LONGEST_STRETCH - 0.7) * hum.duration_s


@pytest.mark.parametrize("before_s", [0.0, -1.5, -2.9])
def test_a_hum_that_begins_before_its_song_is_found(searcher, before_s):
    hum = hummed(searcher.melodies.contour(9), 0.0)
    assert_same_best(near(searcher, hum, (9, before_s)), searcher.rank(hum, everything()))


def test_a_hum_that_goes_on_after_its_song_is_found(searcher):
    song = searcher.melodies.contour(11)
    start_s = song.duration_s - 5.0
    hum = contour(np.append(hummed(song, start_s, 5.0).pitch_midi, searcher.melodies.contour(0).pitch_midi[:50]))
    for proposed_s in (start_s - 2.0, start_s, start_s + 2.0):
        found = near(searcher, hum, (11, proposed_s))
        assert found.cost_st[0] < 1.0  # what goes on costs 2.5 at most, for two seconds in seven
        assert searcher.align(hum, found, 0).start_s == pytest.approx(start_s, abs=0.3)


def test_places_outside_a_song_do_no_harm(searcher):
    hum = hummed(searcher.melodies.contour(5), 6.0)
    nowhere = [(song, place_s) for song in (0, 20, N_SONGS - 1) for place_s in (-500.0, -40.0, 900.0, 1e6)]
    found = near(searcher, hum, *nowhere, (5, 6.0))
    assert_same_best(found, searcher.rank(hum, everything()))
    assert set(found.song) <= {0, 5, 20, N_SONGS - 1}
    assert (found.cost_st < 4.0).all()


def test_without_proposals_nothing_is_ranked(searcher):
    nothing = Places.whole(np.array([], dtype=np.int64))
    assert len(searcher.rank(hummed(searcher.melodies.contour(5)), ~everything(), nothing)) == 0


def test_the_first_places_are_looked_at_as_long_as_the_budget_lasts(searcher, monkeypatch):
    hum = hummed(searcher.melodies.contour(2))
    places = [(song, 2.0) for song in range(20)]
    one_s = 2 * search.PLACE_SLACK_S + search.LONGEST_STRETCH * HUM_S
    monkeypatch.setattr(search, "COARSE_BUDGET_S", 7.5 * one_s)
    assert set(near(searcher, hum, *places).song) == set(range(7))
    monkeypatch.setattr(search, "MAX_PLACES", 4)
    assert set(near(searcher, hum, *places).song) == set(range(4))


def test_every_position_is_aligned_if_that_is_affordable_or_nothing_is_proposed(searcher, monkeypatch):
    mask = np.zeros(N_SONGS, dtype=bool)
    mask[[3, 8]] = True
    hum = hummed(searcher.melodies.contour(3), 2.0)
    wrong = propose((8, 0.0))
    total_s = searcher.melodies.contour(3).duration_s + searcher.melodies.contour(8).duration_s
    for budget_s, found in ((total_s + 0.1, [3, 8, 8]), (total_s - 0.1, [8])):
        monkeypatch.setattr(search, "COARSE_BUDGET_S", budget_s)
        assert searcher.rank(hum, mask, wrong).song.tolist() == found
        assert searcher.rank(hum, mask).song.tolist() == [3, 8]


@pytest.mark.parametrize("song", [1, 10, 22, 33])
def test_wrong_proposals_hide_nothing_and_right_ones_change_nothing(searcher, song):
    hum = hummed(searcher.melodies.contour(song), 4.0, key_st=-9.5, speed=1.1)
    alone = searcher.rank(hum, everything())
    for proposed in (propose(((song + 1) % N_SONGS, 0.0), (song, 20.0)), propose((song, 4.0, 1.1))):
        assert_same_best(searcher.rank(hum, everything(), proposed), alone)


def test_the_most_promising_places_are_refined_however_badly_they_align(searcher, monkeypatch):
    hum = hummed(searcher.melodies.contour(12))
    worst = searcher.rank(hum, everything()).song[-3:].tolist()
    places = propose(*((song, 1.0) for song in [*worst, 30, 31]))
    monkeypatch.setattr(search, "N_REFINED", 6)
    monkeypatch.setattr(search, "N_PROMISING", 3)
    found = searcher.rank(hum, everything(), places)
    assert len(found.song) == len(set(found.song)) == 6
    assert found.song[0] == 12 and set(worst) <= set(found.song)
    assert (np.diff(found.cost_st) >= 0).all()


@pytest.mark.parametrize("duration_s", [3.0, 5.9, 6.0, 6.1, 7.0, 8.0, 13.0, 61.0])
@pytest.mark.parametrize("is_near", [True, False])
def test_the_key_is_found_in_songs_of_any_length_and_part(duration_s, is_near):
    # high at first and low in the end; the melody of each second is another
    n_notes = round(duration_s / 0.25)
    midi = np.random.default_rng(4).integers(0, 8, n_notes) + np.linspace(84.0, 48.0, n_notes).round()
    song = contour(np.repeat(midi, 6 + np.arange(n_notes) % 2)[: round(duration_s * FRAME_RATE_HZ)])
    searcher = MelodySearch([Melody(song.pitch_midi)], n_threads=1)
    hum_s = min(6.0, duration_s)
    for start_s in {0.0, (duration_s - hum_s) / 2, duration_s - hum_s}:
        hum = hummed(song, start_s, hum_s, key_st=-19.0)
        found = near(searcher, hum, (0, start_s)) if is_near else searcher.rank(hum, np.array([True]))
        assert found.cost_st[0] < 0.3
        assert searcher.align(hum, found, 0).key_shift_st == pytest.approx(-19.0, abs=0.1)
        assert searcher.align(hum, found, 0).start_s == pytest.approx(start_s, abs=0.3)


def test_the_shortest_hum_and_song_can_be_aligned():
    searcher = MelodySearch([Melody([60.0, 60.0]), Melody(np.full(200, 62.0))], n_threads=1)
    for n_frames in (2, 12, 25):
        hum = contour(np.full(n_frames, 55.0))
        for ranking in (searcher.rank(hum, np.ones(2, bool)), near(searcher, hum, (0, 0.0), (1, 1.0))):
            assert 1 in ranking.song
            assert (ranking.cost_st < 0.5).all()


# Threads ------------------------------------------------------------------------------------------------


def test_threads_change_nothing(searcher, melodies):
    hum = hummed(searcher.melodies.contour(6), 4.0, key_st=1.3)
    alone, together = MelodySearch(melodies, n_threads=1).rank(hum, everything()), searcher.rank(hum, everything())
    np.testing.assert_array_equal(alone.song, together.song)
    np.testing.assert_array_equal(alone.cost_st, together.cost_st)
