"""A match and a result as a search gives them, for what shows results: the page, the command line, a notebook."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hmm2song.match.places import Alignment
from hmm2song.match.results import Match, SearchResult
from hmm2song.melody.melody import Melody, melody_from_notes

RESULT_KEYS = {
    "matches", "level", "no_match", "advice", "hum", "n_hums", "n_searched", "n_unknown", "elsewhere", "notices",
    "seconds",
}  # fmt: skip
HOSTILE = "<script>alert('x')</script> ${alert(1)} {{7*7}} \" onload=x"
SONG = melody_from_notes([(second, 1.0, 60 + 2 * (second % 4)) for second in range(30)])


def make_match(**changes: object) -> Match:
    """Build a match whose hum is the song's seconds 10-18, an octave and 2 st lower, at twice the speed."""
    hum_time_s = np.arange(0, 4.0, 0.04)
    alignment = Alignment(hum_time_s, 10 + 2 * hum_time_s, key_shift_st=-14.0, tempo_ratio=2.0)
    match = Match(
        rank=1,
        id="s1",
        title="Arirang",
        title_ko="아리랑",
        artist="Trad. & Co",
        genre="Folk",
        gender="female",
        year="1926",
        lyric="",
        tune="",
        probability=0.934,
        score=2.5,
        alignment=alignment,
        melody=SONG,
    )
    return replace(match, **changes)


def make_result(*matches: Match, **changes: object) -> SearchResult:
    result = SearchResult(matches, no_match=False, advice=(), hum=hum(), n_searched=12, n_unknown=0, seconds=0.21)
    return replace(result, **changes)


def hum() -> Melody:
    return Melody(SONG.pitch_midi[250:450:2] - 14)
