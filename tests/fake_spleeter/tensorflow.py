"""The part of TensorFlow that Spleeter's worker calls.

The environment variable FAKE_SPLEETER_FOLDER names a folder in which a test asks for misbehaviour, by an empty file of
that name, and in which workers note what they do.
"""

import os
import time
from pathlib import Path
from types import SimpleNamespace

FOLDER = Path(os.environ["FAKE_SPLEETER_FOLDER"])


def is_told(behaviour: str) -> bool:
    return (FOLDER / behaviour).exists()


def note(event: str) -> None:
    with (FOLDER / event).open("a") as file:
        print(os.getpid(), os.environ["TF_NUM_INTRAOP_THREADS"], file=file)


class DataLossError(Exception):
    pass


class ResourceExhaustedError(Exception):
    pass


def latest_checkpoint(folder: str) -> str:
    return f"{folder}/model"


def from_generator(generator, output_signature):
    assert output_signature.keys() == {"waveform", "audio_id"}
    return generator()


def TensorSpec(shape, dtype):  # noqa: N802 - TensorFlow's own name
    return shape, dtype


float32, string = "float32", "string"
train = SimpleNamespace(latest_checkpoint=latest_checkpoint)
data = SimpleNamespace(Dataset=SimpleNamespace(from_generator=from_generator))

note("started")
os.write(1, b"libraries print to the standard output\n")
if is_told("hang at start"):
    time.sleep(600)  # longer than any test waits
