"""Scores written here by hand, whose notes and times are known."""

import gzip
import json
import random

import numpy as np
import pytest
from midi_files import midi_file, midi_track, name, off, on, tempo
from xml_scores import REPEAT, START, xml_note, xml_score

from hmm2song.errors import ScoreError
from hmm2song.melody import scores
from hmm2song.melody.melody import FRAME_RATE_HZ
from hmm2song.melody.notation import abc
from hmm2song.melody.notation.bars import Bar, parse_endings, play_order
from hmm2song.melody.notation.lines import skyline
from hmm2song.melody.notation.parts import melody_line
from hmm2song.melody.scores import read_scores

ABC_HEADER = "X:1\nT:Test\nM:4/4\nL:1/4\nQ:1/4=60\nK:G\n"


def notes_of(found):
    return [(pytest.approx(onset_s), pytest.approx(duration_s), midi) for onset_s, duration_s, midi in found]


def one_per_second(*pitches):
    return [(float(second), 1.0, float(pitch)) for second, pitch in enumerate(pitches) if pitch]


# Repeats ----------------------------------------------------------------------------------------------------


def bars(text):
    """Bars from words such as ``|:A``, ``B:|``, ``1B:|``, ``2C``, ``A!fine``, ``B!dacapo``."""
    made = []
    for word in text.split():
        name, _, mark = word.partition("!")
        bar = Bar(starts_repeat=name.startswith("|:"), times=2 if name.endswith(":|") else 0)
        bar.endings = parse_endings("".join(letter for letter in name if letter in "123,"))
        if mark in ("dacapo", "dalsegno"):
            bar.jump = mark
        elif mark:
            setattr(bar, mark, True)
        made.append(bar)
    return made


@pytest.mark.parametrize(
    ("written", "played"),
    [
        ("A B C", "012"),
        ("A B:| C", "01012"),
        ("A |:B C:| D", "012123"),
        ("|:A B:| |:C D:|", "01012323"),
        ("A:| B:| C", "00112"),
        ("A B:| 2C D", "0101 23"),
        ("|:A 1B:| 2C D", "01023"),
        ("|:A 1B 1C:| 2D 2E F", "0120345"),
        ("|:A 1,2B:| 3C", "0101 02"),
        ("|:A 1B:| 2C:| 3D E", "01 02 034"),
        ("|:A 1B:| C D", "01 0 23"),
        ("|:A 1B:| 2C D 1E:| 2F", "01 023 4 3 5"),
        ("A B!fine C!dacapo", "01201"),
        ("|:A 1B:| 2C!fine D!dacapo", "01 023 02"),
        ("A B!segno C!fine D!dalsegno", "0123 12"),
        ("A B!to_coda C!dacapo D!coda E", "012 01 34"),
        ("A B!coda C!dacapo D!coda E", "012 01 34"),
        ("A!segno B!dalsegno", "0101"),
    ],
)
def test_play_order(written, played):
    assert "".join(map(str, play_order(bars(written)))) == played.replace(" ", "")


def test_repeats_and_endings_are_bounded():
    with pytest.raises(ScoreError, match="unfold to more than"):
        play_order([Bar(times=10**9)])
    assert parse_endings("1-3, 5") == {1, 2, 3, 5}
    assert max(parse_endings("1-9999")) == 99


# Lines ------------------------------------------------------------------------------------------------------


def test_skyline_keeps_the_top_and_moves_on():
    chord = [(0.0, 1.0, 60.0), (0.0, 1.0, 67.0), (0.5, 0.5, 55.0), (1.0, 1.0, 62.0)]
    assert skyline(chord) == [(0.0, 1.0, 67.0), (1.0, 1.0, 62.0)]
    held_below = [(0.0, 4.0, 48.0), (1.0, 1.0, 60.0)]
    assert skyline(held_below) == [(0.0, 1.0, 48.0), (1.0, 1.0, 60.0)]
    legato_down = [(0.0, 1.1, 67.0), (1.0, 1.0, 62.0)]
    assert skyline(legato_down) == [(0.0, 1.0, 67.0), (1.0, 1.0, 62.0)]


