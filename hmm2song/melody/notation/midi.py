"""Standard MIDI files and karaoke files -> parts with notes in seconds, exactly as the tempo map times them.

A part is one channel of one track. Percussion is left out: channel 10, and channels that choose a percussion bank.
Pedals and pitch bends are ignored. Lyrics belong to the part whose notes begin with them, wherever they are written.
Files of format 2 hold one pattern per track; these are played one after the other.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from hmm2song.errors import ScoreError
from hmm2song.melody.notation.bars import MAX_NOTES, Note
from hmm2song.melody.notation.clock import Clock
from hmm2song.melody.notation.encoding import decode
from hmm2song.melody.notation.midi_events import META, Event, read_chunks
from hmm2song.melody.notation.parts import Part

DRUM_CHANNEL = 9
"""Channel 10 as people count, 9 in the file."""
DRUM_BANKS = (120, 127)
"""Values of "bank select" that choose percussion in General MIDI 2 and XG."""
DEFAULT_US_PER_QUARTER = 500_000
"""120 quarter notes per minute."""
FRAMES_PER_S = {29: 30_000 / 1001}
"""What a rate of the time division means where it is not the number itself: 29 is 29.97, drop frame."""
SYNC_S = 0.07
"""Largest distance of a syllable from the onset it belongs to; karaoke files are typed by ear."""
SUNG_SHARE = 0.8
"""A track sings its own lyrics if more than this share of them, and of half its notes, fall together."""
MIN_KARAOKE_TEXTS = 8
"""Plain text events are lyrics if a track has at least so many, at different times."""
TEXT, TRACK_NAME, LYRICS, SET_TEMPO = 0x01, 0x03, 0x05, 0x51
NO_SYLLABLE = " \\/\r\n\0"
"""Characters that only lay out lyrics."""


@dataclass(frozen=True)
class MidiSong:
    """The parts of a file, the titles that a karaoke file states (song, then singer), and what could not be read."""

    parts: tuple[Part, ...]
    titles: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass
class _Channel:
    """What one channel of a track plays: ``(tick, is_on)`` by pitch, and the sound it starts with."""

    edges: dict[int, list[tuple[int, bool]]] = field(default_factory=lambda: defaultdict(list))
    program: int | None = None
    is_percussion: bool = False


class _Track:
    """What matters of a track: its name, tempo changes (tick, us per quarter), texts and channels."""

    def __init__(self, events: Sequence[Event]) -> None:
        self.name = ""
        self.tempos: list[tuple[int, int]] = []
        self.texts: dict[int, list[tuple[int, str]]] = {TEXT: [], LYRICS: []}
        self.channels: dict[int, _Channel] = defaultdict(_Channel)
        self.end_tick = events[-1][0] if events else 0
        for tick, status, data in events:
            if status == META:
                self._meta(tick, data[0], data[1:])
            else:
                self._message(tick, status & 0xF0, self.channels[status & 0x0F], data)

    def _meta(self, tick: int, kind: int, data: bytes) -> None:
        if kind == SET_TEMPO and (us_per_quarter := int.from_bytes(data[:3], "big")):
            self.tempos.append((tick, us_per_quarter))
        elif kind == TRACK_NAME and not self.name:
            self.name = decode(data).strip("\0 ")
        elif kind in self.texts:
            self.texts[kind].append((tick, decode(data).strip("\0 ")))

    def _message(self, tick: int, kind: int, channel: _Channel, data: bytes) -> None:
        if kind in (0x80, 0x90):
            channel.edges[data[0]].append((tick, kind == 0x90 and data[1] > 0))
        elif kind == 0xC0 and not channel.edges:
            channel.program = data[0]
        elif kind == 0xB0 and data[0] == 0 and not channel.edges:
            channel.is_percussion = data[1] in DRUM_BANKS

    def notes(self, channel: _Channel) -> Iterator[tuple[int, int, int]]:
        """Yield ``(start, end, midi)``. A note that is never released lasts until the next of its channel, or the end.

        Releases end notes in the order they began. Where one is missing this would shift all later ones, so there a
        note ends when the same key is struck again.
        """
        onsets = sorted({tick for edges in channel.edges.values() for tick, is_on in edges if is_on})
        for midi, edges in channel.edges.items():
            held: list[int] = []
            is_complete = 2 * sum(is_on for _, is_on in edges) == len(edges)
            for tick, is_on in edges if is_complete else sorted(edges):
                if held and not (is_on and is_complete):
                    yield held.pop(0), tick, midi
                if is_on:
                    held.append(tick)
            for start in held:
                following = bisect_right(onsets, start)
                yield start, onsets[following] if following < len(onsets) else max(self.end_tick, start), midi


def parse_midi(data: bytes) -> MidiSong:
    """Read a MIDI file, plain or in a wrapper (RIFF, MacBinary); ScoreError if it is too large or none.

    A file that is damaged gives what can be read of it, and warnings.
    """
    chunks = read_chunks(data)
    tracks = [_Track(events) for events in chunks.tracks]
    programs = {
        number: channel.program
        for track in reversed(tracks)
        for number, channel in track.channels.items()
        if channel.program is not None
    }
    clocks = _clocks(tracks, chunks.division, chunks.format)
    syllables_s = _syllables(tracks, clocks)
    notes: dict[tuple[int, int], list[Note]] = defaultdict(list)
    for track_number, (track, clock) in enumerate(zip(tracks, clocks, strict=True)):
        for number, channel in sorted(track.channels.items()):
            if number != DRUM_CHANNEL and not channel.is_percussion:
                found = [_note(clock, *note) for note in track.notes(channel) if note[1] > note[0]]
                notes[0 if chunks.format == 2 else track_number, number] += sorted(found)
    if sum(map(len, notes.values())) > MAX_NOTES:
        raise ScoreError(f"there are more than {MAX_NOTES} notes")
    parts = []
    for (track_number, number), found in notes.items():
        track = tracks[track_number]
        program = track.channels[number].program
        program = programs.get(number) if program is None else program
        sung_s = sorted(set().union(*(times_s for owner, times_s in syllables_s if owner in (None, track))))
        parts.append(Part(track.name, tuple(found), _n_sung(found, sung_s), program))
    if not any(part.notes for part in parts) and chunks.warnings:
        raise ScoreError(f"no note can be read ({chunks.warnings[0]})")
    texts = [text for track in tracks for _, text in track.texts[TEXT]]
    titles = tuple(text[2:].strip() for text in texts if text.startswith("@T"))
    return MidiSong(tuple(parts), titles, chunks.warnings)


def _syllables(tracks: Sequence[_Track], clocks: Sequence[Clock]) -> list[tuple[_Track | None, set[float]]]:
    """Return when syllables are sung, in seconds: lyrics events, or the texts of a karaoke file.

    Those of a track whose own notes sing them are its own; the others, with None, are for any part.
    """
    for kind, n_needed in ((LYRICS, 1), (TEXT, MIN_KARAOKE_TEXTS)):
        found = []
        for track, clock in zip(tracks, clocks, strict=True):
            syllables = (tick for tick, text in track.texts[kind] if text.strip(NO_SYLLABLE) and text[0] != "@")
            if times_s := {clock.second(tick) for tick in syllables}:
                found.append((track if _sings(track, clock, times_s) else None, times_s))
        if len(set().union(*(times_s for _, times_s in found))) >= n_needed:
            return found
    return []


def _sings(track: _Track, clock: Clock, times_s: set[float]) -> bool:
    """Return whether a track's own notes sing its syllables."""
    onsets = {start for channel in track.channels.values() for start, _, _ in track.notes(channel)}
    n_own = _n_sung([(clock.second(start), 0.0, 0.0) for start in onsets], sorted(times_s))
    return n_own > SUNG_SHARE * max(len(times_s), len(onsets) / 2)


