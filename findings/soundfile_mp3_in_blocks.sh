#!/usr/bin/env bash
# An MP3 read in blocks is mostly silence.
#
# Version: soundfile 0.14.0 with libsndfile 1.2.2 (in the wheel), numpy 2.4.6.
# Expected: reading in blocks, or seeking and reading, gives the samples that one read of the whole file
#   gives.
# Seen: soundfile writes MP3 at a variable bit rate by default. After a seek in such a file the first 2,000 to
#   3,000 samples are exact zeros. soundfile seeks to the place where it already is after every read, so
#   blocks of 1,024 samples give nothing but zeros from the first tenth of a second on. At a constant bit rate
#   all ways agree.
# Meaning: sf.blocks, SoundFile.read in a loop and sf.read(start=...) invent rests in MP3 files, silently.
#   Read an MP3 whole, or decode it with another library.
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
t = np.arange(4 * RATE) / RATE
tone = 0.4 * np.sin(2 * np.pi * (200 * t + 100 * t * t))
silent = {}
for mode in ("VARIABLE", "CONSTANT"):
    sf.write("tone.mp3", tone, RATE, bitrate_mode=mode, compression_level=0.5)
    whole, _ = sf.read("tone.mp3")
    blocks = np.concatenate(list(sf.blocks("tone.mp3", 1024)))
    late, _ = sf.read("tone.mp3", start=RATE, frames=6000)
    silent[mode] = np.mean(whole == 0), np.mean(blocks == 0), np.mean(late == 0)
    print(mode, "share of zeros: whole %.3f, in blocks %.3f, 6,000 samples from 1 s on %.3f" % silent[mode])
sf.write("tone.mp3", tone, RATE)
default = np.mean(np.concatenate(list(sf.blocks("tone.mp3", 1024))) == 0)
print("default of sf.write, in blocks %.3f" % default)
assert silent["VARIABLE"][0] < 0.01 and silent["VARIABLE"][1] > 0.9 and silent["VARIABLE"][2] > 0.3 and default > 0.9
assert max(silent["CONSTANT"]) < 0.01
EOF
