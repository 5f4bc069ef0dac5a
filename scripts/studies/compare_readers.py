#!/usr/bin/env python
"""Compare our readers of notes with independent ones on a folder of scores, and sort the disagreements into classes.

    pip install music21 converter21 partitura verovio pretty_midi ultrastar-score      # in an environment of its own
    python scripts/studies/compare_readers.py my-scores
    python scripts/studies/compare_readers.py my-scores --suffixes krn mei --readers verovio --json figures.json
    apt-get install abcmidi && python scripts/studies/compare_readers.py my-tunes --suffixes abc

A file is read by ours and by every reader installed that knows its suffix. Compared are the sounding notes of all parts
after repeats, tempi and ties. Two readings are

* "same" if 99.9 % of the notes have one of the same pitch within 30 ms;
* "tempo" if that holds once the times are scaled to the same length;
* "repeats" if it holds for the notes of the shorter one up to where they part, and the lengths differ;
* "notes" if the lengths agree and some notes are in one reading only, such as the grace notes that a player adds;
* "pitch" if onsets agree and pitches do not; "other" else; "refused" by us or by them;
* "their errors" if they differ in any way, and the other reader itself says that it could not read something.

Each tune of a tune book (ABC) counts as a file. abc2midi reads it without what it plays by habit: trills, rolls, the
swing of hornpipes, accompaniment.

The files that our readers were checked on are not in this repository:

* ABC: the tunes of music21's corpus (`*.abc`) except Essen's, 4,464 of them. abc2midi 4.84 reads 4,150 the same and
  reports errors in 239 (most: broken rhythm behind a chord symbol or between unequal notes). The other 75 are told
  one by one in docs/readers.md;
* Humdrum: the corpus of music21 10.5.1 (`music21/corpus/**/*.krn`) and the tests of kernpy 1.9.3 (`test/**/*.krn`);
* MEI: scores of music21's corpus (`*.mxl`) and of kernpy's tests, written as MEI by verovio 6.4.1 (`getMEI`), and the
  four files in the packages of music21 and partitura;
* UltraStar: no package holds such files; the repository UltraStar-Deluxe/songs does. Stand-ins are the songbook's
  tunes, written as plain UltraStar songs.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import importlib.util
import io
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.errors import ScoreError
from hmm2song.melody.notation import abc, kern, mei, midi, musicxml, ultrastar
from hmm2song.melody.notation.bars import Note
from hmm2song.melody.notation.encoding import decode
from hmm2song.melody.notation.parts import Part
from hmm2song.melody.notation.xml import parse_xml
from hmm2song.script import main_of, markdown_table, output_file, positive, progress, write_json

TOLERANCE_S = 0.03
SAME_SHARE = 0.999
SAME_LENGTH = 0.02
CLASSES = ("same", "tempo", "repeats", "notes", "pitch", "other", "their errors", "refused by us", "refused by them")
Reading = list[Note]
"""All notes of a file as (onset_s, duration_s, midi), in order."""
PLAYED_BY_HABIT = re.compile(
    r"(\"[^\"]*\"|\[[A-Za-z]:[^\]]*\]|%.*)|T(?=[.~uvHJ(\"]*[\^_=\[(A-Ga-g{!])|~|!(?:trill|arpeggio)!|\+trill\+"
)
"""Ornaments of ABC, except in what must stay: texts, fields and comments."""
ABC_FIELD = re.compile(r"[A-Za-z]:(?![|:])")


# Ours -------------------------------------------------------------------------------------------------------------


def our_parts(path: Path) -> tuple[Part, ...]:
    """Return the parts before one of them is chosen."""
    content, suffix = path.read_bytes(), path.suffix.lower()
    if suffix == ".abc":
        return abc.parse_tune(decode(content)).parts
    if suffix == ".krn":
        return kern.parse_score(kern.split_segments(content.decode("utf-8", "replace"))[0]).parts
    if suffix == ".mid":
        return midi.parse_midi(content).parts
    if suffix == ".txt":
        return (ultrastar.parse_song(ultrastar.decode(content)).part,)
    root = parse_xml(musicxml.unpack(content) if content.startswith(b"PK") else content)
    return mei.parse_mei(root).movements[0].parts if root.tag == "mei" else musicxml.parse_score(root).parts


# Others -----------------------------------------------------------------------------------------------------------


def by_music21(path: Path) -> Reading:
    """Read with music21, repeats expanded where it can."""
    from music21 import converter

    converter.resetSubConverters()  # by_converter21 may have replaced them
    return _by_music21(path)


def by_converter21(path: Path) -> Reading:
    """Read with music21 and the parsers of converter21, without what upsets these: headers, MEI 6."""
    import converter21

    converter21.register()
    text = path.read_text(encoding="utf-8", errors="replace").replace('"6.0-dev"', '"5.0"')
    text = re.sub(r"^!!!.*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"<meiHead.*</meiHead>", "<meiHead/>", text, flags=re.DOTALL)
    with tempfile.NamedTemporaryFile("w", suffix=path.suffix, encoding="utf-8") as file:
        file.write(text)
        file.flush()
        return _by_music21(Path(file.name))


def _by_music21(path: Path) -> Reading:
    from music21 import converter
    from music21.repeat import ExpanderException

    kind = {".krn": "humdrum", ".mei": "mei"}.get(path.suffix.lower())
    score = converter.parse(path, format=kind, forceSource=True)
    with contextlib.suppress(ExpanderException):
        score = score.expandRepeats()
    found = []
    for entry in score.flatten().secondsMap:
        element = entry["element"]
        notes = element.notes if getattr(element, "isChord", False) else [element]
        if element.duration.isGrace or "ChordSymbol" in element.classSet:
            continue
        for note in notes:
            if hasattr(note, "pitch") and (note.tie is None or note.tie.type == "start"):
                found.append((float(entry["offsetSeconds"]), float(entry["durationSeconds"]), note.pitch.ps))
    return found


def by_verovio(path: Path) -> Reading:
    """Read with verovio, as the MIDI it plays."""
    import verovio
    from pretty_midi import PrettyMIDI

    verovio.enableLog(verovio.LOG_OFF)
    toolkit = verovio.toolkit()
    if not toolkit.loadFile(str(path)):
        raise ValueError("not loaded")
    return _midi_notes(PrettyMIDI(io.BytesIO(base64.b64decode(toolkit.renderToMIDI()))))


def by_pretty_midi(path: Path) -> Reading:
    """Read MIDI with pretty_midi."""
    from pretty_midi import PrettyMIDI

    return _midi_notes(PrettyMIDI(str(path)))


def _midi_notes(song: object) -> Reading:
    instruments = (instrument for instrument in song.instruments if not instrument.is_drum)
    notes = (note for instrument in instruments for note in instrument.notes)
    return [(float(note.start), float(note.end - note.start), float(note.pitch)) for note in notes]


def by_partitura(path: Path) -> Reading:
    """Read with partitura, repeats unfolded; it gives no seconds, so 120 quarters per minute are assumed."""
    import partitura

    found = []
    for part in partitura.load_score(str(path)).parts:
        unfolded = partitura.score.unfold_part_maximal(part)
        for note in unfolded.notes_tied:
            onset_q = float(unfolded.quarter_map(note.start.t) - unfolded.quarter_map(0))
            found.append((onset_q / 2, note.duration_tied / 2, float(note.midi_pitch)))
    return found


def by_ultrastar_score(path: Path) -> Reading:
    """Read an UltraStar song with ultrastar-score; it knows no relative times and no duets."""
    from ultrastar_score.parser import parse_ultrastar

    song = parse_ultrastar(path)
    sung = [note for note in song.all_notes if note.note_type in ":*"]
    spans = [
        (song.beat_to_seconds(note.start_beat), song.beat_to_seconds(note.start_beat + note.duration)) for note in sung
    ]
    return [(on, off - on, 60.0 + note.pitch) for (on, off), note in zip(spans, sung, strict=True)]


class ReadingWithErrors(Reading):
    """A reading by a program that says itself what it could not read."""

    errors = ""


def by_abc2midi(path: Path) -> Reading:
    """Read ABC with abc2midi, as the MIDI it plays."""
    lines = []
    for line in path.read_text(encoding="utf-8").split("\n"):
        if not re.match(r"R:|%%MIDI (?!transpose)", line):
            is_field = ABC_FIELD.match(line)
            lines.append(line if is_field else PLAYED_BY_HABIT.sub(lambda match: match[1] or "", line))
    plain, played = path.with_suffix(".plain"), path.with_suffix(".midi")
    plain.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    command = ["abc2midi", str(plain), "-NGRA", "-NGUI", "-NFER", "-o", str(played)]
    done = subprocess.run(command, capture_output=True, encoding="latin-1", timeout=60, check=False)
    found = ReadingWithErrors(note for part in midi.parse_midi(played.read_bytes()).parts for note in part.notes)
    complaints = (line.rpartition(" : ")[2] for line in done.stdout.splitlines() if line.startswith("Error"))
    found.errors = "; ".join(sorted(set(complaints)))
    return found


XML = (".musicxml", ".xml", ".mxl")
READERS: dict[str, tuple[str, tuple[str, ...], Callable[[Path], Reading]]] = {
    "abc2midi": ("abc2midi", (".abc",), by_abc2midi),
    "music21": ("music21", (".krn", ".mei", ".mid", *XML), by_music21),
    "converter21": ("converter21", (".krn", ".mei"), by_converter21),
    "verovio": ("verovio", (".krn", ".mei", *XML), by_verovio),
    "partitura": ("partitura", (".krn", ".mei", *XML), by_partitura),
    "pretty_midi": ("pretty_midi", (".mid",), by_pretty_midi),
    "ultrastar-score": ("ultrastar_score", (".txt",), by_ultrastar_score),
}
"""By name: the module or program that must be installed, what it reads, and how."""


# Comparison -------------------------------------------------------------------------------------------------------


def agreement(first: Reading, second: Reading) -> float:
    """Return the share of notes that have a partner: 2 x pairs / (notes of the first + of the second)."""
    onsets: dict[float, list[float]] = defaultdict(list)
    for onset_s, _, pitch in sorted(second):
        onsets[round(pitch, 1)].append(onset_s)
    n_pairs = 0
    for onset_s, _, pitch in sorted(first):
        of_pitch = onsets[round(pitch, 1)]
        nearest = bisect_left(of_pitch, onset_s - TOLERANCE_S)
        if nearest < len(of_pitch) and of_pitch[nearest] <= onset_s + TOLERANCE_S:
            of_pitch.pop(nearest)
            n_pairs += 1
    return 2 * n_pairs / max(1, len(first) + len(second))


def class_of(ours: Reading, theirs: Reading) -> str:
    """Return the class of two readings."""
    if agreement(ours, theirs) >= SAME_SHARE:
        return "same"
    if not ours or not theirs:
        return "other"
    our_end_s, their_end_s = max(note[0] for note in ours), max(note[0] for note in theirs)
    if their_end_s > 0:
        scaled = [(onset_s * our_end_s / their_end_s, length_s, pitch) for onset_s, length_s, pitch in theirs]
        if agreement(ours, scaled) >= SAME_SHARE:
            return "tempo"
    if abs(our_end_s - their_end_s) > SAME_LENGTH * our_end_s:
        return "repeats" if _begin_alike(ours, theirs) else "other"
    if agreement([(on, d, 0.0) for on, d, _ in ours], [(on, d, 0.0) for on, d, _ in theirs]) >= SAME_SHARE:
        return "pitch"
    return "notes" if agreement(ours, theirs) > 0.5 else "other"


def _begin_alike(ours: Reading, theirs: Reading) -> bool:
    """Tell whether the first 20 notes of both are the same."""
    return agreement(sorted(ours)[:20], sorted(theirs)[:20]) > 0.8


# The command ------------------------------------------------------------------------------------------------------


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="scores; subfolders are read too")
    parser.add_argument("--suffixes", nargs="+", metavar="S", help="only these, such as krn mei")
    parser.add_argument(
        "--readers", nargs="+", choices=READERS, metavar="R", help=f"of {', '.join(READERS)} (default: all)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="read N files, evenly taken from the folder")
    parser.add_argument("--show", type=positive, default=20, metavar="N", help="disagreements listed (20)")
    parser.add_argument("--json", type=output_file, metavar="OUT", help="write the figures as JSON")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Compare file by file and print the classes by reader and suffix."""
    warnings.simplefilter("ignore")
    readers = {
        name: reader
        for name, reader in READERS.items()
        if name in (options.readers or READERS) and (importlib.util.find_spec(reader[0]) or shutil.which(reader[0]))
    }
    known = {suffix for _, suffixes, _ in readers.values() for suffix in suffixes}
    wanted = known & {f".{suffix}" for suffix in options.suffixes} if options.suffixes else known
    files = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in wanted)
    files = files[:: max(1, len(files) // options.limit)][: options.limit] if options.limit else files
    rows = []
    with progress("comparing", "file", len(files)) as show, tempfile.TemporaryDirectory() as folder:
        for n_done, path in enumerate(files, start=1):
            of_suffix = {name: read for name, (_, suffixes, read) in readers.items() if path.suffix.lower() in suffixes}
            for piece in pieces(path, Path(folder)):
                rows += compared(piece, of_suffix)
            show(n_done)
    counts = Counter((row["suffix"], row["reader"], row["class"]) for row in rows)
    table = [
        [suffix, name, *(str(counts[suffix, name, kind]) for kind in CLASSES)]
        for suffix, name in sorted({(row["suffix"], row["reader"]) for row in rows})
    ]
    print(markdown_table(["format", "reader", *CLASSES], table))
    for row in [row for row in rows if row["class"] != "same"][: options.show]:
        print(f"{row['class']:16} {row['reader']:12} {row['file']}: {row['ours']} / {row['theirs']}")
    write_json(options.json, {"files": len(files), "rows": rows})


def pieces(path: Path, folder: Path) -> Iterator[Path]:
    """Yield the file, or in its place each tune of it as a file in the folder."""
    if path.suffix.lower() != ".abc":
        yield path
        return
    for number, tune in enumerate(abc.split_tunes(decode(path.read_bytes())), start=1):
        piece = folder / f"{path.stem}-{number}.abc"
        piece.write_text(tune, encoding="utf-8")
        yield piece
        for file in folder.iterdir():
            file.unlink()


def compared(path: Path, readers: dict[str, Callable[[Path], Reading]]) -> list[dict]:
    """Return a row per reader: the class, and how many notes both find or why they do not."""
    ours: Reading | str
    try:
        ours = [note for part in our_parts(path) for note in part.notes]
    except ScoreError as error:
        ours = f"{error}"[:80]
    rows = []
    for name, read in readers.items():
        theirs: Reading | str
        try:
            theirs = read(path)
        except Exception as error:  # their readers raise anything
            theirs = f"{type(error).__name__}: {error}"[:80]
        if isinstance(ours, str):
            kind = "refused by us"
        else:
            kind = "refused by them" if isinstance(theirs, str) else class_of(ours, theirs)
            kind = "their errors" if kind != "same" and getattr(theirs, "errors", "") else kind
        found = {"ours": ours, "theirs": theirs}
        about = {key: value if isinstance(value, str) else f"{len(value)} notes" for key, value in found.items()}
        rows.append({"file": path.name, "suffix": path.suffix.lower(), "reader": name, "class": kind, **about})
    return rows


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
