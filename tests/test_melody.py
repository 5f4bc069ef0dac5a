"""Melodies: units, the frame grid, and what becomes of notes and f0 tracks on it."""

import numpy as np
import pytest
from encoders import tiny_encoder
from safetensors.numpy import load, save

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.storage import write_manifest
from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.melody.melody import (
    FRAME_RATE_HZ,
    HOP_S,
    MAX_SONG_S,
    Melody,
    hz_to_midi,
    melody_from_f0,
    melody_from_notes,
    midi_to_hz,
)
from hmm2song.song import Song

NAN = np.nan


def f0_track(duration_s: float, hop_s: float, f0_hz: float = 220.0) -> tuple[np.ndarray, np.ndarray]:
    """Return times and a constant frequency."""
    time_s = np.arange(round(duration_s / hop_s)) * hop_s
    return time_s, np.full(len(time_s), f0_hz)


def test_hz_and_midi_are_inverse():
    np.testing.assert_allclose(hz_to_midi([440.0, 220.0, 880.0, 261.6256]), [69.0, 57.0, 81.0, 60.0], atol=1e-4)
    midi = np.linspace(0.0, 127.0, 50)
    np.testing.assert_allclose(hz_to_midi(midi_to_hz(midi)), midi, atol=1e-9)


def test_what_is_no_frequency_is_unvoiced():
    np.testing.assert_array_equal(hz_to_midi([0.0, -5.0, NAN, np.inf, -np.inf]), [NAN] * 5)
    np.testing.assert_array_equal(midi_to_hz([NAN]), [0.0])


def test_a_melody_is_frozen_and_keeps_its_own_copy():
    source = np.array([60.0, NAN, 62.0])
    melody = Melody(source)
    source[0] = 0.0
    assert melody.pitch_midi[0] == 60.0
    assert melody.pitch_midi.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        melody.pitch_midi[0] = 1.0


@pytest.mark.parametrize(
    ("pitch_midi", "words"),
    [
        (60.0, "one pitch per frame"),
        ([[60.0, 61.0]], "one pitch per frame"),
        ([60.0, -0.01, NAN], "MIDI numbers 0-127, got -0.01"),
        ([NAN, 127.01], "MIDI numbers 0-127, got 127.01"),
        ([np.inf], "0-127"),
        ([-np.inf], "0-127"),
        ([1e300], "0-127"),
    ],
)
def test_impossible_melodies_are_refused(pitch_midi, words):
    with pytest.raises(MelodyError, match=words):
        Melody(np.array(pitch_midi))


def test_every_legal_melody_survives_saving_to_the_cent(tmp_path):
    rng = np.random.default_rng(0)
    melodies = [Melody(pitch_midi) for pitch_midi in ([0.0], [NAN, 127.0], [0.004, NAN, NAN], [126.996, 0.0, NAN])]
    for n_frames in rng.integers(1, 400, 20):
        pitch_midi = rng.uniform(0.0, 127.0, n_frames)
        melodies.append(Melody(np.where(np.append(False, rng.random(n_frames - 1) < 0.3), NAN, pitch_midi)))
    songs = [Song(str(number), "song") for number in range(len(melodies))]
    encoder = tiny_encoder()
    Catalog.build(songs, melodies, encoder).save(tmp_path / "catalog")
    loaded = Catalog.load(tmp_path / "catalog", encoder).melodies
    assert len(loaded) == len(melodies)
    for melody, again in zip(melodies, loaded, strict=True):
        np.testing.assert_allclose(again.pitch_midi, melody.pitch_midi, atol=0.0051)


def test_impossible_pitches_in_an_old_catalog_are_unvoiced(tmp_path):
    """Earlier versions stored the pitch of any frequency, which overflows 16 bits."""
    encoder, folder = tiny_encoder(), tmp_path / "catalog"
    Catalog.build([Song("one", "Old")], [Melody([60.0, 61.0, 62.0, 63.0])], encoder).save(folder)
    stored = load((folder / "melodies.safetensors").read_bytes())
    stored["pitch_cents"][1:3] = (-21300, 12701)
    (folder / "melodies.safetensors").write_bytes(save(stored))
    write_manifest(folder, encoder.fingerprint, 1)
    (melody,) = Catalog.load(folder, encoder).melodies
    np.testing.assert_array_equal(melody.pitch_midi, [60.0, NAN, NAN, 63.0])


def test_times_follow_from_the_grid():
    melody = Melody([NAN, 60.0, 60.0, NAN, 64.0])
    assert HOP_S * FRAME_RATE_HZ == 1.0
    np.testing.assert_array_equal(melody.voiced, [False, True, True, False, True])
    np.testing.assert_allclose(melody.time_s, [0.0, 0.04, 0.08, 0.12, 0.16])
    assert melody.duration_s == pytest.approx(0.2)
    assert melody.voiced_s == pytest.approx(0.12)


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [(0.04, 0.12, [1, 2]), (-3.0, 0.08, [0, 1]), (0.12, 99.0, [3, 4]), (0.1, 0.1, []), (-2.0, -1.0, [])],
)
def test_slices_are_clipped_to_the_melody(start_s, end_s, expected):
    np.testing.assert_array_equal(Melody(np.arange(5.0)).slice_s(start_s, end_s).pitch_midi, expected)


