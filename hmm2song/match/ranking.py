"""The judgement: which songs of a catalog a hum could be, and how sure that is.

contours -> window embeddings -> places that the index proposes -> alignment -> window votes -> second look at the best
songs -> scores -> probabilities.

A hum is judged as a whole. If that finds nothing and the hum pauses, its phrases are judged, each for itself. For
written melodies long hums are cut into pieces; tracked ones are searched in another way
(:mod:`hmm2song.match.tracked`), and both kinds meet as odds. The scores of all pieces of all hums of one tune are
averaged, and versions of a tune share its probability.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from hmm2song.catalog.catalog import Catalog, Selection
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import CatalogError
from hmm2song.index.base import WindowIndex, WindowRanges
from hmm2song.match.confidence import RECORDINGS, TRACKED, WRITTEN, log_odds, probabilities
from hmm2song.match.places import Alignment, Placements, first_of_each
from hmm2song.match.rhythm import HumNotes
from hmm2song.match.search import MelodySearch
from hmm2song.match.search_index import own_index
from hmm2song.match.tracked import TrackedSearch
from hmm2song.match.votes import HumWindows, embed_hum, propose, ranges_of, votes
from hmm2song.melody.contour import FilledContour, cut_at_pauses, cut_evenly, fill_rests
from hmm2song.melody.melody import Melody

MIN_VOICED_S = 1.0
"""With less melody than this every song fits somewhere: nothing is searched."""
VOTE_WEIGHT_ST = 0.629
"""What a full window vote is worth against alignment cost, in semitones."""
TRACKED_VOTE_WEIGHT_ST = 0.35
"""The same for tracked melodies: the encoder has learned from written ones, and its windows suffer from a tracker."""
RECORDINGS_VOTE_WEIGHT_ST = 0.8
"""The same in a catalog that the encoder for recordings made."""
N_LOOKED_AT = 20
"""Songs that get a second look (:mod:`hmm2song.match.rhythm`); the others do not overtake them."""
VERSION_STEP_ST = 0.1
"""Versions of a tune this close in score are equally good: they stand in the catalog's order."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """The songs that fit a piece of a hum best, each once: where it lies on them, and their window votes (n,).

    ``misfit_st`` is what the second look charges them for, (n,) or 0.
    """

    placements: Placements
    vote: np.ndarray
    vote_weight_st: float = VOTE_WEIGHT_ST
    misfit_st: np.ndarray | float = 0.0

    @property
    def scores_st(self) -> np.ndarray:
        """The score of each song in semitones, higher is better, shape (n,)."""
        return self.vote_weight_st * self.vote - self.placements.cost_st - self.misfit_st

    def best_first(self) -> Evidence:
        """Return the same in order of score."""
        order = np.argsort(-self.scores_st, kind="stable")
        misfit_st = np.broadcast_to(self.misfit_st, len(order))[order]
        return Evidence(self.placements.take(order), self.vote[order], self.vote_weight_st, misfit_st)


@dataclass(frozen=True, eq=False)
class EmbeddedHum:
    """A hum, or a phrase of one, with the windows of its pieces; written melodies are searched piece by piece."""

    hum: FilledContour
    pieces: tuple[tuple[FilledContour, HumWindows], ...]

    @classmethod
    def of(cls, hum: FilledContour, encoder: MelodyEncoder, n_threads: int) -> EmbeddedHum:
        """Cut and embed a hum that is not empty."""
        return cls(hum, tuple((piece, embed_hum(piece, encoder, n_threads)) for piece in cut_evenly(hum)))


class Query:
    """Hums of one tune, the latest first, embedded once, however many selections of songs they are ranked by.

    Each needs :data:`MIN_VOICED_S` at least. Of the hums in :attr:`whole` and :attr:`phrases` each is a sequence of
    parts that are placed for themselves.
    """

    def __init__(self, hums: Sequence[Melody], encoder: MelodyEncoder, n_threads: int) -> None:
        self._contours = [fill_rests(hum) for hum in hums]
        self._encoder = encoder
        self._n_threads = n_threads

    @cached_property
    def whole(self) -> list[list[EmbeddedHum]]:
        """The hums as they are."""
        return [[EmbeddedHum.of(hum, self._encoder, self._n_threads)] for hum in self._contours]

    @cached_property
    def phrases(self) -> list[list[EmbeddedHum]] | None:
        """The hums cut at their pauses; None if none of them has any."""
        cut = [cut_at_pauses(hum) for hum in self._contours]
        has_pauses = [parts[0] is not hum for parts, hum in zip(cut, self._contours, strict=True)]
        if not any(has_pauses):
            return None
        return [
            [EmbeddedHum.of(phrase, self._encoder, self._n_threads) for phrase in parts] if is_cut else whole
            for whole, parts, is_cut in zip(self.whole, cut, has_pauses, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Piece:
    """One piece of a hum with its evidence from songs of one kind; ``number`` is that of the hum, 0 the latest."""

    hum: FilledContour
    number: int
    is_tracked: bool
    evidence: Evidence


@dataclass(frozen=True, eq=False)
class Ranking:
    """Songs best first: positions in the catalog, scores in semitones and probabilities, all of shape (n,)."""

    pieces: tuple[Piece, ...]
    songs: np.ndarray
    scores_st: np.ndarray
    probability: np.ndarray
    none_probability: float

    def __len__(self) -> int:
        return len(self.songs)

    @property
    def is_match(self) -> bool:
        """Whether it is likelier that the song is among these than that it is none of them."""
        return len(self) > 0 and self.none_probability <= 0.5


class Ranker:
    """Ranks the songs of a catalog by hums.

    Parameters
    ----------
    catalog : Catalog
    encoder : MelodyEncoder
        The one the catalog was made with.
    index : WindowIndex, optional
        Where the catalog's embeddings are searched; default: in memory.
    n_threads : int, optional
        Threads per search; default: the cores this process may use.

    Raises
    ------
    CatalogError
        The catalog was made with another encoder.
    """

    def __init__(
        self, catalog: Catalog, encoder: MelodyEncoder, index: WindowIndex | None = None, n_threads: int | None = None
    ) -> None:
        model, encoder = encoder, encoder.that_made(catalog.encoder_fingerprint)
        if catalog.encoder_fingerprint != encoder.fingerprint:
            raise CatalogError(
                f"the catalog was made with encoder {catalog.encoder_fingerprint!r}, not {encoder.fingerprint!r}"
            )
        self.catalog = catalog
        self._encoder = encoder
        self.tracked_fit, self.tracked_vote_weight_st = (
            (RECORDINGS, RECORDINGS_VOTE_WEIGHT_ST) if encoder is model.tracked else (TRACKED, TRACKED_VOTE_WEIGHT_ST)
        )
        self._search = MelodySearch(catalog.melodies, n_threads)
        self._tracked = TrackedSearch(catalog.melodies, self._search.n_threads)
        self._index = index or own_index(catalog, self._search.n_threads)
        self._windows = replace(encoder.windows, song_hop_s=encoder.windows.song_hop_s * catalog.stride)

    def query(self, hums: Sequence[Melody]) -> Query:
        """Prepare hums of one tune, the latest first, each with :data:`MIN_VOICED_S` at least."""
        return Query(hums, self._encoder, self._search.n_threads)

    def rank(self, query: Query, selection: Selection) -> Ranking:
        """Rank selected songs by hums of one tune."""
        ranking = self._rank_parts(query.whole, selection)
        if ranking.is_match or query.phrases is None:
            return ranking
        by_phrases = self._rank_parts(query.phrases, selection)
        return by_phrases if by_phrases.is_match else ranking

    def evidence(self, hum: FilledContour, selection: Selection | None = None) -> Evidence:
        """Return the evidence for selected written songs, by default all, best aligned first; a hum of 1 to 15 s."""
        return self._written_evidence(hum, embed_hum(hum, self._encoder), self._only(selection, ~self.catalog.tracked))

    def tracked_evidence(self, hum: FilledContour, selection: Selection | None = None) -> Evidence:
        """Return the evidence for selected tracked songs, by default all, best aligned first; a hum of any length."""
        selection = self._only(selection, self.catalog.tracked)
        if not selection.mask.any():
            raise ValueError("no tracked song is selected")
        windows = [embed_hum(piece, self._encoder) for piece in cut_evenly(hum)]
        return self._tracked_evidence(hum, windows, selection)

    def _written_evidence(self, hum: FilledContour, windows: HumWindows, selection: Selection) -> Evidence:
        proposed = propose(windows, self._index, self._windows.song_hop_s, selection)
        placed = self._search.rank(hum, selection.mask, proposed.of(selection.mask))
        # A vote counts where the hum was placed: a long track has a window for everything somewhere.
        ranges = ranges_of(placed.stretches(hum.duration_s), self._windows)
        found = Evidence(placed, votes(windows, self._index, ranges))
        best = placed.best_of_songs(found.scores_st)
        return self._looked_at(hum, Evidence(placed.take(best), found.vote[best]))

    def _looked_at(self, hum: FilledContour, found: Evidence) -> Evidence:
        """Charge the best songs for what their notes and those of the hum do not share; others like the worst of them.

        A single song is charged as well: what it scores says whether it is a match.
        """
        placed, notes = found.placements, HumNotes(hum)
        first = np.argsort(-found.scores_st, kind="stable")[:N_LOOKED_AT]
        songs = [self.catalog.melodies.contour(int(song)) for song in placed.song[first]]
        paths = [self._search.path(hum, placed, int(index)) for index in first]
        looked_st = [notes.misfit_st(song, *path) for song, path in zip(songs, paths, strict=True)]
        misfit_st = np.full(len(found.vote), max(looked_st, default=0.0))
        misfit_st[first] = looked_st
        return replace(found, misfit_st=misfit_st)

    def _tracked_evidence(self, hum: FilledContour, pieces: list[HumWindows], selection: Selection) -> Evidence:
        """Judge a whole hum whose pieces are embedded already."""
        promising = np.zeros(0, np.int64)
        if not self._tracked.affords(hum, selection.mask):
            promising = self._promising(pieces, selection)
        placed = self._tracked.rank(hum, selection.mask, promising)
        whole = WindowRanges.whole(placed.song)
        vote = np.mean([votes(windows, self._index, whole) for windows in pieces], axis=0)
        return Evidence(placed, vote, self.tracked_vote_weight_st)

    def _promising(self, pieces: list[HumWindows], selection: Selection) -> np.ndarray:
        """Return the songs that the index proposes for pieces of a hum, in turns, each once."""
        hop_s = self._windows.song_hop_s
        proposed = [propose(windows, self._index, hop_s, selection).of(selection.mask).song for windows in pieces]
        ranks = np.concatenate([np.arange(len(songs)) for songs in proposed])
        songs = np.concatenate(proposed)[np.argsort(ranks, kind="stable")]
        return songs[first_of_each(songs)]

    def _only(self, selection: Selection | None, kind: np.ndarray) -> Selection:
        selection = selection or self.catalog.select()
        return replace(selection, mask=selection.mask & kind)

    def align(self, ranking: Ranking, position: int) -> Alignment:
        """Trace, on one song of a ranking, the piece of the latest hum that fits it best."""
        song = int(ranking.songs[position])
        latest = [piece for piece in ranking.pieces if piece.number == 0]
        found = [
            (piece.evidence.scores_st[index], number, index)
            for number, piece in enumerate(latest)
            for index in np.flatnonzero(piece.evidence.placements.song == song)
        ]
        if found:
            _, number, index = max(found)
            search = self._tracked if latest[number].is_tracked else self._search
            return search.align(latest[number].hum, latest[number].evidence.placements, int(index))
        alone = np.arange(len(self.catalog)) == song  # only an earlier hum brought this song up
        hum = latest[0].hum
        if self.catalog.tracked[song]:
            return self._tracked.align(hum, self._tracked.rank(hum, alone, np.array([song])), 0)
        while len(placements := self._search.rank(hum, alone)) == 0:  # a song shorter than this hum
            hum = hum.part(0, len(hum.pitch_midi) // 2)
        return self._search.align(hum, placements, 0)

    def _rank_parts(self, hums: Sequence[Sequence[EmbeddedHum]], selection: Selection) -> Ranking:
        """Join the evidence of the parts of every hum, each placed for itself."""
        written, tracked = self._judged(hums, selection)
        voiced_s = sum(part.hum.voiced_s for parts in hums for part in parts)
        fits = ((written, WRITTEN), (tracked, self.tracked_fit))
        kinds = [(*_join_pieces(pieces), constants) for pieces, constants in fits]
        songs, scores_st = (np.concatenate([kind[column] for kind in kinds]) for column in (0, 1))
        confidence = probabilities(np.concatenate([log_odds(scores, voiced_s, fitted) for _, scores, fitted in kinds]))
        tune = self._tune_numbers(songs)
        probability = np.bincount(tune, weights=confidence.song)[tune]  # of the tune, whichever version was meant
        best_st = np.full(tune.max(initial=-1) + 1, -np.inf)
        np.maximum.at(best_st, tune, scores_st)
        steps_behind = np.floor((best_st[tune] - scores_st) / VERSION_STEP_ST)
        order = np.lexsort((songs, steps_behind, tune, -probability))
        return Ranking(written + tracked, songs[order], scores_st[order], probability[order], confidence.none)

    def _judged(
        self, hums: Sequence[Sequence[EmbeddedHum]], selection: Selection
    ) -> tuple[tuple[Piece, ...], tuple[Piece, ...]]:
        """Return the evidence of written and of tracked songs."""
        written, tracked = (self._only(selection, kind) for kind in (~self.catalog.tracked, self.catalog.tracked))
        of_written: list[Piece] = []
        of_tracked: list[Piece] = []
        for number, part in ((number, part) for number, parts in enumerate(hums) for part in parts):
            if written.mask.any():
                judged = ((piece, self._written_evidence(piece, windows, written)) for piece, windows in part.pieces)
                of_written += [Piece(piece, number, False, evidence) for piece, evidence in judged]
            if tracked.mask.any():
                evidence = self._tracked_evidence(part.hum, [windows for _, windows in part.pieces], tracked)
                of_tracked.append(Piece(part.hum, number, True, evidence))
        return tuple(of_written), tuple(of_tracked)

    def _tune_numbers(self, songs: np.ndarray) -> np.ndarray:
        """Return a number for the tune of each song, shape (n,), in order of first occurrence; versions share it."""
        numbers: dict[str, int] = {}
        tunes = (self.catalog.songs.text(song, "tune") or self.catalog.songs.text(song, "id") for song in songs)
        return np.array([numbers.setdefault(tune, len(numbers)) for tune in tunes], dtype=np.int64)


def _join_pieces(pieces: tuple[Piece, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the songs, best first, and their mean scores; a piece that missed a song gives it its worst score."""
    if not pieces:
        return np.zeros(0, np.int64), np.zeros(0)
    songs = np.unique(np.concatenate([piece.evidence.placements.song for piece in pieces]))
    total_st = np.zeros(len(songs))
    for piece in pieces:
        found_st = piece.evidence.scores_st
        piece_st = np.full(len(songs), found_st.min(initial=0.0))
        piece_st[np.searchsorted(songs, piece.evidence.placements.song)] = found_st
        total_st += piece_st
    order = np.argsort(-total_st, kind="stable")
    return songs[order], total_st[order] / len(pieces)