def _n_sung(notes: Sequence[Note], syllables_s: Sequence[float]) -> int:
    """Return how many syllables fall on the onset of a note."""
    onsets_s = sorted(onset_s for onset_s, _, _ in notes)
    return sum(bisect_left(onsets_s, at_s - SYNC_S) < bisect_right(onsets_s, at_s + SYNC_S) for at_s in syllables_s)


def _clocks(tracks: Sequence[_Track], division: int, midi_format: int) -> list[Clock]:
    """Return the clock of each track: one for all, or one after the other for the patterns of format 2."""
    if midi_format != 2:
        tempos = sorted((tempo for track in tracks for tempo in track.tempos), key=lambda tempo: tempo[0])
        return [_clock(division, tempos)] * len(tracks)
    clocks, start_s = [], 0.0
    for track in tracks:
        clocks.append(_clock(division, track.tempos, start_s))
        start_s = clocks[-1].second(track.end_tick)
    return clocks


def _clock(division: int, tempos: Sequence[tuple[int, int]], start_s: float = 0.0) -> Clock:
    if division < 0:  # two signed bytes: minus the frames per second, and the ticks per frame
        frames_per_s = FRAMES_PER_S.get(-(division >> 8), -(division >> 8))
        return Clock(1.0 / (frames_per_s * (division & 0xFF)), (), start_s)
    changes = ((tick, us_per_quarter / 1e6 / division) for tick, us_per_quarter in tempos)
    return Clock(DEFAULT_US_PER_QUARTER / 1e6 / division, changes, start_s)


def _note(clock: Clock, start: int, end: int, midi: int) -> Note:
    onset_s = clock.second(start)
    return (onset_s, clock.second(end) - onset_s, float(midi))
