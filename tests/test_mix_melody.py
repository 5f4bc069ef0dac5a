"""The singer's melody in a finished mix: sounds that were synthesised, so that every note is known."""

import json
import runpy
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import ModelError
from hmm2song.indexing import mix_melody
from hmm2song.indexing.mix_spectrum import HARMONICS, N_BANDS, PITCHES_MIDI, RATE_HZ, harmonic_spectrum, normalised
from hmm2song.melody.melody import FRAME_RATE_HZ, midi_to_hz
from hmm2song.training import mix_sounds
from hmm2song.training.mixtures import HELD_OUT_OF
from hmm2song.training.singer import FLAWLESS
from hmm2song.training.voice import hum_audio

SCRIPT = Path(__file__).parent.parent / "scripts" / "train_mix_melody.py"
LENGTH_S = 8.0
NOTES = [[0.8 * number, 0.8, midi] for number, midi in enumerate([57, 59, 61, 62, 61, 59, 57, 55, 57, 59])]


def tone(midi: float, length_s: float = LENGTH_S, rate_hz: int = SAMPLE_RATE_HZ) -> np.ndarray:
    time_s = np.arange(round(length_s * rate_hz)) / rate_hz
    return sum(np.sin(2 * np.pi * k * float(midi_to_hz(midi)) * time_s) / k for k in range(1, 7)).astype(np.float32)


def chords() -> np.ndarray:
    played = [tone(45) + tone(52) + tone(61), tone(43) + tone(50) + tone(59)]
    half = round(LENGTH_S / 2 * SAMPLE_RATE_HZ)
    return 0.1 * np.concatenate((played[0][:half], played[1][:half]))


def test_each_harmonic_of_a_tone_lies_at_its_pitch():
    harmonics, bands = harmonic_spectrum(normalised(tone(57.0, 2.0, RATE_HZ)))
    assert harmonics.shape == (len(HARMONICS), 50, len(PITCHES_MIDI)) and bands.shape == (50, N_BANDS)
    loud = harmonics[HARMONICS.index(1) : HARMONICS.index(6)].sum(axis=0)[25]
    assert PITCHES_MIDI[loud.argmax()] == pytest.approx(57.0, abs=0.5)


def test_the_path_follows_the_voice_not_the_chords():
    performance, voice = hum_audio(NOTES, FLAWLESS, np.random.default_rng(1), start_s=0.0, duration_s=LENGTH_S)
    n_samples = min(len(voice), len(chords()))
    mix = voice[:n_samples] / np.std(voice) * 0.1 + chords()[:n_samples]
    features = harmonic_spectrum(normalised(soxr.resample(mix, SAMPLE_RATE_HZ, RATE_HZ)))
    path = PITCHES_MIDI[mix_melody._path(mix_melody.pitch_likelihood(*features))]
    sung = performance.melody.pitch_midi[: len(path)]
    off = np.abs(path[: len(sung)] - sung)[~np.isnan(sung)]
    assert np.mean(np.abs(off - 12 * np.round(off / 12)) < 0.6) > 0.7


def test_pitch_lies_between_the_quarter_tones():
    likelihood = np.zeros((3, len(PITCHES_MIDI) + 1))
    likelihood[0, [10, 11]] = 0.6, 0.4
    likelihood[1, [9, 10, 40]] = 0.2, 0.5, 0.3
    likelihood[2, 0] = 1.0
    pitch_midi = mix_melody._pitch_midi(likelihood, np.array([10, 10, 0]))
    expected = [np.average(PITCHES_MIDI[10:12], weights=[6, 4]), np.average(PITCHES_MIDI[9:11], weights=[2, 5]), 36.0]
    assert pitch_midi == pytest.approx(expected, abs=0.001)


@pytest.mark.parametrize("n_samples", [0, 1, 400, 8000])
def test_the_shortest_sounds_are_no_error(n_samples):
    assert mix_melody.sung_melody(np.ones(n_samples, np.float32) / 2).voiced_s == 0.0


def test_nobody_sings_in_chords_alone():
    melody = mix_melody.sung_melody(chords())
    assert len(melody.pitch_midi) == LENGTH_S * FRAME_RATE_HZ and melody.voiced_s < 0.4


def test_pieces_are_heard_as_a_whole(monkeypatch):
    features = harmonic_spectrum(normalised(soxr.resample(chords(), SAMPLE_RATE_HZ, RATE_HZ)))
    whole = mix_melody.pitch_likelihood(*features)
    monkeypatch.setattr(mix_melody, "PIECE_FRAMES", 60)
    np.testing.assert_allclose(mix_melody.pitch_likelihood(*features), whole, atol=1e-3)


def test_a_missing_network_is_told(monkeypatch, tmp_path):
    monkeypatch.setattr(mix_melody, "MODEL_FOLDER", tmp_path)
    mix_melody._network.cache_clear()
    with pytest.raises(ModelError, match="missing or damaged"):
        mix_melody._network()


# Training ---------------------------------------------------------------------------------------------------


def split_names(pattern):
    """Return a source that is learned from and one that is held out."""
    names = [pattern.format(number) for number in range(60)]
    by_fate = {zlib.crc32(name.encode()) % HELD_OUT_OF == 0: name for name in names}
    return by_fate[False], by_fate[True]


def trained(monkeypatch, folder):
    options = ("--voices", folder / "voices", "--bands", folder / "bands", "--work", folder / "work", "--smoke")
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, options), "--out", str(folder / "model")])
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return done.value.code


def test_the_training_script_makes_a_network_that_indexing_loads(monkeypatch, tmp_path, one_thread):
    (tmp_path / "voices").mkdir()
    (tmp_path / "bands").mkdir()
    _, voice = hum_audio(NOTES, FLAWLESS, np.random.default_rng(1), start_s=0.0, duration_s=LENGTH_S)
    for name in split_names("voice{}"):
        soundfile.write(tmp_path / "voices" / f"{name}_1.flac", voice, SAMPLE_RATE_HZ)
    for name in split_names("bands/{}.flac"):
        soundfile.write(tmp_path / name, np.tile(chords(), 3), SAMPLE_RATE_HZ)
    assert trained(monkeypatch, tmp_path) == 0
    (line,) = (tmp_path / "model" / "training.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["step"] == 2 and json.loads(line)["loss"] > 0
    monkeypatch.setattr(mix_melody, "MODEL_FOLDER", tmp_path / "model")
    mix_melody._network.cache_clear()
    assert not mix_melody._network().training
    mix_melody._network.cache_clear()


def test_the_training_script_leaves_out_bands_with_singing(monkeypatch, tmp_path, capsys):
    soundfile.write(tmp_path / "song.flac", np.tile(chords(), 3), SAMPLE_RATE_HZ)
    assert len(list(mix_sounds.bands([tmp_path]))) == 1
    monkeypatch.setattr(mix_sounds, "singing_probability", lambda samples, n_frames: np.ones(n_frames))
    assert list(mix_sounds.bands([tmp_path])) == [] and "singing in 100% of" in capsys.readouterr().err


def test_the_training_script_names_voices_that_it_leaves_out(tmp_path, capsys):
    noise = np.random.default_rng(1).normal(0.0, 0.1, 2 * SAMPLE_RATE_HZ)
    soundfile.write(tmp_path / "noise_1.flac", noise, SAMPLE_RATE_HZ)
    soundfile.write(tmp_path / "silent_1.flac", np.zeros(2 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    assert list(mix_sounds.voices([tmp_path])) == []
    said = capsys.readouterr().err
    assert "noise_1.flac is sure in too few places" in said and "silent_1.flac is silent" in said
