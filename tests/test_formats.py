"""UltraStar, Humdrum, MEI and odd MusicXML archives written here by hand, whose notes and times are known."""

import io
import zipfile

import pytest

from hmm2song.errors import ScoreError
from hmm2song.indexing.sources import list_source
from hmm2song.melody.notation import kern, mei, musicxml, text, ultrastar
from hmm2song.melody.notation.parts import melody_line
from hmm2song.melody.notation.xml import parse_xml
from hmm2song.melody.scores import is_score, read_scores


def in_units(notes, unit_s=0.5):
    """Notes as (onset, length, pitch) in units of time."""
    return [(round(onset_s / unit_s, 3), round(length_s / unit_s, 3), midi) for onset_s, length_s, midi in notes]


# Text ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r"Caf\'e cr\`eme \"uber &eacute;t&eacute;", "Café crème über été"),
        (r"\AAr\oe\ss \cC\vc\~n\/o \'{e}", "Årœß Çčñø é"),
        (r"S\u0142owik {\"u}ber \'\i \c c", "Słowik über í ç"),
        (r"\351t\'{e} 100\% R\&B \v{z}", "été 100% R&B ž"),
        (r"up \ down 100%", r"up \ down 100%"),
    ],
)
def test_letters_of_abc(written, meant):
    assert text.without_escapes(written) == meant


# UltraStar ----------------------------------------------------------------------------------------------------

HALF_SECOND_UNITS = "#TITLE:A\n#ARTIST:B\n#BPM:30\n"


def karaoke(body, tags=""):
    return in_units(ultrastar.parse_song(HALF_SECOND_UNITS + tags + body).part.notes)


@pytest.mark.parametrize(
    ("body", "tags", "expected"),
    [
        (": 0 2 0 la\n* 2 2 12 la\nE\n: 9 9 9 x", "", [(0, 2, 60), (2, 2, 72)]),
        (":0 2 -3 la\r\n: 4\t1 0 ", "#GAP:1000,5\n", [(2.001, 2, 57), (6.001, 1, 60)]),
        (": 0 1 0 a\nF 1 1 5 b\nR 2 1 5 c\nG 3 1 5 d\n: 4 1 2 e", "", [(0, 1, 60), (4, 1, 62)]),
        (": 0 4 0 a\n- 5 8\n: 0 2 2 b\n- 9\n: 0 1 4 c", "#RELATIVE:yes\n", [(0, 4, 60), (8, 2, 62), (17, 1, 64)]),
        (": 0 2 0 a\nB 2 60,0\n: 2 2 0 b\n: 4 2 0 c", "", [(0, 2, 60), (2, 1, 60), (3, 1, 60)]),
        (": 0 1 60 a\n: 1 1 72 b", "", [(0, 1, 60), (1, 1, 72)]),  # MIDI numbers instead of distances from C4
        ("P1\n: 0 2 0 a\n: 8 2 0 a\nP2\n: 1 2 7 b\n: 4 2 7 b\nE", "", [(0, 2, 60), (4, 2, 67), (8, 2, 60)]),
        ("P1\n: 0 1 0 a\nP3\n: 2 1 2 b\nP 2\n: 4 1 4 c", "", [(0, 1, 60), (2, 1, 62), (4, 1, 64)]),
        (": 0 1 0 a\n: 2 1 2 b\nB 2 60.000000000001", "#GAP:1000.00000000001\n", [(2, 1, 60), (4, 0.5, 62)]),
        (": -2 1 0 a\n: 0 1 2 b", "#GAP:0\n", [(0, 1, 60), (2, 1, 62)]),
        ("P1\n: 0 1 0 a\nP3\n: 2 1 2 b\nB 4 60", "#VERSION:2.0.0\n", [(0, 4, 60), (8, 4, 62)]),  # a beat is a unit
    ],
)
def test_ultrastar_notes(body, tags, expected):
    assert karaoke(body, tags) == expected


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("#TITLE:Über\n#BPM:30\n: 0 1 0 a".encode("utf-8-sig"), "Über"),
        ("#TITLE:Über\n#BPM:30\n: 0 1 0 a".encode("cp1252"), "Über"),
        ("#TITLE:Słowik\n#ENCODING:CP1250\n#BPM:30\n: 0 1 0 a".encode("cp1250"), "Słowik"),
        ("#title : Über\n#Bpm: 30 \n: 0 1 0 a".encode("utf-16"), "Über"),
        ("#TITLE:Über\n#ENCODING:rot13\n#BPM:30\n: 0 1 0 a".encode("cp1252"), "Über"),
    ],
)
def test_ultrastar_file(tmp_path, content, title):
    file = tmp_path / "song.txt"
    file.write_bytes(content)
    assert [found.song.title for found in read_scores(file).melodies] == [title]


