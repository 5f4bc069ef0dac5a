#!/usr/bin/env bash
# soxr returns noise for silent 16-bit input.
#
# Version: soxr 1.1.0, numpy 2.4.6.
# Expected: zeros in, zeros out; integers are rounded.
# Seen: resampling int16 zeros from 44,100 to 16,000 Hz gives -1, 0 and 1: dither is always on for int16 and
#   the Python call has no option to turn it off. The noise is the same at every call, and comes even when
#   the rate does not change. Float input stays exactly zero.
# Meaning: tests for digital silence, hashes of rests and voice gates change after an int16 resample. Convert
#   to float first.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 soxr==1.1.0
venv/bin/python - <<'EOF'
import inspect

import numpy as np
import soxr

zeros = np.zeros(44100, np.int16)
noise = soxr.resample(zeros, 44100, 16000)
print("values of int16 silence:", *np.unique(noise), "share not zero: %.2f" % np.mean(noise != 0))
print("same again:", np.array_equal(noise, soxr.resample(zeros, 44100, 16000)))
same_rate = soxr.resample(zeros, 44100, 44100)
print("values at an unchanged rate:", *np.unique(same_rate), "share not zero: %.2f" % np.mean(same_rate != 0))
print("values of float silence:", *np.unique(soxr.resample(zeros.astype(np.float32), 44100, 16000)))
print("options:", *inspect.signature(soxr.resample).parameters)
assert set(np.unique(noise)) == set(np.unique(same_rate)) == {-1, 0, 1}
assert not soxr.resample(zeros.astype(np.float32), 44100, 16000).any()
EOF
