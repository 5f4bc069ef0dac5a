"""The page's words, cards, plot and sound, without a browser."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
import pytest
from matches import HOSTILE, SONG, hum, make_match, make_result

from hmm2song.errors import AudioError
from hmm2song.match.results import Advice
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.page import drawing, search, texts
from hmm2song.page import results as cards
from hmm2song.page import tone as playback
from hmm2song.page.preview import Preview
from hmm2song.song import Song

SOUND = Preview(Path("/tmp/match-1.mp3"), match_s=3.0, from_s=7.0)
LANGUAGES = pytest.mark.parametrize("language", texts.LANGUAGES)


class Tags(HTMLParser):
    """Collect the elements and the text a browser would see."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[dict] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def placeholders(template: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(template) if name}


@LANGUAGES
def test_every_language_is_a_whole_file(language: str) -> None:
    english, own = texts.load_texts()["en"], texts.load_texts()[language]
    assert set(own) == set(english) and set(own["genres"]) == set(english["genres"])
    assert not {key for key in english if placeholders(str(english[key])) != placeholders(str(own[key]))}
    same = {key for key in english if own[key] == english[key]}
    assert language == "en" or same <= {"sure"}  # nothing was left in English


def test_english_korean_japanese_and_spanish_are_spoken() -> None:
    assert list(texts.LANGUAGES.items()) == [("en", "English"), ("es", "Español"), ("ja", "日本語"), ("ko", "한국어")]
    script = {"ko": "[가-힣]", "ja": "[ぁ-んァ-ヶ一-龠]"}
    for language, letters in script.items():
        words = texts.load_texts()[language]
        assert {key for key, text in words.items() if not re.search(letters, str(text))} <= {"sure", "and"}


@LANGUAGES
def test_a_guess_is_marked_as_one_and_gives_way_to_what_is_stated(language: str) -> None:
    song = Song("s", "t", gender="female", guessed="gender: male (0.97, v); genre: Polka (0.91, t)")
    genre, singer = texts.label_words(song, language)
    assert "Polka" in genre and "91" in genre and genre != "Polka"
    assert singer == texts.text(language, "singer_female")
    assert texts.label_words(Song("s", "t"), language) == ("", "")


def test_genres_and_errors_are_translated() -> None:
    assert texts.genre_words("Hymn, Polka", "ja") == "賛美歌, Polka"  # a genre of one's own catalog keeps its name
    error = AudioError("'x.wav' is empty")
    assert texts.error_words(error, "en") == str(error)
    assert texts.error_words(error, "es").startswith("Esta grabación") and str(error) in texts.error_words(error, "es")


@pytest.mark.parametrize(
    ("artist", "author", "words"),
    [
        ("Elvis Presley", "Ray Evans", ("made known by Elvis Presley", "by Ray Evans", "written 1878")),
        ("Kim", "Traditional", ("made known by Kim", "Traditional", "1878")),
        ("Ray Evans", "Ray Evans", ("Ray Evans", "1878")),
        ("Elvis Presley", "", ("Elvis Presley", "1878")),  # a recording: the year is its own
    ],
)
def test_who_wrote_and_who_made_known(artist: str, author: str, words: tuple[str, ...]) -> None:
    assert texts.credit_words(artist, author, "1878", "en") == words


@LANGUAGES
def test_the_scripts_find_their_words(language: str) -> None:
    for script, names in (("recorder", search.LIVE_WORDS), ("answer", search.ANSWER_WORDS)):
        source = Path(search.__file__).with_name(f"{script}.js").read_text(encoding="utf-8")
        used = set(re.findall(r"(?:props\.words|words\(\))\.(\w+)", source))
        assert used and used <= set(names) <= set(texts.load_texts()[language])
    assert {f"history_{name}" for name in search.HISTORY_WORDS} <= set(texts.load_texts()[language])


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("ko-KR,ko;q=0.9,en-US;q=0.8", "ko"),
        ("en-US,en;q=0.9,ko;q=0.8", "en"),
        ("fr-FR, ko;q=0.5, en;q=0.4", "ko"),
        ("ko;q=0, en;q=0.1", "en"),
        ("de", "en"),
        ("ko;q=much", "en"),
        ("", "en"),
        (None, "en"),
    ],
)
def test_the_visitors_language_is_chosen(header: str | None, language: str) -> None:
    assert texts.preferred_language(header) == language


