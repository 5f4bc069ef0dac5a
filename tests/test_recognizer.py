"""The recogniser end to end: simulated hums of songbook tunes against a miniature catalog."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from encoders import IntervalEncoder, tiny_encoder
from matches import RESULT_KEYS

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import default_encoder
from hmm2song.errors import CatalogError, QueryError
from hmm2song.index.exact import ExactIndex
from hmm2song.match import ranking
from hmm2song.match import search as search_module
from hmm2song.match import votes as votes_module
from hmm2song.match.results import Match, SearchResult
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody, melody_from_notes
from hmm2song.melody.notation import abc
from hmm2song.melody.notation.parts import melody_line
from hmm2song.melody.scores import read_scores
from hmm2song.recognizer import DEFAULT_TOP_K, Recognizer
from hmm2song.song import Song
from hmm2song.training.singer import FEMALE, FLAWLESS, WHISTLER, Singer, hum_contour
from hmm2song.training.voice import hum_audio

SONGBOOK = Path(__file__).parent.parent / "assets" / "songbook"
TUNES = (
    "a-mighty-fortress", "alle-voegel-sind-schon-da", "aloha-oe", "amazing-grace", "america-the-beautiful",
    "annie-laurie", "arirang", "auld-lang-syne", "aura-lee", "battle-hymn-of-the-republic", "beautiful-dreamer",
    "beethoven-symphony-5", "bingo", "blue-danube", "brahms-lullaby", "bridal-chorus", "camptown-races", "can-can",
    "canon-in-d", "clementine", "daisy-bell", "dark-eyes", "deck-the-halls", "der-lindenbaum", "deutschlandlied",
    "die-forelle", "doraji-taryeong", "drunken-sailor", "frere-jacques", "greensleeves",
)  # fmt: skip
SINGERS = (Singer(), FEMALE, WHISTLER)

MATCH_KEYS = {
    "rank", "id", "title", "title_ko", "artist", "author", "genre", "gender", "year", "lyric", "tune", "guessed",
    "probability", "score", "start_s", "end_s", "key_shift_st", "tempo_ratio",
}  # fmt: skip


def notes_of(tune: str) -> list[tuple[float, float, float]]:
    """Return the notes of a songbook tune for the singer."""
    text = (SONGBOOK / f"{tune}.abc").read_text(encoding="utf-8")
    return [tuple(note) for note in melody_line(abc.parse_tune(abc.split_tunes(text)[0]).parts)]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    """Return thirty tunes; half of them have a singer's gender."""
    scored = [read_scores(SONGBOOK / f"{tune}.abc").melodies[0] for tune in TUNES]
    songs = [
        replace(each.song, id=tune, gender=("female", "")[number % 2])
        for number, (tune, each) in enumerate(zip(TUNES, scored, strict=True))
    ]
    return Catalog.build(songs, [each.melody for each in scored], default_encoder())


@pytest.fixture(scope="module")
def recognizer(catalog) -> Recognizer:
    return Recognizer(catalog, n_threads=2)


def make_recognizer(tunes: dict[str, Melody], **fields: dict[str, str]) -> Recognizer:
    """Return a recogniser of the melodies given; ``fields`` are of the songs, by id."""
    songs = [Song(**{"id": song_id, "title": song_id, **fields.get(song_id, {})}) for song_id in tunes]
    return Recognizer(Catalog.build(songs, list(tunes.values()), default_encoder()), n_threads=1)


def hum(tune: str, seed: int = 0, singer: Singer = FLAWLESS, **options) -> tuple[int, np.ndarray]:
    """Return a recording of somebody humming a tune."""
    _, samples = hum_audio(notes_of(tune), singer, np.random.default_rng(seed), **options)
    return SAMPLE_RATE_HZ, samples


def hummed_melody(tune: str, seed: int = 0, singer: Singer = FLAWLESS, **options) -> Melody:
    return hum_contour(notes_of(tune), singer, np.random.default_rng(seed), **options).melody


def ids(result: SearchResult) -> list[str]:
    return [match.id for match in result.matches]


# Right songs --------------------------------------------------------------------------------------------


def test_hums_find_their_songs(recognizer):
    found, sure, advised = [], [], []
    for number, tune in enumerate(TUNES[::2]):
        result = recognizer.recognize(hum(tune, seed=number, singer=SINGERS[number % 3]))
        found.append(ids(result)[0] == tune)
        sure.append(found[-1] and not result.no_match)
        assert [match.rank for match in result.matches] == list(range(1, DEFAULT_TOP_K + 1))
        advised.append(result.advice != ())
        assert (result.n_searched, result.n_unknown, result.elsewhere) == (len(TUNES), 0, None)
    assert np.mean(found) >= 0.9
    assert np.mean(sure) >= 0.6
    assert np.mean(advised) < 0.2  # nothing is wrong with these recordings


