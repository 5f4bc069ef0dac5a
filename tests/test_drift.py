"""Alignment in a drifting key against a slow reference, and the singers it is for."""

from __future__ import annotations

import numpy as np
import pytest
from contours import contour, hummed, random_notes

from hmm2song.match.align import (
    COST_CAP_ST,
    INFINITE_COST,
    TEMPO_PENALTY_ST,
    WARP_PENALTY_ST,
    Placements,
    Stretches,
    pack_contours,
    place,
)
from hmm2song.match.drift import KEY_STEP_ST, MOVE_PENALTY_ST, REACH_ST, place_drifting, trace
from hmm2song.match.search import FINE_RATE_HZ, MelodySearch
from hmm2song.melody.contour import FilledContour
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody

KEYS_ST = np.arange(-REACH_ST, REACH_ST + KEY_STEP_ST / 2, KEY_STEP_ST)


def drift(
    hum: FilledContour, song: FilledContour, key_st: float = 0.0, speed: float = 1.0, rate_hz: float = FRAME_RATE_HZ
) -> tuple[float, int]:
    """Return cost and end of a hum in one whole song, in keys around ``key_st``."""
    songs = pack_contours([song], rate_hz)
    unused = np.zeros(1, np.float32)
    whole = Stretches(songs.first_frame[:1], songs.first_frame[1:], unused, unused)
    found = Placements(unused, unused, np.array([key_st], np.float32), np.array([speed]))
    cost_st, end = place_drifting(hum, songs, whole, found, 1)
    return float(cost_st[0]), int(end[0])


def in_one_key(hum: FilledContour, song: FilledContour, key_st: float = 0.0) -> float:
    songs = pack_contours([song], FRAME_RATE_HZ)
    key = np.array([key_st], np.float32)
    whole = Stretches(songs.first_frame[:1], songs.first_frame[1:], key, key)
    return float(place(hum, songs, whole, (1.0,), KEY_STEP_ST, 1).cost_st[0])


def least_after_moves(total: np.ndarray) -> np.ndarray:
    """Return totals (n_keys, ...) where the key has moved by at most a step."""
    padded = np.pad(total, ((1, 1), *[(0, 0)] * (total.ndim - 1)), constant_values=np.inf) + MOVE_PENALTY_ST
    return np.minimum(total, np.minimum(padded[:-2], padded[2:]))


