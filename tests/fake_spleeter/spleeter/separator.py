"""An estimator like Spleeter's: its voice is what lies below 1 kHz, unless a test asks for misbehaviour."""

import time
from pathlib import Path

import numpy as np
import tensorflow as tf


def create_estimator(params, MWF):  # noqa: N803 - Spleeter's own name
    assert (Path(params["model_dir"]) / ".probe").is_file() and not MWF
    return Estimator()


class Estimator:
    def predict(self, input_fn, checkpoint_path, yield_single_examples):
        assert Path(f"{checkpoint_path}.index").is_file() and not yield_single_examples
        if tf.is_told("fail to start"):
            raise tf.DataLossError("checksum does not match")
        for number, features in enumerate(input_fn()):
            if number > 0:  # the first one only warms up
                misbehave()
            voice = voice_in(features["waveform"])
            voice = voice[:-1] if number > 0 and tf.is_told("shorten") else np.pad(voice, [(0, 1000), (0, 0)])
            yield {"vocals": voice, "accompaniment": None, "audio_id": features["audio_id"]}


def misbehave():
    if tf.is_told("die") or tf.is_told("die once"):
        (tf.FOLDER / "die once").unlink(missing_ok=True)
        raise tf.ResourceExhaustedError("out of memory")
    if tf.is_told("hang"):
        tf.note("hanging")
        time.sleep(600)  # longer than any test waits


def voice_in(mix):
    spectrum = np.fft.rfft(mix, axis=0)
    if tf.is_told("untrained"):
        spectrum *= 0.5 + 0.02 * np.random.default_rng(0).standard_normal(spectrum.shape)
    else:
        spectrum[np.fft.rfftfreq(len(mix), 1 / 44100) > 1000] = 0
    return np.fft.irfft(spectrum, len(mix), axis=0)
