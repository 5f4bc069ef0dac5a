#!/usr/bin/env bash
# A MIDI file in SMPTE time has a negative length.
#
# Version: mido 1.3.3; pretty_midi 0.2.11.post0; miditoolkit 1.0.1; symusic 0.6.0.
# Expected: a file may count in frames (25 frames of 40 ticks make 1 ms a tick) instead of beats; readers
#   support that or say that they do not.
# Seen: mido reads the division as -6,360 ticks per beat and gives such a file, two notes of one second, a
#   length of about -0.3 s. miditoolkit passes -6360 on as ticks_per_beat. pretty_midi raises a ValueError
#   about a note end that is before its start. Only symusic says what is the matter.
# Meaning: checks such as "skip files shorter than 2 s" drop the file for a false reason. Look at the sign of
#   ticks_per_beat.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 "setuptools<81" mido==1.3.3 \
  pretty_midi==0.2.11.post0 miditoolkit==1.0.1 symusic==0.6.0
venv/bin/python - <<'EOF'
from pathlib import Path

import miditoolkit
import mido
import pretty_midi
import symusic

midi = mido.MidiFile(type=0, ticks_per_beat=480)
midi.tracks.append(mido.MidiTrack([
    mido.MetaMessage("set_tempo", tempo=1_000_000),
    mido.Message("note_on", note=60, velocity=80), mido.Message("note_off", note=60, time=1000),
    mido.Message("note_on", note=62, velocity=80), mido.Message("note_off", note=62, time=1000)]))
midi.save("smpte.mid")
content = bytearray(Path("smpte.mid").read_bytes())
content[12:14] = 256 - 25, 40
Path("smpte.mid").write_bytes(content)

read = mido.MidiFile("smpte.mid")
length_s = read.length
ticks = miditoolkit.MidiFile("smpte.mid").ticks_per_beat
print("right is 2.0 s; mido:", round(length_s, 3), "s")
print("ticks per beat of mido and miditoolkit:", read.ticks_per_beat, ticks)
refused = {}
for name, reader in (("pretty_midi", pretty_midi.PrettyMIDI), ("symusic", symusic.Score)):
    try:
        reader("smpte.mid")
    except Exception as error:
        refused[name] = str(error)
print("errors:", refused)
assert length_s < 0 and read.ticks_per_beat == ticks == -6360 and set(refused) == {"pretty_midi", "symusic"}
assert "end time" in refused["pretty_midi"] and "quarter" in refused["symusic"]
EOF
