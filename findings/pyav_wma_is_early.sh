#!/usr/bin/env bash
# Sound in a WMA file comes 46 ms too early from PyAV, although the first frame says that it is late.
#
# Version: av 18.1.0 (FFmpeg inside), numpy 2.4.6.
# Expected: a sound written at 1.000 s is found there: containers store a codec's delay, and AAC in MP4, Opus and MP3
#   written and read by PyAV are right to the sample.
# Seen: WMA 2 in ASF loses its first 2,048 samples: joined together, the frames put the sound at 0.954 s; by the times
#   of the frames, of which the first says 0.092 s, it is at 1.046 s. Neither is right.
# Meaning: onsets of WMA files, and what is mixed with them, are off by 46 ms at 44.1 kHz. Measure a codec's delay by a
#   round trip instead of trusting either.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
venv/bin/python - <<'EOF'
import io

import av
import numpy as np

RATE_HZ, ONSET_S = 44100, 1.0
burst = np.sin(2 * np.pi * 1000 * np.arange(2048) / RATE_HZ) * np.hanning(2048)
samples = np.zeros(3 * RATE_HZ, np.float32)
samples[RATE_HZ : RATE_HZ + 2048] = 0.5 * burst


def round_trip(codec: str, container: str) -> tuple[float, float]:
    """Where the burst is in the joined frames, and by the times of the frames; in seconds."""
    packed = io.BytesIO()
    with av.open(packed, "w", format=container) as file:
        stream = file.add_stream(codec, rate=RATE_HZ, layout="mono", bit_rate=128_000)
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE_HZ, 0
        context = stream.codec_context
        cutter = av.AudioResampler(format=context.format, frame_size=context.frame_size)
        for piece in [*cutter.resample(frame), *cutter.resample(None)]:
            file.mux(stream.encode(piece))
        file.mux(stream.encode(None))
    packed.seek(0)
    with av.open(packed) as file:
        frames = list(file.decode(audio=0))
    joined = np.concatenate([frame.to_ndarray().astype(float).mean(axis=0) for frame in frames])
    onset_s = np.correlate(joined, burst, "valid").argmax() / RATE_HZ
    return onset_s, onset_s + frames[0].time


found = {kind: round_trip(*kind) for kind in (("aac", "mp4"), ("wmav2", "asf"))}
for (codec, container), (joined_s, timed_s) in found.items():
    print(f"{codec} in {container}: at {joined_s:.3f} s in the joined frames, at {timed_s:.3f} s by their times")
assert found["aac", "mp4"] == (1.0, 1.0)
assert [round(onset_s, 3) for onset_s in found["wmav2", "asf"]] == [0.954, 1.046]
EOF
