"""MIDI files as they are out there, right and damaged: what can be read, when it sounds, what is said of the rest."""

import struct

import pytest
from midi_files import chunk, meta, midi_file, midi_track, name, off, on, tempo

from hmm2song.errors import ScoreError
from hmm2song.melody.notation import midi, midi_events
from hmm2song.melody.notation.parts import melody_line
from hmm2song.melody.scores import read_scores

C_D = ((0, on(60)), (480, off(60)), (0, on(62)), (480, off(62)))
C_D_NOTES = [(0.0, 0.5, 60.0), (0.5, 0.5, 62.0)]
TUNE = midi_track(*C_D)


def notes_of(data):
    (part,) = midi.parse_midi(data).parts
    return [tuple(pytest.approx(value) for value in note) for note in part.notes]


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (C_D, C_D_NOTES),
        ([(0, b"\x90\x3c\x50"), (480, b"\x3c\x00"), (0, b"\x3e\x50"), (480, b"\x3e\x00")], C_D_NOTES),
        ([*C_D[:2], (0, b"\xf0\x03\x7e\x7f\xf7"), (0, b"\x90\x3e\x50"), (480, b"\x3e\x00")], C_D_NOTES),
        ([(0, on(60)), (480, b"\x3c\x00"), (0, b"\xf0\x02\x7e\xf7"), (0, b"\x3e\x50"), (480, b"\x3e\x00")], C_D_NOTES),
        ([(0, on(60)), (480, b"\x3c\x00"), (0, meta(1, b"la")), (0, b"\x3e\x50"), (480, b"\x3e\x00")], C_D_NOTES),
        ([*C_D[:2], (0, b"\xf8"), (0, b"\xf2\x01\x02"), *C_D[2:]], C_D_NOTES),
        *(([(480, bytes([0xFF, kind, 1, 65])), *C_D[:2]], [(0.5, 0.5, 60.0)]) for kind in (0x08, 0x4B, 0x59, 0x90)),
        ([(0, tempo(60)), (0, b"\xff\x51\x03\0\0\0"), *C_D[:2]], [(0.0, 1.0, 60.0)]),
        ([(0, on(60)), (240, on(60)), (240, off(60)), (480, off(60))], [(0.0, 0.5, 60.0), (0.25, 0.75, 60.0)]),
        ([(0, on(60)), (480, on(60)), (0, off(60)), (480, on(60)), (480, off(60))],  # a release is missing
         [(0.0, 0.5, 60.0), (0.5, 0.5, 60.0), (1.0, 0.5, 60.0)]),
        ([(0, on(60)), (480, on(62)), (480, off(62))], C_D_NOTES),
        ([(0, on(60)), (480, b"\xb0\x07\x40")], [(0.0, 0.5, 60.0)]),
        ([(0, off(60)), *C_D], C_D_NOTES),
        ([(0, b"\x90\x3c\xff"), *C_D[1:]], C_D_NOTES),
    ],
)  # fmt: skip
def test_events(events, expected):
    file = midi_file(midi_track(*events))
    assert notes_of(file) == [(*note[:2], note[2]) for note in expected]
    assert midi.parse_midi(file).warnings == ()


@pytest.mark.parametrize(
    ("data", "warning"),
    [
        (midi_file(chunk(b"XTRA", b"hello"), TUNE, n_tracks=1), None),
        (midi_file(TUNE, chunk(b"XFIH", b"\x00MTrkx"), n_tracks=1), None),
        (midi_file(chunk(b"\x01\x02\x03\x04", b""), TUNE, n_tracks=1), None),
        (midi_file(TUNE, n_tracks=3), "1 of 3 tracks are there"),
        (midi_file(TUNE, midi_track(), n_tracks=0), "2 of 0 tracks are there"),
        (midi_file(TUNE.replace(b"\0\0\0", b"\0\0\7", 1)), "the length of track 1 is wrong"),
        (midi_file(TUNE[:7] + b"\x02" + TUNE[8:], midi_track((0, name(b"x")))), "the length of track 1 is wrong"),
        (midi_file(TUNE[:7] + b"\xff" + TUNE[8:], midi_track((0, name(b"x")))), "the length of track 1 is wrong"),
        (midi_file(TUNE)[:-7], "track 1 is cut short; its rest is lost"),
        (midi_file(midi_track(*C_D, end=b"")), "track 1 ends without its last event; its rest is lost"),
        (midi_file(midi_track(*C_D, (0, b"\xff\xff\xff\xff\x7f"))), "track 1 is cut short; its rest is lost"),
        (midi_file(midi_track(*C_D, (0, b"\xff\x2f\0"), *C_D)), "track 1 goes on after its end; its rest is lost"),
        (midi_file(midi_track(*C_D, end=b"\xff\xff\xff\xff\x7f")), "track 1 holds a time of more than four bytes"),
        (midi_file(midi_track(*C_D, end=b"\x00\x90\x90")), "track 1 holds an event that is not whole"),
        (midi_file(midi_track((0, b"\x3c\x50")), TUNE), "track 1 holds a value that belongs to no event"),
        (midi_file(TUNE) + b"\0" * 100, None),
        (midi_file(TUNE) + midi_file(midi_track((0, on(80)), (480, off(80)))), None),
        (b"RIFF\0\0\0\0RMIDdata\0\0\0\0" + midi_file(TUNE), None),
        (b"\0\x04tune" + b"\0" * 122 + midi_file(TUNE) + b"\0" * 30, None),
        (midi_file(TUNE).replace(b"\0\0\0\x06", b"\0\0\0\x08", 1).replace(b"MTrk", b"\0\0MTrk"), None),
    ],
)
def test_damaged_files_give_what_is_there(data, warning):
    song = midi.parse_midi(data)
    assert [note[2] for note in melody_line(song.parts)][:2] == [60, 62]
    assert [text.startswith(warning or "") for text in song.warnings] == [True] * bool(warning)


