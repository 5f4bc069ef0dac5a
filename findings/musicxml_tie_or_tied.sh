#!/usr/bin/env bash
# Two kinds of tie in MusicXML: each reader hears one kind and plays the other as two notes.
#
# Version: music21 10.5.1; partitura 1.9.0; verovio 6.4.1.
# Expected: a tied note sounds once. Files should hold both <tie> (sound) and <tied> (look), but many hold
#   one, and a reader takes either.
# Seen: with <tie> alone, music21 and partitura join the notes and verovio strikes twice; with <tied> alone it
#   is the other way round. With both, all three join.
# Meaning: a note count, a rhythm and a melody contour depend on the exporter and the reader. Look for both
#   elements before a file is read.
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


def score(tie, tied):
    bars = ""
    for number, kind in enumerate(("start", "stop"), 1):
        attributes = """<attributes><divisions>1</divisions><key><fifths>0</fifths></key><time><beats>4</beats>
<beat-type>4</beat-type></time><clef><sign>G</sign><line>2</line></clef></attributes>""" if number == 1 else ""
        bars += f"""<measure number="{number}">{attributes}<note><pitch><step>C</step><octave>4</octave></pitch>
<duration>4</duration>{f'<tie type="{kind}"/>' if tie else ""}<voice>1</voice><type>whole</type>
{f'<notations><tied type="{kind}"/></notations>' if tied else ""}</note></measure>"""
    return f"""<?xml version="1.0"?><score-partwise version="3.1"><part-list><score-part id="P1"><part-name>Voice
</part-name></score-part></part-list><part id="P1">{bars}</part></score-partwise>"""


def struck(midi):
    return sum(m.type == "note_on" and m.velocity > 0 for track in midi.tracks for m in track)


counts = {}
for name, tie, tied in (("both", True, True), ("tie", True, False), ("tied", False, True)):
    text = score(tie, tied)
    with open("score.musicxml", "w") as file:
        file.write(text)
    music21.converter.parse(text, format="musicxml").write("midi", "music21.mid")
    notes = len(partitura.load_score("score.musicxml").parts[0].note_array())
    counts[name] = struck(mido.MidiFile("music21.mid")), notes, struck(midi_of(text))
    print(name, "notes by music21, partitura, verovio:", counts[name])
assert counts == {"both": (1, 1, 1), "tie": (1, 1, 2), "tied": (2, 2, 1)}
EOF
