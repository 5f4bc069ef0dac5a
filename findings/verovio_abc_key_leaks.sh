#!/usr/bin/env bash
# Verovio reads a tune in C in the key of the tune that another toolkit read before.
#
# Version: verovio 6.4.1, mido 1.3.3.
# Expected: a new verovio.toolkit() starts afresh: the same text gives the same notes.
# Seen: after a tune that changes key by [K:D] in its middle, an ABC tune with K:C is played in D major, with
#   F sharp and C sharp, in every new toolkit of the process. A tune in another key than C is read right.
# Meaning: a batch over a tune book depends on its order, and the fault is gone when a tune is tried alone.
#   Read each file in a process of its own, or do not read ABC with it.
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


def pitches(body, key):
    text = f"X:1\nT:Scale\nM:4/4\nL:1/4\nK:{key}\n{body}|\n"
    return [m.note for m in midi_of(text, {"inputFrom": "abc"}) if m.type == "note_on" and m.velocity]


before = pitches("C D E F", "C")
changing = pitches("C D [K:D] F C", "C")
after = pitches("C D E F", "C")
print("C major before:", before)
print("with a change to D:", changing)
print("C major after: ", after)
print("G major after: ", pitches("C D E F", "G"))
assert before == [60, 62, 64, 65] and after == [61, 62, 64, 66]
EOF
