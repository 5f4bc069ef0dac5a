"""What a recording is separated into, and what every backend that separates does."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from hmm2song.catalog.storage import sha256_of
from hmm2song.indexing.separation.voice_check import FAINT_DB

SILENT_PEAK = 1e-5
"""Samples that never exceed this are silent (-100 dB)."""
DIGEST_CHARS = 8
"""Hexadecimal digits of a digest in a backend's name: enough to tell a few models apart."""

Progress = Callable[[float], None]
"""Called with the share of the recording that is done, 0 to 1."""


@dataclass(frozen=True)
class Stems:
    """What a recording was separated into.

    ``vocals`` is the singing voice: FLAC, 16 bit, at the backend's sample rate; with the backend ``none`` the recording
    itself, with ``stems`` the file that was found. ``accompaniment`` is all the rest in the same form, or None if the
    backend has none. ``is_mix`` is true for the backend ``none`` only: nothing was separated. ``voice_db`` is the power
    of the voice in the mix, None if it was not measured.
    """

    vocals: Path
    accompaniment: Path | None
    is_mix: bool
    voice_db: float | None = None

    @property
    def is_instrumental(self) -> bool:
        """True if so little voice was found that it is mere bleed."""
        return self.voice_db is not None and self.voice_db < FAINT_DB


class Separator(Protocol):
    """Separates recordings one after another; open one per thread or process."""

    name: str

    def separate(self, recording: Path, out: Path, progress: Progress | None = None) -> Stems:
        """Separate a recording into the folder ``out``, which is made if it is missing.

        A folder that is complete already, for this recording and this separator, is returned as it is. A run that is
        killed leaves nothing that looks complete. SeparationError and AudioError concern this recording only;
        SeparatorUnavailableError means that none can be separated: no weights, a broken environment, a full disk.
        """
        ...


def weights_digest(files: list[Path]) -> str:
    """Return the first digits of a digest of the contents of some files; OSError if one cannot be read."""
    return hashlib.sha256(b"".join(bytes.fromhex(sha256_of(file)) for file in files)).hexdigest()[:DIGEST_CHARS]
