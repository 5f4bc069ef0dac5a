"""The simulated singer: what is known about a performance must be true of its contour and of its sound."""

from dataclasses import replace

import numpy as np
import pytest

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import MelodyError
from hmm2song.melody.melody import HOP_S, melody_from_notes
from hmm2song.melody.pitch import track_pitch
from hmm2song.training.singer import FEMALE, FLAWLESS, WHISTLER, WRONG_NOTE_ST, Singer, hum_contour
from hmm2song.training.voice import hum_audio

STEPS = (0, 0, 7, 7, 9, 9, 7, 5, 5, 4, 4, 2, 2, 0)
BEATS = (1, 1, 1, 1, 1, 1, 2) * 2
ONSETS_S = 0.5 * np.cumsum((0, *BEATS[:-1]))
TWINKLE = [
    (float(onset_s), 0.5 * beats, 60.0 + step) for onset_s, beats, step in zip(ONSETS_S, BEATS, STEPS, strict=True)
]
LONG_SONG = [(onset_s + 8.0 * verse, length_s, midi) for verse in range(8) for onset_s, length_s, midi in TWINKLE]
SINGERS = {"man": Singer(), "woman": FEMALE, "whistler": WHISTLER}


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def contour_errors_st(hum, notes) -> np.ndarray:
    """Return hum minus score, the truth about key, tempo and start taken away, of the frames both have."""
    song = melody_from_notes(notes).pitch_midi
    song_s = hum.start_s + hum.melody.time_s * hum.tempo_ratio
    frame = np.minimum((song_s / HOP_S + 1e-6).astype(int), len(song) - 1)
    error_st = hum.melody.pitch_midi - hum.key_shift_st - song[frame]
    return error_st[~np.isnan(error_st)]


def test_flawless_singer_sings_the_notes():
    hum = hum_contour(TWINKLE, FLAWLESS, rng(), start_s=0.0)
    assert (hum.start_s, hum.end_s, hum.tempo_ratio) == (0.0, 8.0, 1.0)
    assert hum.key_shift_st == pytest.approx(FLAWLESS.centre_midi - 64.5)  # the tune's median is between E and F
    errors_st = contour_errors_st(hum, TWINKLE)
    assert len(errors_st) > 120
    assert np.abs(errors_st).max() < 1e-4
    overlapping = [(onset_s, 3.0, midi) for onset_s, _, midi in TWINKLE]  # become one voice
    assert np.abs(contour_errors_st(hum_contour(overlapping, FLAWLESS, rng(), start_s=0.0), TWINKLE)).max() < 1e-4


@pytest.mark.parametrize("tempo_ratio", [0.6, 1.25, 1.7])
def test_tempo_ratio_is_speed_relative_to_the_score(tempo_ratio):
    singer = replace(FLAWLESS, tempo_ratio_limits=(tempo_ratio, tempo_ratio))
    hum = hum_contour(LONG_SONG, singer, rng(1), start_s=8.0, duration_s=6.0)
    assert hum.tempo_ratio == tempo_ratio
    assert hum.end_s - hum.start_s == pytest.approx(6.0 * tempo_ratio, abs=0.3)
    assert np.mean(np.abs(contour_errors_st(hum, LONG_SONG)) < 1e-4) > 0.95  # but for rounding at note borders


def test_start_in_the_middle_of_a_note():
    hum = hum_contour(TWINKLE, FLAWLESS, rng(), start_s=3.4, duration_s=3.0)
    assert hum.start_s == 3.4
    np.testing.assert_allclose(hum.song_onset_s, [3.4, *ONSETS_S[7:12]])
    np.testing.assert_allclose(hum.hum_onset_s, hum.song_onset_s - 3.4)
    # 0.6 s of the long G are left, then F F E E D
    changes = np.flatnonzero(np.abs(np.diff(hum.melody.pitch_midi[hum.melody.voiced])) > 0.5)
    assert len(changes) == 3
    later = hum.melody.pitch_midi[round(0.7 / HOP_S)]
    assert hum.melody.pitch_midi[0] - later == pytest.approx(2.0, abs=1e-4)


