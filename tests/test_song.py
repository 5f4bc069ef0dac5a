"""Which songs a filter lets pass; rows and their columns are tested with the catalog."""

from __future__ import annotations

from itertools import product

import pytest

from hmm2song.errors import QueryError
from hmm2song.song import ANY_GENDER, GENDERS, Song, SongFilter

BOTH = Song("both", "t", genre="Ballad, Folk", gender="female")
NO_GENRE = Song("no genre", "t", gender="male")
NO_GENDER = Song("no gender", "t", genre="Folk")
NOTHING = Song("nothing", "t")
SONGS = (BOTH, NO_GENRE, NO_GENDER, NOTHING)


@pytest.mark.parametrize(
    ("wanted", "passing"),
    [
        (SongFilter(), SONGS),
        (SongFilter(only_known=True), SONGS),  # nothing is asked for that could be unknown
        (SongFilter(genres=("Folk",)), SONGS),
        (SongFilter(genres=("Ballad",)), (BOTH, NO_GENRE, NOTHING)),
        (SongFilter(genres=("Dance", "Ballad")), (BOTH, NO_GENRE, NOTHING)),
        (SongFilter(genres=("Dance",)), (NO_GENRE, NOTHING)),
        (SongFilter(genres=("Ballad, Folk",)), (NO_GENRE, NOTHING)),  # not the field but the genres in it
        (SongFilter(genres=("Folk",), only_known=True), (BOTH, NO_GENDER)),
        (SongFilter(gender="female"), (BOTH, NO_GENDER, NOTHING)),
        (SongFilter(gender="male"), (NO_GENRE, NO_GENDER, NOTHING)),
        (SongFilter(gender="mixed"), (NO_GENDER, NOTHING)),
        (SongFilter(gender="male", only_known=True), (NO_GENRE,)),
        (SongFilter(("Folk",), "female"), SONGS[:1] + SONGS[2:]),
        (SongFilter(("Folk",), "male"), (NO_GENRE, NO_GENDER, NOTHING)),
        (SongFilter(("Folk",), "female", only_known=True), (BOTH,)),
        (SongFilter(("Dance",), "female", only_known=True), ()),
    ],
    ids=str,
)
def test_what_fits_passes_and_what_is_unknown_unless_only_known(wanted, passing):
    assert tuple(song for song in SONGS if wanted.passes(song)) == passing


def test_only_known_takes_away_the_unknown_and_nothing_else():
    for genres, gender in product(((), ("Folk",), ("Ballad",), ("Dance", "Folk")), (ANY_GENDER, *GENDERS)):
        broad, narrow = SongFilter(genres, gender), SongFilter(genres, gender, only_known=True)
        for song in SONGS:
            assert narrow.passes(song) == (broad.passes(song) and not broad.is_unknown_of(song))


@pytest.mark.parametrize(
    ("year", "passes", "is_known"),
    [("1969", True, True), ("c. 1970-1975", True, True), ("1968", False, True), ("1971", False, True), ("", 1, 0)],
)
def test_years_are_a_first_and_a_last_one(year, passes, is_known):
    song, wanted = Song("s", "t", year=year), SongFilter(years=(1969, 1970))
    assert (wanted.passes(song), wanted.is_unknown_of(song)) == (passes, not is_known)
    assert SongFilter(years=(1969, 1970), only_known=True).passes(song) == (passes and is_known)


@pytest.mark.parametrize("wrong", [{"years": (1970, 1969)}, {"gender": "boys"}, {"genres": ["Polka"]}])
def test_a_filter_that_no_song_can_pass_is_an_error(wrong):
    with pytest.raises(QueryError):
        SongFilter.of(SONGS, **wrong)
    assert SongFilter.of(SONGS, genres=["FOLK"], years=(1969, 1969)).genres == ("Folk",)
