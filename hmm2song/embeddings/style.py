"""What a recording sounds like: MusiCNN (Pons & Serra 2019), trained to tag music with what people say of it.

Its embedding is the layer before the tags. The network is ``assets/model_style``, made by
``scripts/convert_models.py``. It depends on the level: bring the sound to one loudness first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.embeddings.base import open_network
from hmm2song.embeddings.spectrum import mel_weights

STYLE_FILE = "musicnn_msd.onnx"
STYLE_SHA256 = "85ce778aeea247b492c4a62f088105b88e07aeeafafd1c099371abad61c39c9f"
N_FFT, HOP, N_BANDS = 512, 256, 96
FRAME_RATE_HZ = SAMPLE_RATE_HZ / HOP
WINDOW_FRAMES = 187
"""Three seconds, as it was trained."""
BATCH_WINDOWS = 8
"""Memory: 100 MB for these."""
TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s", "alternative rock", "jazz",
    "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul", "indie rock", "Mellow", "electronica",
    "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country", "easy listening", "sexy",
    "catchy", "funk", "electro", "heavy metal", "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip
"""Most frequent tags of Last.fm in the Million Song Dataset."""


class StyleEncoder:
    """Embeds windows of three seconds; ModelError if the network is missing or damaged."""

    name = "style"
    dim = 200
    fingerprint = STYLE_SHA256[:16]

    def __init__(self, folder: Path) -> None:
        self._session = open_network(folder / STYLE_FILE, STYLE_SHA256)

    @staticmethod
    def bands() -> np.ndarray:
        """Return the weights of the mel bands for :func:`hmm2song.embeddings.spectrum.band_power`, with :data:`HOP`."""
        return mel_weights(N_FFT, N_BANDS)

    def embed(self, windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embed windows of mel power (n, 187, 96) -> styles (n, 200) and probabilities of :data:`TAGS` (n, 50)."""
        batches = (windows[start : start + BATCH_WINDOWS] for start in range(0, len(windows), BATCH_WINDOWS))
        heard = [self._session.run(["style", "tags"], {"x": np.log10(10000 * batch + 1)}) for batch in batches]
        styles, tags = zip(*heard, strict=True)
        return np.concatenate(styles), np.concatenate(tags)