def test_start_is_chosen_at_phrases_and_leaves_enough_song():
    at_phrases = [hum_contour(LONG_SONG, FLAWLESS, rng(seed)).start_s for seed in range(40)]
    careless = replace(FLAWLESS, phrase_start_probability=0.0)
    anywhere = [hum_contour(LONG_SONG, careless, rng(seed)).start_s for seed in range(40)]
    assert all(start_s % 4.0 == 0.0 for start_s in at_phrases)
    assert len(set(at_phrases)) > 5
    assert any(start_s % 4.0 for start_s in anywhere)
    assert max(at_phrases + anywhere) <= 56.0


def test_long_rests_are_not_counted_out():
    notes = [*TWINKLE, *[(onset_s + 60.0, length_s, midi) for onset_s, length_s, midi in TWINKLE]]
    hum = hum_contour(notes, FLAWLESS, rng(), start_s=4.0, duration_s=8.0)
    assert 61.0 < hum.end_s < 63.0
    assert hum.melody.voiced_s > 5.0


def test_the_same_seed_gives_the_same_performance_as_contour_and_as_audio():
    singer = replace(Singer(), octave_slip_rate_per_s=0.0)
    (heard, first), (_, second), (_, other) = (hum_audio(LONG_SONG, singer, rng(seed)) for seed in (5, 5, 4))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first[:1000], other[:1000])
    contour = hum_contour(LONG_SONG, singer, rng(5))
    np.testing.assert_array_equal(contour.melody.pitch_midi, heard.melody.pitch_midi)
    assert (contour.start_s, contour.key_shift_st) == (heard.start_s, heard.key_shift_st)


def test_hums_spread_as_the_singer_says():
    hums = [hum_contour(LONG_SONG, FEMALE, rng(seed)) for seed in range(300)]
    log_tempo = np.log([hum.tempo_ratio for hum in hums])
    medians_midi = [np.nanmedian(hum.melody.pitch_midi) for hum in hums]
    assert np.std(log_tempo) == pytest.approx(FEMALE.tempo_log_sd, rel=0.15)
    assert np.mean(medians_midi) == pytest.approx(FEMALE.centre_midi, abs=0.6)
    assert np.std(medians_midi) == pytest.approx(FEMALE.centre_sd_st, abs=0.6)
    assert min(hum.start_s for hum in hums) == 0.0
    # stated in the module's docstring
    assert np.mean([1 - hum.melody.voiced.mean() for hum in hums]) == pytest.approx(0.22, abs=0.08)


@pytest.mark.parametrize(
    ("field", "value", "low_st", "high_st"),
    [
        ("note_error_median_st", 0.3, 0.1, 0.6),
        ("jitter_sd_st", 0.15, 0.1, 0.2),
        ("drift_sd_st_per_10s", 0.7, 0.1, 1.2),
        ("interval_scale_sd", 0.1, 0.05, 0.6),
        ("scoop_sd_st", 0.5, 0.05, 0.4),
    ],
)
def test_each_error_moves_the_pitch_by_its_size(field, value, low_st, high_st):
    spread_st = []
    singer = replace(FLAWLESS, **{field: value})
    for seed in range(20):
        hum = hum_contour(TWINKLE, singer, rng(seed), start_s=0.0)
        spread_st.append(np.std(contour_errors_st(hum, TWINKLE)))
    assert low_st < np.mean(spread_st) < high_st


def test_vibrato_swings_on_long_notes_only():
    depth = {"vibrato_depth_median_st": 0.5, "vibrato_depth_log_sd": 0.0}
    singer = replace(FLAWLESS, vibrato_probability=1.0, vibrato_rate_hz=(5, 5), **depth)
    long_note = hum_contour([(0.0, 4.0, 60.0)], singer, rng(), start_s=0.0).melody.pitch_midi
    settled = long_note[25:75] - singer.centre_midi
    assert np.std(settled) == pytest.approx(0.5 / np.sqrt(2), rel=0.1)
    assert np.argmax(np.abs(np.fft.rfft(settled))) == 10  # 5 Hz over 2 s
    short_notes = hum_contour([(0.4 * i, 0.4, 60.0) for i in range(10)], singer, rng(), start_s=0.0)
    assert np.nanmax(np.abs(short_notes.melody.pitch_midi - singer.centre_midi)) < 1e-4


