"""A small catalog: four songs of which each has something that the others lack."""

from __future__ import annotations

import numpy as np
from encoders import tiny_encoder

from hmm2song.catalog.catalog import Catalog
from hmm2song.melody.melody import Melody
from hmm2song.song import Song

ENCODER = tiny_encoder()
SONGS = (
    Song("one", "Été à Séoul", "Zoé", "la\nla", "Ballad, Folk", gender="female", title_ko="서울의 여름"),
    Song("two", "<script>alert(1)</script>", author="Nobody", genre="Folk", gender="male", path="two.flac"),
    Song("three", "Straße", genre="Dance", gender="mixed", year="1999", licence="CC0", credit="us", tune="t"),
    Song("four", "Unknown Soldier"),
)


def make_melodies(n_songs: int) -> list[Melody]:
    """Return random melodies with rests, in whole cents, as they are stored."""
    rng = np.random.default_rng(0)
    contours = [np.round(rng.uniform(48, 72, 200 + 50 * number), 2) for number in range(n_songs)]
    for contour in contours:
        contour[rng.random(len(contour)) < 0.2] = np.nan
    return [Melody(contour) for contour in contours]


def build(songs=SONGS) -> Catalog:
    return Catalog.build(songs, make_melodies(len(songs)), ENCODER, credits="# Credits\nKim Ŭn-ha\n")
