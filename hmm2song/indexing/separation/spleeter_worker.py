"""Spleeter at the other end of a pipe. Runs inside Spleeter's own environment, so it imports nothing of hmm2song.

    python spleeter_worker.py --model MODELS/2stems --parent PID

Protocol: one JSON object per line. The worker begins with ``{"event": "ready", "rate_hz": 44100}``. Then, for every
request ``{"mix": FILE, "voice": FILE}`` on its standard input, it reads the mix (float32, little-endian, left and right
alternating), writes the voice in the same form and answers ``{"event": "done"}``. It ends when its input does, and when
its parent is gone. An error ends it too: the last line on standard error says why. What TensorFlow prints goes there.

Needs Spleeter 2.4.2 and Python 3.8 to 3.11.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

MODEL_NAME = "spleeter:2stems"
VOICE = "vocals"
PARENT_POLL_S = 1.0
WARM_UP_FRAMES = 44100


def main() -> int:
    """Answer requests until there are no more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the 2stems weights")
    parser.add_argument("--parent", type=int, required=True, help="process id of the program that asks")
    options = parser.parse_args()
    threading.Thread(target=end_with, args=(options.parent,), daemon=True).start()
    answers = private_stdout()
    separate, rate_hz = load(options.model)
    say(answers, event="ready", rate_hz=rate_hz)
    for line in sys.stdin:
        request = json.loads(line)
        separate_file(separate, request["mix"], request["voice"])
        say(answers, event="done")
    return 0


def end_with(parent: int) -> None:
    """End this process at once when it has been given to another parent."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os._exit(1)


def private_stdout() -> TextIO:
    """Return standard output for our own use; what libraries print goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def say(answers: TextIO, **message: object) -> None:
    """Send a message."""
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def load(folder: str) -> tuple[Callable, int]:
    """Return a function from (n, 2) mix to (n, 2) voice, both float32, and its sample rate in Hz.

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

    def separate(mix: np.ndarray) -> np.ndarray:
        mixes.put(mix)
        return np.asarray(next(predictions)[VOICE], np.float32)[: len(mix)]

    separate(np.zeros((WARM_UP_FRAMES, 2), np.float32))
    return separate, int(params["sample_rate"])


def separate_file(separate: Callable, mix_file: str, voice_file: str) -> None:
    """Separate one file of raw samples into another."""
    import numpy as np

    mix = np.fromfile(mix_file, "<f4").reshape(-1, 2)
    separate(mix).astype("<f4").tofile(voice_file)


if __name__ == "__main__":
    sys.exit(main())
