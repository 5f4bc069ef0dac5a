"""Listening to a hum that still goes on: when it is searched, when listening stops, where the sound comes from."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from matches import make_match, make_result
from serving import ROOT, MiniatureCatalog

from hmm2song import Recognizer
from hmm2song.__main__ import main
from hmm2song.audio import SAMPLE_RATE_HZ, from_mu_law, live_blocks, load_audio
from hmm2song.errors import AudioError, QueryError
from hmm2song.match.listening import (
    ENDED,
    FIRST_SEARCH_S,
    FULL,
    MAX_LISTENING_S,
    SEARCH_EVERY_S,
    SILENCE_S,
    SILENT,
    SURE,
    Heard,
    Listening,
    StopRule,
)
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody
from hmm2song.script import EXIT_ERROR

CHUNK = np.zeros(SAMPLE_RATE_HZ // 10, np.float32)
RULE = StopRule(probability=0.8, times=2)


def listen(guesses: dict[float, tuple[str, float]], sung_s: float = 99.0, length_s: float = 99.0) -> list[Heard]:
    """Listen to a hum that ends after ``sung_s``; the guess from each time on is given."""

    def search(samples: np.ndarray) -> object:
        at_s = len(samples) / SAMPLE_RATE_HZ
        song, probability = next(guess for from_s, guess in reversed(guesses.items()) if at_s >= from_s)
        pitch = np.where(np.arange(round(at_s * FRAME_RATE_HZ)) < sung_s * FRAME_RATE_HZ, 60.0, np.nan)
        return make_result(make_match(id=song, probability=probability), hum=Melody(pitch))

    chunks = [CHUNK] * round(length_s * 10)
    return list(Listening(search, RULE).follow(chunks))


def test_it_is_searched_from_the_third_second_on_and_not_with_every_chunk() -> None:
    heard = listen({0.0: ("a", 0.1)})
    results = [each.result for each in heard]
    searched_s = [b.heard_s for a, b in pairwise(heard) if b.result is not a.result]
    assert results[0] is None and searched_s[0] == pytest.approx(FIRST_SEARCH_S)
    assert np.diff(searched_s).min() >= SEARCH_EVERY_S - 0.05


@pytest.mark.parametrize(
    ("guesses", "sung_s", "length_s", "stopped", "stopped_s"),
    [
        ({0.0: ("a", 0.1)}, 99, 99, FULL, MAX_LISTENING_S),
        ({0.0: ("a", 0.1)}, 5.0, 99, SILENT, 5.0 + SILENCE_S),
        ({0.0: ("a", 0.1)}, 0.0, 99, FULL, MAX_LISTENING_S),  # somebody who has not begun is waited for
        ({0.0: ("a", 0.1)}, 99, 7.2, ENDED, 7.2),
        ({0.0: ("a", 0.1)}, 99, 1.2, ENDED, 1.2),
        ({0.0: ("a", 0.9)}, 99, 99, SURE, FIRST_SEARCH_S + SEARCH_EVERY_S),
        ({0.0: ("a", 0.1), 5.0: ("a", 0.85)}, 99, 99, SURE, 5.0),
        ({0.0: ("a", 0.9), 3.5: ("b", 0.9)}, 99, 99, SURE, 3.5 + SEARCH_EVERY_S),  # it has to be the same song
        ({0.0: ("a", 0.9)}, 1.0, 99, SILENT, FIRST_SEARCH_S),  # so little melody is never sure
    ],
)
def test_when_listening_stops(guesses: dict, sung_s: float, length_s: float, stopped: str, stopped_s: float) -> None:
    *before, last = listen(guesses, sung_s, length_s)
    assert not any(heard.stopped for heard in before)
    assert last.stopped == stopped and last.result is not None
    assert last.heard_s == pytest.approx(stopped_s, abs=0.15)


def test_what_comes_after_the_stop_is_not_heard() -> None:
    listening = Listening(lambda samples: make_result())
    assert listening.end().result is None  # nothing came
    assert listening.add(CHUNK).heard_s == 0.0


@pytest.mark.parametrize("chunk", [np.zeros((3, 2), np.float32), np.zeros(9, np.int16), np.full(9, np.nan), "sound"])
def test_other_chunks_are_refused(chunk: object) -> None:
    with pytest.raises(AudioError, match="a chunk is"):
        Listening(lambda samples: make_result()).add(chunk)


def test_mu_law_is_that_of_the_standard() -> None:
    coded = bytes(range(256))
    standard = {"samplerate": 16000, "channels": 1, "format": "RAW", "subtype": "ULAW", "dtype": "float32"}
    expected, _ = soundfile.read(io.BytesIO(coded), **standard)
    np.testing.assert_array_equal(from_mu_law(coded), expected)


def test_a_hum_is_found_while_it_goes_on(catalog: MiniatureCatalog) -> None:
    recognizer = Recognizer.from_pretrained(catalog.folder)
    samples = load_audio(catalog.hum_path)
    *_, last = recognizer.listen(np.array_split(samples, 100), top_k=3)
    assert last.stopped and last.result.matches[0].id == "s0" and len(last.result.matches) == 3
    assert last.to_dict()["result"]["matches"][0]["id"] == "s0"
    with pytest.raises(QueryError, match="top_k"):
        recognizer.listen([], top_k=0)


class Pipe(io.RawIOBase):
    """A pipe that gives a few odd bytes at a time and cannot be wound back."""

    def __init__(self, content: bytes) -> None:
        self.rest = content

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: memoryview) -> int:
        part = self.rest[: min(len(buffer), 777)]
        self.rest = self.rest[len(part) :]
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("is_raw", [False, True])
def test_a_pipe_gives_its_sound_as_it_comes(catalog: MiniatureCatalog, is_raw: bool) -> None:
    whole = load_audio(catalog.hum_path)
    content = (whole * 32767).astype("<i2").tobytes() if is_raw else catalog.hum_path.read_bytes()
    blocks = list(live_blocks(Pipe(content), is_raw))
    assert max(map(len, blocks)) < SAMPLE_RATE_HZ / 2
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-3)


def test_the_command_listens_to_a_pipe(catalog: MiniatureCatalog) -> None:
    command = [sys.executable, "-m", "hmm2song", "listen", "-", "--json", "--catalog", str(catalog.folder)]
    with catalog.hum_path.open("rb") as hum:
        done = subprocess.run(command, stdin=hum, capture_output=True, cwd=ROOT, timeout=180)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) > 1 and [bool(line["stopped"]) for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["result"]["matches"][0]["id"] == "s0"


def test_the_microphone_is_heard_or_its_absence_explained(
    catalog: MiniatureCatalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    command = ["listen", "--catalog", str(catalog.folder)]
    assert main(command) == EXIT_ERROR
    assert "pip install 'hmm2song[microphone]'" in capsys.readouterr().err

    @contextmanager
    def microphone(samplerate: int, channels: int, dtype: str, callback: Callable) -> Iterator[None]:
        assert (samplerate, channels, dtype) == (SAMPLE_RATE_HZ, 1, "float32")
        for block in np.array_split(load_audio(catalog.hum_path)[:, None], 50):
            callback(block, len(block), None, None)
        yield

    fake = SimpleNamespace(InputStream=microphone, PortAudioError=RuntimeError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    assert main(command) == 0
    heard = capsys.readouterr()
    assert "Song 0" in heard.out and "listening" in heard.err
