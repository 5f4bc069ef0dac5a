"""Genre and singer's gender, guessed from what was heard in a recording where nothing is stated.

* **Gender**: logistic regression on Resemblyzer's embedding (:mod:`hmm2song.embeddings.voice`), trained on speech over
  music, and as independent evidence the tags "female vocalists" and "male vocalists" of the style network. The two
  are added as log odds. A recording without a voice, as instrumentals are, gets no gender.
* **Genre**: that of the most probable tag of the style network, if it is one of :data:`GUESSED_GENRES`, the more
  certain the more probable the tag is.

Nothing is filled in below :data:`MIN_PROBABILITY`. ``assets/model_labels`` is made by ``scripts/train_labels.py``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy.special import expit

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.hub import assets_folder
from hmm2song.embeddings.style import TAGS
from hmm2song.embeddings.voice import VOICE_DIM
from hmm2song.errors import ModelError
from hmm2song.song import Guess, Song, guessed_text

LABELS_FILE = "labels.json"
MIN_PROBABILITY = {"gender": 0.85, "genre": 0.9}
"""Below this nothing is filled in, so that 95 of 100 genders that are filled in are right, and 9 of 10 genres."""
FEMALE_TAGS, MALE_TAGS = ("female vocalists", "female vocalist"), ("male vocalists",)
GENRE_TAGS = {
    "Metal": ("metal", "heavy metal"),
    "Electronic": ("electronic", "electronica", "electro", "House"),
    "Ambient": ("ambient",),
    "Rock": ("rock", "alternative rock", "classic rock", "hard rock", "indie rock", "punk"),
    "Folk": ("folk", "acoustic"),
    "Jazz": ("jazz",),
    "Hip-Hop": ("Hip-Hop",),
    "Country": ("country",),
}
"""A genre's evidence is the most probable of its tags."""
GUESSED_GENRES = ("Metal", "Rock", "Ambient")
"""Of the others too few recordings state a genre, or, as for "Electronic", the tag says what a song is played with: it
is the best tag of songs called Reggae, Blues and Classical."""
SMALLEST = 1e-3
"""Tags less probable than this are all alike."""


@dataclass(frozen=True, eq=False)
class LabelModel:
    """What ``labels.json`` holds.

    Attributes
    ----------
    version : str
        Digest of the file, named by every guess.
    voice_weights : np.ndarray, shape (dim,), float64
        Log odds of a male voice = ``voice_weights @ voice + voice_bias``.
    tag_weight, tag_middle : float
        They fall by ``tag_weight * (log(female tag / male tag) - tag_middle)``.
    genre_slope, genre_offset : float
        Log odds that a genre is right = ``genre_slope`` times those of its tag, and ``genre_offset``.
    """

    version: str
    voice_weights: np.ndarray
    voice_bias: float
    tag_weight: float
    tag_middle: float
    genre_slope: float
    genre_offset: float

    @classmethod
    def load(cls, folder: Path) -> LabelModel:
        """Read the model; ModelError if it is missing or damaged."""
        try:
            content = (folder / LABELS_FILE).read_bytes()
            values = json.loads(content)
            gender, genre = values["gender"], values["genre"]
            weights = np.array(gender["voice_weights"], float)
            numbers = [float(gender[name]) for name in ("voice_bias", "tag_weight", "tag_middle")]
            numbers += [float(genre[name]) for name in ("slope", "offset")]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(f"{folder / LABELS_FILE} is missing or damaged ({error!r:.100}); install again") from error
        return cls(f"labels-{hashlib.sha256(content).hexdigest()[:8]}", weights, *numbers)

    def male_log_odds(self, facets: Facets) -> np.ndarray:
        """Return the log odds of a man over a woman per song, shape (n_songs,); nan where no voice was heard."""
        voice = facets.voice[:, :VOICE_DIM].astype(float)
        if voice.shape[1] != len(self.voice_weights):
            return np.full(len(facets), np.nan)  # the catalog's voices are of another network
        ratio = np.log(tag_probability(facets.tags, FEMALE_TAGS) / tag_probability(facets.tags, MALE_TAGS))
        log_odds = voice @ self.voice_weights + self.voice_bias - self.tag_weight * (ratio - self.tag_middle)
        return np.where(voice.any(axis=1), log_odds, np.nan)

    def genders(self, facets: Facets) -> list[Guess | None]:
        """Guess the singer's gender of each song; None where it is not sure enough."""
        log_odds = self.male_log_odds(facets)
        names = np.where(log_odds > 0, "male", "female")
        return self._sure("gender", names, np.where(np.isnan(log_odds), 0.0, expit(np.abs(log_odds))))

    def genre_guesses(self, facets: Facets) -> list[Guess | None]:
        """Guess the genre of each song; None where it is not sure enough."""
        names, evidence = best_genres(facets.tags)
        probability = expit(self.genre_slope * evidence + self.genre_offset)
        is_guessed = facets.heard & np.isin(names, GUESSED_GENRES)
        return self._sure("genre", names, np.where(is_guessed, probability, 0.0))

    def _sure(self, label: str, values: np.ndarray, probability: np.ndarray) -> list[Guess | None]:
        return [
            Guess(str(value), round(min(float(chance), 0.99), 2), self.version)
            if chance >= MIN_PROBABILITY[label]
            else None
            for value, chance in zip(values, probability, strict=True)
        ]


def enriched(catalog: Catalog) -> Catalog:
    """Return a catalog with guesses for the songs that were heard; see :func:`enriched_songs`."""
    if catalog.facets is None:
        return catalog
    return replace(catalog, songs=enriched_songs(catalog.songs, catalog.facets))


def enriched_songs(songs: Iterable[Song], facets: Facets) -> list[Song]:
    """Return songs with guesses for those that were heard; what is stated stays, older guesses go.

    Songs without sound keep what they have. ModelError if the bundled model is missing.
    """
    model = label_model()
    labels = zip(songs, facets.heard, model.genre_guesses(facets), model.genders(facets), strict=True)
    return [_with_guesses(song, genre, gender) if heard else song for song, heard, genre, gender in labels]


def _with_guesses(song: Song, genre: Guess | None, gender: Guess | None) -> Song:
    guesses = {"genre": genre, "gender": gender}
    text = guessed_text({label: guess for label, guess in guesses.items() if guess and not getattr(song, label)})
    return replace(song, guessed=text)


@lru_cache(maxsize=1)
def label_model() -> LabelModel:
    """Return the bundled model."""
    return LabelModel.load(assets_folder() / "model_labels")


def best_genres(tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the genre of the most probable tag of each song, and the log odds of that tag; both (n_songs,)."""
    probability = np.stack([tag_probability(tags, names) for names in GENRE_TAGS.values()], axis=1)
    best = probability.max(axis=1)
    return np.array(list(GENRE_TAGS))[probability.argmax(axis=1)], np.log(best / (1 - best))


def tag_probability(tags: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Return the probability of the most probable of some tags per song, shape (n_songs,)."""
    columns = [TAGS.index(name) for name in names]
    return np.clip(tags[:, columns].astype(float).max(axis=1), SMALLEST, 1 - SMALLEST)
