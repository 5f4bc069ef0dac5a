#!/usr/bin/env bash
# Notes that end by "all notes off" vanish in three readers.
#
# Version: pretty_midi 0.2.11.post0; miditoolkit 1.0.1; symusic 0.6.0; mido 1.3.3.
# Expected: controller 123 ends all notes of its channel; that is its only use. A note without any end lasts
#   to the end of the track.
# Seen: a note that only controller 123 or the end of the track ends is in none of the three results, with no
#   warning or error.
# Meaning: the last chord of a live recording, or every note of sequencers that stop so, is missing. Add the
#   missing note-offs with mido before reading.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 "setuptools<81" mido==1.3.3 \
  pretty_midi==0.2.11.post0 miditoolkit==1.0.1 symusic==0.6.0
venv/bin/python - <<'EOF'
import warnings

import miditoolkit
import mido
import pretty_midi
import symusic

ENDS = {
    "controller 123": [mido.Message("control_change", control=123, value=0, time=480)],
    "end of track": [mido.MetaMessage("end_of_track", time=480)],
    "note-off": [mido.Message("note_off", note=60, time=480)],
}
found = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name, end in ENDS.items():
        midi = mido.MidiFile(type=0, ticks_per_beat=480)
        midi.tracks.append(mido.MidiTrack([
            mido.Message("note_on", note=67, velocity=80), mido.Message("note_off", note=67, time=480),
            mido.Message("note_on", note=60, velocity=80), *end]))
        midi.save("end.mid")
        found[name] = (
            [n.pitch for i in pretty_midi.PrettyMIDI("end.mid").instruments for n in i.notes],
            [n.pitch for i in miditoolkit.MidiFile("end.mid").instruments for n in i.notes],
            [n.pitch for t in symusic.Score("end.mid").tracks for n in t.notes],
        )
        print(f"G, then C ended by {name}: pretty_midi, miditoolkit, symusic read", *found[name])
print("warnings about notes:", [str(w.message)[:60] for w in caught if "note" in str(w.message).lower()])
assert found["controller 123"] == found["end of track"] == ([67], [67], [67])
assert [sorted(pitches) for pitches in found["note-off"]] == [[60, 67]] * 3
EOF