@pytest.mark.parametrize(
    ("key_shift_st", "words"),
    [
        (0.4, "in the same key as the catalog"),
        (1.2, "1 semitone higher than the catalog"),
        (-2.6, "3 semitones lower than the catalog"),
        (12.1, "1 octave higher than the catalog"),
        (-14, "1 octave and 2 semitones lower than the catalog"),
        (24.6, "2 octaves and 1 semitone higher than the catalog"),
    ],
)
def test_the_key_shift_in_words(key_shift_st: float, words: str) -> None:
    assert texts.key_words(key_shift_st, "en") == words


@pytest.mark.parametrize(("ratio", "words"), [(1.01, "at the same speed"), (1.2, "20% faster"), (0.75, "25% slower")])
def test_the_tempo_in_words(ratio: float, words: str) -> None:
    assert texts.tempo_words(ratio, "en") == words


@LANGUAGES
def test_advice_names_the_measured_value(language: str) -> None:
    words = texts.advice_words(Advice("too_short", "library's sentence", 2.14), language)
    assert "2.1" in words
    assert texts.advice_words(Advice("of_tomorrow", "library's sentence", 1.0), language) == "library's sentence"


@LANGUAGES
def test_what_was_searched_is_said(language: str) -> None:
    words = texts.searched_words(make_result(make_match(), n_searched=1234, n_unknown=56), language)
    assert "1,234" in words and "56" in words
    assert "56" not in texts.searched_words(make_result(make_match(), n_searched=1234), language)


@LANGUAGES
def test_joined_hums_are_counted(language: str) -> None:
    result, two = make_result(make_match()), texts.text(language, "joined", n=2)
    joined = replace(result, earlier=(hum(),))
    assert two in cards.found_html(joined, language)
    assert two in cards.found_html(replace(joined, matches=(make_match(probability=0.01),)), language)
    assert two not in cards.found_html(result, language)
    assert two not in cards.found_html(replace(joined, matches=(), no_match=True), language)  # nothing was searched


@LANGUAGES
def test_nothing_from_a_catalog_becomes_html(language: str) -> None:
    hostile = make_match(
        title=HOSTILE, title_ko=HOSTILE + "2", artist=HOSTILE, genre=HOSTILE, year=HOSTILE, lyric=HOSTILE
    )
    result = make_result(hostile, elsewhere=hostile, advice=(Advice("x", HOSTILE, 1.0),), notices=(HOSTILE,))
    song = Song(HOSTILE, HOSTILE, singer=HOSTILE, author=HOSTILE, genre=HOSTILE, year=HOSTILE, lyric=HOSTILE)
    pages = [
        cards.winner_html(result, 0, SOUND, language),
        cards.song_html(song, SONG, SOUND, language),
        cards.header_html(HOSTILE, language),
        cards.ranking_html(replace(result, matches=(hostile, hostile)), language),
        cards.verdict_html(result, language),
        cards.found_html(result, language),
        cards.verdict_html(replace(result, matches=(replace(hostile, probability=0.01),)), language),
        cards.error_html(HOSTILE, language),
        cards.songs_html([song], HOSTILE, language, is_cut=True),
        cards.songs_html([], HOSTILE, language, is_cut=False),
    ]
    for page in pages:
        seen = Tags(page)
        assert "script" not in seen.tags
        assert not any("onload" in attributes for attributes in seen.attributes)
        assert HOSTILE in seen.text


def test_links_search_for_the_song_and_are_encoded() -> None:
    match = make_match(title="Rock & Roll: 100%?", title_ko="", artist="A/B #1")
    links = cards.search_links(match)
    assert set(links) == {"YouTube", "Spotify", "Apple Music", "Melon"}
    for address in links.values():
        assert urlsplit(address).scheme == "https"
        assert not urlsplit(address).fragment
    assert parse_qs(urlsplit(links["YouTube"]).query) == {"search_query": ["Rock & Roll: 100%? A/B #1"]}
    assert unquote(urlsplit(links["Spotify"]).path) == "/search/Rock & Roll: 100%? A/B #1"
    assert parse_qs(urlsplit(cards.search_links(make_match())["Melon"]).query) == {"q": ["아리랑 Trad. & Co"]}


