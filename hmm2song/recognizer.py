"""The recogniser: a recording in, a :class:`~hmm2song.results.SearchResult` out.

hum -> audio -> melody -> window embeddings -> alignment with the filtered songs (of a large catalog: where the index
finds like windows) -> window votes -> calibrated ranking.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.catalog.catalog import Catalog, Selection
from hmm2song.catalog.hub import default_encoder, resolve_catalog, resolve_model_of
from hmm2song.embeddings.contour import MelodyEncoder
from hmm2song.errors import CatalogError, QueryError
from hmm2song.index.exact import ExactIndex, WindowIndex
from hmm2song.index.milvus import index_from_setting
from hmm2song.match.confidence import probabilities
from hmm2song.match.search import MelodySearch, Ranking
from hmm2song.match.votes import embed_hum, propose, ranges_of, votes
from hmm2song.melody.advice import assess
from hmm2song.melody.contour import FilledContour, cut_at_pauses, cut_evenly, fill_rests
from hmm2song.melody.melody import Melody
from hmm2song.melody.pitch import track_pitch
from hmm2song.results import Advice, Alignment, Match, SearchResult
from hmm2song.song import ANY_GENDER, Song

INDEX_VARIABLE = "HMM2SONG_INDEX"
"""Environment variable naming another index than the one in memory: ``milvus+<uri>``."""
DEFAULT_TOP_K = 10
MAX_TOP_K = 100
MAX_EARLIER = 4
VOTE_WEIGHT_ST = 0.629
"""What a full window vote is worth against alignment cost, in semitones."""
VERSION_STEP_ST = 0.1
"""Versions of a tune this close in score are equally good: they stand in the catalog's order."""
MIN_VOICED_S = 1.0
"""With less melody than this every song fits somewhere: nothing is searched."""
GOOD_PROBABILITY = 0.5
"""A match this sure outside the filter is worth offering when the filter's own best is not."""

