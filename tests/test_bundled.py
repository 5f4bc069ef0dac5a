"""What is shipped fits together: the bundled catalog was made with the bundled model, and that one has learned."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import BUNDLED_CATALOG, BUNDLED_MODEL
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.index.base import WindowRanges
from hmm2song.index.exact import ExactIndex
from hmm2song.match.votes import embed_hum, propose, votes
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import melody_from_notes
from hmm2song.melody.notation import abc
from hmm2song.melody.notation.parts import melody_line
from hmm2song.song import Song
from hmm2song.training.singer import Singer, hum_contour

SONGBOOK = Path(__file__).parent.parent / "assets" / "songbook"
TUNES = sorted(SONGBOOK.glob("*.abc"))[::5]


@pytest.fixture(scope="module")
def model() -> MelodyEncoder:
    return MelodyEncoder.load(BUNDLED_MODEL)


def notes_of(path: Path) -> list[tuple[float, ...]]:
    text = path.read_text(encoding="utf-8")
    return [tuple(note) for note in melody_line(abc.parse_tune(abc.split_tunes(text)[0]).parts)]


def shares_found(encoder: MelodyEncoder) -> tuple[float, float]:
    """How often a hum's votes, and its nearest windows, are for the right song: by embeddings alone."""
    tunes = [notes_of(path) for path in TUNES]
    songs = [Song(id=path.stem, title=path.stem) for path in TUNES]
    catalog = Catalog.build(songs, [melody_from_notes(notes) for notes in tunes], encoder)
    index = ExactIndex.of(catalog.embeddings, catalog.n_windows, n_threads=1)
    by_votes, by_places = [], []
    for number, notes in enumerate(tunes):
        performance = hum_contour(notes, Singer(), np.random.default_rng(number), duration_s=10.0)
        hum = embed_hum(fill_rests(performance.melody), encoder)
        by_votes.append(np.argmax(votes(hum, index, WindowRanges.whole(np.arange(len(tunes))))) == number)
        by_places.append(number in propose(hum, index, encoder.windows.song_hop_s, catalog.select()).song[:5])
    return float(np.mean(by_votes)), float(np.mean(by_places))


def test_the_bundled_catalog_was_made_with_the_bundled_model(model):
    catalog = Catalog.load(BUNDLED_CATALOG, model)
    assert len(catalog) > 800
    assert catalog.embeddings.shape == (catalog.n_windows.sum(), model.dim)
    np.testing.assert_allclose(np.linalg.norm(catalog.embeddings.astype(np.float32), axis=1), 1.0, atol=0.01)


def test_the_bundled_catalog_names_whole_authors(model: MelodyEncoder) -> None:
    authors = {song.author for song in Catalog.load(BUNDLED_CATALOG, model).songs}
    assert not [name for name in authors if re.search(r"(?:^|\s)(?:[A-Z]|Mrs|St|attr|or|found)$|\[| ,", name)]
    assert {"Will L. Thompson", "William Henry Monk", "Rev. Hubert Gruender, S.J."} <= authors


def test_the_bundled_model_has_learned_to_tell_melodies_apart(model):
    by_votes, by_places = shares_found(model)
    assert by_votes > 0.8
    assert by_places > 0.8


def test_an_untrained_one_would_not_pass():
    sizes = MelodyEncoder.load(BUNDLED_MODEL).sizes
    by_votes, by_places = shares_found(MelodyEncoder.untrained(sizes))
    assert max(by_votes, by_places) < 0.5
