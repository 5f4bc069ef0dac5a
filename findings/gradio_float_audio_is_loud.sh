#!/usr/bin/env bash
# Gradio plays quiet floating-point audio at full scale.
#
# Version: gradio 6.31.0, numpy 2.4.6, soundfile 0.14.0.
# Expected: samples between -1 and 1 are sound at its own level, as in soundfile, librosa and PyAV; a function that
#   returns a quiet hum gives a quiet file.
# Seen: `gr.Audio` divides floating-point samples by their largest one: a tone of amplitude 0.01 (-40 dB) is written
#   with peaks of 32,767. Integers keep their level. One sample that is not a number silences all others.
# Meaning: level and the balance of clips returned one after another are lost between a function and the browser or the
#   API. Return int16, or the name of a file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check gradio==6.31.0 numpy==2.4.6 soundfile==0.14.0
venv/bin/python - <<'EOF'
import os
import warnings

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
os.environ["GRADIO_TEMP_DIR"] = "."
warnings.simplefilter("ignore")
import gradio as gr
import numpy as np
import soundfile

tone = np.sin(2 * np.pi * 220 * np.arange(16000) / 16000)
broken = 0.01 * tone
broken[100] = np.nan


def written(samples: np.ndarray) -> int:
    """The largest sample of the file that Gradio writes."""
    content, _ = soundfile.read(gr.Audio().postprocess((16000, samples)).path, dtype="int16")
    return int(np.abs(content.astype(int)).max())


peaks = {
    "float32, amplitude 0.01": written((0.01 * tone).astype(np.float32)),
    "float32, amplitude 0.5": written((0.5 * tone).astype(np.float32)),
    "int16, amplitude 328": written((328 * tone).astype(np.int16)),
    "float32, amplitude 0.01, one sample NaN": written(broken.astype(np.float32)),
}
for name, peak in peaks.items():
    print(f"{name}: peak {peak}")
assert list(peaks.values()) == [32767, 32767, 328, 0], peaks
EOF