AudioSource = str | os.PathLike | tuple[int, np.ndarray]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The songs that fit a hum best: ids, alignment cost in semitones and window vote, all of shape (n,)."""

    ids: tuple[str, ...]
    cost_st: np.ndarray
    vote: np.ndarray


@dataclass(frozen=True, eq=False)
class _Piece:
    """One piece of a hum with its answer.

    ``number`` is that of the hum, 0 the latest; ``scores_st`` (n_ranked,) is in the order of ``ranking``.
    """

    hum: FilledContour
    number: int
    ranking: Ranking
    scores_st: np.ndarray


@dataclass(frozen=True, eq=False)
class _Ranked:
    """Songs best first: positions in the catalog, scores in st and probabilities, all of shape (n,)."""

    pieces: tuple[_Piece, ...]
    songs: np.ndarray
    scores_st: np.ndarray
    probability: np.ndarray
    none_probability: float

    @property
    def is_match(self) -> bool:
        """Whether it is likelier that the song is among these than that it is none of them."""
        return len(self.songs) > 0 and self.none_probability <= 0.5


class Recognizer:
    """Finds songs by humming.

    Parameters
    ----------
    catalog : Catalog
        The songs to search.
    encoder : MelodyEncoder, optional
        The encoder the catalog was made with.
    notices : tuple of str
        What the caller should know about where the catalog came from; repeated in every result.
    n_threads : int, optional
        Threads per search; default: the processor's cores.
    index : WindowIndex, optional
        Where the catalog's embeddings are searched; default: in memory.
    """

    def __init__(
        self,
        catalog: Catalog,
        encoder: MelodyEncoder | None = None,
        notices: tuple[str, ...] = (),
        n_threads: int | None = None,
        index: WindowIndex | None = None,
    ) -> None:
        self.catalog = catalog
        self.notices = notices
        self._encoder = encoder or default_encoder()
        if catalog.encoder_fingerprint != self._encoder.fingerprint:
            raise CatalogError(
                f"the catalog was made with encoder {catalog.encoder_fingerprint!r}, not {self._encoder.fingerprint!r}"
            )
        self._search = MelodySearch(catalog.melodies, n_threads)
        self._index = index or ExactIndex.of(catalog, self._search.n_threads)

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        token: str | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> Recognizer:
        """Load a catalog from a folder, the Hub, or (nothing given) the bundled one.

        Parameters
        ----------
        source : str or path, optional
            A catalog folder, or a Hub repository ``owner/name``; see :func:`hmm2song.catalog.hub.resolve_catalog`.
        revision, token, cache_dir, local_files_only
            As in ``huggingface_hub``; give a commit as ``revision`` to pin what is loaded.

        Raises
        ------
        CatalogError, IntegrityError, HubError, ModelError, IndexUnavailableError
        """
        resolved = resolve_catalog(source, revision, token, cache_dir, local_files_only)
        model = resolve_model_of(resolved.folder, token, cache_dir, local_files_only)
        encoder = MelodyEncoder.load(model.folder)
        catalog = Catalog.load(resolved.folder, encoder)
        setting = os.environ.get(INDEX_VARIABLE)
        index = index_from_setting(setting, catalog) if setting else None
        return cls(catalog, encoder, (*resolved.notices, *model.notices), index=index)

    @classmethod
    def from_melodies(
        cls,
        melodies: Mapping[str, Melody],
        progress: Callable[[int, int], None] | None = None,
        tracked: Collection[str] = (),
    ) -> Recognizer:
        """Search bare melodies, given by id; each needs a voiced frame.

        ``progress`` is called with (songs done, songs in all) while their catalog is built; ``tracked`` holds the ids
        of the melodies that were tracked in sound, the others were written as notes.

        Raises
        ------
        CatalogError
            No melodies, or one without any pitch.
        """
        encoder = default_encoder()
        songs = [Song(id=song_id, title=song_id) for song_id in melodies]
        marks = [song_id in tracked for song_id in melodies]
        catalog = Catalog.build(songs, list(melodies.values()), encoder, progress=progress, tracked=marks)
        return cls(catalog, encoder)

    def warm_up(self) -> None:
        """Run one search, so that the first visitor does not wait for compilation and model loading."""
        time_s = np.arange(2 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
        scale = 0.2 * np.sin(2 * np.pi * np.where(time_s < 1.0, 220.0, 247.0) * time_s)
        self.recognize((SAMPLE_RATE_HZ, scale.astype(np.float32)))
        steps = Melody(np.repeat([60.0, 62.0, 64.0], 25))
        self.recognize_melody(steps)

    def hear(self, audio: AudioSource) -> Melody:
        """Return the melody of a hum without searching it: what ``earlier`` of :meth:`recognize` takes.

        Parameters
        ----------
        audio : path or (sample_rate_hz, samples)
            A recording of one voice; at most a minute.

        Raises
        ------
        AudioError
            The recording cannot be read, or is too long or too large.
        """
        return track_pitch(load_audio(audio)).melody

    def evidence(self, hum: Melody) -> Evidence:
        """Return what a ranking of all songs is made of, to fit weights or to see why; a hum of 1 to 15 s."""
        ranking, vote = self._evidence(fill_rests(hum), self.catalog.select())
        return Evidence(tuple(self.catalog.songs[song].id for song in ranking.song), ranking.cost_st, vote)

    def recognize(
        self,
        audio: AudioSource,
        genres: Iterable[str] | None = None,
        gender: str = ANY_GENDER,
        top_k: int = DEFAULT_TOP_K,
        only_known: bool = False,
        earlier: Sequence[Melody] = (),
    ) -> SearchResult:
        """Find the song of a hum.

        Parameters
        ----------
        audio : path or (sample_rate_hz, samples)
            A recording of one voice humming, singing or whistling; at most a minute.
        genres : iterable of str, optional
            Search songs of any of these genres; all if empty.
        gender : {"any", "female", "male", "mixed"}
            Gender of the song's singer.
        top_k : int
            Length of the ranking, 1 to 100.
        only_known : bool
            Leave out songs whose genre or gender is unknown when filtering by it.
        earlier : sequence of Melody
            What was heard in earlier hums of the same tune (:attr:`SearchResult.hum`), at most four: their evidence is
            joined with that of this one.

        Raises
        ------
        AudioError
            The recording cannot be read, or is too long or too large.
        QueryError
            An unknown genre or gender, an impossible ``top_k``, or too many earlier hums.
        """
        started_s = time.perf_counter()
        selection = self._select(genres, gender, top_k, only_known, earlier)
        samples = load_audio(audio)
        track = track_pitch(samples)
        hum = track.melody
        return self._answer(hum, earlier, assess(samples, track, hum), selection, top_k, started_s)

    def recognize_melody(
        self,
        hum: Melody,
        genres: Iterable[str] | None = None,
        gender: str = ANY_GENDER,
        top_k: int = DEFAULT_TOP_K,
        only_known: bool = False,
        earlier: Sequence[Melody] = (),
    ) -> SearchResult:
        """Find the song of a melody that was tracked elsewhere; parameters and errors as in :meth:`recognize`."""
        started_s = time.perf_counter()
        selection = self._select(genres, gender, top_k, only_known, earlier)
        return self._answer(hum, earlier, (), selection, top_k, started_s)

    def _select(
        self, genres: Iterable[str] | None, gender: str, top_k: int, only_known: bool, earlier: Sequence[Melody]
    ) -> Selection:
        if len(earlier) > MAX_EARLIER:
            raise QueryError(f"{len(earlier)} earlier hums are too many; at most {MAX_EARLIER} are joined")
        if isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or not 1 <= top_k <= MAX_TOP_K:
            raise QueryError(f"top_k must be a whole number from 1 to {MAX_TOP_K}, got {top_k!r:.40}")
        if isinstance(genres, str):
            genres = [genres]
        return self.catalog.select(genres or (), gender or ANY_GENDER, only_known)

    def _answer(
        self,
        melody: Melody,
        earlier: Sequence[Melody],
        advice: tuple[Advice, ...],
        selection: Selection,
        top_k: int,
        started_s: float,
    ) -> SearchResult:
        earlier = tuple(hum for hum in earlier if hum.voiced_s >= MIN_VOICED_S)
        matches: tuple[Match, ...] = ()
        no_match, elsewhere = True, None
        if melody.voiced_s >= MIN_VOICED_S:
            hums = [melody, *earlier]
            ranked = self._rank(hums, selection)
            matches = self._matches(ranked, top_k)
            no_match = not ranked.is_match
            elsewhere = self._elsewhere(hums, selection, matches)
        return SearchResult(
            matches=matches,
            no_match=no_match,
            advice=advice,
            hum=melody,
            earlier=earlier,
            n_searched=selection.n_songs,
            n_unknown=selection.n_unknown,
            elsewhere=elsewhere,
            notices=self.notices,
            seconds=time.perf_counter() - started_s,
        )

    def _rank(self, hums: Sequence[Melody], selection: Selection) -> _Ranked:
        """Take every hum as a whole; if that finds nothing and one pauses, by its phrases, if those do."""
        whole = [[fill_rests(hum)] for hum in hums]
        ranked = self._rank_parts(whole, selection)
        phrases = [cut_at_pauses(hum) for (hum,) in whole]
        if ranked.is_match or phrases == whole:
            return ranked
        by_phrases = self._rank_parts(phrases, selection)
        return by_phrases if by_phrases.is_match else ranked

    def _rank_parts(self, hums: Sequence[Sequence[FilledContour]], selection: Selection) -> _Ranked:
        """Join the evidence of the parts of every hum, each placed for itself."""
        pieces = tuple(
            self._rank_piece(piece, number, selection)
            for number, parts in enumerate(hums)
            for part in parts
            for piece in cut_evenly(part)
        )
        voiced_s = sum(part.voiced_s for parts in hums for part in parts)
        songs, scores_st = _join_pieces(pieces)
        confidence = probabilities(scores_st, voiced_s)
        tune = self._tune_numbers(songs)
        probability = np.bincount(tune, weights=confidence.song)[tune]  # of the tune, whichever version was meant
        best_st = np.full(tune.max(initial=-1) + 1, -np.inf)
        np.maximum.at(best_st, tune, scores_st)
        steps_behind = np.floor((best_st[tune] - scores_st) / VERSION_STEP_ST)
        order = np.lexsort((songs, steps_behind, tune, -probability))
        return _Ranked(pieces, songs[order], scores_st[order], probability[order], confidence.none)

    def _rank_piece(self, hum: FilledContour, number: int, selection: Selection) -> _Piece:
        ranking, vote = self._evidence(hum, selection)
        return _Piece(hum, number, ranking, VOTE_WEIGHT_ST * vote - ranking.cost_st)

    def _evidence(self, hum: FilledContour, selection: Selection) -> tuple[Ranking, np.ndarray]:
        """Return the songs that fit best and the votes for them, shape (n_ranked,)."""
        windows = embed_hum(hum, self._encoder)
        proposed = propose(windows, self._index, self._encoder.windows.song_hop_s, selection.wanted)
        placed = self._search.rank(hum, selection.mask, proposed)
        # A vote counts where the hum was placed: a long track has a window for everything somewhere.
        ranges = ranges_of(placed.song, *self._search.stretches_s(hum, placed), self._encoder.windows)
        vote = votes(windows, self._index, ranges)
        best = placed.best_of_songs(VOTE_WEIGHT_ST * vote - placed.cost_st)
        return placed.take(best), vote[best]

    def _tune_numbers(self, songs: np.ndarray) -> np.ndarray:
        """Return a number for the tune of each song, shape (n,), in order of first occurrence; versions share it."""
        numbers: dict[str, int] = {}
        tunes = (self.catalog.songs[song].tune or self.catalog.songs[song].id for song in songs)
        return np.array([numbers.setdefault(tune, len(numbers)) for tune in tunes], dtype=np.int64)

    def _matches(self, ranked: _Ranked, top_k: int) -> tuple[Match, ...]:
        return tuple(self._match(ranked, position) for position in range(min(top_k, len(ranked.songs))))

    def _match(self, ranked: _Ranked, position: int) -> Match:
        song = self.catalog.songs[int(ranked.songs[position])]
        return Match(
            rank=position + 1,
            id=song.id,
            title=song.title,
            title_ko=song.title_ko,
            artist=song.artist,
            genre=song.genre,
            gender=song.gender,
            year=song.year,
            lyric=song.lyric,
            tune=song.tune,
            probability=float(ranked.probability[position]),
            score=float(ranked.scores_st[position]),
            alignment=self._align(ranked.pieces, int(ranked.songs[position])),
        )

    def _align(self, pieces: tuple[_Piece, ...], song: int) -> Alignment:
        """Trace the piece of the latest hum that fits the song best."""
        latest = [piece for piece in pieces if piece.number == 0]
        found = [
            (piece.scores_st[index], number, index)
            for number, piece in enumerate(latest)
            for index in np.flatnonzero(piece.ranking.song == song)
        ]
        if found:
            _, number, index = max(found)
            return self._search.align(latest[number].hum, latest[number].ranking, int(index))
        alone = np.arange(len(self.catalog)) == song  # only an earlier hum brought this song up
        hum = latest[0].hum
        while len((ranking := self._search.rank(hum, alone)).song) == 0:  # a song shorter than this hum
            hum = hum.part(0, len(hum.pitch_midi) // 2)
        return self._search.align(hum, ranking, 0)

    def _elsewhere(self, hums: Sequence[Melody], selection: Selection, matches: tuple[Match, ...]) -> Match | None:
        """Look outside a filter whose own best is poor."""
        if selection.n_songs == len(self.catalog) or (matches and matches[0].probability >= GOOD_PROBABILITY):
            return None
        ranked = self._rank(hums, self.catalog.select())
        if len(ranked.songs) == 0 or ranked.probability[0] < GOOD_PROBABILITY:
            return None
        best = self._match(ranked, 0)
        return None if selection.mask[self.catalog.position(best.id)] else best


def _join_pieces(pieces: tuple[_Piece, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the songs, best first, and their mean scores; a piece that missed a song gives it its worst score."""
    songs = np.unique(np.concatenate([piece.ranking.song for piece in pieces]))
    total_st = np.zeros(len(songs))
    for piece in pieces:
        piece_st = np.full(len(songs), piece.scores_st.min(initial=0.0))
        piece_st[np.searchsorted(songs, piece.ranking.song)] = piece.scores_st
        total_st += piece_st
    order = np.argsort(-total_st, kind="stable")
    return songs[order], total_st[order] / len(pieces)
