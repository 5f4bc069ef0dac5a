"""The bytes of a Standard MIDI file -> events of its tracks, as far as they can be read.

Files are read by the chunks that are there, not by what the headers promise: chunks of other kinds are skipped wherever
they stand, a wrong number of tracks or length of a track does no harm, and a track that breaks off or holds no MIDI
from some place on is kept up to there. What was lost is said in the warnings.

Running status goes on after system exclusive and meta events, which the standard forbids and most players allow.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from hmm2song.errors import ScoreError

HEADER_ID, TRACK_ID = b"MThd", b"MTrk"
ID_CHARS = 4
MAX_MIDI_BYTES = 2 * 2**20
"""Largest file. Every two bytes may become an event: at worst some hundred megabytes and several seconds."""
MAX_TRACKS = 1024
MAX_JUNK_BYTES = 4096
"""What may stand before the header: a RIFF or MacBinary wrapper, or the header of a message."""
META, SYSEX, SYSEX_END, END_OF_TRACK = 0xFF, 0xF0, 0xF7, 0x2F
LAST_EVENT = bytes((META, END_OF_TRACK, 0))
DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
"""Data bytes of a channel message by its kind."""
DATA_BYTES_OF_SYSTEM = {0xF1: 1, 0xF2: 2, 0xF3: 1}
"""Data bytes of system messages, which do not belong in a file; all others have none."""

Event = tuple[int, int, bytes]
"""``(tick, status, data)``; the data of a meta event starts with its type."""


@dataclass(frozen=True)
class MidiChunks:
    """The header's format and time division, the events of each track, and what could not be read."""

    format: int
    division: int
    tracks: tuple[tuple[Event, ...], ...]
    warnings: tuple[str, ...]


class _BrokenTrackError(Exception):
    """The track cannot be read on."""


def read_chunks(data: bytes) -> MidiChunks:
    """Read a MIDI file; ScoreError if it is too large, has no usable header or no track."""
    if len(data) > MAX_MIDI_BYTES:
        raise ScoreError(f"larger than {MAX_MIDI_BYTES} bytes, which no MIDI file of a song is")
    start = data.find(HEADER_ID, 0, MAX_JUNK_BYTES)
    if start < 0 or len(data) < start + 14:
        raise ScoreError('it is not a MIDI file (it has no header chunk "MThd")')
    length, midi_format, n_promised, division = struct.unpack(">IHHh", data[start + 4 : start + 14])
    if division & 0xFF == 0 and division <= 0:
        raise ScoreError("its time division is zero")
    tracks: list[tuple[Event, ...]] = []
    warnings: list[str] = []
    for number, (content, is_whole) in enumerate(_track_chunks(data, start, length), start=1):
        if number > MAX_TRACKS:
            raise ScoreError(f"there are more than {MAX_TRACKS} tracks")
        events, fault = _events(content)
        tracks.append(events)
        if fault:
            warnings.append(f"track {number} {fault}; its rest is lost")
        elif not is_whole:
            warnings.append(f"the length of track {number} is wrong")
    if not tracks:
        raise ScoreError("it has no tracks")
    if len(tracks) != n_promised:
        warnings.append(f"{len(tracks)} of {n_promised} tracks are there")
    return MidiChunks(midi_format, division, tuple(tracks), tuple(warnings))


def _track_chunks(data: bytes, start: int, header_bytes: int) -> Iterator[tuple[bytes, bool]]:
    """Yield the content of each track, and whether its length is right."""
    position = start + 8 + header_bytes
    if not _is_chunk_start(data, position):
        position = start + 14
    while position < len(data):
        if data[position : position + ID_CHARS] == HEADER_ID:  # another file was appended
            return
        end = position + 8 + int.from_bytes(data[position + ID_CHARS : position + 8], "big")
        is_whole = end == len(data) or _is_chunk_start(data, end) or data.endswith(LAST_EVENT, 0, end)
        if end > len(data) or not is_whole:
            is_whole, end = False, data.find(TRACK_ID, position + ID_CHARS)
            end = len(data) if end < 0 else end
        if data[position : position + ID_CHARS] == TRACK_ID:
            yield data[position + 8 : end], is_whole
        elif not _is_chunk_start(data, position):  # no chunk at all: padding, or a damaged header
            end = data.find(TRACK_ID, position)
            end = len(data) if end < 0 else end
        position = end


def _is_chunk_start(data: bytes, position: int) -> bool:
    name = data[position : position + ID_CHARS]
    return len(data) >= position + 8 and len(name) == ID_CHARS and name.isascii() and name.decode().isprintable()


def _events(content: bytes) -> tuple[tuple[Event, ...], str]:
    """Return the events of a track, and why it ends before its end; empty if it does not."""
    events: list[Event] = []
    position = tick = status = 0
    try:
        while position < len(content):
            delta, position = _number(content, position)
            tick += delta
            byte = _byte(content, position)
            if byte >= 0x80:
                position += 1
            if byte in (META, SYSEX, SYSEX_END):
                kind = content[position : position + 1] if byte == META else b""
                length, position = _number(content, position + len(kind))
                if position + length > len(content):
                    raise _BrokenTrackError("is cut short")
                if byte == META:
                    events.append((tick, META, kind + content[position : position + length]))
                    if kind[0] == END_OF_TRACK:
                        goes_on = content[position + length :].strip(b"\0")
                        return tuple(events), "goes on after its end" if goes_on else ""
                position += length
            elif byte > SYSEX:
                position += DATA_BYTES_OF_SYSTEM.get(byte, 0)
            else:
                status = byte if byte >= 0x80 else status
                if not status:
                    raise _BrokenTrackError("holds a value that belongs to no event")
                n_bytes = DATA_BYTES[status & 0xF0]
                if _byte(content, position) >= 0x80 or position + n_bytes > len(content):
                    raise _BrokenTrackError("holds an event that is not whole")
                events.append((tick, status, content[position : position + n_bytes]))
                position += n_bytes
    except _BrokenTrackError as error:
        events.append((tick, META, bytes((END_OF_TRACK,))))  # what sounds still may end here
        return tuple(events), str(error)
    return tuple(events), "ends without its last event" if events else ""


def _byte(content: bytes, position: int) -> int:
    if position >= len(content):
        raise _BrokenTrackError("is cut short")
    return content[position]


def _number(content: bytes, position: int) -> tuple[int, int]:
    """Read a number of one to four bytes of seven bits; return it and the place after it."""
    value = 0
    for place in range(position, position + 4):
        byte = _byte(content, place)
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    raise _BrokenTrackError("holds a time of more than four bytes")