@pytest.mark.parametrize(
    ("tune", "start_s", "tempo_ratio"),
    [("alle-voegel-sind-schon-da", 7.24, 0.8), ("arirang", 12.0, 1.0), ("daisy-bell", 9.0, 1.3)],
)
def test_place_key_and_tempo_are_those_of_the_singer(recognizer, tune, start_s, tempo_ratio):
    singer = replace(FLAWLESS, tempo_ratio_limits=(tempo_ratio, tempo_ratio))
    truth, samples = hum_audio(notes_of(tune), singer, np.random.default_rng(1), start_s=start_s)
    match = recognizer.recognize((SAMPLE_RATE_HZ, samples)).matches[0]
    assert match.id == tune
    assert match.alignment.start_s == pytest.approx(truth.start_s, abs=0.25)
    assert match.alignment.end_s == pytest.approx(truth.end_s, abs=0.25)
    assert match.alignment.key_shift_st == pytest.approx(truth.key_shift_st, abs=0.1)
    assert match.alignment.tempo_ratio == pytest.approx(truth.tempo_ratio, rel=0.04)


def test_a_long_hum_with_a_repeated_verse(recognizer):
    notes = notes_of("bingo")
    twice = [*notes, *((onset_s + 21.0, length_s, midi) for onset_s, length_s, midi in notes)]
    in_time = replace(Singer(), tempo_ratio_limits=(1.0, 1.0))
    _, samples = hum_audio(twice, in_time, np.random.default_rng(3), start_s=0.0, duration_s=40.0)
    result = recognizer.recognize((SAMPLE_RATE_HZ, samples))
    assert result.hum.duration_s > 36.0
    assert ids(result)[0] == "bingo"
    assert result.matches[0].probability > 0.5


def begun_again(melody: Melody, first_s: float, pause_s: float) -> Melody:
    """The start of a hum, a pause, and the whole hum."""
    start = melody.slice_s(0.0, first_s).pitch_midi
    return Melody(np.concatenate((start, np.full(round(pause_s * FRAME_RATE_HZ), np.nan), melody.pitch_midi)))


@pytest.mark.parametrize(("first_s", "at_least"), [(1.2, 0.9), (4.0, 0.7)])
def test_who_starts_over_after_a_pause_is_found(recognizer, first_s, at_least):
    found, probability = [], []
    for number, tune in enumerate(TUNES[:16]):
        melody = hummed_melody(tune, seed=number, singer=Singer(), duration_s=7.0)
        result = recognizer.recognize_melody(begun_again(melody, first_s, pause_s=1.5))
        found.append(ids(result)[0] == tune)
        probability.append(result.matches[0].probability)
    assert np.mean(found) >= at_least
    assert np.mean(probability) >= at_least - 0.1


def test_a_rest_of_the_song_may_be_as_long_as_a_pause():
    begun, rest_s = notes_of("arirang")[:8], 3.0
    rested = [(onset_s + rest_s, length_s, midi) for onset_s, length_s, midi in notes_of("arirang")[8:]]
    resting = melody_from_notes([*begun, *rested])
    songs = {tune: melody_from_notes(notes_of(tune)) for tune in TUNES[:9] if tune != "arirang"}
    result = make_recognizer({**songs, "resting": resting}).recognize_melody(resting.slice_s(0.0, 14.0))
    assert ids(result)[0] == "resting"
    assert result.matches[0].alignment.end_s == pytest.approx(14.0, abs=0.5)


def test_a_hum_longer_than_the_song(recognizer):
    slow = replace(FLAWLESS, tempo_ratio_limits=(0.7, 0.7))
    result = recognizer.recognize(hum("beethoven-symphony-5", singer=slow, start_s=0.0, duration_s=20.0))
    assert result.hum.duration_s > 14.0 > recognizer.catalog.melody("beethoven-symphony-5").duration_s
    assert ids(result)[0] == "beethoven-symphony-5"


def test_a_song_too_short_for_the_hum_is_no_match():
    short = make_recognizer({"short": melody_from_notes([(0.0, 0.5, 60), (0.5, 0.5, 64), (1.0, 0.5, 67)])})
    result = short.recognize_melody(hummed_melody("arirang", duration_s=12.0))
    assert (result.matches, result.no_match, result.n_searched) == ((), True, 1)