def test_a_text_that_is_no_song_is_no_music(tmp_path):
    (tmp_path / "notes.txt").write_text("# Notes: none\nBPM: 3\n")
    (tmp_path / "song.txt").write_text(HALF_SECOND_UNITS + ": 0 1 0 a\nwhat\n: 99999999 1 0 b\nE\n")
    listing = list_source(tmp_path)
    assert ([item.name for item in listing.items], listing.n_not_music, listing.skipped) == (["song.txt"], 1, ())
    assert not is_score(tmp_path / "notes.txt")
    assert read_scores(tmp_path / "song.txt").melodies[0].warnings == ("line 5 is no note (of 2 such lines)",)


@pytest.mark.parametrize("gap", ["12 s", "1e3", "9" * 12])
def test_an_ultrastar_gap_that_is_no_number_is_told(gap):
    song = ultrastar.parse_song(HALF_SECOND_UNITS + f"#GAP:{gap}\n: 0 1 0 a")
    assert (song.part.notes[0][0], len(song.lost)) == (0.0, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("#BPM:0\n: 0 1 0 a", "BPM"), ("#BPM:1e9\n: 0 1 0 a", "BPM"), ("#BPM:30\nF 0 1 0 a\nE", "no sung notes")],
)
def test_broken_ultrastar_says_why(text, reason):
    with pytest.raises(ScoreError, match=reason):
        ultrastar.parse_song(text)


# Humdrum ------------------------------------------------------------------------------------------------------


def humdrum(text, number=0):
    """The notes of a part in quarters, from lines of columns divided by spaces; ``+`` is a space in one of them."""
    lines = "\n".join("\t".join(line.split()).replace("+", " ") for line in text.splitlines())
    return in_units(kern.parse_score(lines).parts[number].notes)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**kern\n4c\n8.d#\n16E-\n4r\n2CC\n*-", [(0, 1, 60), (1, 0.75, 63), (1.75, 0.25, 51), (3, 2, 36)]),
        ("**kern\n0c\n3%2d\n6e\n*-", [(0, 8, 60), (8, 2.667, 62), (10.667, 0.667, 64)]),
        ("**kern\n4c+4e\n8qg\nqqa\n4d\n*-", [(0, 1, 60), (0, 1, 64), (1, 1, 62)]),
        ("**kern\n[2c\n=2\n4_c\n=3\n4c]\n4c\n*-", [(0, 4, 60), (4, 1, 60)]),
        (
            "**kern\n=1\n4c\n=:|!\n4d\n=:|!|:\n4e\n==:|!\n*-",
            [(i, 1, m) for i, m in enumerate((60, 60, 62, 62, 64, 64))],
        ),
        (
            "**kern\n*>[A,A,B,A]\n*>norep[A,B]\n*>A\n4c\n=:|!\n*>B\n4d\n*-",
            [(i, 1, m) for i, m in enumerate((60, 60, 62, 60))],
        ),
        (
            "**kern\n*>[A,A,B]\n*>A\n4c\n*>1st+ending\n4d\n=:|!\n*>2nd+ending\n4e\n*>B\n4f\n*-",
            [(i, 1, m) for i, m in enumerate((60, 62, 60, 64, 65))],
        ),
        ("**kern\n*MM60\n4c\n*MM240\n4d\n*-", [(0, 2, 60), (2, 0.5, 62)]),
        ("**kern\n*ITrd1c2\n*k[f#]\n4f\n*-", [(0, 1, 65)]),
        ("**kern\n2c\n*^\n4d 2f\n4e .\n*v *v\n2g\n*-", [(0, 2, 60), (2, 1, 62), (2, 2, 65), (3, 1, 64), (4, 2, 67)]),
        ("**kern **kern\n4c 4C\n*x *x\n4D 4d\n*- *-", [(0, 1, 60), (1, 1, 62)]),
        (
            "**kern **kern **kern\n8c 4CC 4r\n4d . .\n=2 =2 =2\n4e 4DD 4r\n*- *- *-",
            [(0, 0.5, 60), (0.5, 1, 62), (1, 1, 64)],
        ),
        ("**kern\n4c\n*-\n**kern\n4d\n*-", [(0, 1, 60)]),
    ],
)
def test_kern_notes(text, expected):
    assert humdrum(text) == expected


