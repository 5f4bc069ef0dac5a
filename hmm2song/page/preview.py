"""Short cuts of the catalog's recordings, so that a visitor hears the match without the whole recording.

Conventions
-----------
* A cut is an MP3 file of :data:`LENGTH_S`, about 0.5 MB, in a folder that the page serves. The page's sweep deletes it
  by age, and this module by number: at most :data:`MAX_KEPT` of them exist.
* One cut is made at a time, by seeking: memory and time do not depend on how long the recording is.
"""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import numpy as np
import soundfile

from hmm2song.audio import stereo_blocks
from hmm2song.errors import AudioError

SAMPLE_RATE_HZ = 44100
LEAD_S = 3.0
"""The cut starts this long before the match, so that the listener can go back a little."""
LENGTH_S = 30.0
MAX_KEPT = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preview:
    """A cut of a recording; the match starts at ``match_s`` seconds of the cut."""

    path: Path
    match_s: float


class Previews:
    """Makes cuts and keeps the latest of them in ``folder``."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self._kept: dict[tuple[Path, int], Path] = {}  # the cut used last stands last
        self._lock = Lock()

    def cut(self, recording: Path, match_s: float) -> Preview | None:
        """Return a cut around ``match_s`` of a recording, or None if the recording cannot be decoded there."""
        first_s = max(0, int(match_s - LEAD_S))
        with self._lock:
            path = self._kept.pop((recording, first_s), None)
            if path is None or not path.is_file():
                try:
                    path = _write_mp3(_decode(recording, first_s), self._folder)
                except AudioError as error:
                    log.warning("No preview of a recording: %s", error)
                    return None
            self._kept[recording, first_s] = path
            os.utime(path)  # the page's sweep counts the age from here
            for oldest in list(self._kept)[:-MAX_KEPT]:
                self._kept.pop(oldest).unlink(missing_ok=True)
        return Preview(path, match_s - first_s)


def _decode(recording: Path, first_s: float) -> np.ndarray:
    n_wanted, parts = round(LENGTH_S * SAMPLE_RATE_HZ), []
    with closing(stereo_blocks(recording, SAMPLE_RATE_HZ, from_s=first_s)) as blocks:
        for block in blocks:
            parts.append(block)
            n_wanted -= len(block)
            if n_wanted <= 0:
                break
    return np.concatenate(parts)[: round(LENGTH_S * SAMPLE_RATE_HZ)]


def _write_mp3(samples: np.ndarray, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix="match-", suffix=".mp3", dir=folder)
    with os.fdopen(descriptor, "wb") as file:
        soundfile.write(file, samples, SAMPLE_RATE_HZ, format="MP3")
    return Path(name)
