"""Standard MIDI files -> parts with notes in seconds, exactly as the tempo map times them.

A part is one channel of one track. Channel 10 (drums) is left out. Running status, all three file formats,
RIFF wrapping, and both kinds of time division are read; pedals and pitch bends are ignored.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from dataclasses import dataclass, field

from hmm2song.errors import ScoreError
from hmm2song.notation.bars import MAX_NOTES, Note
from hmm2song.notation.lines import Part

DRUM_CHANNEL = 9
"""Channel 10 as people count, 9 in the file."""
DEFAULT_US_PER_QUARTER = 500_000
"""120 quarter notes per minute."""
MAX_TRACKS = 1024
META, SYSEX, SYSEX_MORE = 0xFF, 0xF0, 0xF7
META_TRACK_NAME, META_TEMPO = 0x03, 0x51
NOTE_OFF, NOTE_ON = 0x80, 0x90
ONE_BYTE_MESSAGES = (0xC0, 0xD0)


@dataclass
class _Track:
    """A track's name, tempo changes (tick, us per quarter) and notes (start, end, midi) by channel."""

    name: str = ""
    tempos: list[tuple[int, int]] = field(default_factory=list)
    notes: dict[int, list[tuple[int, int, int]]] = field(default_factory=lambda: defaultdict(list))


def parse_midi(data: bytes) -> tuple[Part, ...]:
    """Read a MIDI file.

    Raises
    ------
    ScoreError
        Not MIDI, cut short, or impossible numbers.
    """
    start = data.find(b"MThd") if data[:4] == b"RIFF" else 0
    if start < 0 or data[start : start + 4] != b"MThd" or len(data) < start + 14:
        raise ScoreError('it is not a MIDI file (it does not start with "MThd")')
    header_end = start + 8 + int.from_bytes(data[start + 4 : start + 8], "big")
    division = int.from_bytes(data[start + 12 : start + 14], "big")
    if division == 0:
        raise ScoreError("its time division is zero")
    tracks = [_Reader(chunk).track() for chunk in _track_chunks(data, header_end)]
    tempos = sorted((tempo for track in tracks for tempo in track.tempos), key=lambda tempo: tempo[0])
    clock = _Clock(division, tempos)
    return tuple(
        Part(track.name, tuple(clock.note(*note) for note in notes))
        for track in tracks
        for channel, notes in sorted(track.notes.items())
        if channel != DRUM_CHANNEL
    )


def _track_chunks(data: bytes, position: int) -> list[bytes]:
    chunks = []
    while position + 8 <= len(data):
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "big")
        chunk = data[position + 8 : position + 8 + length]
        if kind == b"MTrk":
            if len(chunk) < length:
                raise ScoreError(f"track {len(chunks) + 1} is cut short")
            chunks.append(chunk)
        position += 8 + length
        if len(chunks) > MAX_TRACKS:
            raise ScoreError(f"there are more than {MAX_TRACKS} tracks")
    if not chunks:
        raise ScoreError("it has no tracks")
    return chunks


class _Reader:
    """Reads the events of one track chunk."""

    def __init__(self, chunk: bytes) -> None:
        self.chunk, self.position, self.tick = chunk, 0, 0
        self.found = _Track()
        self.sounding: dict[tuple[int, int], deque[int]] = defaultdict(deque)
        self.n_notes = 0

    def track(self) -> _Track:
        """Read to the end; notes that are never released end there."""
        running = 0
        while self.position < len(self.chunk):
            self.tick += self._variable_length()
            status = self._byte() if self._peek() & 0x80 else running
            if status == META:
                self._meta()
            elif status in (SYSEX, SYSEX_MORE):
                self._bytes(self._variable_length())
            elif status < 0x80 or status > SYSEX:
                raise ScoreError(f"it has a damaged event (status {status:#04x})")
            else:
                running = status
                self._message(status)
        for (channel, midi), starts in self.sounding.items():
            for start in starts:
                self._add(channel, start, midi)
        return self.found

    def _message(self, status: int) -> None:
        kind, channel = status & 0xF0, status & 0x0F
        first = self._byte()
        second = 0 if kind in ONE_BYTE_MESSAGES else self._byte()
        if kind == NOTE_ON and second > 0:
            self.sounding[channel, first & 0x7F].append(self.tick)
        elif kind in (NOTE_ON, NOTE_OFF) and self.sounding[channel, first & 0x7F]:
            self._add(channel, self.sounding[channel, first & 0x7F].popleft(), first & 0x7F)

    def _add(self, channel: int, start: int, midi: int) -> None:
        self.n_notes += 1
        if self.n_notes > MAX_NOTES:
            raise ScoreError(f"a track has more than {MAX_NOTES} notes")
        if self.tick > start:
            self.found.notes[channel].append((start, self.tick, midi))

    def _meta(self) -> None:
        kind = self._byte()
        content = self._bytes(self._variable_length())
        if kind == META_TRACK_NAME and not self.found.name:
            self.found.name = _decoded(content)
        elif kind == META_TEMPO and len(content) == 3 and any(content):
            self.found.tempos.append((self.tick, int.from_bytes(content, "big")))

    def _peek(self) -> int:
        if self.position >= len(self.chunk):
            raise ScoreError("a track ends within an event")
        return self.chunk[self.position]

    def _byte(self) -> int:
        value = self._peek()
        self.position += 1
        return value

    def _bytes(self, length: int) -> bytes:
        if self.position + length > len(self.chunk):
            raise ScoreError("a track ends within an event")
        self.position += length
        return self.chunk[self.position - length : self.position]

    def _variable_length(self) -> int:
        value = 0
        for _ in range(4):
            byte = self._byte()
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                return value
        raise ScoreError("a track holds a number of more than four bytes")


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
        if division & 0x8000:
            frames_per_s = 256 - (division >> 8)
            ticks_per_frame = max(1, division & 0xFF)
            self.starts.append((0, 0.0, 1.0 / (frames_per_s * ticks_per_frame)))
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
