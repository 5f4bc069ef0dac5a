#!/usr/bin/env bash
# PyAV decodes an Ogg Vorbis file a few hundred samples too short or too long.
#
# Version: av 18.1.0, soundfile 0.14.0 with libsndfile 1.2.2, numpy 2.4.6.
# Expected: the last page of an Ogg stream says where it ends, so every decoder returns the number of samples
#   that was written, as soundfile does.
# Seen: by length and sample rate, PyAV lacks 128 or 256 samples at the end or adds up to 960, which are not
#   silence. What both return is equal from sample 0, yet the first frame says pts 128 or 256.
# Meaning: do not cut stems, labels or f0 tracks of one song by the lengths of two decoders, and do not place
#   sound by frame.pts: count samples.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0 av==18.1.0
venv/bin/python - <<'EOF'
import av
import numpy as np
import soundfile as sf

rows = []
for rate in (16000, 44100, 48000):
    for length in (16000, 20000, 44100, 48000):
        t = np.arange(length) / rate
        sf.write("tone.ogg", 0.4 * np.sin(2 * np.pi * 220 * t), rate)
        whole, _ = sf.read("tone.ogg")
        with av.open("tone.ogg") as file:
            frames = list(file.decode(audio=0))
        samples = np.concatenate([frame.to_ndarray()[0] for frame in frames])
        both = min(len(whole), len(samples))
        assert np.abs(whole[:both] - samples[:both]).max() < 1e-3
        extra = samples[length:]
        rows.append((len(whole) - length, len(samples) - length, np.abs(extra).max() if len(extra) else 0.0))
        print(f"{rate} Hz, {length} samples: soundfile {rows[-1][0]:+d}, PyAV {rows[-1][1]:+d},", end=" ")
        print(f"peak of what is added {rows[-1][2]:.2f}, pts of the first frame {frames[0].pts}")
assert all(row[0] == 0 for row in rows)
assert min(row[1] for row in rows) < 0 < max(row[1] for row in rows) and max(row[2] for row in rows) > 0.1
EOF
