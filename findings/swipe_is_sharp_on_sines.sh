#!/usr/bin/env bash
# SWIPE' reads clean sines a sixth of a semitone sharp, saw teeth right.
#
# Version: pysptk 1.0.1, numpy 2.4.6, scipy 1.17.1.
# Expected: a tracker that is within 1 cent on a saw tooth is within a few cents on a sine.
# Seen: sines from 110 to 880 Hz come out 16 to 18 cents sharp, always the same way; saw teeth of the same
#   pitch within 2 cents. RAPT in the same package is within 1 cent on both.
# Meaning: the tuning of a whistler or a flute measured with SWIPE' is biased, and intervals between sung and
#   whistled notes with it. Calibrate on the timbre at hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 "setuptools<81" pysptk==1.0.1
venv/bin/python - <<'EOF'
import numpy as np
import pysptk

RATE = 16000
t = np.arange(int(1.5 * RATE)) / RATE


def cents(found, f0_hz):
    return 1200 * np.log2(np.median(found[found > 0]) / f0_hz)


for f0_hz in (110, 220, 440, 880):
    sine = 0.3 * np.sin(2 * np.pi * f0_hz * t)
    saw = 0.3 * sum(np.sin(2 * np.pi * f0_hz * k * t) / k for k in range(1, 7000 // f0_hz))
    sharp = [cents(pysptk.swipe(sound, RATE, 80, min=60, max=2000), f0_hz) for sound in (sine, saw)]
    rapt = cents(pysptk.rapt((sine * 32768).astype(np.float32), RATE, 80, min=60, max=2000), f0_hz)
    print(f0_hz, "Hz: sine %+.1f cents, saw %+.1f, sine by RAPT %+.1f" % (*sharp, rapt))
    assert 12 < sharp[0] < 22 and abs(sharp[1]) < 4 and abs(rapt) < 2
EOF