# ABC --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("GABc|", one_per_second(67, 69, 71, 72)),
        ("G,,A,c'd''|", one_per_second(43, 57, 84, 98)),
        ("FfCc|", one_per_second(66, 78, 60, 72)),
        ("^GG=GG|G^c'cc|", one_per_second(68, 68, 67, 67, 67, 85, 73, 73)),
        ("_B__B^^c=f|", one_per_second(70, 69, 74, 77)),
        ("D|GABc|d3:|", [*one_per_second(62, 67, 69, 71, 72), (5.0, 3.0, 74.0),
                         *one_per_second(*[None] * 8, 62, 67, 69, 71, 72), (13.0, 3.0, 74.0)]),
        ("|:GA|1 Bc:|2 dd||", one_per_second(67, 69, 71, 72, 67, 69, 74, 74)),
        ("GA::Bc:|", one_per_second(67, 69, 67, 69, 71, 72, 71, 72)),
        ("|:GA [1 Bc:|[2 dd|]", one_per_second(67, 69, 71, 72, 67, 69, 74, 74)),
        ("|::GA::|", one_per_second(67, 69, 67, 69, 67, 69)),
        ("GA!fine!|Bc!D.C.!|", one_per_second(67, 69, 71, 72, 67, 69)),
        ("G4-|G2A2-|A4|", [(0.0, 6.0, 67.0), (6.0, 6.0, 69.0)]),
        ("^c4-|c2c2|", [(0.0, 6.0, 73.0), (6.0, 2.0, 72.0)]),
        ("A>BA<B|(A)>B|", [(0.0, 1.5, 69.0), (1.5, 0.5, 71.0), (2.0, 0.5, 69.0), (2.5, 1.5, 71.0),
                           (4.0, 1.5, 69.0), (5.5, 0.5, 71.0)]),
        ("A2/2B/c//d3/4|", [(0.0, 1.0, 69.0), (1.0, 0.5, 71.0), (1.5, 0.25, 72.0), (1.75, 0.75, 74.0)]),
        ("(3GAB c2|", [(0.0, 2 / 3, 67.0), (2 / 3, 2 / 3, 69.0), (4 / 3, 2 / 3, 71.0), (2.0, 2.0, 72.0)]),
        ("(3:2:2G2A d|", [(0.0, 4 / 3, 67.0), (4 / 3, 2 / 3, 69.0), (2.0, 1.0, 74.0)]),
        ("{ga}G{/b}A!trill!B~c|", one_per_second(67, 69, 71, 72)),
        ('"Am"G"^text"A "D7"B.c|', one_per_second(67, 69, 71, 72)),
        ("[GB][CE]z[G2B2]|", [(0.0, 1.0, 71.0), (1.0, 1.0, 64.0), (3.0, 2.0, 71.0)]),
        ("GzxA|", [(0.0, 1.0, 67.0), (3.0, 1.0, 69.0)]),
        ("G4|Z2|A4|", [(0.0, 4.0, 67.0), (12.0, 4.0, 69.0)]),
        ("G4&c4|A4|", [(0.0, 4.0, 67.0), (4.0, 4.0, 69.0)]),
        ("FF[K:C]FF|[L:1/8]G2A2|", one_per_second(66, 66, 65, 65, 67, 69)),
        ("GA\nQ:1/4=120\nBc|", [(0.0, 1.0, 67.0), (1.0, 1.0, 69.0), (2.0, 0.5, 71.0), (2.5, 0.5, 72.0)]),
        ("GA[Q:3/8=20]BB|", [(0.0, 1.0, 67.0), (1.0, 1.0, 69.0), (2.0, 2.0, 71.0), (4.0, 2.0, 71.0)]),
        ("\"50%\"GA % a \"comment\" |\nw:la la\nBc|\n\nnot music", one_per_second(67, 69, 71, 72)),
        ("V:1\nG4|\nV:2 name=\"Vocal\"\nC4|\n", [(0.0, 4.0, 60.0)]),
        ("V:1\nC4|\nV:2\nG4|\n", [(0.0, 4.0, 67.0)]),
        # fields and words anywhere
        ("GABc|\nS:Edda, Beda\nG: barn dance\nd4|\nH:Bede\nhad a dad\n",
         [*one_per_second(67, 69, 71, 72), (4.0, 4.0, 74.0)]),
        ("GA|\nA:|\nThis tune was made by Fred\nB|", one_per_second(67, 69, 69, 67, 69, 69, 71)),
        ("%%begintext\nabc\n%%endtext\nGA|\r\nw:la la \\\nla\nBc|\x1a", one_per_second(67, 69, 71, 72)),
        ("\n\nGA|\n[r: abc]B[N:abc]c|\n%%center abc\n<br>", one_per_second(67, 69, 71, 72)),
        # repeats, endings, parts
        ("G:|\nA||B:|", one_per_second(67, 67, 69, 71, 71)),
        ("|:G||A:|[|]B:|", one_per_second(67, 69, 67, 69, 71, 71)),
        ("|:G|[\"1st time\"A:|[\"2nd\"B|]", one_per_second(67, 69, 67, 71)),
        ("|:G|1,3A:|2B:|4c|]", one_per_second(67, 69, 67, 71, 67, 69, 67, 72)),
        ("G:||:A:|:B|::c::|", one_per_second(67, 67, 69, 69, 71, 72, 72, 72)),
        ("K:C\nK:G\nGSA!D.S.!|", one_per_second(67, 69, 67, 69)),
        # old dialects
        ("G A! B c|d! e f!", one_per_second(67, 69, 71, 72, 74, 76, 78)),
        ("!f!G!trill!A+ff+!B!c!D.C. al Fine!|", one_per_second(67, 69, 71, 72, 67, 69, 71, 72)),
        ("I:decoration +\nG!A!+trill+B|", one_per_second(67, 69, 71)),
        ("+GB+A +GB+2|", [(0.0, 1.0, 71.0), (1.0, 1.0, 69.0), (2.0, 2.0, 71.0)]),
        ("A\n>B A{g}<B|A->A|", [(0.0, 1.5, 69.0), (1.5, 0.5, 71.0), (2.0, 0.5, 69.0), (2.5, 1.5, 71.0),
         (4.0, 2.0, 69.0)]),
        ("G|-G|[GB-][AB]|", [(0.0, 2.0, 67.0), (2.0, 2.0, 71.0)]),
        ("(&G|A&B|c&)|(3ABA|", [(0.0, 1.0, 67.0), (1.0, 1.0, 69.0), (2.0, 2 / 3, 69.0), (8 / 3, 2 / 3, 71.0),
         (10 / 3, 2 / 3, 69.0)]),
        ("“Am”G [\"C\"EG]|A&gt;A^/c|", [(0.0, 1.0, 67.0), (1.0, 1.0, 67.0), (2.0, 1.5, 69.0), (3.5, 0.5, 69.0),
         (4.0, 1.0, 72.5)]),
        ("G\"Am [A {g A/0 [B|", one_per_second(67, 69, 69, 71)),
        # pitch
        ("%%propagate-accidentals not\n^c c C d|", one_per_second(73, 72, 60, 74)),
        ("I:propagate-accidentals octave\n^c c C d|", one_per_second(73, 73, 60, 74)),
        ("^c c C d|", one_per_second(73, 73, 61, 74)),
        ("[K:G bass octave=-1]G[K:treble+8]G[K:transpose=2]G[I:MIDI transpose 1]G|", one_per_second(55, 67, 69, 70)),
        ("V:1 nm=\"S\"\ncBc|\nV:2 clef=\"treble-8\"\nefe|\nV:3 octave=-1\ngfg|\nV:4 perc\ngfg|",
         one_per_second(72, 71, 72)),
        ("V:1\nGAB|\nV:2\nDEF|\nw:la la la", one_per_second(62, 64, 66)),
        ("[Q:C3=60]G[Q:C=120]G[Q:1/4 1/8=60]A|", [(0.0, 1 / 3, 67.0), (1 / 3, 0.5, 67.0), (5 / 6, 2 / 3, 69.0)]),
    ],
)  # fmt: skip
def test_abc_notes(body, expected):
    assert melody_line(abc.parse_tune(ABC_HEADER + body).parts) == notes_of(expected)