def reference_cost(hum: np.ndarray, song: np.ndarray) -> float:
    """Mean cost of the best path over keys and song, by the recursion as one would write it on a blackboard."""
    off_st = np.abs(hum[None, :, None] - KEYS_ST[:, None, None] - song[None, None, :])
    distance = np.minimum(off_st, COST_CAP_ST).astype(np.float64)
    total = np.full(distance.shape, np.inf)
    total[:, 0] = distance[:, 0]
    for i in range(1, len(hum)):
        moved = least_after_moves(total[:, i - 1])
        for j in range(1, len(song)):
            best = moved[:, j - 1]
            if j >= 2:
                best = np.minimum(best, moved[:, j - 2] + WARP_PENALTY_ST)
            if i >= 2:
                best = np.minimum(best, total[:, i - 2, j - 1] + distance[:, i - 1, j] + WARP_PENALTY_ST)
            total[:, i, j] = distance[:, i, j] + best
    return float(total[:, -1].min()) / len(hum)


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a hum and a song that partly resemble each other, in a key that changes twice."""
    rng = np.random.default_rng(seed)
    song = rng.normal(0.0, 2.0, rng.integers(25, 70)).astype(np.float32)
    n_hum = int(rng.integers(2, 40))
    frames = np.clip(np.cumsum(rng.choice([0, 1, 1, 2], n_hum)), 0, len(song) - 1)
    key_st = np.repeat(rng.choice([-1.5, -0.5, 0.0, 1.0], 3), -(-n_hum // 3))[:n_hum]
    return (song[frames] + key_st + rng.normal(0.0, 0.4, n_hum)).astype(np.float32), song


@pytest.mark.parametrize("seed", range(20))
def test_kernel_agrees_with_the_reference(seed):
    hum, song = random_case(seed)
    cost_st, end = drift(contour(hum), contour(song))
    assert cost_st == pytest.approx(reference_cost(hum, song), abs=1e-4)
    assert reference_cost(hum, song[:end]) == pytest.approx(cost_st, abs=1e-4)  # nothing is lost without what follows
    assert cost_st <= in_one_key(contour(hum), contour(song)) + 1e-5


@pytest.mark.parametrize("seed", range(20))
def test_traced_path_keeps_the_slope_limits_and_has_the_cost_found(seed):
    hum, song = random_case(seed)
    hum_time_s, song_time_s = trace(contour(hum), song, 0.0, 1.0, FRAME_RATE_HZ)
    hum_frame = np.round(hum_time_s * FRAME_RATE_HZ - 0.5).astype(int)
    song_frame = np.round(song_time_s * FRAME_RATE_HZ - 0.5).astype(int)
    np.testing.assert_array_equal(hum_frame, np.arange(len(hum)))
    steps = np.diff(song_frame)
    assert set(steps) <= {0, 1, 2}
    held = np.flatnonzero(steps == 0)
    assert (steps[held - 1] == 1).all()  # never two in a row, never at first
    off_st = np.abs(hum[None, :] - KEYS_ST[:, None] - song[None, song_frame])
    total = np.minimum(off_st, COST_CAP_ST)[:, 0]
    for frame in range(1, len(hum)):
        total = least_after_moves(total) + np.minimum(off_st[:, frame], COST_CAP_ST)
    least_st = (total.min() + WARP_PENALTY_ST * np.count_nonzero(steps != 1)) / len(hum)
    cost_st, end = drift(contour(hum), contour(song))
    # on this path the key might even move where the alignment does not let it, in the midst of a step
    assert least_st == pytest.approx(cost_st, abs=MOVE_PENALTY_ST / len(hum)) and least_st <= cost_st + 1e-4
    assert song_frame[-1] + 1 == end


@pytest.mark.parametrize("jump_st", [-2.0, 0.5, 3.0])
def test_a_key_changed_for_good_is_paid_for_once(jump_st):
    song = random_notes(1)
    hum = hummed(song)
    pitch = hum.pitch_midi + np.float32(jump_st) * (np.arange(len(hum.pitch_midi)) > len(hum.pitch_midi) / 2)
    n_moves = abs(jump_st) / KEY_STEP_ST
    cost_st, end = drift(contour(pitch), song)
    # a step a frame: while the key moves, the frames are off
    assert 0.0 < cost_st <= n_moves * (MOVE_PENALTY_ST + COST_CAP_ST) / len(pitch)
    assert cost_st < in_one_key(contour(pitch), song) or abs(jump_st) == KEY_STEP_ST
    assert end == pytest.approx((5.0 + 8.0) * FRAME_RATE_HZ, abs=1)


def test_going_flat_note_by_note_costs_less_than_in_any_one_key():
    song = random_notes(2)
    hum = hummed(song)
    flat = contour(hum.pitch_midi - np.linspace(0.0, 2.5, len(hum.pitch_midi), dtype=np.float32))
    best_st = min(in_one_key(flat, song, key_st) for key_st in np.arange(-3.0, 0.1, 0.5))
    cost_st, _ = drift(flat, song, key_st=-1.0)
    assert cost_st < 0.6 * best_st


def test_keys_out_of_reach_are_not_tried():
    song = random_notes(3)
    hum = hummed(song, key_st=REACH_ST)
    assert drift(hum, song)[0] == pytest.approx(0.0, abs=1e-5)
    assert drift(hum, song, key_st=-0.5)[0] >= KEY_STEP_ST * 0.99


def test_the_tempo_hypothesis_has_its_price():
    song = random_notes(4, note_frames=(12, 32))
    cost_st, _ = drift(hummed(song, speed=2.0, hum_s=6.0), song, speed=2.0)
    assert cost_st == pytest.approx(TEMPO_PENALTY_ST, abs=0.05)


def test_songs_too_short_and_no_songs_at_all():
    song = contour(random_notes(5).pitch_midi[:20])
    assert drift(contour(np.linspace(60, 66, 39)), song)[0] < INFINITE_COST
    assert drift(contour(np.linspace(60, 66, 40)), song)[0] == INFINITE_COST
    nowhere = np.zeros(0, np.int64)
    found = Placements(*np.zeros((2, 0), np.float32), *np.zeros((2, 0)))
    songs = pack_contours([song], FRAME_RATE_HZ)
    cost_st, end = place_drifting(song, songs, Stretches(nowhere, nowhere, nowhere, nowhere), found, 2)
    assert len(cost_st) == len(end) == 0


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