def test_kern_file(tmp_path):
    file = tmp_path / "songs.krn"
    head = "!!!COM: Anon\n!!!OTL@@DE: Stra&szlig;e\n!!!ODT: 1823///\n"
    song = head + "**kern\t**kern\t**text\n4CC\t4c\tla\n4DD\t8d\t.\n*-\t*-\t*-\n"
    file.write_text(f"!!!!SEGMENT: 1\n{song}!!!!SEGMENT: 2\n**kern\n4c\n4c\t4d\n")
    found = read_scores(file)
    first, second = (scored.song for scored in found.melodies)
    assert (first.title, first.author, first.year, second.title) == ("Straße", "Anon", "1823", "songs-2")
    assert set(found.melodies[0].melody.pitch_midi[found.melodies[0].melody.voiced]) == {60.0, 62.0}
    assert found.melodies[1].warnings == ("line 4 has 2 columns for 1 spines; nothing is read from there on",)


def test_a_segment_without_notes_is_told(tmp_path):
    file = tmp_path / "songs.krn"
    song = "**kern\n4c\n4d\n*-\n"
    file.write_text(f"!!!OTL: All\n!!!!SEGMENT: 1\n{song}!!!!SEGMENT: 2\n**mens\nc\n*-\n!!!!SEGMENT: 3\n{song}")
    found = read_scores(file)
    assert [scored.song.id for scored in found.melodies] == ["songs-1", "songs-3"]
    assert found.broken == ("segment 2: there is no **kern spine in it",)


# MEI ----------------------------------------------------------------------------------------------------------


def encoded(measures, staff_def="", score_def="", head=""):
    return (
        f'<mei xmlns="http://www.music-encoding.org/ns/mei"><meiHead><fileDesc><titleStmt><title>A</title>{head}'
        f"</titleStmt></fileDesc></meiHead><music><body><mdiv><score><scoreDef {score_def}><staffGrp>"
        f'<staffDef n="1" {staff_def}/></staffGrp></scoreDef><section>{measures}</section>'
        "</score></mdiv></body></music></mei>"
    )


def measure(layer, attributes="", after=""):
    return f'<measure {attributes}><staff n="1"><layer n="1">{layer}</layer></staff>{after}</measure>'


def note(pitch, dur=4, attributes="", inside=""):
    return f'<note pname="{pitch[0]}" oct="{pitch[1]}" dur="{dur}" {attributes}>{inside}</note>'


RPTEND = 'right="rptend"'
GRACE = note("e4", 8, 'grace="acc"')
C, D, E, F = (note(pitch) for pitch in ("c4", "d4", "e4", "f4"))