@pytest.mark.parametrize("n_frames", [25, 26, 27, 30, 40])
def test_the_shortest_melodies_that_are_searched(recognizer, n_frames):
    result = recognizer.recognize_melody(Melody(np.linspace(60.0, 64.0, n_frames).round()))
    assert len(result.matches) == DEFAULT_TOP_K
    assert all(np.isfinite(match.score) for match in result.matches)
    too_short = recognizer.recognize_melody(Melody(np.full(24, 60.0)))
    assert (too_short.matches, too_short.no_match) == ((), True)


# Not sure -----------------------------------------------------------------------------------------------


def without(catalog: Catalog, position: int) -> Catalog:
    """Return the catalog without one song."""
    rest = np.arange(len(catalog)) != position
    return Catalog(
        songs=catalog.songs[:position] + catalog.songs[position + 1 :],
        melodies=catalog.melodies[:position] + catalog.melodies[position + 1 :],
        embeddings=catalog.embeddings[np.repeat(rest, catalog.n_windows)],
        n_windows=catalog.n_windows[rest],
        encoder_fingerprint=catalog.encoder_fingerprint,
    )


def test_without_its_song_a_hum_mostly_finds_nothing(catalog):
    said_nothing, said_other = [], []
    for number in range(0, len(TUNES), 2):
        melody = hummed_melody(TUNES[number], 100 + number, Singer(), duration_s=14.0)
        result = Recognizer(without(catalog, number)).recognize_melody(melody)
        said_nothing.append(result.no_match)
        said_other.append(result.matches[0].probability > 0.9)
    assert np.mean(said_nothing) > 0.5
    assert np.mean(said_other) < 0.2


def test_versions_of_a_tune_share_its_probability(catalog):
    tunes = {tune: catalog.melody(tune) for tune in ("arirang", "clementine", "bingo")}
    melody = hummed_melody("arirang", singer=Singer())
    alone = make_recognizer(tunes).recognize_melody(melody).matches[0]
    version = Melody(catalog.melody("arirang").pitch_midi + 5.0)
    fields = {"arirang": {"tune": "a"}, "other-words": {"tune": "a"}}
    result = make_recognizer({**tunes, "other-words": version}, **fields).recognize_melody(melody)
    first, second = result.matches[:2]
    assert {first.id, second.id} == {"arirang", "other-words"}
    assert first.tune == second.tune == "a"
    assert first.probability == second.probability > alone.probability - 0.05
    assert first.probability + sum(match.probability for match in result.matches[2:]) <= 1.0
    reordered = make_recognizer({"other-words": version, **tunes}, **fields).recognize_melody(melody)
    assert reordered.matches[0].id == "other-words"  # equally good versions stand in the catalog's order
    strangers = make_recognizer({**tunes, "other-words": version}).recognize_melody(melody)
    assert max(match.probability for match in strangers.matches) < 0.6


@pytest.mark.parametrize(
    ("samples", "code"),
    [
        (np.zeros(4 * SAMPLE_RATE_HZ, np.float32), "too_quiet"),
        (np.zeros(1, np.float32), "too_quiet"),
        (np.ones(1, np.float32), "too_short"),
        (np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE_HZ).astype(np.float32), "mostly_unvoiced"),
    ],
    ids=["silence", "no sound", "one sample", "noise"],
)
def test_what_is_no_hum_gets_advice_instead_of_songs(recognizer, samples, code):
    result = recognizer.recognize((SAMPLE_RATE_HZ, samples))
    assert (result.matches, result.no_match, result.elsewhere) == ((), True, None)
    assert code in [advice.code for advice in result.advice]
    assert set(result.to_dict()) == RESULT_KEYS


# Options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("top_k", "length"), [(1, 1), (np.int64(3), 3), (100, len(TUNES))])
def test_the_ranking_is_as_long_as_asked_for(recognizer, top_k, length):
    result = recognizer.recognize_melody(hummed_melody("aura-lee"), top_k=top_k)
    assert len(result.matches) == length
    assert ids(result)[0] == "aura-lee"
    assert result.advice == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"genres": ["Jazz"]}, "unknown genre 'Jazz'; choose from: Folk, "),
        ({"gender": "robot"}, "unknown gender 'robot'; choose one of any, female, male, mixed"),
        *(({"top_k": top_k}, "top_k must be a whole number from 1 to 100, got")
          for top_k in (0, -1, 10**9, 101, True, "5", 2.0, None)),
    ],
)  # fmt: skip
def test_options_are_checked_before_the_recording_is_read(recognizer, options, words):
    with pytest.raises(QueryError, match=words):
        recognizer.recognize("there is no such file", **options)


