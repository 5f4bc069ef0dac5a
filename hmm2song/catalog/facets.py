"""What was heard in the recordings of a catalog: style, timbre, tags, voice and feel of each, and its moments.

On disk it is one more file of the catalog's folder, ``facets.safetensors``: the arrays of :class:`Facets` by name, and
in the metadata ``listener``, the fingerprint of all that they depend on. Of ``voice`` it holds the rows of the songs
that are sung, which ``is_sung`` names; older files hold all rows. Catalogs of notes have no such file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from hmm2song.catalog import storage
from hmm2song.catalog.storage import FACETS_FILE
from hmm2song.errors import CatalogError

STYLE_DIM = 200
N_MFCC = 20
TIMBRE_DIM = 2 * N_MFCC
"""Means of the MFCC, then their deviations."""
N_TAGS = 50
FEEL_COLUMNS = ("tempo_bpm", "pulse", "loudness_lufs", "loudness_spread_db", "onset_rate_hz", "brightness_hz")
"""Beats per minute (0: no beat), how clear the beat is (0 to 1), loudness of the file (which mastering decides: nothing
to compare songs by), its deviation from beat to beat, notes begun per second, and the median spectral centroid."""
BEATS_PER_MOMENT = 8
MOMENT_DIM = N_MFCC + BEATS_PER_MOMENT
"""Mean MFCC of a moment in :data:`MFCC_STEPS`, then the loudness of each beat, 0 to 10 in steps of 3 dB."""
MFCC_STEPS = np.array([4.0] * 2 + [2.0] * 6 + [1.0] * 12)

_FLOATS = {"style": STYLE_DIM, "timbre": TIMBRE_DIM, "tags": N_TAGS, "voice": None}
"""Columns of the float16 arrays; a voice may have any number of them."""


@dataclass(frozen=True, eq=False)
class Facets:
    """What was heard in each song of a catalog, a row a song; CatalogError if the arrays do not fit together.

    Attributes
    ----------
    heard : np.ndarray, shape (n_songs,), bool
        Whether there was sound to listen to. Rows of other songs are zero.
    style : np.ndarray, shape (n_songs, 200), float16
        Mean MusiCNN embedding of the sounding parts, at one loudness for all songs.
    timbre : np.ndarray, shape (n_songs, 40), float16
        MFCC: means, then deviations.
    tags : np.ndarray, shape (n_songs, 50), float16
        Mean probability of each tag (:data:`hmm2song.embeddings.style.TAGS`).
    voice : np.ndarray, shape (n_songs, dim), float16
        Unit embedding of the singing; zero where nobody sings.
    singing_share : np.ndarray, shape (n_songs,), float32
        Share of the duration in which somebody sings.
    feel : np.ndarray, shape (n_songs, 6), float32
        See :data:`FEEL_COLUMNS`.
    duration_s : np.ndarray, shape (n_songs,), float32
    n_moments : np.ndarray, shape (n_songs,), int32
    moment_start_s : np.ndarray, shape (n_moments in all,), float32
    moments : np.ndarray, shape (n_moments in all, 28), int8
        Stretches of eight beats, all songs one after the other, see :data:`MOMENT_DIM`.
    listener : str
        Fingerprint of the models and of the version of the listening pass; rows of different ones do not compare.
    """

    heard: np.ndarray
    style: np.ndarray
    timbre: np.ndarray
    tags: np.ndarray
    voice: np.ndarray
    singing_share: np.ndarray
    feel: np.ndarray
    duration_s: np.ndarray
    n_moments: np.ndarray
    moment_start_s: np.ndarray
    moments: np.ndarray
    listener: str

    def __post_init__(self) -> None:
        n_songs = len(self.heard)
        n_moments = int(self.n_moments.sum())
        self._check("heard", bool, (n_songs,))
        for name, n_columns in _FLOATS.items():
            self._check(name, np.float16, (n_songs, n_columns))
        for name in ("singing_share", "duration_s"):
            self._check(name, np.float32, (n_songs,))
        self._check("feel", np.float32, (n_songs, len(FEEL_COLUMNS)))
        self._check("n_moments", np.int32, (n_songs,))
        self._check("moment_start_s", np.float32, (n_moments,))
        self._check("moments", np.int8, (n_moments, MOMENT_DIM))
        if (self.n_moments < 0).any():
            raise CatalogError("the facets state negative numbers of moments")

    def _check(self, name: str, dtype: type, shape: tuple[int | None, ...]) -> None:
        array = getattr(self, name)
        fits = array.ndim == len(shape) and all(
            wanted in (None, n) for n, wanted in zip(array.shape, shape, strict=True)
        )
        if array.dtype != dtype or not fits:
            wanted = f"{np.dtype(dtype)} of shape {shape}"
            raise CatalogError(f"facets: {name} is {array.dtype} of shape {array.shape}, expected {wanted}")
        if not np.isfinite(array).all():
            raise CatalogError(f"facets: {name} holds numbers that are not finite")

    def __len__(self) -> int:
        return len(self.heard)

    @classmethod
    def unheard(cls, n_songs: int) -> Facets:
        """Return the rows of songs without sound."""
        songs = {name: np.zeros((n_songs, n_columns or 0), np.float16) for name, n_columns in _FLOATS.items()}
        return cls(
            heard=np.zeros(n_songs, bool),
            **songs,
            singing_share=np.zeros(n_songs, np.float32),
            feel=np.zeros((n_songs, len(FEEL_COLUMNS)), np.float32),
            duration_s=np.zeros(n_songs, np.float32),
            n_moments=np.zeros(n_songs, np.int32),
            moment_start_s=np.zeros(0, np.float32),
            moments=np.zeros((0, MOMENT_DIM), np.int8),
            listener="",
        )

    @classmethod
    def of_songs(cls, songs: Sequence[Facets | None]) -> Facets | None:
        """Return the facets of songs of which each was heard by itself or not at all; None if none was heard."""
        parts = [cls.unheard(1) if song is None else song for song in songs]
        return cls.concatenate(parts) if any(part.heard.any() for part in parts) else None

    @classmethod
    def concatenate(cls, parts: Sequence[Facets]) -> Facets:
        """Return the rows of several one after the other; CatalogError if different listeners heard them."""
        heard = [part for part in parts if part.heard.any()]
        listeners = {part.listener for part in heard}
        if len(listeners) > 1 or len({part.voice.shape[1] for part in heard}) > 1:
            raise CatalogError(
                f"different versions of this program listened to the recordings ({', '.join(sorted(listeners))}); "
                "bring the older catalog up to date with `index --update`, or give --no-listen"
            )
        voice_dim = heard[0].voice.shape[1] if heard else 0
        arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS if name != "voice"}
        voices = [part.voice if part.heard.any() else np.zeros((len(part), voice_dim), np.float16) for part in parts]
        return cls(**arrays, voice=np.concatenate(voices), listener="".join(listeners))

    def take(self, rows: Sequence[int] | np.ndarray) -> Facets:
        """Return the facets of some songs, in the order given."""
        rows = np.asarray(rows, dtype=np.intp)
        n_moments = self.n_moments[rows]
        first = (np.cumsum(self.n_moments) - self.n_moments)[rows]
        within = np.arange(n_moments.sum()) - np.repeat(np.cumsum(n_moments) - n_moments, n_moments)
        moments = {"moments", "moment_start_s"}
        places = np.repeat(first, n_moments) + within
        arrays = {name: getattr(self, name)[places if name in moments else rows] for name in _ARRAYS}
        return Facets(**arrays, listener=self.listener)

    def write(self, file: Path, **about: str) -> None:
        """Write the file of the facets; the same facets are the same bytes, if nothing else is told ``about`` them."""
        arrays = {name: np.ascontiguousarray(getattr(self, name)) for name in _ARRAYS}
        arrays["is_sung"] = self.voice.any(axis=1)
        arrays["voice"] = self.voice[arrays["is_sung"]]
        file.write_bytes(save(arrays, metadata={"listener": self.listener, **about}))

    @classmethod
    def read(cls, file: Path) -> Facets:
        """Read such a file, or raise CatalogError."""
        try:
            with safe_open(file, framework="numpy") as tensors:
                arrays, names = {name: tensors.get_tensor(name) for name in _ARRAYS}, tensors.keys()
                if "is_sung" in names:
                    arrays["voice"] = _all_rows(arrays["voice"], tensors.get_tensor("is_sung"))
                return cls(**arrays, listener=(tensors.metadata() or {})["listener"])
        except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError) as error:
            where = f"{file.name} of catalog {file.parent.name!r}"
            raise CatalogError(f"{where} is not well formed: {error!r:.200}") from error

    @classmethod
    def load(cls, folder: Path) -> Facets | None:
        """Read the facets that the manifest of a catalog's folder lists, or return None if it lists none.

        IntegrityError if the file is missing or differs from its checksum, CatalogError if it is not well formed.
        """
        is_listed = FACETS_FILE in storage.check_files(folder, (FACETS_FILE,))["files"]
        return cls.read(folder / FACETS_FILE) if is_listed else None


def _all_rows(rows: np.ndarray, is_sung: np.ndarray) -> np.ndarray:
    """Return the voices of all songs, given those of the sung ones."""
    voices = np.zeros((len(is_sung), rows.shape[1]), rows.dtype)
    voices[is_sung] = rows
    return voices


_ARRAYS = tuple(field.name for field in fields(Facets) if field.name != "listener")
