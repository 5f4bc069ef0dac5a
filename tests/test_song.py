"""Which songs a filter lets pass; rows and their columns are tested with the catalog."""

from __future__ import annotations

import pytest

from hmm2song.catalog.song_table import SongTable
from hmm2song.errors import CatalogError, QueryError
from hmm2song.song import Guess, Song, SongFilter, guessed_text

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
        SongTable(SONGS).filter(**wrong)
    assert SongTable(SONGS).filter(genres=["FOLK"], years=(1969, 1969)).genres == ("Folk",)


GUESSES = {"gender": Guess("male", 0.97, "voice-1"), "genre": Guess("Hip-Hop", 0.9, "tags-1")}
GUESSED = Song("guessed", "t", guessed=guessed_text(GUESSES))


@pytest.mark.parametrize(
    ("wanted", "stated", "guessed", "surely_guessed"),
    [
        ({"genres": ("Hip-Hop",)}, True, True, True),
        ({"genres": ("Folk",)}, True, False, False),
        ({"gender": "male"}, True, True, True),
        ({"gender": "female"}, True, False, False),
    ],
    ids=str,
)
def test_a_guess_is_known_only_to_filters_that_go_by_guesses(wanted, stated, guessed, surely_guessed):
    assert SongFilter(**wanted).passes(GUESSED) == stated
    assert not SongFilter(**wanted, only_known=True).passes(GUESSED)
    assert SongFilter(**wanted, guessed=True).passes(GUESSED) == guessed
    assert SongFilter(**wanted, guessed=True, only_known=True).passes(GUESSED) == surely_guessed


def test_what_is_stated_comes_before_what_is_guessed():
    song = Song("s", "t", genre="Folk", gender="female", guessed=GUESSED.guessed)
    assert (song.guesses, song.known_genres(True), song.known_gender(True)) == ({}, ("Folk",), "female")
    assert (GUESSED.known_genres(True), GUESSED.known_gender(True)) == (("Hip-Hop",), "male")
    assert (GUESSED.known_genres(), GUESSED.known_gender()) == ((), "")
    songs = SongTable([song, GUESSED])
    assert songs.genre_counts() == {"Folk": 1}
    assert songs.genre_counts(guessed=True) == {"Folk": 1, "Hip-Hop": 1}
    assert SongTable([GUESSED]).filter("hip-hop").genres == ("Hip-Hop",)


def test_guesses_survive_a_row_and_are_left_out_of_rows_without():
    assert GUESSED.guessed == "gender: male (0.97, voice-1); genre: Hip-Hop (0.90, tags-1)"
    assert Song.from_row(GUESSED.to_row()) == GUESSED and GUESSED.guesses == GUESSES
    assert "guessed" not in NOTHING.to_row()


@pytest.mark.parametrize(
    "text", ["male", "gender: robot (0.97, m)", "gender: male (1.97, m)", "gender: male (0.9)", "key: C (0.97, m)", ";"]
)
def test_a_guess_that_is_not_well_formed_is_refused(text):
    with pytest.raises(CatalogError, match="guessed label"):
        Song("s", "t", guessed=text)
