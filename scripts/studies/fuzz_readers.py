#!/usr/bin/env python
"""Feed damaged files to every reader and count what is neither read nor refused in our own words.

    python scripts/studies/fuzz_readers.py --inputs 20000 --state fuzz.json
    python scripts/studies/fuzz_readers.py --inputs 200000 --state fuzz.json --seeds my-scores --minutes 4
    python scripts/studies/fuzz_readers.py --replay krn:1234 --out krn-1234

Each format has 30 seeds: the first tunes of the songbook, written as that format here, and with --seeds up to 30 small
files of a folder more. An input is a seed with one to four mutations: bytes flipped, set, cut out, repeated or
inserted, the end cut off, numbers replaced by extreme ones, words swapped, repeated or taken from another seed. Half of
the packed inputs (.mxl, .jsonl.gz) are damaged inside, half of the XML stays well-formed, half of the catalogs get a
manifest that fits the damage. Input N of a format is always the same, so that --replay can write it.

Every input is read in a process with a limit on its memory; one that takes more than --timeout of processor time, or
ten times as long by the clock, is ended as a hang. A failure is an exception that is no Hmm2SongError (memory
included), a process that ends, or a hang. With --state the same command goes on where it was stopped; --minutes stops
it.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from xml.etree import ElementTree

import av
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import load_audio
from hmm2song.catalog import storage
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.storage import SOURCES_NAME
from hmm2song.collect.chart import MarkupError, parse_artist_gender, parse_chart, parse_lyric
from hmm2song.collect.info_csv import read_info
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.embeddings.forward import NetworkConfig
from hmm2song.errors import Hmm2SongError
from hmm2song.evaluation.accuracy import read_queries
from hmm2song.indexing.extract import RecordingQuality
from hmm2song.indexing.sources import list_source
from hmm2song.indexing.state import RememberedFile, RememberedSong, read_state, state_text
from hmm2song.indexing.tags import song_fields
from hmm2song.melody.melody import melody_from_notes
from hmm2song.melody.scores import read_scores
from hmm2song.script import GOES_ON, main_of, positive, progress, write_json
from hmm2song.song import Song

SONGBOOK = Path(__file__).resolve().parents[2] / "assets" / "songbook"
N_SEEDS, MAX_SEED_BYTES = 30, 12_000
ROUND = 100
"""Inputs of a format before the next has its turn and what is known is written down."""
MAX_INPUT_BYTES = 400_000
MEMORY_BYTES = 6 * 2**30
"""Address space of a reading process; the libraries take half of it."""
REPORT_CHARS = 2000
TINY = NetworkConfig(channels=8, dim=16, dilations=(1, 2))
EXTREMES = [b"", *b"0 -1 1 255 65536 2147483648 99999999999999999999 1e309 0.0001 NaN".split()]
BINARY_EXTREMES = (b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x01")
Files = dict[str, bytes]
"""A seed: one file, or the files of a folder, by name."""


# Seeds: the tunes of the songbook as every format ------------------------------------------------------------


@cache
def tunes() -> tuple[tuple[str, list[tuple[int, int, int]]], ...]:
    """Title and notes (onset and length in eighths, MIDI) of the first songs of the songbook."""
    found = []
    for path in sorted(SONGBOOK.glob("*.abc"))[:N_SEEDS]:
        scored = read_scores(path).melodies[0]
        pitch = np.nan_to_num(scored.melody.pitch_midi[::6]).astype(int)
        edges = np.flatnonzero(np.diff(pitch, prepend=-1, append=-1))[:40]
        notes = [(int(a), int(b - a), int(pitch[a])) for a, b in pairwise(edges) if pitch[a]]
        found.append((scored.song.title, notes))
    return tuple(found)


def as_midi(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write two tracks, with tempo, key, lyrics."""
    head = b"\x00\xff\x51\x03\x09\x27\xc0\x00\xff\x59\x02\x02\x00"
    voice, end = b"\x00\xff\x03\x05Voice\x00\xc0\x34", 0
    for onset, length, midi in notes:
        start = min(127, 24 * (onset - end))
        voice += bytes((start, 0xFF, 5, 2)) + b"la" + bytes((0, 0x90, midi, 90, min(127, 24 * length), midi, 0))
        end = onset + length
    chunks = [b"MThd\0\0\0\x06\0\x01\0\x02\0\x30"]
    for track in (head, voice):
        chunks.append(b"MTrk" + (len(track) + 4).to_bytes(4, "big") + track + b"\x00\xff\x2f\x00")
    return b"".join(chunks)