@pytest.mark.parametrize(
    ("key", "pitches"),
    [
        ("C", (65, 71)), ("F", (65, 70)), ("Bb", (65, 70)), ("A", (66, 71)), ("Am", (65, 71)),
        ("Gm", (65, 70)),
        ("E minor", (66, 71)), ("Ddor", (65, 71)), ("D Mixolydian", (66, 71)), ("F lydian", (65, 71)),
        ("Ephr", (65, 71)), ("HP", (66, 71)), ("none", (65, 71)), ("D =f", (65, 71)), ("Amix=f", (65, 71)),
        ("C exp ^f _b", (66, 70)), ("C clef=bass", (65, 71)), ("", (65, 71)),
        ("B♭", (65, 70)), ("F♯m", (66, 71)), ("E flat", (65, 70)), ("gm", (65, 70)), ("G treble", (66, 71)),
        ("bass", (65, 71)),
    ],
)  # fmt: skip
def test_abc_keys(key, pitches):
    tune = abc.parse_tune(f"X:1\nL:1/4\nQ:1/4=60\nK:{key}\nFB|")
    assert tuple(pitch for _, _, pitch in tune.parts[0].notes) == pitches


@pytest.mark.parametrize(
    ("fields", "duration_s"),
    [("M:4/4", 0.25), ("M:2/4", 0.125), ("M:3/4", 0.25), ("M:C|", 0.25), ("L:1/16", 0.125), ("Q:1/4=60", 0.5),
     ("Q:1/8=60", 1.0), ("L:1/4\nQ:60", 1.0), ("L:1/16\nQ:60", 0.25), ('Q:"Slow" 1/2=60', 0.25), ('Q:"Andante"', 0.25)],
)  # fmt: skip
def test_abc_unit_length_and_tempo(fields, duration_s):
    tune = abc.parse_tune(f"X:1\n{fields}\nK:C\nC")
    assert tune.parts[0].notes[0][1] == pytest.approx(duration_s)


