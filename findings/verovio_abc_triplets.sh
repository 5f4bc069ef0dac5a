#!/usr/bin/env bash
# Verovio plays a triplet of ABC as three full notes.
#
# Version: verovio 6.4.1, mido 1.3.3.
# Expected: (3CDE takes the time of two notes; it is in every tune book, and the fourth note comes after two
#   beats.
# Seen: the three notes last a full beat each, so all that follows is a beat late.
# Meaning: durations and bar lines of ABC are wrong wherever there is a triplet. Read ABC with
#   another program.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check verovio==6.4.1 mido==1.3.3
venv/bin/python - <<'EOF'
import base64
import io

import mido
import verovio

verovio.enableLog(verovio.LOG_OFF)


def midi_of(text, options=None):
    toolkit = verovio.toolkit()
    toolkit.setOptions(options or {})
    toolkit.loadData(text)
    return mido.MidiFile(file=io.BytesIO(base64.b64decode(toolkit.renderToMIDI())))


text = "X:1\nT:Triplet\nM:4/4\nL:1/4\nQ:1/4=60\nK:C\n(3CDE F2|G4|\n"
now_s, onsets = 0.0, {}
for message in midi_of(text, {"inputFrom": "abc"}):
    now_s += message.time
    if message.type == "note_on" and message.velocity:
        onsets[message.note] = round(now_s, 2)
print("onsets in beats by pitch:", onsets, "right: F (65) at 2.0, G (67) at 4.0")
assert onsets[62] == 1.0 and onsets[65] == 3.0
EOF