@pytest.mark.parametrize(
    ("measures", "definitions", "expected"),
    [
        (measure(note("c4", 4, 'dots="1"') + note("d4", 8) + '<rest dur="4"/>' + E), {},
         [(0, 1.5, 60), (1.5, 0.5, 62), (3, 1, 64)]),
        (measure('<tuplet num="3" numbase="2"><beam>' + 3 * note("c4", 8) + "</beam></tuplet>" + D), {},
         [(0, 0.333, 60), (0.333, 0.333, 60), (0.667, 0.333, 60), (1, 1, 62)]),
        (measure(note("c4", 8, 'xml:id="a"') + note("c4", 8) + note("c4", 8, 'xml:id="b"') + D,
                 after='<tupletSpan startid="#a" endid="#b" num="3" numbase="2"/>'), {},
         [(0, 0.333, 60), (0.333, 0.333, 60), (0.667, 0.333, 60), (1, 1, 62)]),
        (measure('<chord dur="2"><note pname="c" oct="4"/><note pname="e" oct="4"/></chord>' + D), {},
         [(0, 2, 60), (0, 2, 64), (2, 1, 62)]),
        (measure(note("c4", 2, 'tie="i"')) + measure(note("c4", 4, 'tie="t"') + C), {}, [(0, 3, 60), (3, 1, 60)]),
        (measure(note("c4", 2, 'xml:id="x"'), after='<tie startid="#x" endid="#y"/>') + measure(C), {}, [(0, 3, 60)]),
        (measure(C, RPTEND) + measure(D, 'left="rptstart" right="rptboth"') + measure(E, RPTEND), {},
         [(i, 1, m) for i, m in enumerate((60, 60, 62, 62, 64, 64))]),
        (f'{measure(C)}<ending n="1">{measure(D, RPTEND)}</ending>'
         f'<ending n="2">{measure(E)}</ending>', {}, [(i, 1, m) for i, m in enumerate((60, 62, 60, 64))]),
        ('<expansion plist="#A #B #A"/>'
         f'<section xml:id="A">{measure(C, RPTEND)}</section>'
         f'<section xml:id="B">{measure(D)}</section>', {}, [(i, 1, m) for i, m in enumerate((60, 62, 60))]),
        (measure(C, after='<repeatMark func="fine"/>') + measure(D, after="<dir>D.C. al Fine</dir>"), {},
         [(i, 1, m) for i, m in enumerate((60, 62, 60))]),
        (measure(F + note("f4", 4, 'accid="n"') + F) + measure(F), {"score_def": 'key.sig="1s"'},
         [(0, 1, 66), (1, 1, 65), (2, 1, 65), (3, 1, 66)]),
        (measure(note("f4", 4, 'accid.ges="s"') + F + note("f4", 4, "", '<accid accid="f"/>')),
         {"score_def": 'keysig="1s"'},
         [(0, 1, 66), (1, 1, 65), (2, 1, 64)]),
        (measure(C), {"staff_def": 'trans.semi="-2"'}, [(0, 1, 58)]),
        (measure('<note pname="c"/>'), {"score_def": 'dur.default="2"', "staff_def": 'oct.default="5"'}, [(0, 2, 72)]),
        (measure('<mRest/>') + measure('<multiRest num="2"/>') + measure(C),
         {"score_def": 'meter.count="3" meter.unit="4"'},
         [(9, 1, 60)]),
        (measure(C + D) + measure("<mRpt/>"), {}, [(0, 1, 60), (1, 1, 62), (2, 1, 60), (3, 1, 62)]),
        (measure(C, after='<tempo mm="60" mm.unit="4"/>') + measure(D), {}, [(0, 2, 60), (2, 2, 62)]),
        (measure(f'<app><rdg>{D}</rdg><lem>{C}</lem></app><graceGrp>{E}</graceGrp>{GRACE}'
                 f"<choice><sic>{F}</sic><corr>{E}</corr></choice>"), {}, [(0, 1, 60), (1, 1, 64)]),
        (measure(note("c4", 4, 'dots="-1"') + note("d4", 4, "", "<dot/><dot/>") + '<multiRest num="-3"/>' + E), {},
         [(0, 1, 60), (1, 1.75, 62), (6.75, 1, 64)]),
        (measure(f'<bTrem>{note("c4", 2)}</bTrem><fTrem>{note("d4", 2)}{note("e4", 2)}</fTrem>'), {},
         [(0, 2, 60), (2, 1, 62), (3, 1, 64)]),
    ],
)  # fmt: skip
def test_mei_notes(measures, definitions, expected):
    document = mei.parse_mei(parse_xml(encoded(measures, **definitions).encode()))
    assert in_units(document.movements[0].parts[0].notes) == expected


def test_mei_in_parts():
    text = encoded(measure(C)).replace("<score>", '<parts><part n="1">').replace("</score>", "</part></parts>")
    text = text.replace(
        "</part>", "</part>" + text[text.index("<part ") : text.index("</part>")].replace('"c"', '"d"') + "</part>"
    )
    first, second = mei.parse_mei(parse_xml(text.encode())).movements[0].parts
    assert (first.notes[0][2], second.notes[0][2]) == (60, 62)