def test_wrong_dropped_and_repeated_notes():
    wrong = hum_contour(TWINKLE, replace(FLAWLESS, wrong_probability=1.0), rng(), start_s=0.0)
    errors_st = set(np.round(contour_errors_st(wrong, TWINKLE), 3))
    assert errors_st <= set(WRONG_NOTE_ST)
    assert len(errors_st) > 2
    dropped = hum_contour(TWINKLE, replace(FLAWLESS, dropped_probability=1.0), rng(), start_s=0.0)
    assert np.ptp(dropped.melody.pitch_midi) == pytest.approx(0.0, abs=1e-4)  # the first note is held
    assert dropped.melody.voiced.all()
    plain = hum_contour([(0.0, 4.0, 60.0)], FLAWLESS, rng(), start_s=0.0)
    syllables = replace(FLAWLESS, repeated_probability=1.0, gap_median_s=0.2)
    repeated = hum_contour([(0.0, 4.0, 60.0)], syllables, rng(), start_s=0.0)
    assert plain.melody.voiced.all()
    assert np.count_nonzero(np.diff(repeated.melody.voiced.astype(int)) == -1) == 1


@pytest.mark.parametrize("seed", range(4))
def test_onsets_hold_whatever_tempo_errors_and_rests_are(seed):
    notes = [*LONG_SONG[:20], *[(onset_s + 30.0, length_s, midi) for onset_s, length_s, midi in LONG_SONG[20:]]]
    singer = replace(Singer(), dropped_probability=0.2, repeated_probability=0.2, octave_slip_rate_per_s=0.0)
    hum = hum_contour(notes, singer, rng(seed), start_s=2.0, duration_s=20.0)
    assert len(hum.hum_onset_s) == len(hum.song_onset_s) > 10
    assert (np.diff(hum.hum_onset_s) > 0).all() and (np.diff(hum.song_onset_s) > 0).all()
    assert hum.song_onset_s[0] == hum.start_s and hum.song_onset_s[-1] < hum.end_s
    frame = np.minimum((hum.hum_onset_s / HOP_S + 1.5).astype(int), len(hum.melody.pitch_midi) - 1)
    assert hum.melody.voiced[frame].mean() > 0.9
    written = np.searchsorted([onset_s for onset_s, _, _ in notes], hum.song_onset_s, side="right") - 1
    settled = np.minimum(frame + 3, len(hum.melody.pitch_midi) - 1)
    sung_st = hum.melody.pitch_midi[settled] - hum.key_shift_st - np.array([notes[index][2] for index in written])
    assert np.nanmedian(np.abs(sung_st)) < 1.0


