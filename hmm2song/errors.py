"""Every error the library raises, under one root.

A message says what is wrong, with which value, and what to do about it. What the *user* can mend in a
recording (too short, too quiet, ...) is not an error but advice in the result, see :mod:`hmm2song.melody.advice`.
"""

from numbers import Integral


class Hmm2SongError(Exception):
    """Root of all errors raised by this package."""


class AudioError(Hmm2SongError):
    """A recording cannot be used: missing, empty, not audio, damaged, too long or too large."""


class SeparationError(AudioError):
    """A recording cannot be separated into voice and accompaniment, or the result cannot be right."""


class SeparatorUnavailableError(Hmm2SongError):
    """No recording can be separated: weights or environment are missing, or the worker process has ended."""


class QueryError(Hmm2SongError, ValueError):
    """An option of a search is impossible (``top_k``, genre, gender, rank)."""


class UnknownSongError(Hmm2SongError, KeyError):
    """No song in the catalog has the id asked for."""

    def __str__(self) -> str:  # KeyError would print the message in quotes
        return str(self.args[0])


class MelodyError(Hmm2SongError, ValueError):
    """Notes or an f0 track do not describe a melody."""


class ScoreError(Hmm2SongError):
    """A score file (MIDI, ABC, MusicXML, MEI, Humdrum, UltraStar, JSON lines, f0 table) cannot be read."""


class CatalogError(Hmm2SongError):
    """A catalog folder is incomplete, of another version, or made for another encoder."""


class IntegrityError(CatalogError):
    """A file of a catalog or model differs from its recorded checksum."""


class HubError(Hmm2SongError):
    """A repository on the Hub cannot be reached or does not hold what it should."""


class ModelError(Hmm2SongError):
    """A model cannot be read or does not fit its configuration."""


class IndexUnavailableError(Hmm2SongError):
    """A search index outside this program cannot be reached, or does not hold the catalog in use."""


def require_whole(name: str, value: object, least: int, most: int) -> None:
    """Raise QueryError if an option is no whole number (of Python or numpy) from ``least`` to ``most``."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= value <= most:
        raise QueryError(f"{name} must be a whole number from {least} to {most}, got {value!r:.40}")
