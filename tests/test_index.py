"""Windows, their embeddings, and the votes of a hum's windows for a song."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from hmm2song.encoder import PhaseEncoder, default_encoder
from hmm2song.index import VOTE_SPEEDS, ExactIndex
from hmm2song.melody import FRAME_RATE_HZ, Melody
from hmm2song.windows import FilledContour, cut_windows, fill_rests

ENCODER = PhaseEncoder()
N_SONGS = 8
NAN = np.nan


def random_tune(seed: int, note_frames: tuple[int, int] = (6, 16)) -> FilledContour:
    """Return 100 notes anywhere in two octaves: two such tunes have nothing in common."""
    rng = np.random.default_rng(seed)
    pitch = np.repeat(rng.uniform(48.0, 72.0, 100), rng.integers(*note_frames, 100))
    return FilledContour(pitch.astype(np.float32), 0.0)


def index_of(tunes: list[FilledContour]) -> ExactIndex:
    """Index tunes as a catalog does."""
    windows = [cut_windows(tune, ENCODER.window_s, ENCODER.song_hop_s, ENCODER.n_frames) for tune in tunes]
    embeddings = np.concatenate([ENCODER.encode_songs(each.pitch_st).astype(np.float16) for each in windows])
    return ExactIndex.from_counts(embeddings, np.array([len(each.start_s) for each in windows]), ENCODER)


@pytest.fixture(scope="module")
def tunes() -> list[FilledContour]:
    return [random_tune(seed) for seed in range(N_SONGS)]


@pytest.fixture(scope="module")
def index(tunes) -> ExactIndex:
    return index_of(tunes)


def stretch(tune: FilledContour, start_s: float, hum_s: float, speed: float = 1.0, key_st: float = 0.0):
    time_s = start_s + (np.arange(round(hum_s * FRAME_RATE_HZ)) + 0.5) / FRAME_RATE_HZ * speed
    return FilledContour(tune.sample(time_s) + np.float32(key_st), 0.0)


# Filled contours and windows ----------------------------------------------------------------------------


def test_rests_are_held_and_outer_ones_dropped():
    filled = fill_rests(Melody([NAN, NAN, 60, NAN, NAN, 62, 63, NAN]))
    np.testing.assert_array_equal(filled.pitch_midi, [60, 60, 60, 62, 63])
    assert filled.offset_s == pytest.approx(0.08)
    assert filled.duration_s == pytest.approx(0.2)


def test_without_a_voice_the_contour_is_empty():
    for melody in (Melody([]), Melody([NAN, NAN])):
        assert len(fill_rests(melody).pitch_midi) == 0


def test_outside_a_contour_there_is_no_pitch():
    sampled = FilledContour(np.float32([60, 61]), 5.0).sample(np.array([[-0.01, 0.0], [0.079, 0.08]]))
    np.testing.assert_array_equal(sampled, [[NAN, 60], [61, NAN]])


def test_windows_cover_the_contour_and_are_centred():
    ramp = FilledContour(np.arange(250, dtype=np.float32), 0.0)  # 10 s
    windows = cut_windows(ramp, window_s=4.0, hop_s=1.0, n_frames=16, min_fill=0.4)
    np.testing.assert_allclose(windows.start_s, np.arange(9))  # the one from 8 s is filled by half
    assert windows.pitch_st.shape == (9, 16)
    np.testing.assert_allclose(np.nanmedian(windows.pitch_st, axis=1), 0.0, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(windows.pitch_st).sum(axis=1), [0, 0, 0, 0, 0, 0, 0, 4, 8])
    assert len(cut_windows(ramp, 4.0, 1.0, 16, min_fill=1.0).start_s) == 6


def test_a_fast_hum_is_stretched_to_song_time():
    fast = random_tune(1)
    song = FilledContour(np.repeat(fast.pitch_midi, 2), 0.0)
    stretched = cut_windows(fast, 4.0, 1.0, 16, speed=2.0)
    as_written = cut_windows(song, 4.0, 1.0, 16)
    np.testing.assert_array_equal(stretched.start_s, as_written.start_s)
    np.testing.assert_array_equal(stretched.pitch_st, as_written.pitch_st)


def test_a_contour_shorter_than_a_window_is_one_window():
    windows = cut_windows(FilledContour(np.full(25, 60, np.float32), 0.0), 4.0, 1.0, 16)
    np.testing.assert_array_equal(np.isnan(windows.pitch_st), [[False] * 4 + [True] * 12])


# Encoder ------------------------------------------------------------------------------------------------


def test_embeddings_of_full_windows_have_unit_length():
    pitch_st = np.random.default_rng(0).normal(0, 4, (10, ENCODER.n_frames))
    embeddings = ENCODER.encode_songs(pitch_st)
    assert embeddings.shape == (10, ENCODER.dim)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1.0, atol=1e-5)


def test_similarity_is_the_mean_kernel_of_the_pitch_differences():
    first, second = np.random.default_rng(1).normal(0, 3, (2, 1, ENCODER.n_frames))
    difference_st = (first - second)[0]
    expected = np.mean([np.cos(2 * np.pi * difference_st / period) for period in ENCODER.periods_st])
    found = ENCODER.encode_songs(first)[0] @ ENCODER.encode_songs(second)[0]
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("difference_st", "low", "high"), [(0.3, 0.97, 1.0), (1.0, 0.8, 0.9), (4.0, -0.4, 0.1)])
def test_one_wrong_note_costs_its_own_frames_only(difference_st, low, high):
    right = np.zeros((1, ENCODER.n_frames))
    wrong = right.copy()
    wrong[0, :4] += difference_st
    similarity = ENCODER.encode_songs(right)[0] @ ENCODER.encode_songs(wrong)[0]
    share = 4 / ENCODER.n_frames
    assert 1 - share + share * low <= similarity <= 1 - share + share * high


def test_empty_frames_say_nothing():
    pitch_st = np.random.default_rng(2).normal(0, 3, (1, ENCODER.n_frames))
    half = pitch_st.copy()
    half[0, ENCODER.n_frames // 2 :] = NAN
    embedding = ENCODER.encode_songs(half)[0]
    assert np.isfinite(embedding).all()
    assert embedding @ ENCODER.encode_songs(pitch_st)[0] == pytest.approx(0.5, abs=1e-5)
    assert not ENCODER.encode_songs(np.full((1, ENCODER.n_frames), NAN)).any()


def test_a_hum_has_an_embedding_per_key_hypothesis():
    pitch_st = np.random.default_rng(3).normal(0, 3, (5, ENCODER.n_frames))
    hums = ENCODER.encode_hum(pitch_st)
    assert hums.shape == (5, len(ENCODER.key_hypotheses_st), ENCODER.dim)
    for number, key_st in enumerate(ENCODER.key_hypotheses_st):
        np.testing.assert_allclose(hums[:, number], ENCODER.encode_songs(pitch_st + key_st), atol=1e-5)


CHANGED_SETTINGS = {
    "window_s": 5.0,
    "song_hop_s": 0.5,
    "n_frames": 20,
    "periods_st": (30.0, 15.0),
    "key_hypotheses_st": (0.0,),
}


def test_the_fingerprint_tells_what_song_embeddings_depend_on():
    assert set(CHANGED_SETTINGS) == {field.name for field in fields(PhaseEncoder)}
    assert default_encoder().fingerprint == PhaseEncoder().fingerprint
    changed = {name: replace(ENCODER, **{name: value}).fingerprint for name, value in CHANGED_SETTINGS.items()}
    assert changed.pop("key_hypotheses_st") == ENCODER.fingerprint  # catalogs stay valid
    assert len({ENCODER.fingerprint, *changed.values()}) == len(CHANGED_SETTINGS)


# Votes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_st", [0.0, -17.4])
@pytest.mark.parametrize("start_s", [0.0, 7.0, 20.0])
def test_the_same_melody_gets_a_full_vote_and_others_little(index, tunes, start_s, key_st):
    votes = index.votes(stretch(tunes[3], start_s, 8.0, key_st=key_st), np.arange(N_SONGS))
    assert votes.dtype == np.float32
    assert votes[3] == pytest.approx(1.0, abs=0.03)
    assert np.delete(votes, 3).max() < 0.6


@pytest.mark.parametrize("speed", [VOTE_SPEEDS[0], VOTE_SPEEDS[3], VOTE_SPEEDS[-2]])
def test_a_tempo_tried_is_as_good_as_the_same(index, tunes, speed):
    votes = index.votes(stretch(tunes[5], 6.0, 8.0, speed), np.arange(N_SONGS))
    assert votes[5] > np.delete(votes, 5).max() + 0.2  # not 1: rounding to frames moves note borders


@pytest.mark.parametrize("speed", [0.6, 0.7, 0.95, 1.05, 1.3, 1.7])
def test_a_tempo_in_between_is_bridged(speed):
    tunes = [random_tune(seed, note_frames=(12, 32)) for seed in range(N_SONGS)]
    index = index_of(tunes)
    for song, tune in enumerate(tunes):
        votes = index.votes(stretch(tune, 6.0, 8.0, speed), np.arange(N_SONGS))
        assert np.argmax(votes) == song


def test_a_start_between_two_windows_is_bridged(index, tunes):
    votes = index.votes(stretch(tunes[2], 9.5, 8.0), np.arange(N_SONGS))
    assert votes[2] == pytest.approx(1.0, abs=0.03)


def test_only_the_songs_asked_for_vote(index, tunes):
    hum = stretch(tunes[6], 4.0, 8.0)
    everyone = index.votes(hum, np.arange(N_SONGS))
    np.testing.assert_array_equal(index.votes(hum, np.array([6, 1])), everyone[[6, 1]])
    assert len(index.votes(hum, np.array([], dtype=int))) == 0


def test_the_order_in_time_counts():
    tune = random_tune(0)
    first, second = tune.pitch_midi[: 25 * 8], tune.pitch_midi[25 * 8 : 25 * 16]
    straight, swapped = (FilledContour(np.concatenate(parts), 0.0) for parts in ((first, second), (second, first)))
    votes = index_of([straight, swapped]).votes(straight, np.arange(2))
    assert votes[0] > 0.95 > votes[1] + 0.2


@pytest.mark.parametrize("n_frames", [25, 26, 27, 28, 60, 99])
def test_hums_shorter_than_a_window_vote_too(index, tunes, n_frames):
    # from 1.00 s on; of the shortest nothing is left half a hop into the hum
    hum = FilledContour(tunes[4].pitch_midi[100 : 100 + n_frames], 0.0)
    votes = index.votes(hum, np.arange(N_SONGS))
    assert np.isfinite(votes).all()
    assert votes[4] > 0.9


def test_a_song_shorter_than_a_window_can_be_voted_for():
    short = FilledContour(random_tune(0).pitch_midi[:50], 0.0)
    votes = index_of([random_tune(1), short]).votes(short, np.arange(2))
    assert np.isfinite(votes).all()
    assert votes[1] == pytest.approx(1.0, abs=0.03)
