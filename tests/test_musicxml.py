"""MusicXML as programs write it: notes and times, order of playing, containers, encodings, and what damage leaves."""

import io
import struct
import zipfile

import pytest
from xml_scores import DIVISIONS, QUARTER_60, REPEAT, START, xml_note, xml_score

from hmm2song.errors import ScoreError
from hmm2song.melody.notation import musicxml
from hmm2song.melody.notation.parts import melody_line
from hmm2song.melody.notation.xml import parse_damaged_xml, parse_xml
from hmm2song.melody.scores import read_scores


def notes_of(found):
    return [(pytest.approx(onset_s), pytest.approx(duration_s), midi) for onset_s, duration_s, midi in found]


def one_per_second(*pitches):
    return [(float(second), 1.0, float(pitch)) for second, pitch in enumerate(pitches) if pitch]


def parse_document(data):
    return musicxml.parse_score(*parse_damaged_xml(data))


def xml_line(*parts, names=()):
    return melody_line(parse_document(xml_score(*parts, names=names).encode()).parts)


FORWARD = '<barline location="left"><repeat direction="forward"/></barline>'


def ending(number, kind, sign=""):
    side = "left" if kind == "start" else "right"
    return f'<barline location="{side}"><ending number="{number}" type="{kind}"/>{sign}</barline>'


def words(text):
    return f"<direction><direction-type><words>{text}</words></direction-type></direction>"


BACK_4 = "<backup><duration>16</duration></backup>"


MEASURE_REPEAT = '<attributes><measure-style><measure-repeat type="{}">1</measure-repeat></measure-style></attributes>'


@pytest.mark.parametrize(
    ("measures", "expected"),
    [
        ([START + xml_note("G4"), xml_note("F#4") + xml_note("Bb4", 2)],
         [(0.0, 1.0, 67.0), (1.0, 1.0, 66.0), (2.0, 2.0, 70.0)]),
        ([START + xml_note("C4", 2, '<tie type="start"/>'),
          xml_note("C4", 1, '<tie type="stop"/>') + xml_note("C4")],
         [(0.0, 3.0, 60.0), (3.0, 1.0, 60.0)]),
        ([START + xml_note("D4", before="<grace/>").replace("<duration>4</duration>", "") + xml_note("C4")],
         [(0.0, 1.0, 60.0)]),
        ([START + xml_note("C4") + xml_note("E4", before="<chord/>") + xml_note("D4")],
         [(0.0, 1.0, 64.0), (1.0, 1.0, 62.0)]),
        ([START + xml_note("C5", 4) + BACK_4 + xml_note("C4", 4), xml_note("D5", 4)],
         [(0.0, 4.0, 72.0), (4.0, 4.0, 74.0)]),
        ([START + xml_note("C4") + "<note><rest/><duration>8</duration></note>" + xml_note("D4")],
         [(0.0, 1.0, 60.0), (3.0, 1.0, 62.0)]),
        ([START + xml_note("C4", 2) + '<direction><sound tempo="120"/></direction>' + xml_note("D4", 2)],
         [(0.0, 2.0, 60.0), (2.0, 1.0, 62.0)]),
        ([START + '<direction><offset>4</offset><sound tempo="120"/></direction>' + xml_note("C4", 2)],
         [(0.0, 1.5, 60.0)]),
        ([DIVISIONS + "<direction><direction-type><metronome><beat-unit>quarter</beat-unit><beat-unit-dot/>"
          "<per-minute>40</per-minute></metronome></direction-type></direction>" + xml_note("C4")],
         [(0.0, 1.0, 60.0)]),
        ([DIVISIONS + xml_note("C4")], [(0.0, 0.5, 60.0)]),
        ([START + xml_note("G3"), FORWARD + xml_note("C4") + REPEAT, xml_note("E4")],
         one_per_second(55, 60, 60, 64)),
        ([START + xml_note("C4"), ending(1, "start") + xml_note("D4"),
          xml_note("E4") + ending(1, "stop", "<repeat/>"),
          ending(2, "start") + xml_note("F4") + ending(2, "discontinue"), xml_note("G4")],
         one_per_second(60, 62, 64, 60, 65, 67)),
        ([START + xml_note("C4") + FORWARD.replace("left", "right"), xml_note("D4"),
          REPEAT.replace("right", "left") + xml_note("E4")],
         one_per_second(60, 62, 62, 64)),
        ([START + xml_note("C4"), xml_note("D4") + ending("", "stop", "<repeat/>"),
          ending(2, "start") + xml_note("E4") + ending(2, "stop")],
         one_per_second(60, 62, 60, 64)),
        ([START + xml_note("C4") + '<sound fine="yes"/>', xml_note("D4") + '<sound dacapo="yes"/>'],
         one_per_second(60, 62, 60)),
        ([START + "<direction><direction-type><segno/></direction-type></direction>" + xml_note("C4"),
          xml_note("D4") + words("To Coda"), xml_note("E4") + words("D.S. al Coda"),
          "<direction><direction-type><coda/></direction-type></direction>" + xml_note("F4")],
         one_per_second(60, 62, 64, 60, 62, 65)),
        ([START + "<attributes><transpose><chromatic>-2</chromatic></transpose></attributes>"
          + xml_note("D4")],
         [(0.0, 1.0, 60.0)]),
        ([START + "<attributes><time><beats>3</beats><beat-type>4</beat-type></time></attributes>",
          xml_note("C4")],
         [(3.0, 1.0, 60.0)]),
        ([START + '<sound tempo="120"><offset>2</offset></sound>' + xml_note("C4")], [(0.0, 0.75, 60.0)]),
        ([START + xml_note("C4"), MEASURE_REPEAT.format("start"), "", MEASURE_REPEAT.format("stop") + xml_note("D4")],
         [(0.0, 1.0, 60.0), (1.0, 1.0, 60.0), (2.0, 1.0, 60.0), (3.0, 1.0, 62.0)]),
        ([DIVISIONS + '<sound tempo="90"/>' + QUARTER_60 + xml_note("C4")], [(0.0, 1.0, 60.0)]),  # the second counts
        ([START + '<attributes><transpose number="2"><octave-change>-1</octave-change></transpose></attributes>'
          + xml_note("C5", 4, "<staff>1</staff>") + BACK_4 + xml_note("D5", 4, "<staff>2</staff>")],
         [(0.0, 4.0, 72.0)]),
        ([START + "<note><pitch><step>C</step><octave> 4 </octave></pitch><type>half</type><dot/></note>"
          + xml_note("D4")],
         [(0.0, 3.0, 60.0), (3.0, 1.0, 62.0)]),
        ([START + xml_note("C4") + "<note><unpitched/><duration>4</duration></note>" + xml_note("D4")],
         [(0.0, 1.0, 60.0), (2.0, 1.0, 62.0)]),
    ],
)  # fmt: skip
def test_musicxml_notes(measures, expected):
    assert xml_line(measures) == notes_of(expected)


