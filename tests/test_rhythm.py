"""The second look: what a path is charged where the notes of hum and song do not fall together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from encoders import tiny_encoder

from hmm2song.catalog.catalog import Catalog
from hmm2song.match import ranking
from hmm2song.match.ranking import Ranker
from hmm2song.match.rhythm import FARTHEST_S, RESUMED_ST, UNHEARD_ST_S, UNSUNG_ST_S, HumNotes
from hmm2song.melody.contour import FilledContour, fill_rests
from hmm2song.melody.melody import HOP_S, melody_from_notes
from hmm2song.song import Song
from hmm2song.training.singer import FLAWLESS, hum_contour

NOTE_S = 0.4
SCALE = (60, 62, 64, 65, 67, 65, 64, 62, 60, 64)
HELD = (*SCALE[:4], SCALE[3], *SCALE[5:])
QUICK = tuple(pitch + 3 * (number == 9) for number, pitch in enumerate(np.repeat(SCALE, 2).tolist()))


def contour(pitches=SCALE, note_s: float = NOTE_S) -> FilledContour:
    return fill_rests(melody_from_notes([(number * note_s, note_s, pitch) for number, pitch in enumerate(pitches)]))


def silent(hum: FilledContour, start_s: float, end_s: float) -> FilledContour:
    """Silence a hum from and to."""
    pitch, voiced = hum.pitch_midi.copy(), hum.voiced.copy()
    frames = slice(round(start_s / HOP_S), round(end_s / HOP_S))
    pitch[frames], voiced[frames] = pitch[frames.start - 1], False
    return replace(hum, pitch_midi=pitch, voiced=voiced)


def charged(hum: FilledContour, song: FilledContour) -> float:
    """Return what the straight path costs, in semitone seconds."""
    time_s = (np.arange(len(hum.pitch_midi)) + 0.5) * HOP_S
    path_s = time_s * (song.duration_s / hum.duration_s)
    return HumNotes(hum).misfit_st(song, time_s, path_s) * hum.duration_s


@pytest.mark.parametrize(
    ("hum", "song", "cost"),
    [
        (contour(), contour(), 0.0),
        (contour([pitch + 5 for pitch in SCALE]), contour(), 0.0),
        (silent(contour(), 1.0, 1.2), contour(), 0.0),  # a breath before the next note
        (silent(contour(), 1.2, 1.6), contour(), UNSUNG_ST_S + UNHEARD_ST_S),
        (contour(HELD), contour(), 2 * UNHEARD_ST_S),
        (silent(contour(), 1.2, 1.36), contour(), RESUMED_ST * 0.16 + UNHEARD_ST_S),
        (silent(contour((60,), 4.0), 2.0, 2.4), contour((60,), 4.0), RESUMED_ST * FARTHEST_S),
        (contour(), contour(QUICK, NOTE_S / 2), UNHEARD_ST_S),
    ],
    ids=["same", "key", "breath", "note left out", "note held", "resumed late", "resumed anywhere", "quick notes"],
)
def test_a_path_is_charged_for_what_does_not_fall_together(hum, song, cost):
    assert charged(hum, song) == pytest.approx(cost, abs=0.012)


def test_songs_that_are_not_looked_at_do_not_overtake(monkeypatch):
    rng = np.random.default_rng(0)
    melodies = [[(0.4 * n, 0.4, int(pitch)) for n, pitch in enumerate(rng.integers(57, 70, 40))] for _ in range(8)]
    encoder = tiny_encoder()
    songs = [Song(id=str(number), title=str(number)) for number in range(len(melodies))]
    catalog = Catalog.build(songs, [melody_from_notes(notes) for notes in melodies], encoder)
    hum = fill_rests(hum_contour(melodies[3], FLAWLESS, rng, duration_s=6.0).melody)
    monkeypatch.setattr(ranking, "N_LOOKED_AT", 2)
    found = Ranker(catalog, encoder, n_threads=1).evidence(hum)
    before = np.argsort(-(found.scores_st + found.misfit_st))
    assert found.misfit_st[before[2:]] == pytest.approx(found.misfit_st[before[:2]].max())
    assert set(np.argsort(-found.scores_st)[:2]) == set(before[:2])
    assert found.best_first().placements.song[0] == 3
