"""The alignment in one key and in a drifting one: against a slow reference, and what it recovers of known places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from contours import contour, hummed, random_notes

from hmm2song.match import align
from hmm2song.match.align import (
    COST_CAP_ST,
    DRIFT_REACH_ST,
    DRIFT_STEP_ST,
    INFINITE_COST,
    MOVE_PENALTY_ST,
    TEMPO_PENALTY_ST,
    WARP_PENALTY_ST,
    describe_path,
    pack_contours,
    place,
    place_drifting,
    sample_contour,
    trace,
)
from hmm2song.match.places import Placements, Places
from hmm2song.match.search import FINE_RATE_HZ, MelodySearch
from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody

KEYS_ST = np.arange(-DRIFT_REACH_ST, DRIFT_REACH_ST + DRIFT_STEP_ST / 2, DRIFT_STEP_ST)
WANDERING_KEYS_ST = (-1.5, -0.5, 0.0, 1.0)
AS_IT_IS = (1.0,)
WHOLE = Places.whole(np.array([0]))
FINE_SPEEDS = tuple(2.0 ** (step / 4) for step in range(-3, 4))


def random_tune(seed: int, n_notes: int = 60, note_frames: tuple[int, int] = (5, 20)) -> np.ndarray:
    """Return a random walk of held notes, shape (n_frames,), on the melody's grid."""
    rng = np.random.default_rng(seed)
    steps = rng.choice([-5, -4, -3, -2, -1, 1, 2, 3, 4, 5], n_notes)
    pitches = 60 + np.cumsum(steps) - np.linspace(0, steps.sum(), n_notes)
    return np.repeat(pitches, rng.integers(*note_frames, n_notes)).astype(np.float32)


def hummed_from(tune: np.ndarray, start_s: float, hum_s: float, speed: float, key_st: float) -> FilledContour:
    """Return what somebody hums from ``start_s``, ``speed`` times as fast as written, ``key_st`` off."""
    time_s = start_s + (np.arange(round(hum_s * FRAME_RATE_HZ)) + 0.5) / FRAME_RATE_HZ * speed
    return contour(tune[np.floor(time_s * FRAME_RATE_HZ + 1e-6).astype(int)] + key_st)


def place_in_one(
    hum: FilledContour, song: FilledContour, keys_st: tuple[float, float], speeds=AS_IT_IS, rate_hz=FRAME_RATE_HZ
) -> Placements:
    """Place a hum in one whole song, trying keys every half semitone."""
    songs = pack_contours([song], rate_hz)
    lowest_st, highest_st = np.array(keys_st)[:, None]
    return place(hum, songs, WHOLE, lowest_st, highest_st, speeds, 0.5, 1)


def end_frame(found: Placements, rate_hz: float = FRAME_RATE_HZ) -> int:
    """Return the frame after the last of the first placement."""
    return round(float(found.end_s[0]) * rate_hz)


def drift(
    hum: FilledContour, song: FilledContour, key_st: float = 0.0, speed: float = 1.0, rate_hz: float = FRAME_RATE_HZ
) -> tuple[float, int]:
    """Return cost and end of a hum in one whole song, in keys around ``key_st``."""
    songs = pack_contours([song], rate_hz)
    unused = np.zeros(1, np.float32)
    start = Placements(WHOLE.song, unused, np.array([key_st], np.float32), np.array([speed]), unused)
    found = place_drifting(hum, songs, WHOLE, start, 1)
    return float(found.cost_st[0]), end_frame(found, rate_hz)


def in_one_key(hum: FilledContour, song: FilledContour, key_st: float = 0.0) -> float:
    return float(place_in_one(hum, song, (key_st, key_st)).cost_st[0])


def least_after_moves(total: np.ndarray) -> np.ndarray:
    """Return totals (n_keys, ...) where the key has moved by at most a step."""
    padding = ((1, 1), *[(0, 0)] * (total.ndim - 1))
    padded = np.pad(total, padding, constant_values=np.inf) + align.MOVE_PENALTY_ST
    return np.minimum(total, np.minimum(padded[:-2], padded[2:]))