def test_the_winner_says_everything_about_its_match() -> None:
    page = cards.winner_html(make_result(make_match(lyric="la\nla"), make_match(rank=2)), 0, SOUND, "en")
    seen = Tags(page)
    for words in ("Found", "Arirang", "아리랑", "Trad. & Co", "Folk", "female singer", "1926", "93%", "at 0:10–0:17"):
        assert words in seen.text
    assert "1 octave and 2 semitones lower" in seen.text and "100% faster" in seen.text
    assert seen.tags.count("details") == 2  # the details, and in them the lyrics
    assert Tags(cards.winner_html(make_result(make_match()), 0, SOUND, "en")).tags.count("details") == 1
    (audio,) = [a for tag, a in zip(seen.tags, seen.attributes, strict=True) if tag == "audio"]
    assert (audio["src"], audio["data-at"], audio["data-from"]) == ("gradio_api/file=/tmp/match-1.mp3", "3.00", "7.00")


def test_numbers_beside_a_name_written_from_right_to_left_stay_in_order() -> None:
    for artist, shown in (("فيروز", "\u2068فيروز\u2069"), ("Feyrouz", "Feyrouz")):
        page = cards.winner_html(make_result(make_match(artist=artist, author="", year="1970")), 0, SOUND, "ja")
        assert f">{shown} · 1970<" in page


def test_the_other_candidates_are_folded_below() -> None:
    result = make_result(make_match(), make_match(rank=2, id="s2"), make_match(rank=3, id="s3"))
    seen = Tags(cards.ranking_html(result, "en"))
    assert "Also possible (2)" in seen.text
    assert [a["data-index"] for a in seen.attributes if a.get("class") == "card"] == ["1", "2"]
    assert not any("open" in a for a in seen.attributes)


def test_the_plot_lies_in_the_songs_time_and_has_its_notes() -> None:
    page = drawing.match_plot(make_match(), hum(), "in words")
    seen = Tags(page)
    (plot,) = [a for a in seen.attributes if a.get("class") == "plot"]
    assert plot["aria-label"] == "in words"
    first_s, length_s = map(float, plot["data-span"].split())
    (song, line) = [a["d"] for tag, a in zip(seen.tags, seen.attributes, strict=True) if tag == "path"]
    times_s = [float(point.split()[0]) for point in re.split("[ML]", line)[1:]]
    assert first_s < min(times_s) == pytest.approx(10.0, abs=0.1) and max(times_s) < first_s + length_s
    pitches = {float(point.split()[1]) for point in re.split("[ML]", song)[1:]}
    assert pitches == {-60.0, -62.0, -64.0, -66.0}
    assert "C♯4" in seen.text and "0:10" in seen.text


def test_the_title_in_the_readers_language_comes_first() -> None:
    assert texts.full_title(make_match(), "en") == "Arirang (아리랑)"
    assert texts.full_title(make_match(), "ko") == "아리랑 (Arirang)"
    assert texts.full_title(make_match(title_ko=""), "ko") == "Arirang"
    assert texts.full_title(make_match(title_ko="Arirang"), "en") == "Arirang"
    assert texts.full_title(make_match(title="", title_ko=""), "en") == "s1"


@LANGUAGES
def test_versions_of_one_melody_are_told_apart_from_other_songs(language: str) -> None:
    tunes = ("ode", "", "ode", "")
    matches = [make_match(rank=rank, id=f"s{rank}", tune=tune) for rank, tune in enumerate(tunes, start=1)]
    pages = [cards.winner_html(make_result(*matches), index, SOUND, language) for index in range(4)]
    said = [texts.text(language, "same_tune", rank=1) in page for page in pages]
    assert said == [False, False, True, False]
    assert not any(texts.text(language, "same_tune", rank=2) in page for page in pages)


def test_nothing_is_certain_or_impossible() -> None:
    for probability, shown in ((0.9999, "99%"), (0.5, "50%"), (0.001, "<1%")):
        assert shown in Tags(cards.winner_html(make_result(make_match(probability=probability)), 0, SOUND, "en")).text


