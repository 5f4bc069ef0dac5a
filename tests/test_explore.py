"""The Explore tab without a browser: what it offers, what it shows, and every question that has no answer."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import gradio as gr
import numpy as np
import pytest
import soundfile
from encoders import tiny_encoder
from heard import made_facets, save_heard, studio
from humming import tune
from matches import HOSTILE
from serving import ROOT
from test_page import LANGUAGES, Tags

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.facets import Facets
from hmm2song.errors import QueryError
from hmm2song.melody.melody import melody_from_notes
from hmm2song.page import explorer
from hmm2song.page.explore import Explore, Query
from hmm2song.page.explorer import FREE, OWN, facets_of, years_of
from hmm2song.page.search import Page
from hmm2song.page.texts import cluster_words, heard_words, text, why_words
from hmm2song.similar.map import Cluster
from hmm2song.similar.reasons import TUNE_WORDS
from hmm2song.similar.results import Reason
from hmm2song.song import Song

N_SONGS = 12
TIMEOUT_S = 180
SONGS = tuple(
    Song(
        f"s{number}",
        HOSTILE if number == 1 else f"Song {number}",
        singer=f"Singer {number}",
        genre=("Folk", "Ballad", "")[number % 3],
        gender=("female", "male", "")[number % 3],
        year=str(1950 + number),
    )
    for number in range(N_SONGS)
)


def catalog_of(facets: Facets | None = None, n_songs: int = N_SONGS) -> Catalog:
    melodies = [melody_from_notes(tune(number)) for number in range(n_songs)]
    return replace(Catalog.build(SONGS[:n_songs], melodies, tiny_encoder()), facets=facets)


def explore_of(catalog: Catalog) -> Explore:
    with gr.Blocks() as blocks:
        return Page(Mock(catalog=catalog), blocks).explore


@pytest.fixture(scope="module")
def heard() -> Explore:
    """The tab over songs with recordings and melodies."""
    return explore_of(catalog_of(made_facets(N_SONGS)))


@pytest.fixture(scope="module")
def notes() -> Explore:
    """The tab over songs with melodies alone."""
    return explore_of(catalog_of())


def controls(explore: Explore, **changed: object) -> list:
    """Return the values of the controls as the page opens, some of them changed."""
    first = {
        explore.view: "songs", explore.preset: "all", explore.genres: [], explore.gender: "any",
        explore.first_year: "", explore.last_year: "", explore.only_known: False, explore.guessed: True,
        explore.once: True, explore.at_s: 0, explore.n_steps: 4, explore.colour: "cluster", explore.place: "melody",
        explore.language: "en", **dict.fromkeys(explore.weights.values(), 0.0),
    }  # fmt: skip
    first |= {getattr(explore, name): value for name, value in changed.items()}
    return [first[control] for control in explore.controls]


def shown(explore: Explore, query: Query, **changed: object) -> str:
    """Return what is shown, or the words of the error."""
    answer = explore.show(query, *controls(explore, **changed))
    return answer[explore.shown].value or answer[explore.status]


@LANGUAGES
@pytest.mark.parametrize("view", ["songs", "moments", "path", "map"])
def test_every_view_is_whole_html_in_every_language(heard: Explore, view: str, language: str) -> None:
    query = Query(song_id="s0", goal_id="s4")
    html = shown(heard, query, view=view, language=language)
    tags = Tags(html)
    assert "article" in tags.tags and "script" not in tags.tags and 'role="alert"' not in html
    buttons = [each for each in tags.attributes if "data-like" in each]
    assert buttons and {each["data-like"] for each in buttons} <= {song.id for song in SONGS} | {""}


def test_songs_are_listed_with_reasons_and_played(heard: Explore) -> None:
    html = shown(heard, Query(song_id="s0"), preset="style")
    assert "closer in style than" in html and 'data-hear="s' in html and 'data-like="s0"' not in html
    sound = heard.play(Query(song_id="s0"), SimpleNamespace(id="s3", at=0.0)).props["sound"]
    assert sound["src"].startswith("gradio_api/file=") and sound["at"] >= 0
    assert "props" not in heard.play(Query(FREE), SimpleNamespace(id="s3", at=0.0))


@LANGUAGES
def test_every_reason_has_its_words(language: str) -> None:
    codes = (*TUNE_WORDS, "closest", "closer", "tempo", "same_tempo")
    words = [why_words([Reason(code, "feel", 99.25)], language) for code in codes]
    assert all(words) and len(set(words)) == len(codes)
    assert "99.2" in words[codes.index("closer")]


@LANGUAGES
def test_what_is_missing_and_heard_is_said_in_the_readers_language(heard: Explore, language: str) -> None:
    facets = made_facets(N_SONGS)
    facets.voice[4] = 0
    explore, words = explore_of(catalog_of(facets)), text(language, "facet_voice")
    lacking = text(language, "lacking", facets=words)
    query = Query(song_id="s0", goal_id="s4")
    for view in ("path", "songs"):
        assert (lacking in shown(explore, query, view=view, language=language)) == (view == "path")
    drawn = shown(explore, query, view="map", place="voice", language=language)
    assert text(language, "map_missing", n=N_SONGS - int(facets.voice.any(axis=1).sum()), facet=words) in drawn
    assert heard_words("speech: in 80 %", language) == text(language, "heard_speech")
    assert heard_words("odd: a sound", language) == "odd: a sound"
    names = [cluster_words(Cluster(1, name, 3, "s0"), language) for name in ("happy, House", "cluster 2")]
    assert language == "en" or not set(names) & {"happy, House", "cluster 2"}


def test_weights_and_filters_are_obeyed(heard: Explore) -> None:
    query = Query(song_id="s0")
    by_melody = shown(heard, query, preset="tune")
    weights = {slider: float(name == "melody") for name, slider in heard.weights.items()}
    values = controls(heard, preset=None)
    for slider, weight in weights.items():
        values[heard.controls.index(slider)] = weight
    assert heard.show(query, *values)[heard.shown].value == by_melody
    assert heard.weigh("tune") == weights
    folk = Tags(shown(heard, query, preset="tune", genres=["Ballad"], only_known=True, first_year="1955")).text
    assert "Song 7" in folk and "Song 4" not in folk and "Song 3" not in folk


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"preset": None}, "all weights are zero"),
        ({"first_year": "1999", "last_year": "1900"}, "a first and a last"),
        ({"gender": "tenor"}, "tenor"),
        ({"first_year": "long ago"}, "whole numbers"),
        ({"first_year": "2100"}, "No other song passes"),
    ],
)
def test_an_impossible_wish_is_explained(heard: Explore, changed: dict, words: str) -> None:
    assert words in shown(heard, Query(song_id="s0"), **changed)


def test_a_fault_is_for_the_log(heard: Explore, caplog, monkeypatch) -> None:
    monkeypatch.setattr(heard.explorer, "songs", Mock(side_effect=RuntimeError("no memory")))
    words = shown(heard, Query(song_id="s0"))
    assert "fault in this program" in words and "memory" not in words and len(caplog.records) == 1


def test_notes_are_compared_by_melody_and_the_tab_says_why(notes: Explore, heard: Explore, tmp_path: Path) -> None:
    offered = notes.offer(OWN, "en")
    assert "holds notes, not recordings" in offered[notes.missing]["value"] and not offered[notes.drop]["visible"]
    assert [name for _, name in offered[notes.preset]["choices"]] == ["tune"]
    assert "article" in shown(notes, Query(song_id="s0"))
    assert "nobody has listened" in shown(notes, Query(song_id="s0"), preset="voice")
    names = [name for _, name in heard.offer(OWN, "ko")[heard.preset]["choices"]]
    assert names == ["all", "voice", "style", "feel", "tune"] and not heard.offer(OWN, "ko")[heard.missing]["visible"]
    told = notes.hear(str(tmp_path / "any.wav"), Query(), "en")[notes.status]
    assert "only be compared with recordings" in told


def test_a_recording_is_explored_and_a_silent_one_is_not(heard: Explore, tmp_path: Path, monkeypatch) -> None:
    silence = tmp_path / "silence.wav"
    soundfile.write(silence, np.zeros(3 * SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    assert "silence.wav" in heard.hear(str(silence), Query(), "en")[heard.status]
    assert "nothing.wav" in heard.hear(str(tmp_path / "nothing.wav"), Query(), "en")[heard.status]
    row = heard.explorer.songs().heard("s3")
    monkeypatch.setattr(
        heard.explorer, "hear", lambda path, collection: SimpleNamespace(facets=row, warnings=("short: 2 s",))
    )
    chosen = heard.hear(str(silence), Query(), "en")
    assert "silence" in chosen[heard.about] and chosen[heard.recording] is None
    html = shown(heard, chosen[heard.query], preset="style")
    assert Tags(html).text.partition("Song 3")[0] == text("en", "heard_short")  # itself comes first
    assert not heard.hear(None, Query(), "en")[heard.status]


def test_whoever_comes_from_a_hum_finds_the_tab_open(heard: Explore) -> None:
    led = heard.lead("en", SimpleNamespace(id="s1"))
    assert led[heard._tabs].selected == "explore" and led[heard.query].song_id == "s1"
    assert "&lt;script&gt;" in led[heard.about]
    assert led[heard.alike]["visible"] and not led[heard.drawn]["visible"]
    aimed = heard.aim(led[heard.query], "en", SimpleNamespace(id="s2"))
    assert aimed[heard.query].goal_id == "s2" and aimed[heard.view] == "path"


def test_songs_are_found_by_words(heard: Explore) -> None:
    assert heard.look_up(" ", Query(), "en") == ""
    assert heard.look_up("singer 11", Query(), "en").count("<article") == 1
    assert "data-goal" in heard.look_up("singer 11", Query(song_id="s0"), "en")
    assert "matches" in heard.look_up("<b>", Query(), "en") and "<b>" not in heard.look_up("<b>", Query(), "en")


def test_free_recordings_can_be_chosen_where_they_are(tmp_path: Path, monkeypatch) -> None:
    songs, facets = studio(20)
    save_heard(tuple(replace(song, licence="CC0") for song in songs), facets, tmp_path)
    monkeypatch.setattr(explorer, "FREE_CATALOG", tmp_path)
    explore = explore_of(catalog_of())
    assert explore.collection.visible and list(explore.explorer.sizes.values()) == [N_SONGS, 20]
    changed = explore.change(FREE, "en")
    assert "melodies of these recordings" in changed[explore.missing]["value"]
    assert "Choose a song" in shown(explore, changed[explore.query])
    html = shown(explore, Query(FREE, song_id="s03"))
    assert "CC0" in html and "data-hear" not in html  # vectors only: nothing to play
    assert "article" in shown(explore, Query(FREE), view="map", place="style")
    assert explore.look_up("title 19", Query(FREE), "en").count("<article") == 1


def test_nothing_that_compares_or_listens_is_loaded_before_the_tab_is_opened() -> None:
    names = ("hmm2song.similar.songs", "hmm2song.hearing.recording", "librosa", "scipy.signal")
    command = f"import sys, hmm2song.page.search; print([name for name in {names} if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert told.stdout == "[]\n"
    asked = explore_of(catalog_of()).explorer
    assert not asked._made
    asked.prepare().join(TIMEOUT_S)
    assert asked.prepare() is None and asked._maps[OWN, "melody"] is asked.map()
    assert asked.songs() is asked.songs(OWN)
    with pytest.raises(QueryError, match="unknown catalog 'pop'"):
        asked.songs("pop")


def test_words_of_programs_are_read() -> None:
    assert facets_of(None) is None and facets_of(" voice ") == "voice"
    assert facets_of("voice=1, style=0.5") == {"voice": 1.0, "style": 0.5}
    with pytest.raises(QueryError, match="voice=much"):
        facets_of("voice=much")
    assert years_of(None, None) is None and years_of(1960, None) == (1960, 9999) and years_of(None, 0) == (0, 0)
