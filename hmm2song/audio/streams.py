"""Sound as it comes: from a pipe, from the microphone, in coded chunks."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import BinaryIO

import numpy as np

from hmm2song.audio.decoding import BLOCK_FRAMES, ffmpeg_blocks
from hmm2song.audio.loading import MAX_RECORDING_S
from hmm2song.audio.resampling import SAMPLE_RATE_HZ, checked, resampled, to_float, to_mono
from hmm2song.errors import AudioError

MICROPHONE_TIMEOUT_S = 5.0


def from_mu_law(coded: bytes) -> np.ndarray:
    """Decode mu-law bytes (ITU-T G.711) to float32 samples, shape (n,): half the size of 16 bits, good for pitch."""
    inverted = ~np.frombuffer(coded, np.uint8)
    magnitude = (((inverted & 15).astype(np.int32) << 3) + 132 << (inverted >> 4 & 7)) - 132
    return np.where(inverted & 128, -magnitude, magnitude).astype(np.float32) / 32768


def live_blocks(file: BinaryIO, is_raw: bool = False) -> Iterator[np.ndarray]:
    """Yield the sound of a pipe as it comes: mono float32 samples at 16 kHz, shape (n,).

    Parameters
    ----------
    file : binary file
        Read without a buffer: a pipe gives what there is. Any format that is read front to back, as WAV.
    is_raw : bool
        The sound is bare: 16-bit little-endian samples, mono, 16 kHz.

    Raises
    ------
    AudioError
        As :func:`load_audio`, when the damage is reached.
    """
    if is_raw:
        rest = b""
        while coded := file.read(2 * BLOCK_FRAMES):
            coded = rest + coded
            n_whole = len(coded) // 2 * 2
            yield to_float(np.frombuffer(coded[:n_whole], "<i2"))
            rest = coded[n_whole:]
        return
    blocks = checked(ffmpeg_blocks(file, "the pipe", MAX_RECORDING_S, 0.0), "the pipe", MAX_RECORDING_S)
    for samples in resampled(blocks, SAMPLE_RATE_HZ):
        yield to_mono(samples)


def microphone_blocks() -> Iterator[np.ndarray]:
    """Yield what the computer's microphone hears, without end: mono float32 samples at 16 kHz, shape (n,).

    It goes on hearing while a block is being used; nothing is lost.

    Raises
    ------
    AudioError
        The package sounddevice, its PortAudio, or a microphone is missing, or the microphone falls silent.
    """
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: PortAudio is missing
        raise AudioError(
            f"the microphone needs sounddevice ({error}); install it with: pip install 'hmm2song[microphone]', "
            "or pipe the sound: arecord -f S16_LE -r 16000 -t wav | hmm2song listen -"
        ) from error
    heard: SimpleQueue[np.ndarray] = SimpleQueue()
    form = {"samplerate": SAMPLE_RATE_HZ, "channels": 1, "dtype": "float32"}
    try:
        with sounddevice.InputStream(**form, callback=lambda block, *_: heard.put(block[:, 0].copy())):
            while True:
                yield heard.get(timeout=MICROPHONE_TIMEOUT_S)
    except (sounddevice.PortAudioError, Empty) as error:
        raise AudioError(f"the microphone gives no sound ({error}); connect one, or pipe the sound") from error
