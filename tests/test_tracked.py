"""Search in tracked melodies: pitch classes and jumps against a slow reference, and what they bear."""

from __future__ import annotations

import numpy as np
import pytest
from contours import contour, hummed, random_notes

from hmm2song import Recognizer
from hmm2song.match import align, tracked
from hmm2song.match.align import fold, pack_contours, place_folded, trace_folded
from hmm2song.match.tracked import TrackedSearch
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody
from hmm2song.melody.packed import PackedMelodies

KEYS_ST = np.arange(-3.0, 12.0, 0.5)
"""More than an octave, so that the key may drift from anywhere."""
RATE_HZ = 6.25
STRETCH = round(4 * FRAME_RATE_HZ)
"""Frames between two jumps of the octave."""


def mistracked(song: FilledContour, seed: int) -> FilledContour:
    """Let a tracker jump an octave every four seconds and take an instrument for the voice now and then."""
    rng = np.random.default_rng(seed)
    stretches = np.arange(len(song.pitch_midi)) // STRETCH
    octaves = rng.choice([-12, 0, 12], stretches[-1] + 1)[stretches]
    wrong = rng.random(stretches[-1] + 1)[stretches] < 0.2
    instrument = np.repeat(rng.uniform(40, 80, len(song.pitch_midi) // 5 + 1), 5)[: len(song.pitch_midi)]
    return contour(np.where(wrong, instrument, song.pitch_midi + octaves))


def reference_cost(hum: np.ndarray, song: np.ndarray, jump_st: float) -> float:
    """Return the mean cost of the best path over all pairs of states, at one tempo: slow and plain."""
    n_hum, n_song, n_keys = len(hum), len(song), len(KEYS_ST)
    distance = (hum[:, None, None] - KEYS_ST[:, None] - song) % 12
    cost = np.minimum(np.minimum(distance, 12 - distance), align.COST_CAP_ST)
    total = np.full((n_hum, n_keys, n_song), np.inf)
    total[0] = cost[0]
    for i in range(1, n_hum):
        padded = np.pad(total[i - 1], ((1, 1), (0, 0)), constant_values=np.inf)
        moved = np.minimum(padded[:-2], padded[2:]) + align.MOVE_PENALTY_ST
        entered = np.minimum(total[i - 1], moved)
        for k in range(n_keys):
            for j in range(n_song):
                ways = [entered[k].min() + jump_st]
                if j >= 1:
                    ways.append(entered[k, j - 1])
                if j >= 2:
                    ways.append(entered[k, j - 2] + align.WARP_PENALTY_ST)
                if j >= 1 and i >= 2:
                    ways.append(total[i - 2, k, j - 1] + cost[i - 1, k, j] + align.WARP_PENALTY_ST)
                total[i, k, j] = cost[i, k, j] + min(ways)
    return float(total[-1].min() / n_hum)


def cost_of(hum: FilledContour, song: FilledContour, rate_hz: float = RATE_HZ) -> float:
    songs = pack_contours([song], rate_hz)
    return float(place_folded(hum, songs, np.array([0]), KEYS_ST[None], (1.0,), True, 1).cost_st[0])


@pytest.mark.parametrize("seed", range(4))
def test_it_is_the_best_path_of_a_slow_reference(seed):
    rng = np.random.default_rng(seed)
    song = contour(np.repeat(rng.uniform(40, 80, 12), 8))
    hum = contour(np.concatenate((song.pitch_midi[48:80] + 5.3, song.pitch_midi[8:40] - 6.2)) + rng.normal(0, 0.3, 64))
    sampled = (align.sample_contour(each, RATE_HZ) for each in (hum, song))
    jump_st = align.JUMP_PENALTY_ST_S * RATE_HZ
    assert cost_of(hum, song) == pytest.approx(reference_cost(*sampled, jump_st), abs=0.01)


def test_a_jump_costs_what_is_said(monkeypatch):
    song = random_notes(3)
    hum = contour(np.concatenate((hummed(song, 30.0, 6.0).pitch_midi, hummed(song, 5.0, 6.0).pitch_midi)))
    n_frames = int(12.0 * RATE_HZ)
    before = cost_of(hum, song)
    assert before < 0.35
    monkeypatch.setattr(align, "JUMP_PENALTY_ST_S", align.JUMP_PENALTY_ST_S + 1.0)  # an argument of the kernels
    assert cost_of(hum, song) - before == pytest.approx(RATE_HZ / n_frames, abs=0.01)


def test_the_trace_is_the_longest_part_between_jumps():
    song = random_notes(4)
    hum = contour(np.concatenate((hummed(song, 30.0, 9.0).pitch_midi, hummed(song, 5.0, 5.0).pitch_midi)))
    folded = fold(pack_contours([song], RATE_HZ).pitch_midi)
    hum_time_s, song_time_s = trace_folded(hum, folded, KEYS_ST, 1.0, RATE_HZ)
    assert (np.diff(song_time_s) >= 0).all() and (np.diff(hum_time_s) >= 0).all()
    assert hum_time_s[[0, -1]] == pytest.approx([0.0, 9.0], abs=0.5)
    assert song_time_s[[0, -1]] == pytest.approx([30.0, 39.0], abs=0.5)


@pytest.fixture(scope="module")
def contours() -> list[FilledContour]:
    return [mistracked(random_notes(seed, 200), seed) for seed in range(8)]


def searching(contours: list[FilledContour]) -> TrackedSearch:
    return TrackedSearch(PackedMelodies.of([Melody(each.pitch_midi) for each in contours]), 1)


def test_long_wandering_hums_are_found(contours):
    search = searching([random_notes(0)] * 10 + contours)
    for number in range(4):
        written = random_notes(number, 200)
        parts = [hummed(written, start_s, 8.0, 1.1, 3.0).pitch_midi for start_s in (40.0, 10.0, 25.0)]
        hum = contour(np.concatenate(parts))
        found = search.rank(hum, np.arange(18) >= 10, np.zeros(0, np.int64))
        assert found.song[0] == 10 + number
        assert sorted(found.song) == list(range(10, 18))
        alignment = search.align(hum, found, 0)
        assert alignment.tempo_ratio == pytest.approx(1.1, abs=0.1)


def test_only_selected_songs_and_only_what_is_affordable(contours, monkeypatch):
    search, hum = searching(contours), hummed(random_notes(5, 200), hum_s=10.0)
    mask = np.arange(8) % 2 == 1
    assert set(search.rank(hum, mask, np.zeros(0, np.int64)).song) == {1, 3, 5, 7}
    longest_s = max(each.duration_s for each in contours)
    monkeypatch.setattr(tracked, "COARSE_BUDGET_S2", 2.1 * longest_s * hum.duration_s)
    assert not search.affords(hum, mask)
    found = search.rank(hum, mask, np.array([7, 5, 1, 3]))
    assert set(found.song) == {5, 7}
    assert found.song[0] == 5


def test_both_kinds_meet_in_one_ranking():
    written = {f"written-{seed}": Melody(random_notes(100 + seed).pitch_midi) for seed in range(5)}
    in_sound = {f"tracked-{seed}": Melody(mistracked(random_notes(seed, 200), seed).pitch_midi) for seed in range(5)}
    recognizer = Recognizer.from_melodies(written | in_sound, tracked=set(in_sound))
    hums = {"written-2": random_notes(102), "tracked-3": random_notes(3, 200)}
    for name, song in hums.items():
        result = recognizer.recognize_melody(Melody(hummed(song, 10.0, 20.0, key_st=-2.0).pitch_midi))
        assert result.matches[0].id == name
        assert {match.id for match in result.matches} == written.keys() | in_sound.keys()
        assert result.matches[0].probability > 0.5
        assert result.matches[0].is_tracked == name.startswith("tracked")
        assert result.matches[0].alignment.start_s == pytest.approx(10.0, abs=4.0)


def test_a_song_that_only_an_earlier_hum_brought_up_is_traced_as_tracked(monkeypatch):
    in_sound = {f"tracked-{seed}": Melody(mistracked(random_notes(seed, 200), seed).pitch_midi) for seed in range(5)}
    recognizer = Recognizer.from_melodies(in_sound, tracked=set(in_sound))
    monkeypatch.setattr(tracked, "N_REFINED", 1)
    latest, earlier = (Melody(hummed(random_notes(seed, 200), 10.0, 20.0).pitch_midi) for seed in (1, 2))
    result = recognizer.recognize_melody(latest, earlier=[earlier])
    assert {match.id for match in result.matches} == {"tracked-1", "tracked-2"}
    search, piece = recognizer.ranker._tracked, fill_rests(latest)
    alone = np.arange(5) == 2
    expected = search.align(piece, search.rank(piece, alone, np.zeros(0, np.int64)), 0)
    found = next(match.alignment for match in result.matches if match.id == "tracked-2")
    np.testing.assert_array_equal(found.song_time_s, expected.song_time_s)


def test_songs_that_are_proposed_first_are_refined_however_they_align_coarsely(monkeypatch):
    songs = [Melody(mistracked(random_notes(seed, 100), seed).pitch_midi) for seed in range(4)]
    recognizer = Recognizer.from_melodies({str(n): song for n, song in enumerate(songs)}, tracked=set("0123"))
    search, hum = recognizer.ranker._tracked, hummed(random_notes(0, 100), 10.0, 20.0)
    piece, every, proposed = fill_rests(Melody(hum.pitch_midi)), np.ones(4, bool), np.array([3, 0, 2, 1])
    monkeypatch.setattr(tracked, "N_REFINED", 1)
    monkeypatch.setattr(tracked, "N_PROMISING", 1)
    monkeypatch.setattr(TrackedSearch, "affords", lambda *_: False)
    assert set(search.rank(piece, every, proposed).song) == {0, 3}
    monkeypatch.undo()
    assert set(search.rank(piece, every, proposed[:0]).song) == {0, 1, 2, 3}
