"""Guessed labels: what is sure is filled in and marked, what is stated stays, who does not sing has no gender."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from hmm2song.catalog.facets import Facets
from hmm2song.embeddings.style import TAGS
from hmm2song.embeddings.voice import VOICE_DIM, VoiceEncoder
from hmm2song.errors import ModelError
from hmm2song.similar import enrich
from hmm2song.similar.enrich import LabelModel, enriched, label_model
from hmm2song.song import Song

MODEL = LabelModel("labels-test", np.array([6.0, 0.0]), 0.0, tag_weight=2.0, tag_middle=1.0, genre_slope=1.0,
                   genre_offset=2.0)  # fmt: skip
MALE, FEMALE = [1.0, 0.0], [-1.0, 0.0]


def facets(voice=(0.0, 0.0), heard=True, **tags: float) -> Facets:
    """One song; tags are written with _ for blanks."""
    row = np.zeros((1, len(TAGS)), np.float16)
    for name, probability in {"female_vocalists": 0.027, "male_vocalists": 0.01, **tags}.items():  # they say nothing
        row[0, TAGS.index(name.replace("_", " "))] = probability
    about = {"heard": np.array([heard]), "tags": row, "voice": np.array([voice], np.float16), "listener": "test"}
    return dataclasses.replace(Facets.unheard(1), **about)


@dataclasses.dataclass(frozen=True)
class SomeCatalog:
    songs: tuple[Song, ...]
    facets: Facets | None


def guesses(heard: Facets | None, monkeypatch, **stated: str) -> dict:
    monkeypatch.setattr(enrich, "label_model", lambda: MODEL)
    (song,) = enriched(SomeCatalog((Song("s", "t", **stated),), heard)).songs
    return {label: (guess.value, guess.probability) for label, guess in song.guesses.items()}


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (facets(MALE), {"gender": ("male", 0.99)}),  # never 1
        (facets(FEMALE), {"gender": ("female", 0.99)}),
        (facets([0.2, 0.9]), {}),  # not sure enough
        (facets([0.2, 0.9], female_vocalists=0.001), {"gender": ("male", 0.99)}),  # the tags make it so
        (facets(MALE, female_vocalists=0.99), {}),  # the tags contradict
        (facets(), {}),  # nobody sings
        (facets(female_vocalists=0.99), {}),  # whatever the tags say
        (facets([1.0, 0.0, 0.0]), {}),  # another voice network
        (facets(metal=0.8), {"genre": ("Metal", 0.97)}),
        (facets(metal=0.3), {}),
        (facets(metal=0.8, jazz=0.9), {}),  # a genre that is not guessed
        (facets(MALE, rock=0.8), {"gender": ("male", 0.99), "genre": ("Rock", 0.97)}),
        (facets(MALE, heard=False, rock=0.8), {}),
        (None, {}),
    ],
)
def test_only_what_is_sure_enough_is_filled_in(heard, expected, monkeypatch):
    assert guesses(heard, monkeypatch) == expected


def test_what_is_stated_stays_and_older_guesses_go(monkeypatch):
    sung = facets(MALE, rock=0.8)
    assert guesses(sung, monkeypatch, gender="mixed", genre="Polka") == {}
    assert guesses(sung, monkeypatch, genre="Polka") == {"gender": ("male", 0.99)}
    old = "gender: female (0.91, labels-old)"
    assert guesses(sung, monkeypatch, guessed=old)["gender"] == ("male", 0.99)
    assert guesses(facets(), monkeypatch, guessed=old) == {}
    assert guesses(None, monkeypatch, guessed=old) == {"gender": ("female", 0.91)}


def test_the_bundled_model_fits_the_voice_network_and_names_its_version():
    model = label_model()
    assert model.voice_weights.shape == (VOICE_DIM,) and model.version.startswith("labels-")
    voice = np.random.default_rng(0).normal(size=VoiceEncoder.dim)
    assert model.male_log_odds(facets(voice)) == model.male_log_odds(facets(voice[:VOICE_DIM]))  # of older catalogs
    (guess,) = model.genre_guesses(facets(metal=0.9))
    assert (guess.value, guess.model) == ("Metal", model.version) and guess.probability > 0.9


@pytest.mark.parametrize("content", [None, b"", b"[]", json.dumps({"gender": {}, "genre": {}}).encode()])
def test_a_model_that_is_missing_or_damaged_is_told(content, tmp_path):
    if content is not None:
        (tmp_path / "labels.json").write_bytes(content)
    with pytest.raises(ModelError, match=r"labels\.json"):
        LabelModel.load(tmp_path)
