"""Bad input and a rush, against the running app: every answer is the right one or a polite refusal."""

from __future__ import annotations

import json
import re
import struct
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from encoders import tiny_encoder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from humming import hum, tune
from serving import HOSTILE_TITLE, MiniatureCatalog, save_with_model
from test_audio import encode

from hmm2song.audio import MAX_FILE_BYTES, SAMPLE_RATE_HZ
from hmm2song.catalog.catalog import Catalog
from hmm2song.melody.melody import melody_from_notes
from hmm2song.page import preview
from hmm2song.song import Song
from hmm2song.training.singer import FLAWLESS, Singer

N_SONGS = 12
HUMMED, HOSTILE, ESCAPING = 0, 1, 2
"""Songs of the catalog: with a recording, with a script for a title, with a recording outside the catalog."""
HUM_S = 10.0
N_HUMS, N_RUSHING = 8, 200
AT_LEAST_ANSWERED = 64
"""As many as may wait; more are answered when others leave the queue in time."""
OUTSIDE = b"not for the public"
TIMEOUT_S = 600.0
"""Far more than any answer takes: the machine may be busy."""


@dataclass(frozen=True)
class Answer:
    """What came of one raw request: a result, or the status and words of a refusal."""

    result: dict | None
    status: int
    refusal: str = ""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> MiniatureCatalog:
    folder = tmp_path_factory.mktemp("miniature")
    songs = tuple(_song(number) for number in range(N_SONGS))
    melodies = [melody_from_notes(tune(number)) for number in range(N_SONGS)]
    save_with_model(Catalog.build(songs, melodies, tiny_encoder()), folder / "catalog")
    recording = hum(FLAWLESS, (HUMMED, 20.0))
    soundfile.write(folder / "catalog" / "inside.flac", recording, SAMPLE_RATE_HZ)
    (folder / "outside.flac").write_bytes(OUTSIDE)
    soundfile.write(folder / "hum.wav", hum(Singer(), (HUMMED, HUM_S)), SAMPLE_RATE_HZ)
    return MiniatureCatalog(folder / "catalog", songs, folder / "hum.wav")


def _song(number: int) -> Song:
    paths = {HUMMED: "inside.flac", ESCAPING: "../outside.flac"}
    title = HOSTILE_TITLE if number == HOSTILE else f"Song {number}"
    return Song(id=f"s{number}", title=title, genre=("Folk", "Ballad")[number % 2], path=paths.get(number, ""))


@pytest.fixture(scope="module")
def hummed() -> np.ndarray:
    """A hum of the first song at 16 kHz, shape (n,)."""
    return hum(Singer(), (HUMMED, HUM_S))


def recognize(client: Client, path: Path) -> dict:
    return client.predict(audio=handle_file(str(path)), api_name="/recognize")


def at_rate(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    return np.clip(soxr.resample(samples, SAMPLE_RATE_HZ, rate_hz), -1.0, 1.0)


def wav_header(n_bytes: int, rate_hz: int) -> bytes:
    """The header of an 8-bit mono wav."""
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate_hz, rate_hz, 1, 8)
    return b"RIFF" + struct.pack("<I", n_bytes + 36) + b"WAVE" + form + b"data" + struct.pack("<I", n_bytes)


def write_sparse_wav(path: Path, n_bytes: int, rate_hz: int) -> None:
    """A long file that takes no room on the disk."""
    with path.open("wb") as file:
        file.write(wav_header(n_bytes, rate_hz))
        file.truncate(n_bytes + 44)


# What must be recognised; tests/test_audio.py decodes every format, here a few go through the app


def test_what_browsers_and_phones_send_is_recognised(client: Client, hummed: np.ndarray, tmp_path: Path) -> None:
    for name, codec in (("hum.webm", "libopus"), ("hum.m4a", "aac"), ("hum.mp3", "libmp3lame")):
        encode(str(tmp_path / name), at_rate(hummed, 48000), 48000, codec)
    soundfile.write(tmp_path / "8 bits.wav", at_rate(hummed, 8000), 8000, subtype="PCM_U8")
    surround = np.tile(at_rate(hummed, 96000)[:, None], 6)
    soundfile.write(tmp_path / "surround.wav", surround, 96000, subtype="FLOAT")
    for file in tmp_path.iterdir():
        result = recognize(client, file)
        assert result["matches"][0]["id"] == "s0", file
        assert result["hum"]["duration_s"] == pytest.approx(HUM_S, abs=0.3)


