#!/usr/bin/env bash
# mir_eval plays the rests of a melody as a constant voltage.
#
# Version: mir_eval 0.8.2, numpy 2.4.6, scipy 1.17.1.
# Expected: sonify.pitch_contour says that non-positive frequencies are unvoiced, so a rest is silent.
# Seen: the phase stands still in a rest and the sine stays where it was: the rest is a constant (here -0.55),
#   with no step before it. With amplitudes that are 0 in rests it is silent.
# Meaning: level, loudness, voice activity and trimming of such test sounds are wrong, though they sound
#   right. Pass amplitudes=(frequencies > 0), or subtract.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 mir_eval==0.8.2
venv/bin/python - <<'EOF'
import mir_eval
import numpy as np

times = np.arange(0, 4, 0.01)
f0_hz = np.where(times < 2, 220.0, 0.0)
sound = mir_eval.sonify.pitch_contour(times, f0_hz.copy(), 16000)
rest = sound[int(2.2 * 16000) : int(3.8 * 16000)]
muted = mir_eval.sonify.pitch_contour(times, f0_hz.copy(), 16000, amplitudes=(f0_hz > 0).astype(float))
print("rest: smallest and largest sample %.3f %.3f" % (rest.min(), rest.max()))
steps = np.abs(np.diff(sound)).max(), 2 * np.pi * 220 / 16000
print("largest step from sample to sample %.3f, of a sine of 220 Hz %.3f" % steps)
print("rest with amplitudes: %.3f" % np.abs(muted[int(2.2 * 16000) : int(3.8 * 16000)]).max())
assert np.ptp(rest) < 1e-9 and abs(rest[0]) > 0.1 and steps[0] <= steps[1]
assert not muted[int(2.2 * 16000) : int(3.8 * 16000)].any()
EOF