@pytest.mark.parametrize(("frames", "second"), [(-24, 1000 / 960), (-25, 1.0), (-29, 0.834167), (-30, 1000 / 1200)])
def test_frames_per_second(frames, second):
    division = struct.unpack(">H", struct.pack(">bB", frames, 40))[0]
    assert notes_of(midi_file(midi_track((1000, on(60)), (1000, off(60))), division=division)) == [(second, second, 60)]


def test_tempo_map_of_all_tracks_and_patterns_one_after_the_other():
    tempi = midi_track((0, tempo(60)), (720, tempo(120)))
    assert notes_of(midi_file(tempi, TUNE)) == [(0.0, 1.0, 60), (1.0, 0.75, 62)]
    slow = midi_track((0, tempo(60)), *C_D)
    patterns = midi_file(slow, TUNE, midi_format=2)
    assert notes_of(patterns) == [(0.0, 1.0, 60), (1.0, 1.0, 62), (2.0, 0.5, 60), (2.5, 0.5, 62)]


def test_parts_names_sounds_and_percussion():
    drums = midi_track((0, on(90, 9)), (480, off(90, 9)))
    other_drums = midi_track((0, b"\xb1\x00\x7f"), (0, on(90, 1)), (480, off(90, 1)))
    song = midi_track((0, name(b"Vocal")), (0, b"\xc0\x35"), *C_D)
    flute = midi_track((0, name(b"Flute")), (0, on(84, 2)), (480, off(84, 2)), (0, on(86, 2)), (480, off(86, 2)))
    parts = midi.parse_midi(midi_file(drums, other_drums, song, flute)).parts
    assert [(part.name, part.program) for part in parts] == [("Vocal", 0x35), ("Flute", None)]
    assert melody_line(parts) == C_D_NOTES


@pytest.mark.parametrize("kind", [1, 5])
def test_karaoke(tmp_path, kind):
    """The words stand in a track of their own; the part that begins its notes with them is sung."""
    heights = [60, 62, 64, 65, 67, 65, 64, 62, 60, 60]
    sung = midi_track(*(event for pitch in heights for event in ((240, on(pitch)), (240, off(pitch)))))
    piano = midi_track(*(event for pitch in heights for event in ((0, on(pitch + 12)), (480, off(pitch + 12)))))
    syllables = [(240, meta(kind, b"/La "))] + [(480, meta(kind, b"la"))] * 9
    header = [(0, meta(1, text)) for text in (b"@KMIDI KARAOKE FILE", b"@LENGL", b"@TThe Song", b"@TA Singer")]
    file = tmp_path / "a.kar"
    file.write_bytes(midi_file(piano, sung, midi_track(*header, *syllables)))
    parts = midi.parse_midi(file.read_bytes()).parts
    assert [part.n_syllables for part in parts] == [0, 10]
    assert [note[2] for note in melody_line(parts)] == heights
    (found,) = read_scores(file).melodies
    assert (found.song.title, found.song.singer) == ("The Song", "A Singer")


def test_lyrics_in_the_track_of_a_singer_are_not_those_of_its_doubles():
    flute = midi_track(*(event for pitch in (84, 86, 88) for event in ((0, on(pitch)), (480, off(pitch)))))
    sung = ((0, meta(0x05, b"la")), (0, on(60, 1)), (480, off(60, 1)))
    parts = midi.parse_midi(midi_file(flute, midi_track(*3 * sung))).parts
    assert [(part.notes[0][2], part.n_syllables) for part in parts] == [(84.0, 0), (60.0, 3)]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"MTrk", "no header chunk"),
        (b"MThd\0\0\0\6\0\0", "no header chunk"),
        (midi_file(TUNE, division=0), "time division is zero"),
        (midi_file(TUNE, division=0xE700), "time division is zero"),
        (midi_file(), "no tracks"),
        (midi_file(*[midi_track()] * 1025), "more than 1024 tracks"),
        (midi_file(midi_track((0, b"\x3c"))), "belongs to no event"),
    ],
)
def test_what_is_no_midi(data, reason):
    with pytest.raises(ScoreError, match=reason):
        midi.parse_midi(data)


def test_size_limits(monkeypatch):
    monkeypatch.setattr(midi, "MAX_NOTES", 1)
    with pytest.raises(ScoreError, match="more than 1 notes"):
        midi.parse_midi(midi_file(TUNE))
    monkeypatch.setattr(midi_events, "MAX_MIDI_BYTES", 20)
    with pytest.raises(ScoreError, match="larger than"):
        midi.parse_midi(midi_file(TUNE))