def test_a_genre_may_be_given_as_one_word(recognizer):
    melody = hummed_melody("arirang", singer=FEMALE)
    result = recognizer.recognize_melody(melody, genres="Korean traditional")
    assert set(ids(result)) == {"arirang", "doraji-taryeong"}
    assert ids(result)[0] == "arirang"
    assert result.n_searched == 2
    for genres in (None, [], ()):  # no filter
        assert recognizer.recognize_melody(melody, genres=genres, gender="any").n_searched == len(TUNES)


def test_songs_of_unknown_gender_are_kept_and_counted(recognizer):
    melody = hummed_melody(TUNES[1], singer=FEMALE, duration_s=10.0)
    female = recognizer.recognize_melody(melody, gender="female")
    assert (female.n_searched, female.n_unknown) == (30, 15)
    male = recognizer.recognize_melody(melody, gender="male")
    assert (male.n_searched, male.n_unknown) == (15, 15)
    assert ids(male)[0] == TUNES[1]
    known = recognizer.recognize_melody(melody, gender="female", only_known=True)
    assert (known.n_searched, known.n_unknown) == (15, 0)


def test_the_right_song_is_offered_from_outside_the_filter(recognizer, monkeypatch):
    melody = hummed_melody("blue-danube", duration_s=12.0)
    assert recognizer.recognize_melody(melody).matches[0].probability > 0.9
    embedded = Mock(wraps=ranking.embed_hum)
    monkeypatch.setattr(ranking, "embed_hum", embedded)
    result = recognizer.recognize_melody(melody, genres=["Hymn", "Children"])
    hums = [(call.args[0].offset_s, call.args[0].duration_s) for call in embedded.call_args_list]
    assert len(hums) == len(set(hums)) > 0  # once, although it is searched inside and outside the filter
    assert "blue-danube" not in ids(result)
    assert result.elsewhere is not None
    assert (result.elsewhere.id, result.elsewhere.rank) == ("blue-danube", 1)
    assert result.elsewhere.probability > 0.9
    assert set(json.loads(json.dumps(result.to_dict(), allow_nan=False))["elsewhere"]) == MATCH_KEYS
    assert recognizer.recognize_melody(melody, genres=["Classical"]).elsewhere is None
    nothing = recognizer.recognize_melody(melody, gender="male", only_known=True)
    assert (nothing.matches, nothing.no_match, nothing.n_searched) == ((), True, 0)
    assert nothing.elsewhere.id == "blue-danube"


# Large catalogs -----------------------------------------------------------------------------------------

BUDGET_S = 500.0
"""Half of the thirty tunes."""


@pytest.fixture(scope="module")
def knowing(catalog) -> Recognizer:
    """Return a recogniser whose embeddings mean something, trained or not."""
    encoder = IntervalEncoder()
    return Recognizer(Catalog.build(catalog.songs, catalog.melodies, encoder), encoder, n_threads=2)


@pytest.fixture
def is_large(knowing, monkeypatch) -> None:
    """Make thirty tunes too many to be aligned everywhere, and the neighbours asked for few of all windows."""
    monkeypatch.setattr(search_module, "COARSE_BUDGET_S", BUDGET_S)
    monkeypatch.setattr(votes_module, "N_NEIGHBOURS", 20)
    assert sum(melody.duration_s for melody in knowing.catalog.melodies) > 1.5 * BUDGET_S


@pytest.fixture(scope="module")
def found_everywhere(knowing) -> dict[str, Match]:
    """Return the best matches of hums of some tunes, aligned with everything."""
    return {tune: knowing.recognize_melody(hummed_melody(tune, duration_s=10.0)).matches[0] for tune in TUNES[::4]}


@pytest.mark.parametrize("tune", TUNES[::4])
def test_in_a_large_catalog_the_votes_say_where_to_look(knowing, found_everywhere, is_large, tune):
    near = knowing.recognize_melody(hummed_melody(tune, duration_s=10.0)).matches[0]
    everywhere = found_everywhere[tune]
    assert near.id == everywhere.id == tune
    assert near.score == pytest.approx(everywhere.score, abs=1e-5)
    assert near.alignment.start_s == everywhere.alignment.start_s


