"""Hmm2Song: hum a tune, get the song.

>>> from hmm2song import Recognizer
>>> recognizer = Recognizer.from_pretrained()
>>> result = recognizer.recognize("assets/examples/arirang.flac", top_k=5)
"""

from hmm2song.errors import Hmm2SongError
from hmm2song.recognizer import Recognizer
from hmm2song.results import Advice, Alignment, Match, SearchResult

__all__ = ["Advice", "Alignment", "Hmm2SongError", "Match", "Recognizer", "SearchResult"]
__version__ = "0.1.0"
