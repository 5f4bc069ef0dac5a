"""Standard MIDI files -> parts with notes in seconds, exactly as the tempo map times them.

A part is one channel of one track. Channel 10 (drums) is left out. The bytes are read by `mido
<https://mido.readthedocs.io>`_; pedals and pitch bends are ignored.

mido trusts its input, so this module bounds what it is given, and turns its errors into ScoreError. Two gaps of
mido 1.3.3 are closed by meta message specs registered with it on import: a meta message it does not know loses its
delta time (all later notes of the track would come too early), and one impossible key signature, which some
sequencers write, makes it refuse the whole file.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass, field
from functools import partial

from mido import KeySignatureError, MidiFile, MidiTrack, UnknownMetaMessage
from mido.midifiles.meta import (
    MetaSpec_key_signature,
    MetaSpec_sequencer_specific,
    add_meta_spec,
    build_meta_message,
)

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import MAX_NOTES, Note
from hmm2song.melody.notation.parts import Part

DRUM_CHANNEL = 9
"""Channel 10 as people count, 9 in the file."""
DEFAULT_US_PER_QUARTER = 500_000
"""120 quarter notes per minute."""
MAX_MIDI_BYTES = 2 * 2**20
"""Largest file. Every two bytes may become a message object: at worst some hundred megabytes and several seconds."""
MAX_TRACKS = 1024
MAX_DELTA_TICKS = 2**28 - 1
"""Longest time between two events: four bytes of seven bits, which mido does not check."""
NUMBER_BOMB = re.compile(rb"(?<![\x80-\xff])[\x80-\xff]{4096}")
"""Bytes from 0x80 on continue a number, and mido takes quadratic time for a long one: hours for a file of such bytes.
Only a long text without any ASCII character could hold as many rightfully."""


class _KeySignature(MetaSpec_key_signature):
    """mido's own, but an impossible key stays at its default."""

    type = "key_signature"

    def decode(self, message: object, data: list[int]) -> None:
        """Set the message's key."""
        try:
            super().decode(message, data)
        except (KeySignatureError, IndexError):
            return


class _UnknownMeta(MetaSpec_sequencer_specific):
    """Any bytes, kept as they are."""

    def __init__(self, type_byte: int) -> None:
        self.type_byte = type_byte
        self.type = f"unknown_meta_{type_byte:#04x}"


add_meta_spec(_KeySignature)
for _type_byte in range(0x100):
    if isinstance(build_meta_message(_type_byte, [0] * 5), UnknownMetaMessage):
        add_meta_spec(partial(_UnknownMeta, _type_byte))


@dataclass
class _Track:
    """A track's name, tempo changes (tick, us per quarter) and notes (start, end, midi) by channel."""

    name: str = ""
    tempos: list[tuple[int, int]] = field(default_factory=list)
    notes: dict[int, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))

    def add_note(self, channel: int, start: int, end: int, midi: int) -> None:
        """Add a note unless it has no length."""
        if end > start:
            self.notes[channel].append((start, end, midi))


def parse_midi(data: bytes) -> tuple[Part, ...]:
    """Read a MIDI file, plain or in a RIFF wrapper; ScoreError if it is too large, damaged or none."""
    file = _load(data)
    if file.ticks_per_beat == 0:
        raise ScoreError("its time division is zero")
    if not file.tracks:
        raise ScoreError("it has no tracks")
    if len(file.tracks) > MAX_TRACKS:
        raise ScoreError(f"there are more than {MAX_TRACKS} tracks")
    tracks = [_read_track(track) for track in file.tracks]
    tempos = sorted((tempo for track in tracks for tempo in track.tempos), key=lambda tempo: tempo[0])
    clock = _Clock(file.ticks_per_beat, tempos)
    return tuple(
        Part(track.name, tuple(clock.note(*note) for note in notes))
        for track in tracks
        for channel, notes in sorted(track.notes.items())
        if channel != DRUM_CHANNEL
    )


def _load(data: bytes) -> MidiFile:
    if len(data) > MAX_MIDI_BYTES:
        raise ScoreError(f"larger than {MAX_MIDI_BYTES} bytes, which no MIDI file of a song is")
    start = data.find(b"MThd") if data[:4] == b"RIFF" else 0
    if start < 0 or data[start : start + 4] != b"MThd":
        raise ScoreError('it is not a MIDI file (it does not start with "MThd")')
    if NUMBER_BOMB.search(data):
        raise ScoreError("it is damaged (it holds a number of thousands of bytes)")
    try:
        # clip: velocities above 127 occur and do no harm. The charset stays latin-1, which keeps every byte, as mido
        # holds it in a global that it does not reset after an error.
        return MidiFile(file=io.BytesIO(data[start:]), clip=True)
    except EOFError as error:
        raise ScoreError("it is cut short") from error
    except (OSError, ValueError, LookupError) as error:
        raise ScoreError(f"it is damaged ({error!r:.100})") from error


def _read_track(messages: MidiTrack) -> _Track:
    """Collect what matters of a track; notes that are never released end with it."""
    found = _Track()
    sounding: dict[tuple[int, int], deque[int]] = defaultdict(deque)
    tick, n_notes = 0, 0
    for message in messages:
        if message.time > MAX_DELTA_TICKS:
            raise ScoreError("a track holds a time of more than four bytes")
        tick += message.time
        if message.type == "note_on" and message.velocity > 0:
            n_notes += 1
            sounding[message.channel, message.note].append(tick)
        elif message.type in ("note_on", "note_off") and sounding[message.channel, message.note]:
            start = sounding[message.channel, message.note].popleft()
            found.add_note(message.channel, start, tick, message.note)
        elif message.type == "set_tempo" and message.tempo > 0:
            found.tempos.append((tick, message.tempo))
        elif message.type == "track_name" and not found.name:
            found.name = _decoded(message.name.encode("latin-1"))
    if n_notes > MAX_NOTES:
        raise ScoreError(f"a track has more than {MAX_NOTES} notes")
    for (channel, midi), starts in sounding.items():
        for start in starts:
            found.add_note(channel, start, tick, midi)
    return found


def _decoded(content: bytes) -> str:
    for encoding in ("utf-8", "cp949"):
        try:
            return content.decode(encoding).strip("\0 ")
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1").strip("\0 ")


class _Clock:
    """Converts ticks to seconds."""

    def __init__(self, division: int, tempos: list[tuple[int, int]]) -> None:
        self.starts: list[tuple[int, float, float]] = []  # (tick, second there, seconds per tick from there on)
        if division < 0:  # two signed bytes: minus the frames per second, and the ticks per frame
            frames_per_s = -(division >> 8)
            self.starts.append((0, 0.0, 1.0 / (frames_per_s * max(1, division & 0xFF))))
            return
        self.starts.append((0, 0.0, DEFAULT_US_PER_QUARTER / 1e6 / division))
        for tick, us_per_quarter in tempos:
            self.starts.append((tick, self.second(tick), us_per_quarter / 1e6 / division))

    def second(self, tick: int) -> float:
        """Return the time of a tick."""
        start_tick, start_s, tick_s = self.starts[bisect_right(self.starts, tick, key=lambda start: start[0]) - 1]
        return start_s + (tick - start_tick) * tick_s

    def note(self, start: int, end: int, midi: int) -> Note:
        """Return ``(onset_s, duration_s, midi)``."""
        onset_s = self.second(start)
        return (onset_s, self.second(end) - onset_s, float(midi))
