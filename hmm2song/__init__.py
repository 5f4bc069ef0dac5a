"""Hmm2Song: hum a tune, get the song.

>>> from hmm2song import Recognizer
>>> recognizer = Recognizer.from_pretrained()
>>> result = recognizer.recognize("assets/examples/arirang.flac", top_k=5)

A name is loaded when it is first used: ``import hmm2song`` and the errors need neither torch nor numba.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from hmm2song.errors import Hmm2SongError

if TYPE_CHECKING:
    from hmm2song.match.results import Advice, Alignment, Match, SearchResult
    from hmm2song.recognizer import Recognizer
    from hmm2song.similar.songs import SimilarSongs

__all__ = ["Advice", "Alignment", "Hmm2SongError", "Match", "Recognizer", "SearchResult", "SimilarSongs"]
__version__ = "0.1.0"
_MODULES = {"Recognizer": "hmm2song.recognizer", "SimilarSongs": "hmm2song.similar.songs"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULES.get(name, "hmm2song.match.results")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