@pytest.mark.parametrize(
    ("order", "played"),
    [("AAB", "GGA"), ("A2(B.A)2", "GGAGAG"), ("Part one", "GAB"), ("AZ", "G"), ("((AB)3", "GAGAGA")],
)  # fmt: skip
def test_abc_part_order(order, played):
    tune = abc.parse_tune(f"X:1\nL:1/4\nQ:1/4=60\nP:{order}\nK:C\nP:A\nG|\n[P:B]A|\nP:C\nB|")
    assert tune.parts[0].notes == tuple(one_per_second(*({"G": 67, "A": 69, "B": 71}[letter] for letter in played)))
    assert tune.warnings == (("there is no part Z, which is to be played",) if "Z" in order else ())


@pytest.mark.parametrize(
    ("body", "warning"),
    [("GA|\nlearned from Fred", '"learned from Fred" is not music'), ("GA|C,,,,,,,|", '"C,,,,,,," is outside'),
    ("G{gA|", "not closed"),
     ("GA|\n\nBc|", "after an empty line"), ("GA/0|", "by zero"), ("GA|\n\nProse, \"Am\" [C]", None)],
)  # fmt: skip
def test_abc_says_what_it_leaves_out(body, warning):
    warnings = abc.parse_tune(ABC_HEADER + body).warnings
    assert [warning in found for found in warnings] == [True] if warning else not warnings


