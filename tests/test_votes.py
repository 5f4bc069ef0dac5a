"""Window votes: for songs along paths, and for places on which a hum's neighbours agree."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from contours import contour, hummed, random_notes
from encoders import IntervalEncoder

from hmm2song.catalog.catalog import Selection
from hmm2song.index.base import Neighbours, WindowRanges
from hmm2song.index.exact import ExactIndex
from hmm2song.match import votes as votes_module
from hmm2song.match.places import Places
from hmm2song.match.search import PLACE_SLACK_S
from hmm2song.match.votes import VOTE_SPEEDS, HumWindows, embed_hum, propose, ranges_of, votes
from hmm2song.melody.contour import FilledContour
from hmm2song.song import SongFilter

ENCODER = IntervalEncoder()
HOP_S = ENCODER.windows.song_hop_s
N_SONGS = 8
HUM_S = 10.0
EVERYTHING = Selection(SongFilter(), np.ones(N_SONGS, bool), 0)


def index_of(tunes: list[FilledContour], n_threads: int = 1) -> ExactIndex:
    """Index tunes with the encoder that knows melodies untrained."""
    embedded = []
    for tune in tunes:
        windows = ENCODER.cut(tune)
        embedded.append(ENCODER.embed(windows.pitch_st, windows.voiced).astype(np.float16))
    return ExactIndex.of(np.concatenate(embedded), np.array([len(rows) for rows in embedded]), n_threads)


@dataclass(frozen=True, eq=False)
class FixedIndex:
    """An index that gives what a test says: neighbours, or the windows of songs as rows of the identity."""

    neighbours: Neighbours | None = None
    windows: tuple[tuple[int, ...], ...] = ()
    dim: int = 4

    def nearest(self, queries: np.ndarray, k: int, mask: np.ndarray, wanted: SongFilter) -> Neighbours:
        return self.neighbours

    def windows_of(self, ranges: WindowRanges) -> tuple[np.ndarray, np.ndarray]:
        first_window = np.cumsum([0, *map(len, self.windows)])
        rows, counts = ranges.rows(first_window)
        return np.eye(self.dim, dtype=np.float32)[np.concatenate(self.windows)[rows]], counts


def hum_of(*series: tuple[int, ...], dim: int = 4) -> HumWindows:
    """Return a hum whose windows are rows of the identity, in one or several series."""
    numbers = [number for each in series for number in each]
    return HumWindows(
        embeddings=np.eye(dim, dtype=np.float32)[numbers],
        start_s=np.concatenate([HOP_S * np.arange(len(each)) for each in series]),
        series=np.repeat(np.arange(len(series)), [len(each) for each in series]),
        speed=np.ones(len(numbers)),
        duration_s=HUM_S,
    )


@pytest.fixture(scope="module")
def tunes():
    return [random_notes(seed) for seed in range(N_SONGS)]


@pytest.fixture(scope="module")
def index(tunes):
    return index_of(tunes)


def whole(n_songs: int) -> WindowRanges:
    return WindowRanges.whole(np.arange(n_songs))


def vote(hum: FilledContour, index: ExactIndex, n_songs: int = N_SONGS) -> np.ndarray:
    return votes(embed_hum(hum, ENCODER), index, whole(n_songs))


# Windows of a hum ---------------------------------------------------------------------------------------


def test_a_hum_is_cut_at_every_tempo_and_phase(tunes):
    hum = embed_hum(hummed(tunes[0], hum_s=8.0), ENCODER)
    assert len(hum.embeddings) == len(hum.start_s) == len(hum.series) == len(hum.speed)
    assert len(np.unique(hum.series)) == len(VOTE_SPEEDS) * len(votes_module.PHASES)
    np.testing.assert_array_equal(np.unique(hum.speed), VOTE_SPEEDS)
    for number in np.unique(hum.series):
        start_s, speed = hum.start_s[hum.series == number], hum.speed[hum.series == number]
        assert len(set(speed)) == 1
        assert start_s[0] in (0.0, 0.5 * HOP_S)
        np.testing.assert_allclose(np.diff(start_s), HOP_S)
        left_s = 8.0 * speed[0] - start_s  # of the hum, stretched, when each window begins
        assert left_s[-1] >= votes_module.MIN_HUM_FILL * ENCODER.windows.window_s - 0.1 or len(start_s) == 1
    np.testing.assert_allclose(np.linalg.norm(hum.embeddings, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("n_frames", [1, 2, 12, 13, 25, 26, 27, 28])
def test_the_shortest_hum_has_a_window_at_every_tempo(index, tunes, n_frames):
    hum = embed_hum(tunes[0].part(100, 100 + n_frames), ENCODER)  # half a hop into it, nothing may be left
    np.testing.assert_array_equal(np.unique(hum.speed), VOTE_SPEEDS)
    assert np.isfinite(hum.embeddings).all()
    assert np.isfinite(votes(hum, index, whole(N_SONGS))).all()


# Votes for songs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_st", [0.0, -17.4])
@pytest.mark.parametrize("start_s", [0.0, 7.0, 9.5, 20.0])  # one begins between two windows
def test_the_same_melody_gets_a_full_vote_and_others_little(index, tunes, start_s, key_st):
    found = vote(hummed(tunes[3], start_s, key_st=key_st), index)
    assert found.dtype == np.float32
    assert found[3] > 0.9  # but for the hum's last windows, which are not full
    assert np.delete(found, 3).max() < 0.5


@pytest.mark.parametrize("n_frames", [30, 60, 99])
def test_hums_shorter_than_a_window_vote_too(index, tunes, n_frames):
    assert np.argmax(vote(tunes[4].part(100, 100 + n_frames), index)) == 4


def test_songs_shorter_than_a_window_or_than_the_hum_can_be_voted_for():
    short, medium = random_notes(0).part(0, 50), random_notes(2).part(0, 250)
    index = index_of([random_notes(1), short, medium])
    assert vote(short, index, 3)[1] == pytest.approx(1.0, abs=0.03)
    on_and_on = contour(np.concatenate((medium.pitch_midi, random_notes(3).pitch_midi[:250])))
    found = vote(on_and_on, index, 3)
    assert np.isfinite(found).all()
    assert np.argmax(found) == 2


@pytest.mark.parametrize(
    ("song", "expected"),
    [
        ((0, 1, 2), 1.0),
        ((3, 0, 1, 2, 3), 1.0),
        ((0, 3, 1, 3, 2), 1.0),  # the song advances by two windows a step
        ((0, 1, 3, 2), 1.0),
        ((0, 3, 3, 1, 3, 3, 2), 1 / 3),  # three are too many
        ((2, 1, 0), 1 / 3),  # time does not run backwards
        ((1, 2, 0), 2 / 3),
        ((0,), 1 / 3),
        ((3, 3), 0.0),
    ],
    ids=str,
)
def test_a_path_advances_by_nought_to_two_windows(song, expected):
    found = votes(hum_of((0, 1, 2)), FixedIndex(windows=((3,), song, (3, 3))), whole(3))
    np.testing.assert_allclose(found, [0.0, expected, 0.0], atol=1e-6)


def test_a_path_may_stay_in_a_window():
    found = votes(hum_of((1, 1, 1, 2, 2)), FixedIndex(windows=((1, 2), (2, 1))), whole(2))
    np.testing.assert_allclose(found, [1.0, 0.6], atol=1e-6)


def test_the_best_tempo_decides_and_tempi_are_not_mixed():
    songs = FixedIndex(windows=((0, 1, 2), (0, 1), (2, 3)))
    found = votes(hum_of((3, 3, 3), (0, 1)), songs, whole(3))
    np.testing.assert_allclose(found, [1.0, 1.0, 1.0], atol=1e-6)
    found = votes(hum_of((0, 3), (3, 1)), songs, whole(3))  # half right twice is not right
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5], atol=1e-6)


def test_even_the_opposite_of_a_song_gets_a_vote():
    hum = hum_of((0, 1))
    opposite = replace(hum, embeddings=-hum.embeddings)
    np.testing.assert_allclose(votes(opposite, FixedIndex(windows=((0, 0), (1,))), whole(2)), [-0.5, -0.5])


def test_only_the_stretch_asked_for_votes():
    songs = FixedIndex(windows=((0, 1, 3, 3, 0, 2), (0, 1)))
    ranges = WindowRanges(np.array([0, 0, 0, 1]), np.array([0, 2, 4, 0]), np.array([2, 4, 9, 9]))
    np.testing.assert_allclose(votes(hum_of((0, 1)), songs, ranges), [1.0, 0.0, 0.5, 1.0], atol=1e-6)


@pytest.mark.parametrize("start_s", [0.0, 9.5, 21.0])
def test_a_melody_gets_its_full_vote_in_the_stretch_where_it_is(index, tunes, start_s):
    hum = embed_hum(hummed(tunes[3], start_s, hum_s=8.0), ENCODER)
    starts_s = np.array([start_s, start_s - 12.0, start_s + 12.0])
    found = votes(hum, index, ranges_of(Places(np.full(3, 3), starts_s, starts_s + 8.0), ENCODER.windows))
    assert found[0] == pytest.approx(votes(hum, index, WindowRanges.whole([3]))[0], abs=1e-6)
    assert found[0] > found[1:].max() + 0.2


# Places to look at --------------------------------------------------------------------------------------


def neighbours(*rows: list[tuple[int, int, float]], k: int = 4) -> FixedIndex:
    """Return an index that finds (song, window, similarity) for each window of a hum; the rest is filled up."""
    song, window, similarity = np.full((3, len(rows), k), -1.0)
    similarity[:] = -np.inf
    for query, row in enumerate(rows):
        for rank, place in enumerate(row):
            song[query, rank], window[query, rank], similarity[query, rank] = place
    return FixedIndex(Neighbours(song.astype(int), window.astype(int), similarity.astype(np.float32)))


def speeds(hum: HumWindows, found: Places) -> np.ndarray:
    """Return the tempo hypotheses of proposed places."""
    return (found.end_s - found.start_s) / hum.duration_s


def places(hum: HumWindows, index: FixedIndex) -> list[tuple[int, float]]:
    found = propose(hum, index, HOP_S, EVERYTHING)
    return list(zip(found.song.tolist(), found.start_s.tolist(), strict=True))


@pytest.mark.parametrize("start_s", [0.0, 3.0, 6.1, 15.0])
@pytest.mark.parametrize("speed", [VOTE_SPEEDS[1], 1.0, VOTE_SPEEDS[5]])
def test_a_known_place_comes_first(index, tunes, monkeypatch, start_s, speed):
    monkeypatch.setattr(votes_module, "N_NEIGHBOURS", 10)  # few of all windows, as in a large catalog
    for song in (1, 6):
        hum = embed_hum(hummed(tunes[song], start_s, 10.0, speed, key_st=-5.0), ENCODER)
        found = propose(hum, index, HOP_S, EVERYTHING)
        assert found.song[0] == song
        assert abs(found.start_s[0] - start_s) < PLACE_SLACK_S  # which the search makes up for
        assert abs(np.log2(speeds(hum, found)[0] / speed)) < 0.26  # at most the tempo next to it
        assert np.isclose(speeds(hum, found)[:, None], VOTE_SPEEDS).any(axis=1).all()


def test_only_songs_that_pass_the_filter_are_proposed(index, tunes):
    hum = embed_hum(hummed(tunes[2], 4.0), ENCODER)
    found = propose(hum, index, HOP_S, replace(EVERYTHING, mask=np.arange(N_SONGS) % 2 == 1))
    assert len(found) and set(found.song) <= {1, 3, 5, 7}
    nothing = propose(hum, index, HOP_S, replace(EVERYTHING, mask=np.zeros(N_SONGS, bool)))
    assert nothing.song.shape == nothing.start_s.shape == nothing.end_s.shape == (0,)


def test_agreement_counts_more_than_one_good_resemblance():
    # song 1 twice at one place; song 0 once, and better; song 2 twice, but at places that do not agree
    agreeing = neighbours(
        [(0, 9, 0.9), (1, 5, 0.8), (2, 0, 0.8), (3, 0, 0.2)], [(1, 6, 0.8), (2, 20, 0.8), (4, 0, 0.6), (3, 7, 0.2)]
    )
    found = places(hum_of((0, 1)), agreeing)
    assert found[0] == (1, 5.0)  # the second window begins a hop later in the hum
    assert next(song for song, _ in found if song != 1) == 0
    assert {start_s for song, start_s in found if song == 2} == {0.0, 19.0}


def test_what_every_song_offers_is_no_evidence():
    # the first window resembles everything: being its best says less than being the second one's
    bland = neighbours([(0, 3, 0.95), (1, 8, 0.94)], [(2, 4, 0.6), (3, 5, 0.2)], k=2)
    assert places(hum_of((0, 1)), bland)[0] == (2, 3.0)


def test_each_window_counts_once_at_a_place():
    # one window finds song 0 three times around one place, two windows find song 1 once each
    repeating = neighbours(
        [(0, 4, 0.7), (0, 5, 0.7), (0, 6, 0.7), (9, 0, 0.1)], [(1, 9, 0.5), (9, 0, 0.1)], [(1, 10, 0.5), (9, 0, 0.1)]
    )
    assert places(hum_of((0, 1, 2)), repeating)[0][0] == 1


def test_a_border_between_places_parts_no_agreement():
    for first in range(6):  # the border may fall anywhere
        hum = hum_of((0, 1))
        divided = neighbours([(0, 0, 0.9), (1, first, 0.6), (9, 0, 0.1)], [(1, first + 2, 0.6), (9, 0, 0.1)])
        assert places(hum, divided)[0][0] == 1, first


def test_windows_of_different_tempi_do_not_add_up():
    hum = hum_of((0, 1))
    faster = replace(hum, speed=np.array([VOTE_SPEEDS[2], VOTE_SPEEDS[5]]))
    found = neighbours([(0, 3, 0.6), (9, 0, 0.0)], [(0, 4, 0.6), (1, 5, 0.9), (9, 0, 0.0)])
    assert places(hum, found)[0][0] == 0
    assert places(faster, found)[0][0] == 1
    tempi = np.unique(speeds(faster, propose(faster, found, HOP_S, EVERYTHING)).round(9))
    np.testing.assert_allclose(tempi, [VOTE_SPEEDS[2], VOTE_SPEEDS[5]])


def test_a_hum_may_begin_before_the_song():
    late = neighbours([(0, 1, 0.4), (1, 0, 0.1)], [(0, 0, 0.9), (1, 0, 0.1)], [(0, 1, 0.9), (1, 0, 0.1)])
    song, start_s = places(hum_of((3, 0, 1)), late)[0]
    assert (song, start_s) in ((0, -1.0), (0, 1.0))


def test_each_place_is_proposed_once(index, tunes):
    found = propose(embed_hum(hummed(tunes[4], 5.0), ENCODER), index, HOP_S, EVERYTHING)
    proposed = list(zip(found.song, found.start_s, found.end_s, strict=True))
    assert len(set(proposed)) == len(proposed) > N_SONGS
    assert places(hum_of((0,)), neighbours([(0, 2, 0.7), (1, 1, 0.5)])) == [(0, 2.0), (1, 1.0)]


def test_one_neighbour_is_a_place_without_evidence_and_none_is_none():
    assert set(places(hum_of((0,)), neighbours([(0, 2, 0.7)]))) == {(0, 2.0)}
    assert places(hum_of((0, 1)), neighbours([], [])) == []
