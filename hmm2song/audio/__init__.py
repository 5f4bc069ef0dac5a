"""Any recording -> float32 samples: mono at 16 kHz for melodies, stereo at any rate for separators.

Conventions
-----------
* Samples are float32 with full scale at +-1. Nothing is normalised: a quiet hum stays quiet, because
  :mod:`hmm2song.melody.advice` needs to see that.
* Files are opened here, once, and the decoder gets the open file only. No decoder gets a name that could lead it to
  another file or to the network, and FFmpeg may not recognise playlists.
* Everything is decoded in blocks that are resampled at once, so memory depends on the length limit alone.
* A recording may change its sample rate or number of channels on the way.
* Times without any packets inside a container that states times (WebM, MP4, OGG) become silence.
"""

from hmm2song.audio.loading import (
    AUDIO_SUFFIXES,
    MAX_FILE_BYTES,
    MAX_HUM_S,
    MAX_RECORDING_BYTES,
    MAX_RECORDING_S,
    load_audio,
    load_part,
    load_recording,
    stereo_blocks,
)
from hmm2song.audio.resampling import SAMPLE_RATE_HZ
from hmm2song.audio.streams import from_mu_law, live_blocks, microphone_blocks

__all__ = [
    "AUDIO_SUFFIXES", "MAX_FILE_BYTES", "MAX_HUM_S", "MAX_RECORDING_BYTES", "MAX_RECORDING_S", "SAMPLE_RATE_HZ",
    "from_mu_law", "live_blocks", "load_audio", "load_part", "load_recording", "microphone_blocks", "stereo_blocks",
]  # fmt: skip