def test_no_match_is_admitted_and_leads_on() -> None:
    result = make_result(make_match(probability=0.02), no_match=True, advice=(Advice("too_quiet", "", -52.0),))
    verdict = cards.verdict_html(result, "en")
    assert "No convincing match" in verdict and "-52 dB" in verdict
    assert 'data-act="catalog"' in verdict and "hmm2song index" in verdict
    guesses = Tags(cards.ranking_html(result, "en"))
    assert "Best guesses" in guesses.text and [a["data-index"] for a in guesses.attributes if "data-index" in a] == [
        "0"
    ]
    assert any("open" in a for a in guesses.attributes)
    assert "clearer" in cards.verdict_html(make_result(make_match()), "en", is_alone=True)


@pytest.mark.parametrize(("probability", "state"), [(0.9, "Found"), (0.3, "Perhaps"), (0.01, "Only a guess")])
def test_the_words_of_the_winner_fit_its_number(probability: float, state: str) -> None:
    page = Tags(cards.winner_html(make_result(make_match(probability=probability), make_match(rank=2)), 0, SOUND, "en"))
    assert state in page.text and f"{probability:.0%}" in page.text
    assert any("data-heard" in a for a in page.attributes) == (probability > 0.1)  # what is kept in the history


@LANGUAGES
def test_the_headline_has_three_levels(language: str) -> None:
    shown = [cards.found_html(make_result(make_match(probability=p)), language) for p in (0.9, 0.3, 0.01)]
    assert len({re.sub(r"\d+%", "", words) for words in shown}) == 3
    assert ["Arirang" in words for words in shown] == [True, True, False]
    assert ["90%" in shown[0], "30%" in shown[1]] == [True, True]


def test_an_empty_search_says_that_the_filter_left_nothing_and_offers_the_match_elsewhere() -> None:
    result = make_result(no_match=True, n_searched=0, elsewhere=make_match())
    verdict = cards.verdict_html(result, "en")
    assert "Nothing left to search" in verdict and "Arirang (아리랑) (93%)" in verdict
    assert "No song passes the filter." in cards.ranking_html(result, "en")
    assert "<details" not in cards.ranking_html(result, "en")


def test_a_hum_without_pitch_is_described() -> None:
    silent = Melody(np.full(100, np.nan))
    assert "no pitch" in texts.overlay_words(make_match(), silent, "en")


@LANGUAGES
def test_the_plot_is_described_in_words(language: str) -> None:
    words = texts.overlay_words(make_match(), Melody(hum().pitch_midi + 0.5), language)
    for part in ("Arirang", "0:10", "0:17", "0.5"):
        assert part in words


def spectrum_peak_hz(tone: np.ndarray) -> float:
    magnitude = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    return float(np.argmax(magnitude) * playback.SAMPLE_RATE_HZ / len(tone))


def test_the_tone_has_the_melodys_pitch_and_pauses() -> None:
    song = melody_from_notes([(0.0, 1.0, 69), (2.0, 1.0, 57)])
    tone = playback.melody_tone(song, 0.0, 3.0)
    rate = playback.SAMPLE_RATE_HZ
    assert tone.dtype == np.int16 and len(tone) == 3 * rate
    assert spectrum_peak_hz(tone[rate // 10 : rate * 9 // 10]) == pytest.approx(440, abs=2)
    assert spectrum_peak_hz(tone[rate * 21 // 10 : rate * 29 // 10]) == pytest.approx(220, abs=2)
    assert np.abs(tone[rate * 11 // 10 : rate * 19 // 10]).max() == 0
    assert abs(int(tone[0])) < 50 and abs(int(tone[-1])) < 50  # no click
    assert np.abs(tone.astype(int)).max() == pytest.approx(playback.PEAK * 32767, abs=2)


@pytest.mark.parametrize(("start_s", "end_s"), [(-5.0, 0.5), (29.5, 99.0), (200.0, 201.0), (3.0, 3.0)])
def test_the_tone_is_clipped_to_the_song(start_s: float, end_s: float) -> None:
    tone = playback.melody_tone(SONG, start_s, end_s)
    assert 1 <= len(tone) <= 0.5 * playback.SAMPLE_RATE_HZ
