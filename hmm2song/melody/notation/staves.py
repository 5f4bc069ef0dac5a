"""Written staves -> parts: which voices of a staff sing, and how all staves are played by one plan of bars."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hmm2song.melody.notation.bars import Bar, BarNote, perform
from hmm2song.melody.notation.parts import Part


@dataclass(frozen=True)
class WrittenNote:
    """A note with its voice, and whether it has a syllable."""

    note: BarNote
    voice: str
    is_sung: bool


@dataclass
class Staff:
    """The notes of a staff by the number of their bar; ``program`` is its General MIDI sound from 0, if known."""

    name: str = ""
    program: int | None = None
    notes: dict[int, list[WrittenNote]] = field(default_factory=lambda: defaultdict(list))

    def play(self, plan: Sequence[Bar], order: Sequence[int]) -> Part:
        """Play the bars of all staves, which are without notes in ``plan``, in an order that is the same for all."""
        singing = self._singing_voices()
        kept = {index: self._notes_of(index, singing) for index in self.notes}
        bars = [replace(bar, notes=kept[index]) if index in kept else bar for index, bar in enumerate(plan)]
        notes = tuple(perform(bars, order))
        n_sung = sum(note.is_sung for of_bar in self.notes.values() for note in of_bar)
        sung_share = n_sung / max(1, sum(map(len, kept.values())))
        return Part(self.name, notes, round(sung_share * len(notes)), self.program)

    def _singing_voices(self) -> set[str]:
        """Return the voices with the lyrics: those with at least half as many syllables as the first of them."""
        syllables = Counter(note.voice for notes in self.notes.values() for note in notes if note.is_sung)
        return {voice for voice, n in syllables.items() if 2 * n >= max(syllables.values())}

    def _notes_of(self, index: int, singing: set[str]) -> list[BarNote]:
        """Return the notes of the singing voices of a bar; of all voices where these are silent."""
        written = self.notes[index]
        return [note.note for note in written if note.voice in singing] or [note.note for note in written]