def test_mei_takes_the_layer_with_the_lyrics():
    sung = note("c4", 4, "", "<verse><syl>la</syl></verse>")
    text = encoded(
        f'<measure><staff n="1"><layer n="1">{note("c5")}</layer><layer n="2">{sung}</layer></staff></measure>'
    )
    (part,) = mei.parse_mei(parse_xml(text.encode())).movements[0].parts
    assert in_units(melody_line([part])) == [(0, 1, 60)]


@pytest.mark.parametrize("suffix", ["mei", "xml"])
def test_mei_file(tmp_path, suffix):
    file = tmp_path / f"a.{suffix}"
    file.write_text(encoded(measure(C), head="<composer>B</composer>"))
    (found,) = read_scores(file).melodies
    assert (found.song.title, found.song.author, found.melody.pitch_midi[0]) == ("A", "B", 60.0)


@pytest.mark.parametrize("encoding", ["U" * 300, "rot13"])
def test_an_encoding_that_does_not_exist_is_not_asked_for(encoding):
    declared = f'<?xml version="1.0" encoding="{encoding}"?>' + encoded(measure(C))
    (movement,) = mei.parse_mei(parse_xml(declared.encode())).movements
    assert in_units(movement.parts[0].notes) == [(0, 1, 60)]


def test_humdrum_without_notes_says_so(tmp_path):
    (tmp_path / "a.krn").write_text("**mens\nsc\n*-\n")
    with pytest.raises(ScoreError, match=r"no \*\*kern"):
        read_scores(tmp_path / "a.krn")


def test_an_expansion_that_names_what_is_not_there_is_told():
    bars = f'<expansion plist="#A #gone"/><section xml:id="A">{measure(C, RPTEND)}</section>'
    (movement,) = mei.parse_mei(parse_xml(encoded(bars).encode())).movements
    assert (len(movement.parts[0].notes), "'gone'" in movement.lost[0]) == (2, True)
    score = kern.parse_score("**kern\n*>[A,gone]\n*>A\n4c\n=:|!\n*-")
    assert (len(score.parts[0].notes), "'gone'" in score.lost[0]) == (2, True)


def test_expansions_of_expansions_are_bounded():
    measures = f'<section xml:id="s0">{measure(C)}</section>'
    for level in range(1, 20):
        refs = " ".join([f"#s{level - 1}"] * 10)
        measures = f'<section xml:id="s{level}"><expansion plist="{refs}"/>{measures}</section>'
    with pytest.raises(ScoreError, match="unfolds"):
        mei.parse_mei(parse_xml(encoded(measures).encode()))


def test_repeated_bars_do_not_multiply_without_end():
    with pytest.raises(ScoreError, match="longer"):
        mei.parse_mei(parse_xml(encoded(measure(C) + 40 * measure("<mRpt/><mRpt/>")).encode()))


@pytest.mark.parametrize(
    ("name", "content", "warning"),
    [
        ("a.txt", HALF_SECOND_UNITS + ": 0 1 0 a\n: 1 1 0 a\n: 2 1 999 b", "1 pitches are outside"),
        ("a.krn", "**kern\n4c\n4cccccccccc\n9999d\n4e\n*-", "line 3: the note"),
        ("a.mei", encoded(measure(C + note("b9"))), "bar 1 has a pitch"),
        ("a.mei", encoded(measure(C + "<beatRpt/>")), "bar 1 repeats"),
    ],
)
def test_a_note_that_cannot_be_is_lost_alone(tmp_path, name, content, warning):
    (tmp_path / name).write_text(content)
    (found,) = read_scores(tmp_path / name).melodies
    assert found.melody.pitch_midi[0] == 60.0 and warning in found.warnings[0]


# Archives -----------------------------------------------------------------------------------------------------

CONTAINER = '<container><rootfiles><rootfile full-path="{}"/></rootfiles></container>'


@pytest.mark.parametrize(
    "members",
    [
        {"song.xml": "<right/>"},
        {"META-INF/container.xml": CONTAINER.format("gone.xml"), "__MACOSX/._a.xml": "x", "song.xml": "<right/>"},
        {"META-INF/container.xml": CONTAINER.format("/a\\Song.XML"), "b.xml": "<wrong/>", "a/song.xml": "<right/>"},
        {"META-INF/container.xml": "<container/>", "song.musicxml": "<right/>"},
    ],
)
def test_odd_containers(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    assert musicxml.unpack(packed.getvalue()) == b"<right/>"