def test_half_a_file_is_half_a_hum(client: Client, hummed: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hum.flac", hummed, SAMPLE_RATE_HZ)
    whole = (tmp_path / "hum.flac").read_bytes()
    (tmp_path / "hum.flac").write_bytes(whole[: len(whole) // 2])
    result = recognize(client, tmp_path / "hum.flac")
    assert result["matches"][0]["id"] == "s0"
    assert result["hum"]["duration_s"] == pytest.approx(HUM_S / 2, abs=1.5)


# What holds no melody


def test_no_melody_is_no_match(client: Client, tmp_path: Path) -> None:
    """Other recordings without a melody: tests/test_recognizer.py."""
    soundfile.write(tmp_path / "hum.wav", np.ones(1), SAMPLE_RATE_HZ)
    result = recognize(client, tmp_path / "hum.wav")
    assert result["no_match"] and result["matches"] == []
    assert "too_short" in [advice["code"] for advice in result["advice"]]


# What must be refused


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("zero.wav", lambda path: path.write_bytes(b""), "'zero.wav' is empty"),
        ("text.wav", lambda path: path.write_bytes(b"la la la\n" * 999), "'text.wav' is not audio"),
        ("two hours.wav", lambda path: write_sparse_wav(path, 7200 * 4000, 4000), "lasts 7200.0 s; at most 60 s"),
        ("turned.wav", lambda path: soundfile.write(path, np.zeros((9, 900)), 8000), "900 channels"),
    ],
)
def test_what_is_no_hum_is_refused(
    client: Client, tmp_path: Path, name: str, write: Callable[[Path], object], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(AppError, match=message):
        recognize(client, tmp_path / name)


def test_a_huge_file_is_refused_by_its_size(url: str, client: Client, tmp_path: Path) -> None:
    write_sparse_wav(tmp_path / "huge.wav", 2 * MAX_FILE_BYTES, 8000)
    with pytest.raises(ValueError, match=str(MAX_FILE_BYTES)):  # the client does not even send it
        recognize(client, tmp_path / "huge.wav")
    with (tmp_path / "huge.wav").open("rb") as file:
        answer = httpx.post(f"{url}/gradio_api/upload", files={"files": file}, timeout=TIMEOUT_S)
    assert answer.status_code == 413 and "maximum allowed size" in answer.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"genres": ["Polka"]}, "'Polka'; choose from: Ballad, Folk"),
        ({"genres": [HOSTILE_TITLE]}, "unknown genre"),
        ({"genres": 5}, "list of names"),
        ({"gender": "../.."}, "unknown gender"),
        ({"top_k": 0}, "top_k must be a whole number from 1 to 100, got 0"),
        ({"top_k": 10**9}, "got 1000000000"),
    ],
)
def test_impossible_options_are_refused(client: Client, catalog: MiniatureCatalog, options: dict, message: str) -> None:
    with pytest.raises(AppError, match=message):
        client.predict(audio=handle_file(str(catalog.hum_path)), **options, api_name="/recognize")


def test_an_unknown_song_is_refused(client: Client) -> None:
    for song_id in ("nobody", "", "../s0", HOSTILE_TITLE):
        with pytest.raises(AppError, match="no song has the id"):
            client.predict(song_id, api_name="/song")


# What a hostile catalog brings


def ask_page(url: str, path: Path) -> str:
    """Let the page itself search a recording; return the message that draws its answer, as JSON."""
    with httpx.Client(base_url=f"{url}/gradio_api", timeout=TIMEOUT_S) as http:
        events = http.get(f"{url}/config").json()["dependencies"]
        search = next(event["id"] for event in events if event["api_name"] == "search")
        data = [upload(http, path), [], "any", False, False, "en", None, None]  # the last two are kept by the server
        request = {"data": data, "fn_index": search, "session_hash": "visit"}
        http.post("/queue/join", json=request).raise_for_status()
        answer = http.get("/queue/data", params={"session_hash": "visit"}).text
    return next(line for line in answer.splitlines() if '"process_completed"' in line)


