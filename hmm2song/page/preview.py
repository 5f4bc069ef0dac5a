"""What plays: short cuts of the catalog's recordings, or the melody as a tone, as files that the page serves.

Conventions
-----------
* A cut is an MP3 file of :data:`LENGTH_S`, about 0.5 MB, in a folder that the page serves; a tone is much smaller. The
  page's sweep deletes them by age, and this module by number: at most :data:`MAX_KEPT` of them exist.
* One cut is made at a time, by seeking: memory and time do not depend on how long the recording is.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import soundfile

from hmm2song.audio import stereo_blocks
from hmm2song.errors import AudioError
from hmm2song.melody.melody import Melody
from hmm2song.page import tone

SAMPLE_RATE_HZ = 44100
LEAD_S = 3.0
"""The cut starts this long before the match, so that the listener can go back a little."""
LENGTH_S = 30.0
TONE_LEAD_S = 1.0
"""The tone starts this long before the match and ends this long after it, so that the listener finds the place."""
MAX_KEPT = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preview:
    """A file to play: it starts at ``from_s`` of the song, and the match ``match_s`` seconds later."""

    path: Path
    match_s: float
    from_s: float = 0.0


class Previews:
    """Makes cuts and tones and keeps the latest of them in ``folder``."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._kept: dict[tuple[object, ...], Path] = {}  # the file used last stands last
        self._lock = Lock()

    def cut(self, recording: Path, match_s: float) -> Preview | None:
        """Return a cut around ``match_s`` of a recording, or None if the recording cannot be decoded there."""
        first_s = max(0, int(match_s - LEAD_S))
        try:
            path = self._keep((recording, first_s), lambda: _decode(recording, first_s), SAMPLE_RATE_HZ)
        except AudioError as error:
            log.warning("No preview of a recording: %s", error)
            return None
        return Preview(path, match_s - first_s, first_s)

    def tone(self, song_id: str, melody: Melody, start_s: float, end_s: float) -> Preview:
        """Return a stretch of a melody as a tone, with a little before and after it."""
        from_s, to_s = max(0.0, start_s - TONE_LEAD_S), end_s + TONE_LEAD_S
        key = (song_id, round(from_s, 2), round(to_s, 2))
        path = self._keep(key, lambda: tone.melody_tone(melody, from_s, to_s), tone.SAMPLE_RATE_HZ)
        return Preview(path, start_s - from_s, from_s)

    def _keep(self, key: tuple[object, ...], make: Callable[[], np.ndarray], rate_hz: int) -> Path:
        with self._lock:
            path = self._kept.pop(key, None)
            if path is None or not path.is_file():
                path = _write_mp3(make(), rate_hz, self._folder)
            self._kept[key] = path
            os.utime(path)  # the page's sweep counts the age from here
            for oldest in list(self._kept)[:-MAX_KEPT]:
                self._kept.pop(oldest).unlink(missing_ok=True)
        return path


def _decode(recording: Path, first_s: float) -> np.ndarray:
    n_wanted, parts = round(LENGTH_S * SAMPLE_RATE_HZ), []
    with closing(stereo_blocks(recording, SAMPLE_RATE_HZ, from_s=first_s)) as blocks:
        for block in blocks:
            parts.append(block)
            n_wanted -= len(block)
            if n_wanted <= 0:
                break
    return np.concatenate(parts)[: round(LENGTH_S * SAMPLE_RATE_HZ)]


def _write_mp3(samples: np.ndarray, rate_hz: int, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix="match-", suffix=".mp3", dir=folder)
    with os.fdopen(descriptor, "wb") as file:
        soundfile.write(file, samples, rate_hz, format="MP3")
    return Path(name)