@pytest.mark.parametrize("share", [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_notes_of_the_same_pitch_are_parted_as_often_as_others(share):
    singer = replace(FLAWLESS, legato_share=share, gap_median_s=0.1, gap_log_sd=0.0)
    parted = {"same": [], "other": []}
    for seed in range(10):
        hum = hum_contour(LONG_SONG, singer, rng(seed), start_s=0.0, duration_s=30.0)
        before = np.round(hum.hum_onset_s[1:] / HOP_S).astype(int) - 1  # the last frame before each note
        midi = np.interp(hum.song_onset_s, [row[0] for row in LONG_SONG], [row[2] for row in LONG_SONG])
        for name, chosen in (("same", np.diff(midi) == 0), ("other", np.diff(midi) != 0)):
            parted[name] += (~hum.melody.voiced[before[chosen]]).tolist()
    assert np.mean(parted["same"]) == pytest.approx(1.0 - share[0], abs=0.12)
    assert np.mean(parted["other"]) == pytest.approx(1.0 - share[0], abs=0.12)


def test_octave_slips_are_short_and_whole_octaves():
    slipping = replace(FLAWLESS, octave_slip_rate_per_s=0.5)
    errors_st = np.concatenate(
        [contour_errors_st(hum_contour(TWINKLE, slipping, rng(seed), start_s=0.0), TWINKLE) for seed in range(30)]
    )
    assert set(np.round(errors_st, 3)) == {-12.0, 0.0, 12.0}
    assert 0.02 < np.mean(errors_st != np.clip(errors_st, -1, 1)) < 0.12


def test_legato_connects_and_staccato_parts():
    legato = hum_contour(TWINKLE, replace(FLAWLESS, legato_share=(1.0, 1.0)), rng(), start_s=0.0)
    staccato = hum_contour(TWINKLE, replace(FLAWLESS, gap_median_s=0.2), rng(), start_s=0.0)
    borders = np.round(ONSETS_S[1:][np.diff(STEPS) != 0] / HOP_S).astype(int)  # where the pitch changes
    assert legato.melody.voiced[borders].all()
    assert staccato.melody.voiced.mean() < 0.75 < legato.melody.voiced.mean()


@pytest.mark.parametrize(
    ("notes", "options", "words"),
    [
        ([], {}, "rows of"),
        ([(0.0, 1.0)], {}, "rows of"),
        ([(0.0, float("nan"), 60.0)], {}, "finite"),
        ([(0.0, 0.0, 60.0)], {}, "positive duration_s"),
        (TWINKLE, {"start_s": 8.0}, "start_s=8.00"),
        (TWINKLE, {"duration_s": 0.0}, "must be positive"),
        (TWINKLE, {"duration_s": 0.05}, "duration_s=0.05"),
    ],
)
def test_what_cannot_be_sung_is_refused(notes, options, words):
    with pytest.raises(MelodyError, match=words):
        hum_contour(notes, Singer(), rng(), **options)


@pytest.mark.parametrize("who", SINGERS)
@pytest.mark.parametrize("seed", range(3))
def test_tracker_hears_the_intended_contour(who, seed):
    hum, samples = hum_audio(LONG_SONG, SINGERS[who], rng(seed))
    assert samples.dtype == np.float32 and len(samples) == round(hum.melody.duration_s * SAMPLE_RATE_HZ)
    assert 10 ** (-20 / 20) - 1e-6 < np.abs(samples).max() < 10 ** (-3 / 20) + 1e-6
    track = track_pitch(samples)
    assert track.is_whistle == (who == "whistler")
    heard, intended = track.melody.pitch_midi, hum.melody.pitch_midi
    n_frames = min(len(heard), len(intended))
    error_st = heard[:n_frames] - intended[:n_frames]
    both = ~np.isnan(error_st)
    assert np.count_nonzero(both) > 0.9 * np.count_nonzero(hum.melody.voiced)
    assert np.median(np.abs(error_st[both])) < 0.3
    assert np.mean(np.abs(error_st[both]) > 6.0) < 0.03


QUIET_ROOM = {"breath_noise_db": (-90.0, -90.0), "reverb_db": (-90.0, -90.0), "snr_db": (90.0, 90.0)}
STUDIO = replace(FLAWLESS, cycle_jitter_share=0.0, shimmer_db=0.0, low_cut_hz=(60.0, 60.0), **QUIET_ROOM)


def spectrum(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return frequencies in Hz and power."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    return np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE_HZ), power


@pytest.mark.parametrize("midi", [50.0, 69.0, 84.0])
def test_a_voice_is_harmonic_and_free_of_aliases(midi):
    _, samples = hum_audio([(0.0, 3.0, 60.0)], replace(STUDIO, centre_midi=midi), rng(), start_s=0.0)
    frequency_hz, power = spectrum(samples[SAMPLE_RATE_HZ // 4 : -SAMPLE_RATE_HZ // 4])
    f0_hz = 440.0 * 2 ** ((midi - 69.0) / 12.0)
    is_harmonic = np.abs(frequency_hz - f0_hz * np.maximum(np.round(frequency_hz / f0_hz), 1)) <= 10.0
    assert power[~is_harmonic].sum() < 1e-4 * power.sum()
    assert power[is_harmonic & (frequency_hz > 1.5 * f0_hz)].sum() > 1e-3 * power.sum()


def test_timbres_have_their_formants():
    shares = {}
    for timbre in ("mm", "la", "oo"):
        _, samples = hum_audio(TWINKLE, replace(STUDIO, timbres=(timbre,)), rng(), start_s=0.0)
        frequency_hz, power = spectrum(samples)
        shares[timbre] = power[(frequency_hz > 600) & (frequency_hz < 1400)].sum() / power.sum()
    assert shares["la"] > 0.3
    assert max(shares["mm"], shares["oo"]) < 0.1


def test_background_noise_keeps_its_distance():
    for snr_db in (10.0, 30.0):
        singer = replace(STUDIO, lead_in_s=(1.0, 1.0), snr_db=(snr_db, snr_db))
        _, samples = hum_audio(TWINKLE, singer, rng(), start_s=0.0)
        noise, hum = samples[: SAMPLE_RATE_HZ * 9 // 10], samples[SAMPLE_RATE_HZ:]
        assert 10 * np.log10(np.mean(hum**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=2.0)
