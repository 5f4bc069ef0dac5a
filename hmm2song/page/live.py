"""Hums that are still going on: their sound comes from browsers and programs in chunks, by run.

Conventions
-----------
* A run is one hum; whoever hums chooses its id. Chunks are mu-law bytes, mono at 16 kHz, and say at which sample they
  begin: a chunk sent twice counts once, and one that leaves a gap is refused, with where to go on from.
* Calls from the page bypass Gradio's queue. So only a few search at a time and the others just listen; at most
  :data:`MAX_RUNS` runs are kept, and a silent one is forgotten after :data:`KEPT_S` seconds.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from threading import Lock, Semaphore, Timer
from typing import NamedTuple

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.errors import QueryError
from hmm2song.match.listening import MAX_LISTENING_S, Heard, Listening
from hmm2song.melody.melody import Melody
from hmm2song.page import CONCURRENT_SEARCHES
from hmm2song.recognizer import DEFAULT_TOP_K, Recognizer
from hmm2song.song import ANY_GENDER

MAX_RUNS = 256
"""A run of 15 s holds 1 MB."""
KEPT_S = 60.0
MAX_CHUNK_BYTES = round(MAX_LISTENING_S * SAMPLE_RATE_HZ)
MAX_ID_LETTERS = 64


class Asked(NamedTuple):
    """What a hum is searched for, as the recognizer takes it: the filter, and the earlier hums of the same tune."""

    genres: tuple[str, ...] = ()
    gender: str = ANY_GENDER
    only_known: bool = False
    guessed: bool = False
    earlier: tuple[Melody, ...] = ()

    @property
    def filter(self) -> tuple[tuple[str, ...], str, bool, bool]:
        """Genres, gender, whether songs must be known to fit, and whether what is guessed is known."""
        return self[:4]


@dataclass(eq=False)
class Run:
    """One hum in progress; ``lock`` is held while it is searched."""

    listening: Listening
    asked: Asked
    touched_s: float = 0.0
    lock: Lock = field(default_factory=Lock)


class Runs:
    """The hums in progress; ``n_searching`` of them are searched at the same time."""

    def __init__(self, recognizer: Recognizer, n_searching: int = CONCURRENT_SEARCHES) -> None:
        self._recognizer = recognizer
        self._runs: dict[str, Run] = {}
        self._lock = Lock()
        self._free = Semaphore(n_searching)

    def __len__(self) -> int:
        return len(self._runs)

    def open(self, run_id: str, asked: Asked | None = None, top_k: int = DEFAULT_TOP_K) -> Run:
        """Return the run with this id; a new one is searched for what is ``asked``.

        Raises
        ------
        QueryError
            Too many runs, an id that is none, or an impossible filter.
        """
        if not isinstance(run_id, str) or not 0 < len(run_id) <= MAX_ID_LETTERS:
            raise QueryError(f"a run is named by 1 to {MAX_ID_LETTERS} letters, not by {run_id!r:.80}")
        with self._lock:
            if run_id not in self._runs:
                if len(self._runs) >= MAX_RUNS:
                    raise QueryError(f"{MAX_RUNS} hums are going on already; try again in a minute")
                asked = asked or Asked()
                listening = self._recognizer.listening(top_k=top_k, **asked._asdict())
                self._runs[run_id] = Run(listening, asked)
                self._forget_later(run_id, KEPT_S)
            run = self._runs[run_id]
            run.touched_s = time.monotonic()
        return run

    def _forget_later(self, run_id: str, after_s: float) -> None:
        timer = Timer(after_s, self._forget, [run_id])
        timer.daemon = True  # it does not keep the program from ending
        timer.start()

    def _forget(self, run_id: str) -> None:
        """Drop a run that has been silent for long enough, or look again when it will have been."""
        with self._lock:
            run = self._runs.get(run_id)
            left_s = KEPT_S - (time.monotonic() - run.touched_s) if run else 0.0
            if run and left_s <= 0:
                del self._runs[run_id]
        if left_s > 0:
            self._forget_later(run_id, left_s)

    def hear(self, run_id: str, at: int, coded: bytes) -> tuple[int, Heard]:
        """Take a chunk that begins at sample ``at``; return where the next one begins, and what is known.

        Raises
        ------
        QueryError
            As :meth:`open`, or the chunk is too large or begins at no sample.
        """
        if not isinstance(at, int) or at < 0:
            raise QueryError(f"a chunk begins at a sample, 0 or later, not at {at!r:.40}")
        if len(coded) > MAX_CHUNK_BYTES:
            raise QueryError(f"a chunk has {len(coded)} bytes; at most {MAX_CHUNK_BYTES} are accepted")
        run = self.open(run_id)
        with run.lock:
            n_known = run.listening.n_samples - at
            searching = self._free.acquire(blocking=False)
            try:
                heard = run.listening.add(coded[n_known:] if n_known >= 0 else b"", may_search=searching)
            finally:
                if searching:
                    self._free.release()
            return run.listening.n_samples, heard

    def close(self, run_id: str) -> tuple[Asked, Heard] | None:
        """Search all of a run, and forget it; None if there is no such run, or not any more."""
        with self._lock:
            run = self._runs.pop(run_id, None)
        if run is None:
            return None
        with run.lock:
            return run.asked, run.listening.end()