def test_musicxml_tempo_and_repeats_of_the_first_part_hold_for_all():
    organ = [START + xml_note("C3", 2), xml_note("C3", 2) + REPEAT]
    voice = [DIVISIONS + xml_note("C4", 2), xml_note("D4", 2)]
    expected = [(0.0, 2.0, 60.0), (2.0, 2.0, 62.0), (4.0, 2.0, 60.0), (6.0, 2.0, 62.0)]
    assert xml_line(organ, voice, names=("Organ", "Voice")) == notes_of(expected)


def test_rests_longer_than_the_bar_do_not_make_it_longer():
    rests = "<note><rest/><duration>32</duration></note>"
    bars = [START + xml_note("C4", 4), xml_note("D4", 4)]
    (part,) = musicxml.parse_score(parse_xml(xml_score(bars, [rests, rests]).encode())).parts
    assert list(part.notes) == [(0.0, 4.0, 60.0), (4.0, 4.0, 62.0)]


def test_musicxml_file(tmp_path):
    text = xml_score([START + xml_note("C4", 4)], names=("Voice",))
    plain, packed = tmp_path / "song.musicxml", tmp_path / "song.mxl"
    plain.write_text(text)
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        rootfile = '<container><rootfiles><rootfile full-path="a/s.xml"/></rootfiles></container>'
        archive.writestr("META-INF/container.xml", rootfile)
        archive.writestr("a/s.xml", text)
    for file in (plain, packed):
        (found,) = read_scores(file).melodies
        assert (found.song.title, found.song.author, found.song.licence) == ("A Song", "A. Nonymous", "CC0")
        assert found.melody.voiced_s == pytest.approx(4.0)
        assert set(found.melody.pitch_midi) == {60.0}


BILLION_LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE score-partwise [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]>'
    "<score-partwise><work><work-title>&b;</work-title></work></score-partwise>"
)
EXTERNAL = (
    '<?xml version="1.0"?><!DOCTYPE s [<!ENTITY a SYSTEM "file:///etc/hostname">]><score-partwise>&a;</score-partwise>'
)