def test_abc_tunes_without_number(tmp_path):
    text = (
        "T:One\nK:C\nC|\n\nnote|\n\nT:Two\nK:C\nD|\n\nX:1\nT:Three\nK:C\nE|\nX:1\nT:Four\nM:C\n\nK:C\nF|\n\nT:no tune\n"
    )
    tunes = [abc.parse_tune(tune) for tune in abc.split_tunes(text)]
    assert [(tune.texts("T"), tune.parts[0].notes[0][2]) for tune in tunes] == [
        (("One",), 60), (("Two",), 62), (("Three",), 64), (("Four",), 65)]  # fmt: skip
    (tmp_path / "a.abc").write_text(text.replace("|", "2|"))
    warnings = [melody.warnings for melody in read_scores(tmp_path / "a.abc").melodies]
    assert ['"X:"' in "".join(found) for found in warnings] == [True, True, False, False]


def test_abc_tune_before_the_first_number(tmp_path):
    (tmp_path / "a.abc").write_text("L:1/2\nT:One\nK:C\nCDEF|\n\nX:1\nT:Two\nK:C\nGABc|\n")
    first, second = read_scores(tmp_path / "a.abc").melodies
    assert (first.song.title, first.song.id, second.song.title, second.song.id) == ("One", "a-1", "Two", "a-2")
    assert (first.warnings, second.warnings) == (('it has no "X:" line, unlike the other tunes',), ())
    assert first.melody.duration_s == second.melody.duration_s


def test_abc_metadata(tmp_path):
    file = tmp_path / "tunes.abc"
    file.write_text(
        "%abc-2.1\nZ:public domain\n\nX:1\nT:First\nT:첫째 곡\nC:A. Nonymous\nO:Korea\n"
        "G:Folk, Children,Folk\nD:1902\nZ:Someone\nK:C\nCDEF GABc|\n\nX:2\nT:Second Jig, The\nK:C\ncBAG FEDC|\n",
        encoding="utf-8",
    )
    first, second = read_scores(file).melodies
    assert (first.song.title, first.song.title_ko, first.song.author) == ("First", "첫째 곡", "A. Nonymous")
    assert (first.song.genre, first.song.year, first.song.source) == ("Folk, Children", "1902", "Korea")
    assert (first.song.licence, first.song.credit) == ("public domain", "public domain; Someone")
    assert (second.song.title, second.song.id) == ("The Second Jig", "tunes-2")
    frames = first.melody.pitch_midi[:: int(0.25 * FRAME_RATE_HZ) + 1]
    assert list(np.unique(frames)) == [60, 62, 64, 65, 67, 69, 71, 72]


def test_abc_broken_tune_does_not_hide_the_good_one(tmp_path):
    file = tmp_path / "tunes.abc"
    file.write_text("X:1\nT:No key\nCDEF|\n\nX:2\nK:C\nD:Band: Album 1975, 2nd side\nCD/0EF|\n")
    found = read_scores(file)
    assert len(found.melodies) == 1
    assert (found.melodies[0].song.year, found.melodies[0].warnings) == ("", ('"D/0" is divided by zero',))
    assert found.broken == ('tune 1: there is no "K:" line, which every ABC tune needs at the end of its header',)
    file.write_text("X:1\nK:C\nCDEF|\n%%begintext\nX:2\n%%endtext\n")
    assert read_scores(file).broken == ('2 tunes by their "X:" lines, 1 found',)


# Tables of notes and f0 -------------------------------------------------------------------------------------


