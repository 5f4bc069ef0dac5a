#!/usr/bin/env bash
# One note-off ends two notes of the same pitch in pretty_midi.
#
# Version: pretty_midi 0.2.11.post0; miditoolkit 1.0.1; symusic 0.6.0; mido 1.3.3.
# Expected: where two notes of one pitch overlap (two voices in one channel), the first note-off ends the
#   first note and the second the second.
# Seen: in pretty_midi the first note-off ends both, and the second is dropped: the later note lasts 0.25 s
#   instead of 0.75 s. miditoolkit and symusic pair them in order.
# Meaning: unisons and repeated notes with pedal are cut short and rests appear. Compare the durations of two
#   readers before durations are trusted.
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

midi = mido.MidiFile(type=0, ticks_per_beat=480)
midi.tracks.append(mido.MidiTrack([
    mido.Message("note_on", note=60, velocity=80), mido.Message("note_on", note=60, velocity=60, time=240),
    mido.Message("note_off", note=60, time=240), mido.Message("note_off", note=60, time=480)]))
midi.save("overlap.mid")
notes_s = {
    "pretty_midi": [(float(n.start), float(n.end)) for n in pretty_midi.PrettyMIDI("overlap.mid").instruments[0].notes],
    "miditoolkit": [(n.start / 960, n.end / 960) for n in miditoolkit.MidiFile("overlap.mid").instruments[0].notes],
    "symusic": [(n.time, n.end) for n in symusic.Score("overlap.mid", ttype="second").tracks[0].notes],
}
for name, found in notes_s.items():
    print(f"{name}: onsets and ends {found} s")
assert notes_s["pretty_midi"] == [(0.0, 0.5), (0.25, 0.5)]
assert notes_s["miditoolkit"] == notes_s["symusic"] == [(0.0, 0.5), (0.25, 1.0)]
EOF