@pytest.mark.parametrize("text", [BILLION_LAUGHS, EXTERNAL, BILLION_LAUGHS.replace("?>", ' encoding="utf-16"?>', 1)])
def test_entities_are_refused(text):
    data = text.encode("utf-16" if "utf-16" in text else "utf-8")
    with pytest.raises(ScoreError, match="entity"):
        parse_document(data)


def test_zip_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(musicxml, "MAX_XML_BYTES", 10_000)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("META-INF/container.xml", '<container><rootfile full-path="s.xml"/></container>')
        archive.writestr("s.xml", "<score-partwise>" + " " * 1_000_000 + "</score-partwise>")
    honest = packed.getvalue()
    lying = honest.replace(struct.pack("<I", 1_000_033), struct.pack("<I", 5_000))
    assert lying != honest
    for data in (honest, lying):
        with pytest.raises(ScoreError, match=r"more than 10000 bytes|damaged"):
            musicxml.unpack(data)


def line_and_warnings(data):
    document = parse_document(data.encode() if isinstance(data, str) else data)
    return [note[2] for note in melody_line(document.parts)], document.warnings


@pytest.mark.parametrize(
    ("divisions", "duration"),
    [
        ("0.5", "0.5"),
        (" 1. ", "+1"),
        ("+3", "3.0"),
        ("1e1", "10"),
        (".25", ".25"),
        ("16384", "16384"),
        ("480", "479.9999"),
    ],
)
def test_numbers_as_the_schema_allows_them(divisions, duration):
    note = f"<note><pitch><step>C</step><octave>4</octave></pitch><duration>{duration}</duration></note>"
    measure = f"<attributes><divisions>{divisions}</divisions></attributes><sound tempo=' 60. '/>{note}"
    ((_, duration_s, _),) = xml_line([measure])
    assert duration_s == pytest.approx(1.0, abs=1e-5)


def test_thirds_written_with_decimals_meet():
    third = "<note><pitch><step>C</step><octave>4</octave></pitch><duration>{}</duration><tie type='{}'/></note>"
    measure = "<attributes><divisions>1</divisions></attributes>" + "".join(
        third.format("0.333333333", kind) for kind in ("start", "start", "stop")
    )
    assert len(xml_line([measure])) == 1


BASS = START + xml_note("C3", 4) + xml_note("E3", 4)


@pytest.mark.parametrize(
    ("measure", "expected", "warning"),
    [
        (xml_note("C4") + "<note><pitch/><duration>4</duration></note>", [60], "bar 1 of Voice: a pitch without"),
        (xml_note("C4") + xml_note("G9") * 2 + xml_note("C0").replace(">0<", ">-9<"), [60, 127, 127], "outside MIDI"),
        (xml_note("C4") + "<note><pitch/></note>" + xml_note("D4"), [60, 62], "without a usable <duration>"),
        (xml_note("C4") + "<backup/>" + xml_note("D4"), [60, 62], "<backup> without a usable <duration>"),
        ("<attributes><divisions>0</divisions></attributes>" + xml_note("C4"), [60], "<divisions> '0'"),
        (xml_note("C4") + "<note></nota>" + xml_note("D4"), [60], "not well-formed"),
        (xml_note("C4") + xml_note("D4") + "<", [60, 62], "not well-formed"),
        (xml_note("C4") + "<lyric><text>&eacute;&</text></lyric>\x0b" + xml_note("D4"), [60, 62], None),
    ],
)  # fmt: skip
def test_damage_costs_what_it_hits(measure, expected, warning):
    pitches, warnings = line_and_warnings(xml_score([START + measure], names=("Voice",)))
    assert pitches == expected
    assert [warning in text for text in warnings][:1] == [True] * bool(warning)
    assert len(warnings) <= 2


def test_a_cut_file_keeps_the_voice():
    text = xml_score([START + xml_note("C4") + xml_note("D4")], [BASS], names=("Voice", "Bass"))
    pitches, (warning, *_) = line_and_warnings(text[: text.index("<step>E")])
    assert pitches == [60, 62] and "the rest is lost" in warning


def sung(note):
    return note.replace("</duration>", "</duration><lyric><text>la</text></lyric>")


def voice(number):
    return f"<voice>{number}</voice>"