def test_jsonl(tmp_path):
    rows = [
        {"id": 7, "title": "Seven", "artist": "Trad.", "genre": "Folk, March", "gender": "여성", "year": 1900,
         "licence": "CC0", "notes": [[0.0, 1.0, 60], [1.0, 1.0, 62.5]]},
        {"id": "bad", "notes": [[0.0, "1", 60]]},
        {"id": "far", "notes": [[0.0, 1.0, 200]]},
        {"id": "none"},
        {"id": "odd", "gender": "robot", "notes": [[0, 1, 60]]},
        {"id": "duet", "gender": "female + male", "notes": [[0, 1, 60]]},
    ]  # fmt: skip
    text = "\n".join(map(json.dumps, rows)) + "\nnot json\n\n" + "[" * 100_000 + "\n"
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_text(text)
    packed.write_bytes(gzip.compress(text.encode()))
    for file in (plain, packed):
        found = read_scores(file)
        seven, duet = found.melodies
        assert duet.song.gender == "mixed"
        assert (seven.song.id, seven.song.title) == ("7", "Seven")
        assert (seven.song.author, seven.song.gender) == ("Trad.", "female")
        assert (seven.song.genre, seven.song.year, seven.song.licence) == ("Folk, March", "1900", "CC0")
        assert list(seven.melody.pitch_midi[[0, 24, 25, 49]]) == [60, 60, 62.5, 62.5]
        assert [entry.split(":")[0] for entry in found.broken] == [f"line {line}" for line in (2, 3, 4, 5, 7, 9)]


def test_rows_of_jsonl_are_checked_and_told_apart(tmp_path):
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    lines = ['{"id": 1, "notes": [[0, 1, 60]]}', "", '{"id": "\u2028"}', "[1]", '{"id": 2, "notes": [[0, 1, "C4"]]}']
    plain.write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for file in (plain, packed):
        broken = []
        rows = list(scores.read_rows(file, "id", on_broken=broken.append))
        assert [row["id"] for _, row in rows] == [1, "\u2028", 2]
        assert (rows[1][0], broken) == (f"{file}: line 3", [f"{file}: line 4: not a JSON object"])
        ((_, row),) = scores.read_rows(file, "id", "notes", on_broken=broken.append)
        assert row["notes"] == [(0.0, 1.0, 60.0)]
        assert broken[1] == f"{file}: line 3: no 'notes'" and "line 5: notes must be" in broken[3]
        with pytest.raises(ScoreError, match=r"line 4: not a JSON object"):
            list(scores.read_rows(file))
    packed.write_bytes(packed.read_bytes()[:-12])
    for file, reason in ((packed, r"a\.jsonl\.gz: the compression is damaged"), (tmp_path / "b", "b: No such file")):
        with pytest.raises(ScoreError, match=reason):
            list(scores.read_rows(file, on_broken=lambda _: None))


def test_f0_table(tmp_path):
    file = tmp_path / "hum.f0.csv"
    rows = [f"{0.01 * frame:.2f},{440.0 if frame < 100 else 0}" for frame in range(200)]
    file.write_text("time_s,f0_hz\n" + "\n".join(rows) + "\n")
    (found,) = read_scores(file).melodies
    assert found.melody.voiced_s == pytest.approx(1.0, abs=0.05)
    assert np.allclose(found.melody.pitch_midi[found.melody.voiced], 69.0)
    (tmp_path / "same.csv").write_bytes(file.read_bytes())
    (tmp_path / "other.csv").write_text("id,title\n1,x\n")
    assert all(scores.is_score(tmp_path / name) for name in ("hum.f0.csv", "same.csv"))
    assert not scores.is_score(tmp_path / "other.csv")


# Untrusted files --------------------------------------------------------------------------------------------

GOOD = {
    "a.abc": (ABC_HEADER + "|:G[AC]{g}Bc-|1 c2^d'2:|2 (3GAB [K:F]B,2|]\nV:2\nZ2|").encode(),
    "a.musicxml": xml_score([START + xml_note("C4") + REPEAT], [xml_note("E4", 2)], names=("a", "b")).encode(),
    "a.mid": midi_file(midi_track((0, name(b"x")), (0, tempo(90)), (0, on(60)), (200, off(60)))),
    "a.jsonl": b'{"id": "1", "title": "x", "notes": [[0, 1, 60], [1, 1, 62]]}\n',
    "a.jsonl.gz": gzip.compress(b'{"id": "1", "title": "x", "notes": [[0, 1, 60], [1, 1, 62]]}\n'),
    "a.f0.csv": b"time_s,f0_hz\n0.0,220\n0.04,221\n0.08,0\n",
}