def reference_cost(hum: np.ndarray, song: np.ndarray, keys_st: Sequence[float] = KEYS_ST) -> float:
    """Mean cost of the best path over keys and song, by the recursion as one would write it on a blackboard."""
    off_st = np.abs(hum[None, :, None] - np.asarray(keys_st)[:, None, None] - song[None, None, :])
    distance = np.minimum(off_st, align.COST_CAP_ST).astype(np.float64)
    total = np.full(distance.shape, np.inf)
    total[:, 0] = distance[:, 0]
    for i in range(1, len(hum)):
        moved = least_after_moves(total[:, i - 1])
        for j in range(1, len(song)):
            best = moved[:, j - 1]
            if j >= 2:
                best = np.minimum(best, moved[:, j - 2] + align.WARP_PENALTY_ST)
            if i >= 2:
                best = np.minimum(best, total[:, i - 2, j - 1] + distance[:, i - 1, j] + align.WARP_PENALTY_ST)
            total[:, i, j] = distance[:, i, j] + best
    return float(total[:, -1].min()) / len(hum)


def random_case(seed: int, keys_st: Sequence[float] = (0.0,)) -> tuple[np.ndarray, np.ndarray]:
    """Return a hum and a song that partly resemble each other, in a key that changes twice."""
    rng = np.random.default_rng(seed)
    song = rng.normal(0.0, 2.0, rng.integers(25, 70)).astype(np.float32)
    n_hum = int(rng.integers(2, 40))
    frames = np.clip(np.cumsum(rng.choice([0, 1, 1, 2], n_hum)), 0, len(song) - 1)
    key_st = np.repeat(rng.choice(keys_st, 3), -(-n_hum // 3))[:n_hum]
    return (song[frames] + key_st + rng.normal(0.0, 0.5, n_hum)).astype(np.float32), song


@pytest.mark.parametrize("seed", range(20))
def test_kernel_in_one_key_agrees_with_the_reference(seed):
    hum, song = random_case(seed)
    keys_st = (-1.0, -0.5, 0.0, 0.5, 1.0)
    by_key = [reference_cost(hum, song, [key_st]) for key_st in keys_st]
    found = place_in_one(contour(hum), contour(song), (-1.0, 1.0))
    assert found.cost_st[0] == pytest.approx(min(by_key), abs=0.01)
    assert by_key[keys_st.index(found.key_st[0])] == pytest.approx(min(by_key), abs=0.01)
    # the path really ends where it is said to: nothing is lost without the frames after it
    shortened = reference_cost(hum, song[: end_frame(found)], found.key_st[:1])
    assert shortened == pytest.approx(min(by_key), abs=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_kernel_in_a_drifting_key_agrees_with_the_reference(seed):
    hum, song = random_case(seed, WANDERING_KEYS_ST)
    cost_st, end = drift(contour(hum), contour(song))
    assert cost_st == pytest.approx(reference_cost(hum, song), abs=0.01)
    assert reference_cost(hum, song[:end]) == pytest.approx(cost_st, abs=0.01)  # nothing is lost without what follows
    assert cost_st <= in_one_key(contour(hum), contour(song)) + 1e-5


@pytest.mark.parametrize(
    ("name", "value_st", "in_both"),
    [("COST_CAP_ST", 0.7, True), ("WARP_PENALTY_ST", 0.05, True), ("MOVE_PENALTY_ST", 0.1, False)],
)
def test_a_constant_tuned_is_tuned_in_both_kernels_and_in_the_path(monkeypatch, name, value_st, in_both):
    hum, song = random_case(3, WANDERING_KEYS_ST)
    before = in_one_key(contour(hum), contour(song)), drift(contour(hum), contour(song))[0]
    monkeypatch.setattr(align, name, value_st)
    after = in_one_key(contour(hum), contour(song)), drift(contour(hum), contour(song))[0]
    assert after == pytest.approx((reference_cost(hum, song, [0.0]), reference_cost(hum, song)), abs=0.01)
    assert (after[0] < before[0] - 0.01) == in_both
    assert after[1] < before[1] - 0.01
    if in_both:
        test_traced_path_keeps_the_slope_limits_and_has_the_cost_found(3)


def test_a_song_of_half_the_hum_is_the_shortest_that_fits():
    song = contour(random_tune(1)[:20])
    for n_hum, fits in ((38, True), (39, True), (40, False), (41, False)):
        found = place_in_one(contour(np.linspace(60, 66, n_hum)), song, (-3.0, 3.0))
        assert (found.cost_st[0] < INFINITE_COST) == fits
        assert (found.cost_st[0] <= COST_CAP_ST + WARP_PENALTY_ST) == fits


def test_a_tempo_far_from_the_known_one_costs_something():
    tune = np.repeat(random_tune(3), 2)
    found = place_in_one(contour(tune[200:400:2]), contour(tune), (0.0, 0.0), (2.0,))
    assert found.cost_st[0] == pytest.approx(TEMPO_PENALTY_ST, abs=1e-5)
    even = place_in_one(contour(tune[100:200]), contour(tune), (0.0, 0.0))
    assert even.cost_st[0] == 0.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("speed", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("key_st", [-13.5, 0.0, 5.0])
def test_place_key_and_tempo_are_recovered(seed, speed, key_st):
    tune = contour(random_tune(seed + 10))
    start_s = 3.0 + 4.0 * seed
    hum = hummed_from(tune.pitch_midi, start_s, 6.0, speed, key_st)
    found = place_in_one(hum, tune, (key_st - 2.0, key_st + 2.0), FINE_SPEEDS, 12.5)
    assert found.key_st[0] == key_st
    song = pack_contours([tune], 12.5).pitch_midi[: end_frame(found, 12.5)]
    path = trace(hum, song, float(found.key_st[0]), float(found.speed[0]), 12.5)
    alignment = describe_path(hum, tune, *path)
    assert alignment.start_s == pytest.approx(start_s, abs=0.3)
    assert alignment.end_s == pytest.approx(start_s + 6.0 * speed, abs=0.3)
    assert alignment.tempo_ratio == pytest.approx(speed, rel=0.06)
    assert alignment.key_shift_st == pytest.approx(key_st, abs=1e-3)
    assert (np.diff(alignment.hum_time_s) > 0).all()
    assert (np.diff(alignment.song_time_s) >= 0).all()


def test_offsets_turn_contour_times_into_recording_and_score_times():
    hum, song = contour([60.0] * 25, offset_s=0.8), contour([48.0] * 50, offset_s=30.0)
    path_s = np.array([0.1, 0.5, 0.9])
    alignment = describe_path(hum, song, path_s, 2 * path_s)
    np.testing.assert_allclose(alignment.hum_time_s, path_s + 0.8)
    assert (alignment.start_s, alignment.end_s) == pytest.approx((30.2, 31.8))
    assert (alignment.key_shift_st, alignment.tempo_ratio) == pytest.approx((12.0, 2.0))


def test_a_place_confines_the_search():
    tune = random_tune(6)
    songs = pack_contours([contour(random_tune(7)), contour(tune)], FRAME_RATE_HZ)
    hum = contour(tune[200:300])
    places = Places(np.ones(3, int), np.array([150, 0, 150]) / FRAME_RATE_HZ, np.array([350, 250, 290]) / FRAME_RATE_HZ)
    found = place(hum, songs, places, np.zeros(3), np.zeros(3), AS_IT_IS, 0.5, 1)
    assert found.cost_st[0] == 0.0
    assert found.end_s[0] == 300 / FRAME_RATE_HZ
    assert (found.cost_st[1:] > 0.0).all()
    assert (found.end_s <= places.end_s).all()


def test_places_become_frames_inside_their_song():
    songs = pack_contours([contour([60.0] * 50), contour([62.0] * 100)], FRAME_RATE_HZ)
    song = np.array([1, 1, 1, 1, 0])
    start_s, end_s = np.array([0.5, -3.0, 9.0, 1.0, -np.inf]), np.array([1.01, 1.0, 12.0, 0.5, np.inf])
    start, stop = songs.frames(Places(song, start_s, end_s))
    assert start.tolist() == [50 + 12, 50, 50 + 99, 50 + 25, 0]
    assert stop.tolist() == [50 + 26, 50 + 25, 150, 50 + 26, 50]  # one frame at least


def test_sampling_keeps_notes_in_place():
    tune = contour(np.repeat([60.0, 62.0, 64.0, 65.0], 25))
    np.testing.assert_array_equal(sample_contour(tune, 2.0), [60, 60, 62, 62, 64, 64, 65, 65])
    np.testing.assert_array_equal(sample_contour(tune, 2.0, speed=0.5), [60, 62, 64, 65])
    assert len(sample_contour(tune, 0.01)) == 1
    assert len(sample_contour(contour([]), 2.0)) == 0


def test_packing_keeps_contours_apart():
    packed = pack_contours([contour([60.0] * 50), contour([62.0] * 25), contour([64.0] * 100)], 12.5)
    np.testing.assert_array_equal(packed.first_frame, [0, 25, 37, 87])
    np.testing.assert_array_equal(np.repeat([60, 62, 64], [25, 12, 50]), packed.pitch_midi)


# In a drifting key -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_traced_path_keeps_the_slope_limits_and_has_the_cost_found(seed):
    hum, song = random_case(seed, WANDERING_KEYS_ST)
    hum_time_s, song_time_s = trace(contour(hum), song, 0.0, 1.0, FRAME_RATE_HZ)
    hum_frame = np.round(hum_time_s * FRAME_RATE_HZ - 0.5).astype(int)
    song_frame = np.round(song_time_s * FRAME_RATE_HZ - 0.5).astype(int)
    np.testing.assert_array_equal(hum_frame, np.arange(len(hum)))
    steps = np.diff(song_frame)
    assert set(steps) <= {0, 1, 2}
    held = np.flatnonzero(steps == 0)
    assert (steps[held - 1] == 1).all()  # never two in a row, never at first
    off_st = np.abs(hum[None, :] - KEYS_ST[:, None] - song[None, song_frame])
    total = np.minimum(off_st, align.COST_CAP_ST)[:, 0]
    for frame in range(1, len(hum)):
        total = least_after_moves(total) + np.minimum(off_st[:, frame], align.COST_CAP_ST)
    least_st = (total.min() + align.WARP_PENALTY_ST * np.count_nonzero(steps != 1)) / len(hum)
    cost_st, end = drift(contour(hum), contour(song))
    # on this path the key might even move where the alignment does not let it, in the midst of a step
    assert least_st == pytest.approx(cost_st, abs=align.MOVE_PENALTY_ST / len(hum)) and least_st <= cost_st + 0.005
    assert song_frame[-1] + 1 == end


def test_keys_out_of_reach_are_not_tried():
    song = random_notes(3)
    hum = hummed(song, key_st=DRIFT_REACH_ST)
    assert drift(hum, song)[0] == pytest.approx(0.0, abs=1e-5)
    assert drift(hum, song, key_st=-0.5)[0] >= DRIFT_STEP_ST * 0.99


def test_the_tempo_hypothesis_has_its_price():
    song = random_notes(4, note_frames=(12, 32))
    cost_st, _ = drift(hummed(song, speed=2.0, hum_s=6.0), song, speed=2.0)
    assert cost_st == pytest.approx(TEMPO_PENALTY_ST, abs=0.05)


def test_songs_too_short_and_no_songs_at_all_in_a_drifting_key():
    song = contour(random_notes(5).pitch_midi[:20])
    assert drift(contour(np.linspace(60, 66, 39)), song)[0] < INFINITE_COST
    assert drift(contour(np.linspace(60, 66, 40)), song)[0] == INFINITE_COST
    songs, nowhere = pack_contours([song], FRAME_RATE_HZ), Places.whole(np.zeros(0, np.int64))
    found = place(song, songs, nowhere, np.zeros(0), np.zeros(0), AS_IT_IS, 0.5, 2)
    assert len(found) == len(place_drifting(song, songs, nowhere, found, 2)) == 0


def test_a_singer_who_goes_on_in_another_key_is_found_and_followed():
    songs = [random_notes(seed) for seed in range(10, 40)]
    search = MelodySearch([Melody(song.pitch_midi) for song in songs])
    hum = hummed(songs[7], start_s=10.0)
    half = len(hum.pitch_midi) // 2
    changed = contour(np.concatenate((hum.pitch_midi[:half], hum.pitch_midi[half:] + 2.0)))
    ranking = search.rank(changed, np.ones(len(songs), bool))
    assert ranking.song[0] == 7
    assert ranking.cost_st[0] <= 4 * (MOVE_PENALTY_ST + COST_CAP_ST) / (8.0 * FINE_RATE_HZ)
    alignment = search.align(changed, ranking, 0)
    assert (alignment.start_s, alignment.end_s) == pytest.approx((10.0, 18.0), abs=0.3)