@pytest.mark.parametrize(
    ("parts", "names", "expected"),
    [
        ([[START + sung(xml_note("C3", 2)) + sung(xml_note("D3", 2))], [START + xml_note("C6", 2) * 2]],
         ("Gesang", "Melody"), [48, 50]),
        ([[START + xml_note("E5", 4, voice(1)) + BACK_4 + sung(xml_note("C4", 2, voice(2))) * 2]], ("",), [60, 60]),
        ([[START + sung(xml_note("E5", 4, voice(1))) + BACK_4 + sung(xml_note("C4", 4, voice(2)))]], ("",), [76]),
        ([[START + sung(xml_note("C4", 4, voice(1))), xml_note("G5", 4, voice(2))]], ("",), [60, 79]),
        ([[START + xml_note("C3", 4, "<staff>2</staff>") + BACK_4 + sung(xml_note("C4", 4, "<staff>1</staff>")) + BACK_4
           + xml_note("C6", 4, "<staff>3</staff>")]], ("Song",), [60]),
    ],
)  # fmt: skip
def test_the_sung_part_is_taken(parts, names, expected):
    assert [note[2] for note in xml_line(*parts, names=names)] == expected


def test_timewise():
    measures = "".join(
        f'<measure><part id="P0">{START if not index else ""}{xml_note(pitch)}</part>'
        + (f'<part id="P1">{START}{xml_note("E3")}</part>' if index else "")
        + "</measure>"
        for index, pitch in enumerate(("C4", "D4"))
    )
    pitches, warnings = line_and_warnings(f"<score-timewise>{measures}</score-timewise>")
    assert (pitches, warnings) == ([60, 62], ())
    document = parse_document(f"<score-timewise>{measures}</score-timewise>".encode())
    assert document.parts[1].notes == ((1.0, 1.0, 52.0),)


@pytest.mark.parametrize(
    ("written", "declared", "start"),
    [
        ("utf-16", "UTF-16", b""), ("utf-16-le", "UTF-16", b""), ("utf-16-be", "", b""), ("utf-32", "UTF-32", b""),
        ("utf-8", "utf-16", b""), ("utf-8", "x-unknown", b""), ("utf-8", "rot13", b""), ("utf-8", "", b" \n"),
        ("utf-8-sig", "UTF-8", b""), ("latin-1", "ISO-8859-1", b""), ("cp1250", "windows-1250", b""),
        ("shift_jis", "Shift_JIS", b""), ("euc-kr", "euc-kr", b""), ("latin-1", "UTF-8", b""),
    ],
)  # fmt: skip
def test_encodings(written, declared, start):
    title = {"shift_jis": "\u6b4c", "euc-kr": "\ub178\ub798"}.get(written, "\xe9t\xe9 & caf\xe9")
    text = xml_score([START + xml_note("C4")]).replace("A Song", title.replace("&", "&amp;"))
    text = text.replace('<?xml version="1.0"?>', f'<?xml version="1.0" encoding="{declared}"?>' if declared else "")
    assert parse_document(start + text.encode(written)).title == title


def test_archive_that_points_far_beyond_its_end():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("score.xml", xml_score([START + xml_note("C4")]))
    data = packed.getvalue()
    directory, end = data.index(b"PK\1\2"), data.index(b"PK\5\6")
    far = struct.pack("<HHQ", 1, 8, 2**64 - 1)  # ZIP64: where the member starts
    entry = data[directory : directory + 30] + struct.pack("<H", len(far)) + data[directory + 32 : directory + 42]
    entry += b"\xff" * 4 + data[directory + 46 : end] + far
    tail = data[end : end + 12] + struct.pack("<L", len(entry)) + data[end + 16 :]
    with pytest.raises(ScoreError, match="the archive is damaged"):
        musicxml.unpack(data[:directory] + entry + tail)


def test_container_with_several_scores_and_others():
    packed, score = io.BytesIO(), xml_score([START + xml_note("C4")])
    with zipfile.ZipFile(packed, "w") as archive:
        files = "".join(f'<rootfile full-path="{path}"/>' for path in ("gone.xml", "a%20b.pdf", "A%20Song.xml"))
        archive.writestr("song/meta-inf/Container.xml", f"<container><rootfiles>{files}</rootfiles></container>")
        archive.writestr("a b.pdf", b"%PDF")
        archive.writestr("song/info.xml", "<other/>")
        archive.writestr("song/A Song.xml", score)
    assert parse_document(musicxml.unpack(packed.getvalue())).title == "A Song"