def upload(http: httpx.Client, path: Path) -> dict:
    with path.open("rb") as file:
        (uploaded,) = http.post("/upload", files={"files": (path.name, file)}).raise_for_status().json()
    return {"path": uploaded, "meta": {"_type": "gradio.FileData"}}


def test_a_script_in_a_title_stays_text(url: str, client: Client, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hum.wav", hum(Singer(), (HOSTILE, HUM_S)), SAMPLE_RATE_HZ)
    assert recognize(client, tmp_path / "hum.wav")["matches"][0]["title"] == HOSTILE_TITLE
    assert client.predict("s1", api_name="/song")["title"] == HOSTILE_TITLE
    drawn = ask_page(url, tmp_path / "hum.wav")
    assert "&lt;script&gt;" in drawn
    assert "<script>" not in drawn


def test_no_file_outside_the_catalog_is_served(
    url: str, client: Client, catalog: MiniatureCatalog, tmp_path: Path
) -> None:
    assert client.predict("s2", api_name="/song")["recording"] == "../outside.flac"  # as text
    for number, plays_recording in ((HUMMED, True), (ESCAPING, False)):
        soundfile.write(tmp_path / "hum.wav", hum(Singer(), (number, HUM_S)), SAMPLE_RATE_HZ)
        drawn = ask_page(url, tmp_path / "hum.wav")
        assert f"Song {number}" in drawn
        (played,) = set(re.findall(r"/[\w/.-]*match-\w+\.mp3", drawn))  # of the recording, or a tone of the melody
        assert (soundfile.info(played).samplerate == preview.SAMPLE_RATE_HZ) == plays_recording
        assert "outside.flac" not in drawn
    # the page plays a copy of what was matched; the folder itself is closed
    within = ("/inside.flac", "/../outside.flac", "/%2e%2e/outside.flac", "/..%2foutside.flac", "/../hum.wav")
    for path in (*(f"{catalog.folder}{name}" for name in within), f"{catalog.folder.parent}/outside.flac"):
        answer = httpx.get(f"{url}/gradio_api/file={path}", timeout=TIMEOUT_S)
        assert answer.status_code in (403, 404) and OUTSIDE not in answer.content


# A rush


def test_in_a_rush_nobody_gets_the_answer_of_another(url: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.flac" for number in range(N_HUMS)]
    lengths_s = [6.0 + number / 2 for number in range(N_HUMS)]
    for number, (path, length_s) in enumerate(zip(paths, lengths_s, strict=True)):
        soundfile.write(path, hum(FLAWLESS, (number, length_s)), SAMPLE_RATE_HZ)
    # Kept connections would race against the server, which closes idle ones after a few seconds.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    with (
        httpx.Client(base_url=f"{url}/gradio_api", timeout=TIMEOUT_S, limits=limits) as http,
        ThreadPoolExecutor(N_RUSHING) as pool,
    ):
        asked = [number % N_HUMS for number in range(N_RUSHING)]
        answers = list(pool.map(lambda number: ask(http, paths[number]), asked))
        for number, answer in zip(asked, answers, strict=True):
            if answer.result is None:
                assert answer.status == 503 and "Queue is full" in answer.refusal
            else:
                assert answer.result["matches"][0]["id"] == f"s{number}"
                assert answer.result["hum"]["duration_s"] == pytest.approx(lengths_s[number], abs=0.2)
        kinds = Counter(answer.status for answer in answers)
        assert kinds[200] >= AT_LEAST_ANSWERED, kinds
        assert ask(http, paths[3]).result["matches"][0]["id"] == "s3"  # and afterwards all is well


def ask(http: httpx.Client, path: Path) -> Answer:
    """Upload, ask and wait over plain HTTP."""
    data = [upload(http, path), [], "any", 3, None]
    call = http.post("/call/recognize", json={"data": data})
    if call.status_code != 200:
        return Answer(None, call.status_code, call.text)
    stream = http.get(f"/call/recognize/{call.json()['event_id']}").text
    event, _, payload = stream.strip().rpartition("event: ")[2].partition("\ndata: ")
    if event != "complete":
        return Answer(None, 200, stream)
    return Answer(json.loads(payload)[0], 200)
