"""Counts, filters and words: which songs of a catalog they find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from catalogs import SONGS, build

from hmm2song.catalog.catalog import Catalog
from hmm2song.errors import QueryError
from hmm2song.song import SongFilter


def ids(catalog: Catalog, **filters) -> set[str]:
    mask = catalog.select(**filters).mask
    return {song.id for song, passes in zip(catalog.songs, mask, strict=True) if passes}


def test_counts():
    catalog = build()
    assert list(catalog.genre_counts().items()) == [("Folk", 2), ("Ballad", 1), ("Dance", 1)]
    assert catalog.gender_counts() == {"female": 1, "male": 1, "mixed": 1, "": 1}


def test_a_selection_says_what_was_wanted_in_the_catalogs_words():
    selection = build().select(["folk", "BALLAD"], "male", only_known=True)
    assert selection.wanted == SongFilter(("Ballad", "Folk"), "male", only_known=True)
    np.testing.assert_array_equal(selection.mask, [selection.wanted.passes(song) for song in SONGS])
    assert build().select().wanted == SongFilter()


def test_genres_spelt_differently_are_one():
    catalog = build((replace(SONGS[0], genre="Folk"), replace(SONGS[1], genre="folk"), SONGS[2]))
    assert ids(catalog, genres=["FOLK"]) == {"one", "two"}


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"genres": ["Jazz"]}, "unknown genre 'Jazz'; choose from: Folk, Ballad, Dance"),
        ({"genres": ["Folk", ""]}, "unknown genre ''"),
        ({"gender": "robot"}, "unknown gender 'robot'; choose one of any, female, male, mixed"),
    ],
)
def test_impossible_filters_name_the_choices(filters, words):
    with pytest.raises(QueryError, match=words):
        build().select(**filters)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["one", "two", "three", "four"]),
        ("ete", ["one"]),
        ("SÉOUL été", ["one"]),
        ("zoe", ["one"]),
        ("strasse", ["three"]),
        ("서울", ["one"]),
        ("\u1109\u1165\u110b\u116e\u11af", ["one"]),  # the same word as some systems type it, letter by letter
        ("서우", []),
        ("folk nobody", ["two"]),
        ("dance nobody", []),
        ("<script>", ["two"]),
        ("four", ["four"]),
        (".*", []),
    ],
)
def test_songs_are_found_by_any_words(text, expected):
    catalog = build()
    assert [song.id for song in catalog.find(text)] == expected
    assert [song.id for song in catalog.find(text, limit=2)] == expected[:2]
