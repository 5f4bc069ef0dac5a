#!/usr/bin/env bash
# music21 moves an ABC tune two octaves down for clef=bass and not at all for treble-8 or octave=-1.
#
# Version: music21 10.5.1.
# Expected: clef=bass is a way of drawing and leaves the pitch; treble-8 and octave=-1 sound an octave lower,
#   transpose=-2 two semitones, as the ABC standard (2.1) says.
# Seen: C with clef=bass is read as MIDI 36 instead of 60. treble-8, octave=-1 and transpose=-2 change
#   nothing.
# Meaning: voices of a tune book land two octaves from each other: choose the lowest or the highest voice of
#   ABC by other evidence than music21's pitch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check music21==10.5.1
venv/bin/python - <<'EOF'
import music21

first = {}
for setting in ("", "clef=treble", "clef=bass", "clef=treble-8", "octave=-1", "transpose=-2"):
    text = f"X:1\nT:Scale\nM:4/4\nL:1/4\nK:C {setting}\nC D E F|\n"
    first[setting] = next(iter(music21.converter.parse(text, format="abc").flatten().notes)).pitch.midi
    print(f"K:C {setting}: first note is MIDI {first[setting]}")
assert first == {"": 60, "clef=treble": 60, "clef=bass": 36, "clef=treble-8": 60, "octave=-1": 60, "transpose=-2": 60}
EOF
