"""Melodic relatives: versions in another key, at another tempo and with other parts; recordings that are copies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from encoders import IntervalEncoder
from heard import studio
from humming import tune

from hmm2song.catalog.catalog import Catalog
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.similar import tunes
from hmm2song.similar.songs import SimilarSongs
from hmm2song.song import Song

N_SONGS = 20


def melody(seed: int, speed: float = 1.0, shift_st: float = 0.0, part: slice = slice(None)) -> Melody:
    notes = np.array(tune(seed))[part]
    notes[:, 0] -= notes[0, 0]
    return melody_from_notes((notes / [speed, speed, 1.0] + [0.0, 0.0, shift_st]).tolist())


def relatives(**versions: Melody) -> SimilarSongs:
    """Return N_SONGS tunes and versions of the first."""
    melodies = {f"t{seed:02}": melody(seed) for seed in range(N_SONGS)} | versions
    songs = [Song(song_id, song_id) for song_id in melodies]
    encoder = IntervalEncoder()
    return SimilarSongs.of(Catalog.build(songs, list(melodies.values()), encoder), encoder)


def test_versions_come_first_and_are_told():
    songs = relatives(
        key=melody(0, shift_st=5.0), faster=melody(0, speed=1.9), part=melody(0, part=slice(10, 50), shift_st=-3.0)
    )
    result = songs.like("t00", "tune", top_k=5)
    assert {found.song.id for found in result.songs[:3]} == {"key", "faster", "part"}
    assert result.songs[0].why.startswith("nearly the same tune, the closest of all in melody")
    assert result.songs[3].reasons[0].code != "tune" and result.songs[3].closer_than["melody"] < 90
    for version in ("key", "faster", "part"):
        assert songs.like(version, "tune").songs[0].song.id in ("t00", "key", "faster", "part")
    assert result.facets == songs.like("t00").facets == {"melody": 1.0}  # notes have nothing else


def test_only_as_many_windows_are_compared_as_are_affordable(monkeypatch):
    songs = relatives(key=melody(0, shift_st=5.0))
    whole = songs.like("t00", "tune", top_k=N_SONGS).songs
    monkeypatch.setattr(tunes, "MAX_COMPARED_WINDOWS", 100)
    monkeypatch.setattr(tunes, "BLOCK_WINDOWS", 10)
    few = relatives(key=melody(0, shift_st=5.0)).like("t00", "tune", top_k=N_SONGS).songs
    assert len(few) == len(whole) and few[0].song.id == whole[0].song.id == "key"


def test_the_way_the_catalog_came_about_does_not_matter(monkeypatch):
    monkeypatch.setattr(tunes, "N_STANDARDS", 5)
    songs = relatives(key=melody(0, shift_st=5.0))
    asked_before = relatives(key=melody(0, shift_st=5.0))
    asked_before.like("t05", "tune")
    answers = [of.like("t00", "tune").to_dict()["songs"] for of in (songs, asked_before)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(("other", "is_copy"), [(melody(0), True), (melody(1), False), (melody(0, speed=1.3), False)])
def test_copies_of_a_recording_have_its_length_and_its_melody(other, is_copy):
    songs, facets = studio(8)
    songs = [replace(song, title="One title") for song in songs]
    melodies = [melody(0), other, *(melody(seed) for seed in range(2, 8))]
    lengths_s = facets.duration_s.copy()
    lengths_s[:2] = 200.0 / np.array([1.0, melodies[0].duration_s / other.duration_s])
    encoder = IntervalEncoder()
    catalog = Catalog.build(songs, melodies, encoder, tracked=[True] * 8)
    found = SimilarSongs.of(replace(catalog, facets=replace(facets, duration_s=lengths_s)), encoder)
    assert ("s01" not in [each.song.id for each in found.like("s00", top_k=8).songs]) == is_copy
    assert found.like("s00", "tune").songs  # tracked melodies are aligned in pitch classes
