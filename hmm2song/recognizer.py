"""The recogniser: a recording in, a :class:`~hmm2song.match.results.SearchResult` out.

recording -> audio -> melody -> ranking (:mod:`hmm2song.match.ranking`) -> result.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.catalog.catalog import Catalog, Selection
from hmm2song.catalog.hub import default_encoder, resolve_catalog, resolve_model_of
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import QueryError, require_whole
from hmm2song.index.base import WindowIndex
from hmm2song.machine import n_cores
from hmm2song.match.listening import Heard, Listening
from hmm2song.match.ranking import MIN_VOICED_S, Query, Ranker, Ranking
from hmm2song.match.results import NONE, Advice, Match, SearchResult, level_of
from hmm2song.match.search_index import index_of
from hmm2song.melody.advice import assess
from hmm2song.melody.melody import Melody
from hmm2song.melody.pitch import track_pitch
from hmm2song.song import ANY_GENDER, Song

INDEX_VARIABLE = "HMM2SONG_INDEX"
"""Environment variable naming another index than the exact one: ``milvus+<uri>`` or ``faiss+<file>``."""
DEFAULT_TOP_K = 10
MAX_TOP_K = 100
MAX_EARLIER = 4
GOOD_PROBABILITY = 0.5
"""A match this sure outside the filter is worth offering when the filter's own best is not."""

