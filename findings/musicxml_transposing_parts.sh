#!/usr/bin/env bash
# A trumpet part is played a tone apart by three readers: only one of them transposes.
#
# Version: music21 10.5.1; partitura 1.9.0; verovio 6.4.1.
# Expected: a note array of numbers and a MIDI file hold sounding pitch, so a part with <transpose> (B flat
#   trumpet) comes out two semitones lower.
# Seen: verovio does so. music21 writes the MIDI file at written pitch unless toSoundingPitch is called first.
#   partitura gives written pitch in note_array and in its MIDI file.
# Meaning: a search by melody hides this (it is key invariant), chords and duets of two such readers do not.
#   Nothing in the output tells.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check numpy==2.4.6 \
  music21==10.5.1 partitura==1.9.0 verovio==6.4.1 mido==1.3.3
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

import warnings

import music21

warnings.simplefilter("ignore")
import partitura

notes = "".join(f"<note><pitch><step>{step}</step><octave>4</octave></pitch><duration>1</duration><voice>1</voice>"
                "<type>quarter</type></note>" for step in "CDEF")
text = f"""<?xml version="1.0"?><score-partwise version="3.1"><part-list><score-part id="P1">
<part-name>Trumpet</part-name></score-part></part-list><part id="P1"><measure number="1"><attributes>
<divisions>1</divisions><key><fifths>0</fifths></key><time><beats>4</beats><beat-type>4</beat-type></time>
<clef><sign>G</sign><line>2</line></clef><transpose>
<diatonic>-1</diatonic><chromatic>-2</chromatic></transpose></attributes>{notes}</measure></part></score-partwise>"""
with open("score.musicxml", "w") as file:
    file.write(text)


def pitches(midi):
    return [m.note for track in midi.tracks for m in track if m.type == "note_on" and m.velocity]


parsed = music21.converter.parse(text, format="musicxml")
parsed.write("midi", "music21.mid")
parsed.toSoundingPitch().write("midi", "sounding.mid")
loaded = partitura.load_score("score.musicxml")
partitura.save_score_midi(loaded, "partitura.mid")
heard = {
    "verovio": pitches(midi_of(text)),
    "music21": pitches(mido.MidiFile("music21.mid")),
    "music21, toSoundingPitch": pitches(mido.MidiFile("sounding.mid")),
    "partitura, note_array": [int(p) for p in loaded.parts[0].note_array()["pitch"]],
    "partitura, MIDI": pitches(mido.MidiFile("partitura.mid")),
}
for name, found in heard.items():
    print(f"{name}: {found}")
written, sounding = [60, 62, 64, 65], [58, 60, 62, 63]
assert list(heard.values()) == [sounding, written, sounding, written, written]
EOF
