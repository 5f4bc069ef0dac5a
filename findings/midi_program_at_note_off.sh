#!/usr/bin/env bash
# Two MIDI readers give a note the instrument that is set when it ends.
#
# Version: pretty_midi 0.2.11.post0; miditoolkit 1.0.1; symusic 0.6.0; mido 1.3.3.
# Expected: a program change counts for the notes that begin after it; a note that sounds at that moment keeps
#   its instrument.
# Seen: pretty_midi and miditoolkit look the program up at note-off: a note of the flute held over a change to
#   the violin becomes a note of the violin. symusic looks at note-on.
# Meaning: the last note before each change of sound lands in another part, and with it the choice of the
#   melody part. Editors that put the change just before note-off make it the rule.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 "setuptools<81" mido==1.3.3 \
  pretty_midi==0.2.11.post0 miditoolkit==1.0.1 symusic==0.6.0
venv/bin/python - <<'EOF'
import miditoolkit
import mido
import pretty_midi
import symusic

FLUTE, VIOLIN = 73, 40
midi = mido.MidiFile(type=0, ticks_per_beat=480)
midi.tracks.append(mido.MidiTrack([
    mido.Message("program_change", program=FLUTE), mido.Message("note_on", note=60, velocity=80),
    mido.Message("program_change", program=VIOLIN, time=240), mido.Message("note_off", note=60, time=240),
    mido.Message("note_on", note=62, velocity=80), mido.Message("note_off", note=62, time=480)]))
midi.save("held.mid")
programs = {
    "pretty_midi": {n.pitch: int(i.program) for i in pretty_midi.PrettyMIDI("held.mid").instruments for n in i.notes},
    "miditoolkit": {n.pitch: int(i.program) for i in miditoolkit.MidiFile("held.mid").instruments for n in i.notes},
    "symusic": {n.pitch: int(t.program) for t in symusic.Score("held.mid").tracks for n in t.notes},
}
for name, found in programs.items():
    print(f"{name}: program of each pitch {found}; right is 60: {FLUTE}, 62: {VIOLIN}")
assert programs["pretty_midi"] == programs["miditoolkit"] == {60: VIOLIN, 62: VIOLIN}
assert programs["symusic"] == {60: FLUTE, 62: VIOLIN}
EOF