AudioSource = str | os.PathLike | tuple[int, np.ndarray] | tuple[np.ndarray, int]


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
        Threads per search; default: the cores this process may use.
    index : WindowIndex, optional
        Where the catalog's embeddings are searched; default: in memory.

    Attributes
    ----------
    ranker : Ranker
        What judges the songs; studies ask it for its evidence.
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
        self.n_threads = n_threads or n_cores()
        self.ranker = Ranker(catalog, encoder or default_encoder(), index, self.n_threads)

    def __repr__(self) -> str:
        return f"Recognizer({self.catalog!r})"

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
        model = resolve_model_of(resolved.folder, token=token, cache_dir=cache_dir, local_files_only=local_files_only)
        encoder = MelodyEncoder.load(model.folder)
        catalog = (Catalog.load_downloaded if resolved.downloaded else Catalog.load)(resolved.folder, encoder)
        setting = os.environ.get(INDEX_VARIABLE)
        index = index_of(setting, catalog) if setting else None
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
        phase = 2 * np.pi * np.where(time_s < 1.0, 220.0, 247.0) * time_s
        scale = 0.2 * np.sin(phase) + 0.1 * np.sin(2 * phase)  # an overtone: pure tones take a path of their own
        self.recognize((SAMPLE_RATE_HZ, scale.astype(np.float32)))

    def hear(self, audio: AudioSource) -> Melody:
        """Return the melody of a hum without searching it: what ``earlier`` of :meth:`recognize` takes.

        Parameters
        ----------
        audio : path, (sample_rate_hz, samples) or (samples, sample_rate_hz)
            A recording of one voice; at most a minute.

        Raises
        ------
        AudioError
            The recording cannot be read, or is too long or too large.
        """
        return track_pitch(load_audio(audio)).melody

    def recognize(
        self,
        audio: AudioSource,
        genres: Iterable[str] | None = None,
        gender: str = ANY_GENDER,
        top_k: int = DEFAULT_TOP_K,
        only_known: bool = False,
        earlier: Sequence[Melody] = (),
        guessed: bool = False,
    ) -> SearchResult:
        """Find the song of a hum.

        Parameters
        ----------
        audio : path, (sample_rate_hz, samples) or (samples, sample_rate_hz)
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
        guessed : bool
            Where genre or gender is not stated, take the guessed one for known.

        Raises
        ------
        AudioError
            The recording cannot be read, or is too long or too large.
        QueryError
            An unknown genre or gender, an impossible ``top_k``, or too many earlier hums.
        """
        started_s = time.perf_counter()
        selection = self._select(genres, gender, top_k, only_known, earlier, guessed)
        samples = load_audio(audio)
        track = track_pitch(samples, self.n_threads)
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
        guessed: bool = False,
    ) -> SearchResult:
        """Find the song of a melody that was tracked elsewhere; parameters and errors as in :meth:`recognize`."""
        started_s = time.perf_counter()
        selection = self._select(genres, gender, top_k, only_known, earlier, guessed)
        return self._answer(hum, earlier, (), selection, top_k, started_s)

    def listening(
        self,
        genres: Iterable[str] | None = None,
        gender: str = ANY_GENDER,
        top_k: int = DEFAULT_TOP_K,
        only_known: bool = False,
        earlier: Sequence[Melody] = (),
        guessed: bool = False,
    ) -> Listening:
        """Begin to listen to a hum whose sound comes piece by piece; parameters and errors as in :meth:`recognize`."""
        self._select(genres, gender, top_k, only_known, earlier, guessed)
        return Listening(
            lambda samples: self.recognize(
                (SAMPLE_RATE_HZ, samples), genres, gender, top_k, only_known, earlier, guessed
            )
        )

    def listen(self, chunks: Iterable[np.ndarray | bytes], **options: object) -> Iterator[Heard]:
        """Listen to a hum while it goes on, until one song is sure, the hum is over, or 15 s have passed.

        Parameters
        ----------
        chunks : iterable of np.ndarray or bytes
            The sound as it comes: mono at 16 kHz, floats of shape (n,) or mu-law bytes.
        **options
            As in :meth:`recognize`.

        Yields
        ------
        Heard
            After each chunk. The first result comes after three seconds; the last one has ``stopped`` set.

        Raises
        ------
        AudioError
            A chunk is neither.
        QueryError
            As :meth:`recognize`.
        """
        return self.listening(**options).follow(chunks)

    def _select(
        self,
        genres: Iterable[str] | None,
        gender: str,
        top_k: int,
        only_known: bool,
        earlier: Sequence[Melody],
        guessed: bool,
    ) -> Selection:
        if len(earlier) > MAX_EARLIER:
            raise QueryError(f"{len(earlier)} earlier hums are too many; at most {MAX_EARLIER} are joined")
        require_whole("top_k", top_k, 1, MAX_TOP_K)
        return self.catalog.select(genres or (), gender or ANY_GENDER, only_known, guessed)

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
            query = self.ranker.query(hums)
            ranking = self.ranker.rank(query, selection)
            matches = tuple(self._match(ranking, position) for position in range(min(top_k, len(ranking))))
            voiced_s = sum(hum.voiced_s for hum in hums)
            best = matches[0].probability if matches else 0.0
            no_match = not ranking.is_match or level_of(best, voiced_s) == NONE
            elsewhere = self._elsewhere(query, selection, matches)
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

    def _match(self, ranking: Ranking, position: int) -> Match:
        song = self.catalog.songs[int(ranking.songs[position])]
        return Match(
            rank=position + 1,
            id=song.id,
            title=song.title,
            title_ko=song.title_ko,
            artist=song.artist,
            author=song.author,
            genre=song.genre,
            gender=song.gender,
            year=song.year,
            lyric=song.lyric,
            tune=song.tune,
            guesses=song.guesses,
            probability=float(ranking.probability[position]),
            score=float(ranking.scores_st[position]),
            alignment=self.ranker.align(ranking, position),
            melody=self.catalog.melody(song.id),
            is_tracked=bool(self.catalog.tracked[int(ranking.songs[position])]),
        )

    def _elsewhere(self, query: Query, selection: Selection, matches: tuple[Match, ...]) -> Match | None:
        """Look outside a filter whose own best is poor."""
        if selection.n_songs == len(self.catalog) or (matches and matches[0].probability >= GOOD_PROBABILITY):
            return None
        ranking = self.ranker.rank(query, self.catalog.select())
        if len(ranking) == 0 or ranking.probability[0] < GOOD_PROBABILITY:
            return None
        best = self._match(ranking, 0)
        return None if selection.mask[self.catalog.position(best.id)] else best