@pytest.mark.parametrize("file_name", GOOD)
def test_damaged_files_raise_score_errors_only(tmp_path, file_name):
    rng = random.Random(file_name)
    file = tmp_path / file_name
    file.write_bytes(GOOD[file_name])
    assert read_scores(file).melodies
    n_refused = 0
    for _ in range(300):
        data = bytearray(GOOD[file_name])
        for _ in range(rng.randint(1, 4)):
            position = rng.randrange(len(data))
            data[position : position + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
        file.write_bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.3 else data)
        try:
            read_scores(file)
        except ScoreError as error:
            assert file_name in str(error)
            n_refused += 1
    assert n_refused > 0


@pytest.mark.parametrize(
    ("file_name", "content", "reason"),
    [
        ("a.mid", b"", "empty"),
        ("a.mid", midi_file(midi_track((0, on(60, 9)), (9, off(60, 9)))), "no pitched notes"),
        ("a.mid", midi_file(midi_track((0, on(60)), (9, off(60))))[:-9], "no note can be read"),
        ("a.xml", b"<html/>", "not a MusicXML"),
        ("a.xml", b"<a>", "well-formed"),
        ("a.mxl", b"PK\x03\x04nonsense", "damaged"),
        ("a.abc", b"no music at all", "K:"),
        ("a.abc", (ABC_HEADER + "C,,,,,,,|").encode(), "no pitched notes"),
        ("a.abc", (ABC_HEADER + "z4|").encode(), "no pitched notes"),
        ("a.csv", b"time,f0\n", "first line"),
        ("a.csv", b"\xef\xbb\xbf", "first line"),
        ("a.abc", b"X:1\n" * 20_001, "more than 20000 tunes"),
        ("a.xml", b"<a>" * 60, "well-formed"),
        ("a.xml", b"<score-partwise>%s%s</score-partwise>" % (b"<a>" * 200_000, b"</a>" * 200_000), "nested"),
        ("a.csv", b"time_s,f0_hz\n0.0,220\nx,3\n", "line 3"),
        ("a.csv", b"time_s,f0_hz\n1,220\n0,220\n", "increasing"),
        ("a.jsonl.gz", b"\x1f\x8bnonsense", "compression"),
        ("a.jsonl", b"{}\n", "line 1"),
        ("a.odt", b"x", "not a score"),
        ("a.txt", b"Dear all, # BPM: none", "no UltraStar song"),
    ],
)
def test_broken_files_say_why(tmp_path, file_name, content, reason):
    file = tmp_path / file_name
    file.write_bytes(content)
    with pytest.raises(ScoreError, match=reason) as error:
        read_scores(file)
    assert str(error.value).startswith(f"{file_name}: ")


@pytest.mark.parametrize(
    "text",
    [
        "[K:" * 200_000,
        ": " * 250_000,
        "A" + ")" * 500_000,
        "[A" * 40_000,
        "((3" * 200_000,
        "{ " * 200_000,
        '" {' * 99_999,
    ],
)
def test_long_nonsense_takes_no_longer_than_it_is_long(text):
    assert abc.parse_tune(ABC_HEADER + text + "\nGABc|").parts[0].notes[-1][2] == 72


def test_size_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(scores, "MAX_SCORE_BYTES", 1000)
    monkeypatch.setattr(scores, "MAX_LINE_BYTES", 1000)
    monkeypatch.setattr(scores, "MAX_TABLE_BYTES", 5000)
    for file_name, content in (
        ("a.abc", b"x" * 1001),
        ("a.jsonl.gz", gzip.compress(b"x" * 10_000_000)),
        ("b.jsonl.gz", gzip.compress((b"x" * 900 + b"\n") * 100_000)),
    ):
        (tmp_path / file_name).write_bytes(content)
        with pytest.raises(ScoreError, match="larger than"):
            read_scores(tmp_path / file_name)


def test_missing_file(tmp_path):
    with pytest.raises(ScoreError, match="cannot be opened"):
        read_scores(tmp_path / "none.mid")