@pytest.mark.parametrize("duration_s", [1.0, 1.04, 2.0, 30.0, 59.0])
def test_in_a_large_catalog_hums_of_any_length_are_answered(knowing, is_large, duration_s):
    tune = fill_rests(knowing.catalog.melody("greensleeves")).pitch_midi
    result = knowing.recognize_melody(Melody(np.resize(tune, round(FRAME_RATE_HZ * duration_s))))
    assert result.matches
    assert all(np.isfinite(match.score) for match in result.matches)
    assert all(np.isfinite(match.alignment.song_time_s).all() for match in result.matches)


def test_another_index_may_be_asked(knowing, is_large):
    asked = []

    class Counting(ExactIndex):
        def nearest(self, *arguments):
            asked.append("nearest")
            return super().nearest(*arguments)

        def windows_of(self, ranges):
            asked.append("windows_of")
            return super().windows_of(ranges)

    index = Counting.of(knowing.catalog.embeddings, knowing.catalog.n_windows, 1)
    other = Recognizer(knowing.catalog, IntervalEncoder(), index=index)
    assert ids(other.recognize_melody(hummed_melody("aloha-oe")))[0] == "aloha-oe"
    assert asked == ["nearest", "windows_of"]


# Where it comes from ------------------------------------------------------------------------------------


def test_a_folder_with_its_own_model_is_used_with_it(catalog, tmp_path):
    Catalog.build(catalog.songs[:8], catalog.melodies[:8], tiny_encoder(seed=9)).save(tmp_path / "mine")
    with pytest.raises(CatalogError, match="was made with encoder"):
        Recognizer.from_pretrained(tmp_path / "mine")
    tiny_encoder(seed=9).save(tmp_path / "mine")
    recognizer = Recognizer.from_pretrained(tmp_path / "mine")
    assert recognizer.notices == ()
    assert ids(recognizer.recognize_melody(hummed_melody(TUNES[5], duration_s=10.0)))[0] == TUNES[5]


def test_bare_melodies_are_a_catalog(catalog):
    told = []
    recognizer = Recognizer.from_melodies(
        {tune: catalog.melody(tune) for tune in TUNES[:4]}, progress=lambda *step: told.append(step)
    )
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert ids(recognizer.recognize_melody(hummed_melody(TUNES[2], duration_s=10.0)))[0] == TUNES[2]


# Answers ------------------------------------------------------------------------------------------------


def without_time(result: SearchResult) -> dict:
    return {**result.to_dict(), "seconds": None}


def test_answers_are_plain_json(catalog):
    recognizer = Recognizer(catalog, notices=("the bundled catalog is in use",))
    samples = 8.0 * hum("dark-eyes", singer=FEMALE, duration_s=3.0)[1]
    result = recognizer.recognize((SAMPLE_RATE_HZ, samples), genres=["Hymn"])
    answer = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert set(answer) == RESULT_KEYS
    assert set(answer["hum"]) == {"duration_s", "voiced_s"}
    assert answer["notices"] == ["the bundled catalog is in use"]
    assert {advice["code"] for advice in answer["advice"]} >= {"too_short"}
    for advice in answer["advice"]:
        assert set(advice) == {"code", "message", "value"}
    assert len(answer["matches"]) == answer["n_searched"] == catalog.genre_counts()["Hymn"]
    best = answer["matches"][0]
    for match in answer["matches"]:
        assert set(match) == MATCH_KEYS
        assert match["title"] == catalog.song(match["id"]).title
        assert 0.0 <= match["start_s"] <= match["end_s"] <= catalog.melody(match["id"]).duration_s + 0.1
    assert (best["rank"], best["probability"]) == (1, round(result.matches[0].probability, 4))


def test_eight_threads_get_the_answers_of_one(recognizer):
    hums = [hum(tune, number, SINGERS[number % 3], duration_s=6.0) for number, tune in enumerate(TUNES[:8])]
    serial = [without_time(recognizer.recognize(each)) for each in hums]
    with ThreadPoolExecutor(8) as pool:
        concurrent = list(pool.map(lambda each: without_time(recognizer.recognize(each)), hums * 2))
    assert concurrent == serial * 2
    assert len({answer["matches"][0]["id"] for answer in serial}) >= 7


def test_neither_a_search_nor_warming_up_changes_anything(catalog, recognizer):
    fresh = Recognizer(catalog)
    fresh.warm_up()
    rate_hz, samples = hum("bingo")
    given = samples.copy()
    assert without_time(fresh.recognize((rate_hz, samples))) == without_time(recognizer.recognize((rate_hz, samples)))
    np.testing.assert_array_equal(samples, given)
