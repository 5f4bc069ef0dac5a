"""Which part is the tune: small songs of two and three parts."""

import pytest

from hmm2song.melody.notation.parts import Part, rank_parts


def part(name, *pitches, n_syllables=0, program=None, each_s=0.5, chord=(0,)):
    notes = tuple(
        (each_s * beat, each_s, float(pitch + above)) for beat, pitch in enumerate(pitches) if pitch for above in chord
    )
    return Part(name, notes, n_syllables, program)


TUNE = (72, 71, 72, 74, 76, 74, 72, 71) * 3
BASS = (36, 43, 36, 43, 41, 43, 36, 36) * 3
PAD = (60, 60, 60, 60, 64, 64, 62, 62) * 3


@pytest.mark.parametrize(
    ("tune", "others"),
    [
        (part("Flute", *TUNE), [part("Voice Oohs", *PAD), part("Bass", *BASS)]),
        (part("Soprano", *TUNE), [part("Lead Guitar", *PAD, chord=(0, 4, 7)), part("Bass", *BASS)]),
        (part("Lead Vocal", *(pitch - 12 for pitch in TUNE)), [part("Flute", *(pitch + 8 for pitch in TUNE))]),
        (part("Lead Vocal", *TUNE), [part("Backing vocals", 90)]),
        (part("", *TUNE), [part("", 100, 103, 100, 101)]),  # few high notes are decoration
        (part("", *TUNE), [part("", *(84, 60, 79, 67) * 12, each_s=0.125)]),  # nobody sings arpeggios
        (part("Bariton", *(pitch - 24 for pitch in TUNE), n_syllables=20), [part("Violin", *TUNE)]),
        (part("主旋律", *(pitch - 12 for pitch in TUNE)), [part("弦乐", *TUNE)]),
        (part("Singstimme", *(pitch - 12 for pitch in TUNE)), [part("Tenor Sax", *TUNE)]),
        (part("Gesang", *BASS, n_syllables=24), [part("Melody", *TUNE, n_syllables=2)]),  # a word is no lyrics
        (part("", *(pitch - 5 for pitch in TUNE), n_syllables=22),
         [part("", *TUNE, *TUNE, each_s=0.25, n_syllables=24)]),
        (part("", *TUNE, n_syllables=24), [part("", *(pitch - 12 for pitch in TUNE), n_syllables=24)]),
        (part("", *TUNE), [part("", *(pitch + 5 for pitch in TUNE), program=98)]),
    ],
)  # fmt: skip
def test_the_tune_is_chosen_by_evidence(tune, others):
    for parts in ([tune, *others], [*others, tune]):
        assert rank_parts(parts)[0].part is tune
