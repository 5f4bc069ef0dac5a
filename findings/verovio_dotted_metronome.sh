#!/usr/bin/env bash
# Verovio plays a jig too slow: a dotted quarter at 60 becomes a quarter at 80, not 90.
#
# Version: verovio 6.4.1, mido 1.3.3.
# Expected: a dotted quarter has one and a half quarters: 60 of them a minute are 90 quarters.
# Seen: the MIDI has 80 quarters a minute: the dot multiplies the unit by 4/3 (a dotted half 160 instead of
#   180, a dotted eighth 40 instead of 45). The MEI that it writes is right (mm="60" mm.unit="4" mm.dots="1"),
#   and plain units are right.
# Meaning: all MusicXML in compound time whose tempo is a metronome mark without <sound tempo> is an eighth
#   too long. Compute the tempo from the MEI.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check verovio==6.4.1 mido==1.3.3
venv/bin/python - <<'EOF'
import base64
import io
import re

import mido
import verovio

verovio.enableLog(verovio.LOG_OFF)


def tempo_in_midi_and_mei(unit, dots):
    notes = "".join(f"<note><pitch><step>{step}</step><octave>4</octave></pitch><duration>1</duration>"
                    "<type>eighth</type></note>" for step in "CDEFGA")
    toolkit = verovio.toolkit()
    toolkit.loadData(f"""<?xml version="1.0"?><score-partwise version="3.1"><part-list><score-part id="P1">
<part-name>Voice</part-name></score-part></part-list><part id="P1"><measure number="1"><attributes>
<divisions>2</divisions><key><fifths>0</fifths></key><time><beats>6</beats><beat-type>8</beat-type></time>
<clef><sign>G</sign><line>2</line></clef></attributes>
<direction placement="above"><direction-type><metronome><beat-unit>{unit}</beat-unit>
{"<beat-unit-dot/>" * dots}<per-minute>60</per-minute></metronome></direction-type></direction>{notes}</measure></part>
</score-partwise>""")
    midi = mido.MidiFile(file=io.BytesIO(base64.b64decode(toolkit.renderToMIDI())))
    quarters = next(round(mido.tempo2bpm(m.tempo)) for track in midi.tracks for m in track if m.type == "set_tempo")
    return quarters, re.search(r'mm="60"[^>]*', toolkit.getMEI())[0]


right = {("quarter", 0): 60, ("quarter", 1): 90, ("half", 1): 180, ("eighth", 1): 45, ("half", 0): 120}
seen = {case: tempo_in_midi_and_mei(*case) for case in right}
for (unit, dots), (quarters, mei) in seen.items():
    print(unit, "dotted" if dots else "plain", "= 60, in MEI", mei)
    print("  plays", quarters, "quarters a minute, right is", right[unit, dots])
assert seen["quarter", 1][1] == 'mm="60" mm.unit="4" mm.dots="1"'
quarters = {case: played for case, (played, _) in seen.items()}
assert quarters == {("quarter", 0): 60, ("quarter", 1): 80, ("half", 1): 160, ("eighth", 1): 40, ("half", 0): 120}
EOF
