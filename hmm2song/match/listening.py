"""A hum that still goes on: guesses as it grows, and when enough has been heard.

Conventions
-----------
* Sound comes in chunks of any length, mono at 16 kHz: float32 samples with full scale +-1, or mu-law bytes
  (:func:`hmm2song.audio.from_mu_law`). They are searched together, from the first on.
* Times are seconds of sound since the start.
* When to stop was chosen by ``scripts/studies/measure_listening.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hmm2song.audio import SAMPLE_RATE_HZ, from_mu_law
from hmm2song.errors import AudioError
from hmm2song.match.results import MIN_EVIDENCE_S, SearchResult
from hmm2song.melody.melody import HOP_S

FIRST_SEARCH_S = 3.0
"""With less, the right song is hardly ever likely enough to be named."""
SEARCH_EVERY_S = 0.5
"""New sound that is worth another search."""
MAX_LISTENING_S = 15.0
SILENCE_S = 2.0
"""Longest pause of somebody who still hums; breathing takes less than one second."""
SURE, SILENT, FULL, ENDED = "sure", "silent", "full", "ended"
"""Why listening stopped: one song is certain enough, the hum is over, the longest time has passed, no chunk is left."""


@dataclass(frozen=True)
class Guess:
    """The best song of an interim search, by its tune or id, and the seconds of melody it was judged by."""

    tune: str
    probability: float
    voiced_s: float


@dataclass(frozen=True)
class StopRule:
    """Sure is a song that is the best for the ``times``-th time in a row and has at least this ``probability``."""

    probability: float = 0.6
    times: int = 2

    def is_sure(self, guesses: Sequence[Guess]) -> bool:
        """Tell whether the latest guesses suffice."""
        latest = guesses[-self.times :]
        if len(latest) < self.times or len({guess.tune for guess in latest}) > 1:
            return False
        return latest[-1].probability >= self.probability and latest[-1].voiced_s >= MIN_EVIDENCE_S


@dataclass(frozen=True, eq=False)
class Heard:
    """What is known after ``heard_s`` seconds.

    Attributes
    ----------
    heard_s : float
        Seconds of sound so far.
    result : SearchResult or None
        The latest search; None before the first. When ``stopped`` is set it has searched all that was heard.
    stopped : str
        Empty while listening goes on; then :data:`SURE`, :data:`SILENT`, :data:`FULL` or :data:`ENDED`.
    """

    heard_s: float
    result: SearchResult | None
    stopped: str = ""

    def to_dict(self) -> dict:
        """Return plain JSON types."""
        result = self.result.to_dict() if self.result else None
        return {"heard_s": round(self.heard_s, 2), "stopped": self.stopped, "result": result}


class Listening:
    """One hum in progress. Not for several threads at once.

    Parameters
    ----------
    search : callable
        Takes what was heard, float32 samples at 16 kHz, shape (n,), n > 0.
    rule : StopRule, optional
        When one song is sure enough.
    """

    def __init__(self, search: Callable[[np.ndarray], SearchResult], rule: StopRule | None = None) -> None:
        self._search = search
        self._rule = rule or StopRule()
        self._samples = np.zeros(round(MAX_LISTENING_S * SAMPLE_RATE_HZ), np.float32)
        self._n = self._n_searched = 0
        self._guesses: list[Guess] = []
        self._result: SearchResult | None = None
        self._stopped = ""

    @property
    def n_samples(self) -> int:
        """How many samples were taken; what comes after :data:`MAX_LISTENING_S` is dropped."""
        return self._n

    def add(self, chunk: np.ndarray | bytes, may_search: bool = True) -> Heard:
        """Take the next sound and search if there is enough of it; after a stop nothing is taken any more.

        Where others are being served, ``may_search`` can be False: then the next call searches.

        Raises
        ------
        AudioError
            Neither bytes nor finite floats of shape (n,).
        """
        samples = _samples_of(chunk)
        if not self._stopped:
            samples = samples[: len(self._samples) - self._n]
            self._samples[self._n : self._n + len(samples)] = samples
            self._n += len(samples)
            is_full = self._n == len(self._samples)
            if may_search and (is_full or self._n >= self._next_search()):
                self._guess()
                sure = self._rule.is_sure(self._guesses)
                self._stopped = SURE if sure else SILENT if self._is_silent() else FULL if is_full else ""
        return self._heard()

    def end(self) -> Heard:
        """Search all that was heard: no sound follows."""
        if not self._stopped:
            if self._n > self._n_searched:
                self._guess()
            self._stopped = ENDED
        return self._heard()

    def follow(self, chunks: Iterable[np.ndarray | bytes]) -> Iterator[Heard]:
        """Yield what is known after each chunk, until listening stops; the last one has ``stopped`` set."""
        for chunk in chunks:
            heard = self.add(chunk)
            yield heard
            if heard.stopped:
                return
        yield self.end()

    def _next_search(self) -> int:
        first, every = round(FIRST_SEARCH_S * SAMPLE_RATE_HZ), round(SEARCH_EVERY_S * SAMPLE_RATE_HZ)
        return max(first, self._n_searched + every)

    def _guess(self) -> None:
        self._result = self._search(self._samples[: self._n])
        self._n_searched = self._n
        best = self._result.matches[0] if self._result.matches else None
        voiced_s = self._result.hum.voiced_s
        self._guesses.append(
            Guess(best.tune or best.id, best.probability, voiced_s) if best else Guess("", 0.0, voiced_s)
        )

    def _is_silent(self) -> bool:
        """Tell whether a hum was heard and has ended."""
        voiced = np.flatnonzero(self._result.hum.voiced)
        return len(voiced) > 0 and self._n / SAMPLE_RATE_HZ - (voiced[-1] + 1) * HOP_S >= SILENCE_S

    def _heard(self) -> Heard:
        return Heard(self._n / SAMPLE_RATE_HZ, self._result, self._stopped)


def _samples_of(chunk: np.ndarray | bytes) -> np.ndarray:
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return from_mu_law(bytes(chunk))
    samples = np.asarray(chunk)
    if samples.ndim != 1 or samples.dtype.kind != "f" or not np.isfinite(samples).all():
        raise AudioError(
            f"a chunk is mu-law bytes or finite floats of shape (n,) at 16 kHz, got {samples.dtype} of {samples.shape}"
        )
    return samples.astype(np.float32)