def _spelled(midi: int) -> tuple[str, int, int]:
    """Step, alteration and octave."""
    step, alter = ("c0", "c1", "d0", "d1", "e0", "f0", "f1", "g0", "g1", "a0", "a1", "b0")[midi % 12]
    return step, int(alter), midi // 12 - 1


def as_musicxml(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write a part with repeats, endings, ties, chords, two voices, lyrics, jumps."""
    bars = []
    for number in range(0, len(notes), 4):
        xml = ""
        for _, length, midi in notes[number : number + 4]:
            step, alter, octave = _spelled(midi)
            pitch = f"<pitch><step>{step.upper()}</step><alter>{alter}</alter><octave>{octave}</octave></pitch>"
            timed = f"{pitch}<duration>{length}</duration>"
            xml += f'<note>{timed}<tie type="start"/><voice>1</voice><lyric><text>la</text></lyric></note>'
            xml += f"<note><chord/>{timed}</note>"
        xml += '<backup><duration>2</duration></backup><direction><sound tempo="90" dacapo="yes"/></direction>'
        bars.append(
            f'<measure number="{number}"><attributes><divisions>2</divisions><time><beats>4</beats>'
            f'<beat-type>4</beat-type></time></attributes>{xml}<barline><ending number="1, 2" type="start"/>'
            '<repeat direction="backward" times="2"/></barline></measure>'
        )
    head = '<part-list><score-part id="P1"><part-name>Voice</part-name></score-part></part-list>'
    text = f'<score-partwise><work><work-title>{title}</work-title></work>{head}<part id="P1">{"".join(bars)}</part>'
    return f"<?xml version='1.0'?>{text}</score-partwise>".encode()


def as_mei(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write measures with endings, tuplets, chords, ties, a tempo and an expansion."""
    bars = []
    for number in range(0, len(notes), 4):
        events = ""
        for onset, length, midi in notes[number : number + 4]:
            step, alter, octave = _spelled(midi)
            sign = 'accid.ges="s"' if alter else ""
            pitch = f'pname="{step}" oct="{octave}" dur="{8 // min(length, 8)}" dots="1" {sign}'
            events += f'<note xml:id="n{onset}" {pitch} tie="i"/>'
        layer = f'<beam><tuplet num="3" numbase="2">{events}</tuplet></beam><chord dur="4">{events}</chord>'
        bars.append(
            f'<section xml:id="s{number}"><ending n="1"><measure right="rptboth"><staff n="1"><layer n="1">{layer}'
            f'<mRest/><mRpt/></layer></staff><tie startid="#n{number}"/><tempo mm="90" tstamp="1"/></measure></ending>'
            "</section>"
        )
    expansion = f'<expansion plist="{" ".join(f"#s{4 * n}" for n in range(len(bars)))}"/>'
    staves = '<staffGrp><staffDef n="1" trans.semi="2"/></staffGrp>'
    score = f'<scoreDef key.sig="2s" meter.count="4" meter.unit="4">{staves}</scoreDef>'
    head = (
        f"<meiHead><fileDesc><titleStmt><title>{title}</title><composer>x</composer></titleStmt></fileDesc></meiHead>"
    )
    body = (
        f"<music><body><mdiv><score>{score}<section>{expansion}{''.join(bars)}</section></score></mdiv></body></music>"
    )
    return f'<mei xmlns="http://www.music-encoding.org/ns/mei">{head}{body}</mei>'.encode()


def as_kern(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write two spines and lyrics, with a split, repeats and an expansion list."""
    lines = [f"!!!OTL: {title}", "**kern\t**kern\t**text", "*>[A,B,A]\t*>[A,B,A]\t*", "*MM90\t*MM90\t*", "*>A\t*>A\t*"]
    for number, (_, length, midi) in enumerate(notes):
        step, alter, octave = _spelled(midi)
        letters = step * (octave - 3) if octave >= 4 else step.upper() * (4 - octave)
        token = f"{'[' * (number % 3 == 0)}{8 // min(length, 8)}%3.{letters}{'#' * alter}"
        lines.append(f"{token}\t{token} 8{letters}\tla")
        if number % 8 == 7:
            lines += [
                "=:|!\t=:|!\t=:|!",
                f"*>B{number}\t*>B{number}\t*",
                "*^\t*\t*",
                "8c\t.\t8e\tla",
                "*v\t*v\t*\t*",
                "*x\t*x\t*",
            ]
    return "\n".join([*lines, "*-\t*-\t*-"]).encode()


def as_ultrastar(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write a duet in relative times with a change of tempo."""
    lines = [f"#TITLE:{title}", "#ARTIST:x", "#ENCODING:CP1252", "#RELATIVE:YES", "#BPM:180,5", "#GAP:1200", "P1"]
    for number, (onset, length, midi) in enumerate(notes):
        lines.append(f"{':*FRG'[number % 5 if number % 7 == 0 else 0]} {onset % 8} {length} {midi - 60} la")
        lines += [f"- {onset % 8} 8", f"B {onset} 200,5", f"P{1 + number % 3}"] if number % 8 == 7 else []
    return "\n".join([*lines, "E"]).encode()


def as_f0(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write a frame every eighth."""
    rows = [f"{onset / 4},{440 * 2 ** ((midi - 69) / 12):.2f},0.9" for onset, _, midi in notes]
    return ("time_s,f0_hz,confidence\n" + "\n".join(rows)).encode()


def as_jsonl(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write three rows."""
    row = {"id": title, "title": title, "genres": ["a", "b"], "gender": "female", "year": 1900}
    lines = [
        json.dumps(row | {"notes": [[on / 4, length / 4, midi] for on, length, midi in notes[n:]]}) for n in range(3)
    ]
    return "\n".join(lines).encode()


def as_table(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write a table of songs, quoted and in Korean."""
    rows = [f'{n},"{title}, ""{n}""",가수,,발라드,{n}.mid,여성,1990' for n in range(8)]
    return ("id,Title,Singer,Lyric,genre,path,gender,year\n" + "\n".join(rows)).encode()


def as_queries(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write a table of hums."""
    return ("file,song_id,singer\n" + "".join(f'"{title}, {n}.wav",{n}|{n + 1},s{n % 2}\n' for n in range(8))).encode()


def as_chart(title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write a page that is a chart, a song and an artist at once."""
    rows = "".join(
        f'<tr data-song-no="{midi}"><td><span class="rank">{rank}</span><div class="rank01"><span><a>{title}</a></span>'
        f'</div><div class="rank02"><a href="javascript:goArtistDetail(\'{midi}\')">B</a></div></td></tr>'
        for rank, (_, _, midi) in enumerate(notes, start=1)
    )
    artist = (
        '<p class="title_atist">B</p><div class="section_atistinfo03"><dl><dt>유형</dt><dd>여성|솔로</dd></dl></div>'
    )
    song = f'<div class="song_name">{title}</div><div class="lyric"><!-- x -->la<br>la</div>'
    return f'<span class="calendar_prid">2023.12</span><table>{rows}</table>{song}{artist}'.encode()


def as_video(container: str, codec: str, title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write half a second of a tone as FFmpeg does."""
    samples, packed = (8000 * np.sin(np.arange(24_000) * notes[0][2] / 1000)).astype(np.int16), io.BytesIO()
    with av.open(packed, "w", format=container, options={"fflags": "+bitexact"}) as file:
        stream = file.add_stream(codec, rate=48_000, options={"b": "64000"})
        frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]).T.reshape(1, -1), "s16", "stereo")
        frame.rate = 48_000
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return packed.getvalue()


def as_sound(container: str, title: str, notes: list[tuple[int, int, int]]) -> bytes:
    """Write half a second of a tone; of Ogg two seconds with noise, so that it has several pages."""
    n = 96_000 if container == "OGG" else 8000
    tone = 0.3 * np.sin(np.arange(n) * 2 * np.pi * 440 * 2 ** ((notes[0][2] - 69) / 12) / 16000)
    tone += np.random.default_rng(0).normal(0.0, 0.1, n) * (container == "OGG")
    packed = io.BytesIO()
    rate_hz = 16000 if container != "OGG" else 48000
    soundfile.write(packed, tone.astype(np.float32), rate_hz, format=container)
    return packed.getvalue()


def zipped(content: bytes) -> bytes:
    """Pack a score as .mxl."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "META-INF/container.xml", '<container><rootfiles><rootfile full-path="s.xml"/></rootfiles></container>'
        )
        archive.writestr("s.xml", content)
    return packed.getvalue()


def in_riff(content: bytes) -> bytes:
    """Wrap MIDI as .rmi."""
    data = b"RMIDdata" + len(content).to_bytes(4, "little") + content
    return b"RIFF" + len(data).to_bytes(4, "little") + data


@cache
def encoder() -> MelodyEncoder:
    """Return a tiny encoder, for which the catalogs are made."""
    return MelodyEncoder.untrained(TINY)


def folder_files(write: Callable[[Path], object]) -> Files:
    """Return the files that ``write`` puts into a folder."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, "a"))
        return {path.name: path.read_bytes() for path in sorted(Path(folder, "a").iterdir())}


def catalog_seed(title: str, notes: list[tuple[int, int, int]]) -> Files:
    """Make a catalog of two songs."""
    melody = melody_from_notes([(on / 4, length / 4, midi) for on, length, midi in notes])
    catalog = Catalog.build((Song("a", title, genre="Folk"), Song("b", title)), [melody, melody], encoder())
    return folder_files(catalog.save)


def state_seed(title: str, notes: list[tuple[int, int, int]]) -> Files:
    """Make the memory of a catalog."""
    songs = (RememberedSong("a", {"title": title}, ("w",)), RememberedSong("b", {}))
    quality = RecordingQuality(0.5, True, ("w",))
    files = [RememberedFile("a.mid", "k", songs, ("p",)), RememberedFile("b.wav", "k", songs[:1], (), quality)]
    return {SOURCES_NAME: state_text(files).encode()}


def model_seed(title: str, notes: list[tuple[int, int, int]]) -> Files:
    """Make an encoder."""
    return folder_files(MelodyEncoder.untrained(TINY, seed=len(notes)).save)


# Readers: what a file or folder is given to ---------------------------------------------------------------------


def read_tagged_sound(path: Path) -> None:
    """Decode a recording and read its tags."""
    song_fields(path, path.name)
    load_audio(path)


def read_catalog(folder: Path) -> None:
    """Load a catalog for the tiny encoder, and use it."""
    catalog = Catalog.load(folder, encoder())
    catalog.find("a")
    for song in catalog.songs:
        catalog.melody(song.id)
        catalog.recording(song.id)
        catalog.select(song.genres[:1])


def read_pages(path: Path) -> None:
    """Read a page as each of the three that are collected."""
    page = path.read_bytes().decode("utf-8", "replace")
    for parse in (partial(parse_chart, month="2023-12"), parse_lyric, parse_artist_gender):
        with contextlib.suppress(MarkupError):
            parse(page)


SCORES: dict[str, Callable[[str, list], bytes]] = {
    "mid": as_midi, "musicxml": as_musicxml, "mei": as_mei, "krn": as_kern, "txt": as_ultrastar, "f0.csv": as_f0,
    "jsonl": as_jsonl,
}  # fmt: skip
SOUNDS = {"wav": "WAV", "flac": "FLAC", "mp3": "MP3", "ogg": "OGG", "aiff": "AIFF"}
VIDEOS = {"m4a": ("mp4", "aac"), "webm": ("webm", "libopus"), "wma": ("asf", "wmav2")}
PACKERS = {"mxl": ("musicxml", zipped), "jsonl.gz": ("jsonl", partial(gzip.compress, mtime=0)), "rmi": ("mid", in_riff)}
OTHERS: dict[str, tuple[Callable, Callable]] = {
    "table": (as_table, list_source), "info": (as_table, read_info), "queries": (as_queries, read_queries),
    "chart": (as_chart, read_pages),
}  # fmt: skip
FOLDERS: dict[str, tuple[Callable, Callable]] = {
    "catalog": (catalog_seed, read_catalog), "model": (model_seed, MelodyEncoder.load),
    "state": (state_seed, read_state),
}  # fmt: skip
FORMATS = ("abc", *SCORES, *PACKERS, *OTHERS, *FOLDERS, *SOUNDS, *VIDEOS)


def reader_of(kind: str) -> Callable[[Path], object]:
    """Return what reads a format."""
    _, reader = OTHERS.get(kind) or FOLDERS.get(kind) or (None, None)
    return reader or (read_tagged_sound if kind in SOUNDS or kind in VIDEOS else read_scores)


def file_name(kind: str) -> str:
    """Return what an input of a format is called."""
    return f"input.{'csv' if kind in OTHERS else kind}"


def seeds_of(kind: str, folder: Path | None) -> list[Files]:
    """Return the seeds of a format; a file has the name "" ."""
    if kind in PACKERS:
        return seeds_of(PACKERS[kind][0], folder)
    if kind == "abc":
        own = [{"": path.read_bytes()} for path in sorted(SONGBOOK.glob("*.abc"))[:N_SEEDS]]
    elif kind in FOLDERS:
        own = [FOLDERS[kind][0](*tune) for tune in tunes()]
    else:
        write, _ = OTHERS.get(kind) or (SCORES.get(kind), None)
        write = write or (partial(as_sound, SOUNDS[kind]) if kind in SOUNDS else partial(as_video, *VIDEOS[kind]))
        own = [{"": write(*tune)} for tune in tunes()]
    found = sorted(folder.rglob(f"*.{kind}")) if folder else []
    others = [path for path in found if path.stat().st_size <= MAX_SEED_BYTES]
    return own + [{"": path.read_bytes()} for path in others[:: max(1, len(others) // N_SEEDS)][:N_SEEDS]]


# Mutations ------------------------------------------------------------------------------------------------------


def mutated(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Return the content with one to four mutations; ``other`` is another seed."""
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(MUTATIONS)(content or b"x", other or b"x", rng)[:MAX_INPUT_BYTES]
    return content


def mutated_tree(content: bytes, rng: random.Random) -> bytes:
    """Return XML with one to four elements deleted, repeated, moved or given extreme texts and attributes."""
    root = ElementTree.fromstring(content)
    for _ in range(rng.randint(1, 4)):
        elements = [element for element in root.iter() if len(element)] or [root]
        parent, target = rng.choice(elements), rng.choice(elements)
        child = rng.choice(list(parent) or [parent])
        extreme = rng.choice(EXTREMES).decode()
        what = rng.randrange(5)
        if what == 0 and child is not parent:
            parent.remove(child)
        elif what == 1:
            parent.extend([child] * rng.choice((1, 3, 200)) if len(child) < 20 and child is not parent else [])
        elif what == 2 and child is not target and target not in list(child.iter()):
            target.insert(0, child)
        elif child.attrib:
            child.set(rng.choice(sorted(child.attrib)), extreme)
        else:
            child.text = extreme
    return ElementTree.tostring(root)[:MAX_INPUT_BYTES]


def _place(content: bytes, rng: random.Random) -> int:
    """Return a place, half of the time near the start, where headers are."""
    return rng.randrange(min(len(content), 200) if rng.random() < 0.5 else len(content))


def overwrite(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Flip bits, or write random bytes or an extreme number over others."""
    at = _place(content, rng)
    flipped = bytes(byte ^ 1 << rng.randrange(8) for byte in content[at : at + rng.randint(1, 3)])
    new = rng.choice((flipped, rng.choice(BINARY_EXTREMES), rng.randbytes(rng.randint(1, 8))))
    return content[:at] + new + content[at + len(new) :]


def cut_out(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Leave out a stretch, or all to the end."""
    at = _place(content, rng)
    return content[:at] + content[at + rng.choice((rng.randint(1, 1 + len(content) // 4), len(content))) :]


def repeat(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Write a stretch many times."""
    at = _place(content, rng)
    return content[:at] + content[at : at + rng.randint(1, 40)] * rng.choice((2, 5, 100, 3000)) + content[at:]


def insert(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Insert bytes."""
    at = _place(content, rng)
    return content[:at] + rng.choice((b"\0", b"\n", b"\xff\xfe", b"\xef\xbb\xbf", rng.randbytes(6))) + content[at:]


def extreme_number(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Replace a number written in digits."""
    numbers = [match.span() for match in re.finditer(rb"-?\d+(\.\d+)?", content)]
    if not numbers:
        return overwrite(content, b"", rng)
    start, end = rng.choice(numbers)
    return content[:start] + rng.choice(EXTREMES) + content[end:]


def swap_words(content: bytes, _: bytes, rng: random.Random) -> bytes:
    """Exchange two words or tags."""
    words = re.split(rb"([\s<>,:|\"]+)", content)
    first, second = rng.randrange(len(words)), rng.randrange(len(words))
    words[first], words[second] = words[second], words[first]
    return b"".join(words)


def splice(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Go on with another seed."""
    return content[: _place(content, rng)] + other[_place(other, rng) :]


MUTATIONS = (overwrite, overwrite, cut_out, repeat, insert, extreme_number, extreme_number, swap_words, splice)


class Inputs:
    """The inputs of all formats by number."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.seeds: dict[str, list[Files]] = {}

    def write(self, kind: str, number: int, folder: Path) -> Path:
        """Write an input into an empty folder and return what is to be read."""
        seeds = self.seeds.get(kind) or self.seeds.setdefault(kind, seeds_of(kind, self.folder))
        rng = random.Random(f"{kind}:{number}")
        files, other = dict(seeds[number % len(seeds)]), rng.choice(seeds)
        name = rng.choice(sorted(files))
        if kind in PACKERS:
            pack = PACKERS[kind][1]
            inside = self._damaged(kind, files[name], other[name], rng)
            files[name] = pack(inside) if number % 2 else mutated(pack(files[name]), pack(other[name]), rng)
        else:
            files[name] = self._damaged(kind, files[name], other[name], rng)
        if name == "":
            path = folder / file_name(kind)
            path.write_bytes(files[name])
            return path
        for part, content in files.items():
            (folder / part).write_bytes(content)
        if kind == "catalog" and name != storage.MANIFEST_FILE and number % 2:
            storage.write_manifest(folder, encoder().fingerprint, 2)
        return folder

    def _damaged(self, kind: str, content: bytes, other: bytes, rng: random.Random) -> bytes:
        is_tree = kind in ("musicxml", "mei", "mxl") and content.startswith(b"<") and rng.random() < 0.5
        return mutated_tree(content, rng) if is_tree else mutated(content, other, rng)


# Reading in a process that may die ------------------------------------------------------------------------------


def work(pipe: Connection, folder: Path | None, scratch: Path, timeout_s: float) -> None:
    """Read the inputs that the pipe names and answer what came of each: "read", "refused" or a traceback."""
    with open(os.devnull, "w") as nowhere:  # decoders write to stderr
        os.dup2(nowhere.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    inputs = Inputs(folder)
    encoder()
    while True:
        kind, number = pipe.recv()
        place = scratch / "input"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        path = inputs.write(kind, number, place)
        pipe.send("started")
        signal.setitimer(signal.ITIMER_PROF, timeout_s)  # ends the process
        try:
            reader_of(kind)(path)
            pipe.send("read")
        except Hmm2SongError:
            pipe.send("refused")
        except BaseException:  # whatever it is, it is what this script looks for
            pipe.send(traceback.format_exc(limit=-8)[:REPORT_CHARS])
        signal.setitimer(signal.ITIMER_PROF, 0.0)


class Reader:
    """A reading process, begun anew after it died or hung."""

    def __init__(self, folder: Path | None, scratch: Path, timeout_s: float) -> None:
        self.arguments, self.longest_s = (folder, scratch, timeout_s), 10 * timeout_s
        self.process: multiprocessing.process.BaseProcess | None = None

    def read(self, kind: str, number: int) -> str:
        """Return "read", "refused", "hang", "crash ..." or a traceback."""
        if self.process is None:
            context = multiprocessing.get_context("spawn")
            self.pipe, theirs = context.Pipe()
            self.process = context.Process(target=work, args=(theirs, *self.arguments), daemon=True)
            self.process.start()
            theirs.close()
        self.pipe.send((kind, number))
        try:
            self.pipe.recv()  # the start of the process and the making of the input do not count
            if self.pipe.poll(self.longest_s):
                return self.pipe.recv()
        except EOFError:
            self.process.join()
            status = self.end()
            return "hang" if status == -signal.SIGPROF else f"crash: the process ended with {status}"
        self.end()
        return "hang"

    def end(self) -> int | None:
        """End the process; return its exit status."""
        if self.process is None:
            return None
        self.process.kill()
        self.process.join()
        status, self.process = self.process.exitcode, None
        return status


# The command ----------------------------------------------------------------------------------------------------


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=positive, default=2000, metavar="N", help="in all formats together (2000)")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS, metavar="F", help=", ".join(FORMATS))
    parser.add_argument("--seeds", type=Path, metavar="FOLDER", help="files to damage besides our own")
    parser.add_argument("--state", type=Path, metavar="FILE", help="where counts and failures are kept")
    parser.add_argument("--minutes", type=float, metavar="M", help="stop after so long")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="longest read (10)")
    parser.add_argument("--replay", metavar="FORMAT:N", help="write an input and read it here")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where --replay writes")
    options = parser.parse_args(arguments)
    if options.replay and not options.out:
        parser.error("--replay needs --out")
    return options


def run(options: argparse.Namespace) -> int:
    """Fuzz, or replay one input; return 1 if anything failed."""
    if options.replay:
        kind, _, number = options.replay.partition(":")
        options.out.mkdir(parents=True)
        path = Inputs(options.seeds).write(kind, int(number), options.out)
        print(path, reader_of(kind)(path))
        return 0
    state = json.loads(options.state.read_text()) if options.state and options.state.exists() else {}
    done, outcomes = Counter(state.get("done", {})), Counter(state.get("outcomes", {}))
    failures: dict[str, str] = state.get("failures", {})
    each = -(-options.inputs // len(options.formats))
    ends_at = time.monotonic() + 60 * (options.minutes or float("inf"))
    with tempfile.TemporaryDirectory(prefix="hmm2song-fuzz-") as scratch:
        reader = Reader(options.seeds, Path(scratch), options.timeout)
        with progress("damaged files", "file", each * len(options.formats)) as show:
            try:
                while left := [kind for kind in options.formats if done[kind] < each]:
                    if time.monotonic() > ends_at:
                        break
                    kind = min(left, key=lambda kind: done[kind])
                    for number in range(done[kind], min(each, done[kind] + ROUND)):
                        outcome = reader.read(kind, number)
                        if outcome not in ("read", "refused"):
                            failures[f"{kind}:{number}"], outcome = outcome, "failed"
                        outcomes[f"{kind} {outcome}"] += 1
                        done[kind] += 1
                    show(sum(done[kind] for kind in options.formats))
                    write_json(options.state, {"done": done, "outcomes": outcomes, "failures": failures})
            finally:
                reader.end()
    for kind in options.formats:
        counts = ", ".join(f"{outcomes[f'{kind} {what}']} {what}" for what in ("read", "refused", "failed"))
        print(f"{kind:10}{done[kind]:8} inputs: {counts}")
    kinds = Counter(outcome.strip().rpartition("\n")[2][:100] for outcome in failures.values())
    print(
        f"{sum(done.values())} inputs, {len(failures)} failures",
        *(f"{n} x {what}" for what, n in kinds.items()),
        sep="\n  ",
    )
    return int(bool(failures))


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
