"""Spleeter at the other end of a pipe. Runs inside Spleeter's own environment, so it imports nothing of hmm2song.

    python spleeter_worker.py --model MODELS/2stems --parent PID

Protocol: the worker begins with :data:`READY`. A request on its standard input is a length in bytes (8 of them,
little-endian) and so many bytes of the mix: float32, little-endian, left and right alternating, 44.1 kHz. The answer on
standard output is the voice in the same form, as long. The worker ends when its input does, and when its parent is
gone. An error ends it too: the last line on standard error says why. What TensorFlow prints goes there.

Needs Spleeter 2.4.2 and Python 3.8 to 3.11.
"""

from __future__ import annotations

import argparse
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import BinaryIO

READY = b"Spleeter is ready at 44100 Hz\n"
RATE_HZ = 44100
MODEL_NAME = "spleeter:2stems"
VOICE = "vocals"
PARENT_POLL_S = 1.0
LENGTH_BYTES = 8


def main() -> int:
    """Answer requests until there are no more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the 2stems weights")
    parser.add_argument("--parent", type=int, required=True, help="process id of the program that asks")
    options = parser.parse_args()
    threading.Thread(target=end_with, args=(options.parent,), daemon=True).start()
    answers = private_stdout()
    voice_bytes = load(options.model)
    voice_bytes(bytes(8 * RATE_HZ))  # builds the network
    answers.write(READY)
    answers.flush()
    while length := sys.stdin.buffer.read(LENGTH_BYTES):
        answers.write(voice_bytes(sys.stdin.buffer.read(int.from_bytes(length, "little"))))
        answers.flush()
    return 0


def end_with(parent: int) -> None:
    """End this process at once when it has been given to another parent."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os._exit(1)


def private_stdout() -> BinaryIO:
    """Return standard output for our own use; what libraries print goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return answers


def load(folder: str) -> Callable[[bytes], bytes]:
    """Return a function from the samples of a mix to those of its voice.

    Spleeter's own ``Separator.separate`` builds the network anew for every call; this keeps one running.
    """
    import numpy as np
    import tensorflow as tf
    from spleeter.separator import create_estimator
    from spleeter.utils.configuration import load_configuration

    folder = os.path.abspath(folder)
    checkpoint = tf.train.latest_checkpoint(folder)
    if checkpoint is None or not os.path.isfile(os.path.join(folder, ".probe")):
        # Spleeter would answer with the noise of an untrained network
        raise FileNotFoundError(f"there is no checkpoint with a .probe in {folder}")
    params = load_configuration(MODEL_NAME)
    if params["sample_rate"] != RATE_HZ:
        raise ValueError(f"Spleeter works at {params['sample_rate']} Hz instead of {RATE_HZ}")
    params["model_dir"] = folder
    mixes: queue.Queue = queue.Queue()

    def waiting() -> Iterator[dict]:
        while True:
            yield {"waveform": mixes.get(), "audio_id": ""}

    signature = {"waveform": tf.TensorSpec((None, 2), tf.float32), "audio_id": tf.TensorSpec((), tf.string)}
    predictions = create_estimator(params, False).predict(
        lambda: tf.data.Dataset.from_generator(waiting, output_signature=signature),
        checkpoint_path=checkpoint,
        yield_single_examples=False,
    )

    def voice_bytes(samples: bytes) -> bytes:
        mix = np.frombuffer(samples, "<f4").reshape(-1, 2)
        mixes.put(mix)
        voice = np.asarray(next(predictions)[VOICE])[: len(mix)]
        if len(voice) != len(mix):
            raise ValueError(f"Spleeter returned {len(voice)} samples for {len(mix)}")
        return voice.astype("<f4").tobytes()

    return voice_bytes


if __name__ == "__main__":
    sys.exit(main())