@pytest.mark.parametrize(
    ("notes", "frames"),
    [
        ([(0.08, 0.12, 60), (0.28, 0.12, 64.5)], [NAN, NAN, 60, 60, 60, NAN, NAN, 64.5, 64.5, 64.5]),
        ([(0.4, 0.2, 62), (0.0, 0.48, 60), (0.56, 0.44, 64)], [60] * 10 + [62] * 4 + [64] * 11),
        ([(0.0, 0.4, 60), (0.2, 0.08, 72)], [60] * 5 + [72] * 2 + [60] * 3),
        ([(0.0, 0.4, 60), (0.4, 0.4, 60), (0.8, 0.4, 62)], [60] * 9 + [NAN] + [60] * 10 + [62] * 10),
        ([(0.4, 0.4, 60), (0.0, 0.4, 60)], [60] * 9 + [NAN] + [60] * 10),
        ([(0.0, 0.4, 60), (0.44, 0.4, 60)], [60] * 10 + [NAN] + [60] * 10),
        ([(0.0, 0.8, 60), (0.4, 0.2, 60)], [60] * 9 + [NAN] + [60] * 10),
    ],
    ids=["rests", "any order", "later onset wins", "same pitch is parted", "and sorted first", "a written rest parts",
         "a held note struck again"],
)  # fmt: skip
def test_notes_on_the_grid(notes, frames):
    np.testing.assert_array_equal(melody_from_notes(notes).pitch_midi, frames)


@pytest.mark.parametrize(("n_frames", "parted"), [(1, False), (2, False), (3, True), (4, True)])
def test_the_shortest_notes_are_not_shortened(n_frames, parted):
    melody = melody_from_notes([(0.0, n_frames * HOP_S, 60), (n_frames * HOP_S, 0.4, 60)])
    assert melody.voiced.sum() == n_frames + 10 - parted
    assert melody.voiced[n_frames - 1] != parted


def test_the_shortest_note_still_sounds():
    np.testing.assert_array_equal(melody_from_notes([(0.0, 0.0, 60), (0.4, 0.4, 62)]).voiced[:2], [True, False])


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ([], "non-empty"),
        ([(0.0, 1.0)], r"shape \(1, 2\)"),
        ([(0.0, NAN, 60)], "finite"),
        ([(np.inf, 1.0, 60)], "finite"),
        ([(-0.1, 1.0, 60)], "not negative"),
        ([(0.0, -1.0, 60)], "not negative"),
        ([(0.0, 1.0, -1)], "0-127"),
        ([(0.0, 1.0, 127.5)], "0-127"),
        ([(MAX_SONG_S, 1.0, 60)], "3601 s; at most 3600 s"),
    ],
)
def test_impossible_notes_are_refused(notes, words):
    with pytest.raises(MelodyError, match=words) as refused:
        melody_from_notes(notes)
    assert isinstance(refused.value, Hmm2SongError)


@pytest.mark.parametrize("hop_s", [0.005, 0.016, 0.04, 0.1])
def test_a_constant_tone_stays_constant_at_any_track_rate(hop_s):
    melody = melody_from_f0(*f0_track(4.0, hop_s))
    np.testing.assert_allclose(melody.pitch_midi[:-1], 57.0, atol=1e-4)
    assert melody.duration_s == pytest.approx(4.0, abs=0.1)


def test_a_finer_track_loses_single_outliers_only():
    time_s, f0_hz = f0_track(2.0, 0.01)
    f0_hz[50] *= 2  # one frame an octave up
    f0_hz[100:] *= 2 ** (2 / 12)
    pitch_midi = melody_from_f0(time_s, f0_hz).pitch_midi
    np.testing.assert_allclose(pitch_midi[:24], 57.0, atol=1e-4)
    np.testing.assert_allclose(pitch_midi[27:], 59.0, atol=1e-4)


def test_gaps_and_late_starts_are_unvoiced():
    time_s, f0_hz = f0_track(2.0, 0.01)
    f0_hz[80:120] = 0.0
    melody = melody_from_f0(time_s + 1.0, f0_hz)
    voiced = melody.voiced
    assert not voiced[:24].any()
    assert voiced[26:44].all()
    assert not voiced[47:53].any()
    assert voiced[56:74].all()


def test_a_frame_is_voiced_when_half_of_its_track_is():
    time_s, f0_hz = f0_track(2.0, 0.01)
    mostly, hardly = f0_hz.copy(), f0_hz.copy()
    mostly[::4] = NAN
    hardly[np.arange(len(hardly)) % 4 > 0] = NAN
    assert melody_from_f0(time_s, mostly).voiced.all()
    assert not melody_from_f0(time_s, hardly).voiced[1:-1].any()


def test_one_value_is_a_track():
    np.testing.assert_allclose(melody_from_f0([0.0], [440.0]).pitch_midi, [69.0])


@pytest.mark.parametrize("f0_hz", [1e12, 1e-9, 1e-300, 1.7e308, 8.0, 12_600.0])
def test_frequencies_outside_midi_are_unvoiced(f0_hz):
    melody = melody_from_f0([0.0, 0.04, 0.08], [220.0, f0_hz, 220.0])
    np.testing.assert_array_equal(melody.voiced, [True, False, True])


@pytest.mark.parametrize(
    ("time_s", "f0_hz", "words"),
    [
        ([], [], "as many times as frequencies"),
        ([0.0, 0.1], [220.0], "as many times as frequencies"),
        ([[0.0]], [[220.0]], "as many times as frequencies"),
        ([0.0, 0.0], [220.0, 220.0], "strictly increasing"),
        ([0.2, 0.1], [220.0, 220.0], "strictly increasing"),
        ([-0.1, 0.1], [220.0, 220.0], "not negative"),
        ([0.0, NAN], [220.0, 220.0], "finite"),
        ([0.0, 3601.0], [220.0, 220.0], "at most 3600 s"),
    ],
)
def test_impossible_tracks_are_refused(time_s, f0_hz, words):
    with pytest.raises(MelodyError, match=words):
        melody_from_f0(time_s, f0_hz)
