"""Songs like a song: by singer, style, feel and melody, as made up here, and every question that has no answer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from heard import N_MOMENTS, N_SINGERS, N_SONGS, save_heard, studio

from hmm2song.__main__ import main
from hmm2song.catalog.facets import Facets
from hmm2song.embeddings.style import TAGS
from hmm2song.errors import AudioError, CatalogError, Hmm2SongError, QueryError, UnknownSongError
from hmm2song.hearing.recording import HeardRecording
from hmm2song.similar.choice import artist_key
from hmm2song.similar.comparison import Comparison
from hmm2song.similar.neighbours import FacetSpace, sampling_order
from hmm2song.similar.songs import SimilarSongs


@pytest.fixture(scope="module")
def songs() -> SimilarSongs:
    return SimilarSongs(*studio())


def without_seconds(answer: dict) -> str:
    return json.dumps({name: value for name, value in answer.items() if name != "seconds"})


def numbers(result) -> list[int]:
    return [int(found.song.id[1:]) for found in result.songs]


@pytest.mark.parametrize(("preset", "kinds"), [("voice", N_SINGERS), ("style", 6), ("feel", 4)])
def test_a_preset_lists_songs_alike_in_one_facet(songs, preset, kinds):
    for query in (0, 17, 47):
        found = numbers(songs.like(f"s{query:02}", preset, top_k=5, per_artist=0))
        assert len(found) == 5 and query not in found
        assert {number % kinds for number in found} == {query % kinds}


def test_weights_join_facets(songs):
    both = songs.like("s00", {"voice": 1, "style": 3}, top_k=1, per_artist=0)
    assert numbers(both) == [24] and both.facets == {"voice": 0.25, "style": 0.75}  # of one singer and one style
    assert numbers(songs.like("s00", {"style": 2.5, "voice": 0}, per_artist=0)) == numbers(
        songs.like("s00", "style", per_artist=0)
    )


def test_results_say_why_in_percent_and_words(songs):
    first, *others = songs.like("s00", {"voice": 1, "feel": 1}, top_k=40, per_artist=0).songs
    assert first.closer_than["overall"] == 100.0 and "the closest of all in" in first.why
    assert first.why.endswith("also 60 bpm")  # singer and tempo are the query's
    assert any(found.why.endswith(", 65 bpm") for found in others)
    percents = [found.closer_than["overall"] for found in others]
    assert percents == sorted(percents, reverse=True) and 0 <= percents[-1] < 30
    singers = songs.like("s00", "voice", top_k=2, per_artist=0).songs
    assert singers[1].closer_than["voice"] == 97.8  # of 46 others 45 are farther
    assert singers[1].why.startswith("closer in voice than 97 % of the catalog")


def test_one_song_of_an_artist_unless_asked(songs):
    result = songs.like("s00", "voice", top_k=20)
    assert sorted(number % N_SINGERS for number in numbers(result)) == list(range(N_SINGERS))
    assert "by the same artists" in result.notices[0]
    assert max(np.bincount([number % N_SINGERS for number in numbers(songs.like("s00", per_artist=2))])) == 2


def test_artists_are_known_without_their_guests_and_nobody_is_no_artist():
    assert artist_key("Ána feat. Bo") == artist_key("ANA (live)") == "ana"
    assert {artist_key(name) for name in ("", "Trad.", "Traditional Irish", "Anonymous")} == {""}


def test_filters_are_those_of_the_search(songs):
    assert all(number % 3 != 1 for number in numbers(songs.like("s00", genres=["rock"], top_k=40, per_artist=0)))
    stated = numbers(songs.like("s00", years=(1970, 1980), only_known=True, top_k=40, per_artist=0))
    assert sorted(stated) == [number for number in range(10, 21) if number % 5]
    assert songs.like("s01", genres=["Jazz"], years=(1900, 1901), only_known=True).notices


def test_the_same_song_again_is_listed_once():
    songs, facets = studio()
    rows = [*range(N_SONGS), 8, 8, 8]
    again = [replace(songs[8], id=f"x{n}", title=title) for n, title in enumerate(("Title 8", "TITLE 8", "Other"))]
    durations_s = facets.take(rows).duration_s.copy()
    durations_s[-3:] *= (1.005, 1.2, 1.0)  # a copy; another length; another title, but embeddings exactly alike
    moments = facets.take(rows).moments.copy()
    moments[-3 * N_MOMENTS :] = np.random.default_rng(9).integers(-100, 100, moments[-3 * N_MOMENTS :].shape)
    found = SimilarSongs((*songs, *again), replace(facets.take(rows), duration_s=durations_s, moments=moments))
    listed = {entry.song.id: entry.also for entry in found.like("s00", top_k=12, per_artist=0).songs}
    assert listed["s08"] == ("x0",) and {"x1", "x2"} <= set(listed)
    moments[-N_MOMENTS - 2 : -N_MOMENTS] = moments[8 * N_MOMENTS : 8 * N_MOMENTS + 2] + 2  # x1: half of it sounds alike
    found = SimilarSongs((*songs, *again), replace(facets.take(rows), duration_s=durations_s, moments=moments))
    listed = {entry.song.id: entry.also for entry in found.like("s00", top_k=12, per_artist=0).songs}
    assert sorted(listed["s08"]) == ["x0", "x1"] and "x2" in listed
    assert "x0" not in [entry.song.id for entry in found.like("s08", top_k=12, per_artist=0).songs]


def test_versions_of_one_tune_are_listed_once_but_the_query_own_all():
    songs, facets = studio()
    with_tunes = [replace(song, tune="a" if number % 8 == 0 else "") for number, song in enumerate(songs)]
    found = SimilarSongs(with_tunes, facets)
    assert len(found.like("s01", top_k=47, per_artist=0).songs) == 47 - 5
    assert len(found.like("s00", top_k=47, per_artist=0).songs) == 47
    assert found.like("s00", "voice").songs[0].why.startswith("a version of the same tune")


def test_adding_songs_is_building_anew_in_any_order():
    songs, facets = studio()
    order = np.random.default_rng(1).permutation(N_SONGS)
    moved_songs = [songs[i] for i in order], facets.take(order)
    before, after = Comparison(songs, facets), Comparison(*moved_songs)
    for facet in ("voice", "style", "feel"):
        one, other, moved = before.space(facet), after.space(facet), int(np.argsort(order)[3])
        assert np.array_equal(one.farness(one.vectors[3], 3)[order], other.farness(other.vectors[moved], moved))
    built, grown = SimilarSongs(songs, facets), SimilarSongs(*moved_songs)
    for question in (lambda of: of.like("s03"), lambda of: of.moments("s03"), lambda of: of.path("s03", "s11")):
        assert without_seconds(question(built).to_dict()) == without_seconds(question(grown).to_dict())
    one, other = built.map(), grown.map()
    assert sorted(json.dumps(point.to_dict()) for point in one.points) == sorted(
        json.dumps(point.to_dict()) for point in other.points
    )
    assert [cluster.to_dict() for cluster in one.clusters] == [cluster.to_dict() for cluster in other.clusters]


def test_a_sample_stands_for_a_large_catalog(monkeypatch):
    rng = np.random.default_rng(0)
    vectors, known = rng.normal(size=(400, 12)).astype(np.float32), np.arange(400) % 10 > 0
    order = sampling_order([f"song {number}" for number in range(400)])
    whole = FacetSpace.of(vectors, known, order)
    monkeypatch.setattr("hmm2song.similar.neighbours.N_SAMPLE", 100)
    sampled = FacetSpace.of(vectors, known, order)
    assert len(whole.sample) == 360 and len(sampled.sample) == 100 and known[sampled.sample].all()
    assert np.abs(whole.farness(vectors[1], 1) - sampled.farness(vectors[1], 1)).max() < 0.2
    assert np.allclose(whole.among(np.arange(1, 5))[0, 1:], whole.farness(vectors[1], 1)[2:5], atol=1e-5)


def test_mutual_proximity_leaves_no_hub():
    """A song in the middle of all is near to each, but each is far from it as its distances go."""
    rng = np.random.default_rng(2)
    vectors = rng.normal(size=(300, 100)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] *= 0.1
    space = FacetSpace.of(vectors, np.ones(300, bool), np.arange(300))
    plain, mutual = 0, 0
    for row in range(1, 300):
        plain += np.argsort(np.linalg.norm(vectors - vectors[row], axis=1))[1] == 0
        mutual += np.argsort(space.farness(vectors[row], row))[1] == 0
    assert plain > 250 and mutual < 30


def test_a_recording_is_a_query_too(songs):
    _, facets = studio()
    heard = facets.take([3])
    assert numbers(songs.like(heard, "voice", top_k=1)) == [3] and songs.like(heard).query is None
    with pytest.raises(QueryError, match="another version"):
        songs.like(replace(heard, listener="older"))
    with pytest.raises(QueryError, match="one recording"):
        songs.like(facets)


def test_a_file_is_listened_to_and_a_text_is_an_id(songs, monkeypatch, tmp_path):
    heard = {"sung.wav": HeardRecording(studio()[1].take([3]), ("short: 4 s",)),
             "silent.wav": HeardRecording(Facets.unheard(1), ("silent: 9 s",))}  # fmt: skip
    monkeypatch.setattr("hmm2song.hearing.recording.hear", lambda path: heard[path.name])
    result = songs.like(Path("sung.wav"), "voice", top_k=1)
    assert numbers(result) == [3] and result.notices[0] == "short: 4 s" == songs.moments(Path("sung.wav")).notices[0]
    with pytest.raises(AudioError, match="nothing can be heard in the recording: silent: 9 s"):
        songs.like(Path("silent.wav"))
    with pytest.raises(UnknownSongError):
        songs.like("sung.wav")
    save_heard(*studio(), tmp_path)
    (tmp_path / "sung.wav").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert main(["similar", "sung.wav", "--catalog", str(tmp_path), "--top-k", "1", "--like", "voice"]) == 0


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"facets": "lyrics"}, "unknown preset 'lyrics'; choose one of all, voice"),
        ({"facets": {"tempo": 1}}, "unknown facet 'tempo'; choose from voice"),
        ({"facets": {"voice": -1}}, "the weight of voice must be a number from 0 on, got -1"),
        ({"facets": {"voice": float("nan")}}, "got nan"),
        ({"facets": {"voice": 0, "style": 0.0}}, "all weights are zero"),
        ({"facets": {}}, "all weights are zero"),
        ({"facets": "tune"}, "melody: this catalog holds no melodies"),
        ({"top_k": 0}, "top_k must be a whole number from 1 to 100"),
        ({"per_artist": -1}, "per_artist"),
        ({"genres": ["Polka"]}, "Polka"),
        ({"years": (2000, 1990)}, "years"),
    ],
)
def test_impossible_questions_are_errors(songs, asked, reason):
    with pytest.raises(QueryError, match=reason):
        songs.like("s00", **asked)


def test_an_unknown_id_is_an_error(songs):
    with pytest.raises(UnknownSongError, match="no song has the id 'nobody'"):
        songs.like("nobody")


def test_an_instrumental_is_compared_by_what_it_has():
    songs, facets = studio()
    voice = facets.voice.copy()
    voice[:10] = 0
    found = SimilarSongs(songs, replace(facets, voice=voice))
    result = found.like("s00", top_k=5)
    assert set(result.facets) == {"style", "feel"}
    assert result.notices == ("voice is not compared: nobody sings in this recording",)
    with pytest.raises(QueryError, match="voice: nobody sings in this recording"):
        found.like("s00", "voice")
    among = found.like("s10", "voice", top_k=47, per_artist=0)
    assert among.n_compared == 37 and min(numbers(among)) >= 10
    assert "voice" not in found.like("s10", top_k=47, per_artist=0).songs[-1].closer_than


@pytest.mark.parametrize("n_songs", [1, 2, 3])
def test_tiny_catalogs_answer(n_songs):
    songs, facets = studio()
    few = SimilarSongs(songs[:n_songs], facets.take(range(n_songs)))
    result = few.like("s00")
    assert len(result.songs) == n_songs - 1 and json.dumps(result.to_dict(), allow_nan=False)
    assert bool(result.notices) == (n_songs == 1)


def test_equal_songs_and_one_artist_with_the_whole_catalog():
    songs, facets = studio()
    equal = SimilarSongs(songs[:6], facets.take([0] * 6))
    copies = equal.like("s00")
    assert copies.songs == () and "only 0 of 5 songs are listed" in copies.notices[0] and "copies" in copies.notices[0]
    moments = np.random.default_rng(0).integers(-99, 99, (6 * N_MOMENTS, 28)).astype(np.int8)
    alike = SimilarSongs(songs[:6], replace(facets.take([0] * 6), moments=moments))  # equally far: in order of the ids
    assert [found.song.id for found in alike.like("s00", top_k=5).songs] == ["s01", "s02", "s03", "s04", "s05"]
    alone = SimilarSongs([replace(song, singer="One") for song in songs], facets)
    result = alone.like("s00")
    assert len(result.songs) == 1 and result.notices[0].startswith("only 1 of 47 songs are listed")


def test_a_catalog_with_nothing_to_compare_is_refused(tmp_path):
    songs, facets = studio()
    with pytest.raises(CatalogError, match="nothing to compare"):
        SimilarSongs(songs, Facets.unheard(N_SONGS))
    with pytest.raises(CatalogError, match="nothing to compare"):
        SimilarSongs(())
    save_heard(songs, facets, tmp_path)
    assert numbers(SimilarSongs.load(tmp_path).like("s00", top_k=3)) == numbers(
        SimilarSongs(songs, facets).like("s00", top_k=3)
    )
    with pytest.raises(Hmm2SongError):
        SimilarSongs.load(tmp_path / "nowhere")


def test_moments_are_those_that_sound_alike_at_their_place(songs):
    for at_s, starts in ((7.0, {6.0}), (None, {0.0, 12.0, 18.0})):  # the second moment, the most typical one
        result = songs.moments("s02", at_s, top_k=7, per_artist=0)
        assert {int(moment.song.id[1:]) % 6 for moment in result.moments} == {2}
        assert {moment.start_s for moment in result.moments} <= starts and result.start_s in starts
        inner = [moment for moment in result.moments if moment.start_s < 18]
        assert all(moment.end_s == moment.start_s + 6 for moment in inner)  # until the next one begins
        assert result.moments[0].closer_than == 100.0 and json.dumps(result.to_dict(), allow_nan=False)
    assert result.end_s - result.start_s == pytest.approx(8 * 60 / 70, abs=1.0)
    assert songs.moments(studio()[1].take([2]), 7.0, top_k=1).moments[0].song.id == "s02"
    assert len({moment.song.singer for moment in songs.moments("s02", top_k=40).moments}) == N_SINGERS


def test_moments_that_are_not_there_are_errors(songs):
    for at_s in (-1.0, 1e6, float("nan")):
        with pytest.raises(QueryError, match="between 0 and"):
            songs.moments("s02", at_s)
    made, facets = studio()
    kept = facets.n_moments.copy()
    kept[0] = 0
    silent = replace(facets, n_moments=kept, moments=facets.moments[4:], moment_start_s=facets.moment_start_s[4:])
    with pytest.raises(QueryError, match="no stretch of eight beats"):
        SimilarSongs(made, silent).moments("s00")
    assert all(
        found.song.id != "s00" for found in SimilarSongs(made, silent).moments("s06", top_k=47, per_artist=0).moments
    )


def test_a_path_leads_over_songs_between(monkeypatch):
    """Songs on a line: the path visits them in order, evenly, each once."""
    made, facets = studio()
    along = np.linspace(0, 1, N_SONGS)[:, None]
    ends = np.random.default_rng(3).normal(size=(2, facets.voice.shape[1]))
    voice = (ends[0] * (1 - along) + ends[1] * along).astype(np.float16)
    line = SimilarSongs([replace(song, singer="") for song in made], replace(facets, voice=voice))
    path = line.path("s05", "s41", 6, "voice")
    visited = [int(song.id[1:]) for song in path.songs]
    assert visited[0] == 5 and visited[-1] == 41 and visited == sorted(visited) and len(set(visited)) == 7
    assert max(np.diff(visited)) <= 12 and path.why[0] == "" and all("voice" in why for why in path.why[1:])
    one_way = SimilarSongs(made, facets).path("s00", "s01", 20)
    assert len({song.id for song in one_way.songs}) == 21
    assert [song.id for song in line.path("s05", "s41", 1).songs] == ["s05", "s41"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (("s00", "s00"), "name two songs"),
        (("s00", "s01", 0), "n_steps"),
        (("s00", "s01", 50), "50 steps need 49 songs between the two, and 46 can be compared"),
        (("s00", "s01", 3, "tune"), "no melodies"),
    ],
)
def test_impossible_paths_are_errors(songs, asked, reason):
    with pytest.raises(QueryError, match=reason):
        songs.path(*asked)


def test_the_map_puts_alike_songs_together(songs):
    drawn = songs.map(n_clusters=6)
    of_style = {int(point.song.id[1:]) % 6: point.cluster for point in drawn.points}
    assert len(drawn.points) == N_SONGS and sorted(of_style.values()) == list(range(6))
    assert all(of_style[int(point.song.id[1:]) % 6] == point.cluster for point in drawn.points)
    assert max(abs(point.x) for point in drawn.points) == max(point.x for point in drawn.points) == 1.0
    assert [cluster.n_songs for cluster in drawn.clusters] == [8] * 6 and json.dumps(drawn.to_dict(), allow_nan=False)
    assert drawn.to_dict() == songs.map(n_clusters=6).to_dict()
    with pytest.raises(QueryError, match="unknown facet"):
        songs.map("tempo")


def test_clusters_are_numbered_by_size_and_named_by_what_they_have():
    made, facets = studio()
    rows = [*range(0, N_SONGS, 6), *range(1, 25, 6)]
    tags = facets.tags[rows].copy()
    tags[8:, TAGS.index("jazz")] = 0.9
    tags[:8, TAGS.index("metal")] = 0.9
    few = SimilarSongs([made[row] for row in rows], replace(facets.take(rows), tags=tags))
    assert [(cluster.n_songs, cluster.name) for cluster in few.map(n_clusters=2).clusters] == [
        (8, "metal"),
        (4, "jazz"),
    ]
    instrumental = replace(facets, voice=facets.voice * (np.arange(N_SONGS) > 2)[:, None])
    assert SimilarSongs(made, instrumental).map("voice").notices[0].startswith("3 songs are not on the map")
    for n_songs in (1, 2, 3):
        tiny = SimilarSongs(made[:n_songs], facets.take(range(n_songs))).map(n_clusters=5)
        assert len(tiny.points) == n_songs and json.dumps(tiny.to_dict(), allow_nan=False)
