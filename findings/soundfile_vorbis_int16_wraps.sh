#!/usr/bin/env bash
# A loud Ogg file read as int16 wraps around; the same music as MP3 is clipped.
#
# Version: soundfile 0.14.0 with libsndfile 1.2.2 (in the wheel), numpy 2.4.6.
# Expected: a lossy codec overshoots full scale a little; integer samples are clipped to -32,768..32,767.
# Seen: the MP3 is clipped. The Vorbis file wraps: a peak of +1.2 becomes a large negative number, an error of
#   65,535 in one sample.
# Meaning: loud masters (or a hum recorded too close) get clicks when a Vorbis file is read with
#   dtype="int16". Read floats and clip them yourself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 soundfile==0.14.0
venv/bin/python - <<'EOF'
import numpy as np
import soundfile as sf

RATE = 44100
loud = 0.99 * np.sign(np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE))
worst = {}
for name in ("loud.mp3", "loud.ogg"):
    sf.write(name, loud, RATE)
    floats, _ = sf.read(name)
    integers, _ = sf.read(name, dtype="int16")
    worst[name] = np.abs(np.clip(floats * 32768, -32768, 32767) - integers).max()
    print(name, "peak of floats %.2f," % np.abs(floats).max(), "largest error of int16:", worst[name])
assert worst["loud.mp3"] < 2 and worst["loud.ogg"] > 65000
EOF
