"""The real app, started as a Space starts it and driven through its API."""

from __future__ import annotations

import asyncio
import io
import json
import re
import shutil
import socket
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from subprocess import PIPE
from unittest.mock import Mock

import gradio as gr
import httpx
import numpy as np
import pytest
import soundfile
from encoders import tiny_encoder
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from humming import tune
from matches import RESULT_KEYS
from serving import HUMMED_FROM_S, HUMMED_SHIFT_ST, HUMMED_TO_S, N_SONGS, ROOT, MiniatureCatalog, running_app
from waiting import wait_until

from hmm2song import Recognizer
from hmm2song.audio import load_audio
from hmm2song.catalog.catalog import Catalog
from hmm2song.errors import AudioError, QueryError
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.page import browser, live
from hmm2song.page.live import MAX_CHUNK_BYTES, MAX_RUNS, Asked, Runs
from hmm2song.page.search import Answer, Page, example_hums
from hmm2song.page.tone import SAMPLE_RATE_HZ, melody_tone
from hmm2song.recognizer import MAX_EARLIER
from hmm2song.song import ANY_GENDER, Song

ADDED_LATER = {"earlier": None, "only_known": False, "guessed": False}
"""Parameters of /recognize that callers may leave out, with their defaults."""
OTHER_SONG = "s3"
TIMEOUT_S = 180.0
"""Far more than anything takes: the machine may be busy."""


@pytest.fixture(scope="module")
def other_hum(catalog: MiniatureCatalog) -> Path:
    """Return a hum of another song of the catalog."""
    melody = Catalog.load(catalog.folder, tiny_encoder()).melody(OTHER_SONG)
    path = catalog.hum_path.with_name("other.wav")
    soundfile.write(path, melody_tone(melody, HUMMED_FROM_S, HUMMED_TO_S), SAMPLE_RATE_HZ)
    return path


def page_of(recognizer: Recognizer) -> Page:
    with gr.Blocks() as blocks:
        return Page(recognizer, blocks)


def test_only_the_documented_endpoints_are_public(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")
    exploring = {"/similar", "/moments", "/path", "/map"}
    assert set(endpoints["named_endpoints"]) == {"/recognize", "/listen", "/catalog", "/song"} | exploring
    assert not endpoints["unnamed_endpoints"]
    parameters = endpoints["named_endpoints"]["/recognize"]["parameters"]
    defaults = {p["parameter_name"]: p["parameter_default"] for p in parameters}
    assert defaults == {"audio": None, "genres": [], "gender": "any", "top_k": 10, **ADDED_LATER}


def test_every_parameter_and_answer_says_what_it_is(url: str) -> None:
    endpoints = httpx.get(f"{url}/gradio_api/info", timeout=TIMEOUT_S).json()["named_endpoints"]
    for endpoint in endpoints.values():
        for told in (*endpoint["parameters"], *endpoint["returns"]):
            assert told["type"] and not told["label"].startswith("parameter_")
    types = {p["parameter_name"]: p["type"] for p in endpoints["/recognize"]["parameters"]}
    assert types["genres"]["type"] == "array" and types["top_k"] == {"type": "integer"}
    assert "female" in types["gender"]["enum"] and set(types["genres"]["items"]["enum"]) == {"Folk", "Ballad"}


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on the PATH")
def test_the_documented_curl_commands_work(url: str) -> None:
    commands = re.search(r"```bash\n(api=.*?)```", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.DOTALL)
    script = commands[1].replace("http://127.0.0.1:7860", url)
    told = subprocess.run(["bash", "-ec", script], cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert "event: complete" in told.stdout and '"matches": [{"rank": 1' in told.stdout


def test_mcp_tools_find_and_describe_songs(catalog: MiniatureCatalog, tmp_path: Path) -> None:
    mcp = pytest.importorskip("mcp")
    http = pytest.importorskip("mcp.client.streamable_http")
    hum = f"data:audio/wav;base64,{b64encode(catalog.hum_path.read_bytes()).decode()}"
    asked = (("find_song", {"audio": hum, "top_k": 2}), ("list_songs", {"query": "author 3"}),
             ("describe_song", {"id": "s3"}), ("similar_songs", {"id": "s3", "facets": "tune", "top_k": 3}),
             ("song_path", {"first": "s0", "last": "s3", "n_steps": 2}), ("song_map", {}),
             ("similar_moments", {"id": "s3"}), ("describe_song", {"id": "nobody"}))  # fmt: skip

    async def use(url: str) -> tuple[set[str], list]:
        address = f"{url}/gradio_api/mcp/"
        async with http.streamable_http_client(address) as (read, write, _), mcp.ClientSession(read, write) as session:
            await session.initialize()
            names = {tool.name for tool in (await session.list_tools()).tools}
            return names, [await session.call_tool(name, arguments) for name, arguments in asked]

    with running_app(catalog, tmp_path, "--mcp") as url:
        names, (*answered, moments, unknown) = asyncio.run(use(url))
    assert names == {name for name, _ in asked}
    answers = [json.loads(answer.content[0].text) for answer in answered]
    assert answers[0]["matches"][0]["id"] == "s0" and len(answers[0]["matches"]) == 2
    assert answers[1][0]["id"] == answers[2]["id"] == "s3"
    assert len(answers[3]["songs"]) == 3 and "why" in answers[3]["songs"][0]
    assert [song["id"] for song in answers[4]["songs"]][::2] == ["s0", "s3"]
    assert len(answers[5]["points"]) == N_SONGS
    assert moments.isError and "listened" in moments.content[0].text  # notes have no moments
    assert unknown.isError and "nobody" in unknown.content[0].text


def test_songs_like_a_song_are_listed_and_every_question_without_an_answer_is_explained(
    client: Client, catalog: MiniatureCatalog, tmp_path: Path
) -> None:
    result = client.predict(id="s0", genres=["Folk"], only_known=True, top_k=3, api_name="/similar")
    assert [song["rank"] for song in result["songs"]] == [1, 2, 3] and result["facets"] == {"melody": 1.0}
    assert {song["genre"] for song in result["songs"]} == {"Folk"} and result["query"]["id"] == "s0"
    path = client.predict(first="s0", last="s5", n_steps=3, api_name="/path")["songs"]
    assert len({song["id"] for song in path}) == 4 and (path[0]["id"], path[-1]["id"]) == ("s0", "s5")
    assert len(client.predict(api_name="/map")["points"]) == N_SONGS
    hum = handle_file(str(catalog.hum_path))
    for endpoint, asked, words in (
        ("similar", {}, "either the id of a song or a recording"),
        ("similar", {"id": "s0", "audio": hum}, "either"),
        ("similar", {"id": "nobody"}, "nobody"),
        ("similar", {"audio": hum}, "only be compared with recordings"),
        ("similar", {"id": "s0", "facets": "voice"}, "listened"),
        ("similar", {"id": "s0", "facets": "melody=0"}, "zero"),
        ("similar", {"id": "s0", "catalog": "pop"}, "unknown catalog"),
        ("similar", {"id": "s0", "top_k": 0}, "top_k"),
        ("moments", {"id": "s0", "at_s": 5}, "listened"),
        ("path", {"first": "s0", "last": "s0"}, "two songs"),
        ("map", {"facet": "style"}, "listened"),
    ):
        with pytest.raises(AppError, match=words):
            client.predict(**asked, api_name=f"/{endpoint}")


def test_a_hum_finds_its_song(client: Client, catalog: MiniatureCatalog) -> None:
    result = client.predict(audio=handle_file(str(catalog.hum_path)), api_name="/recognize")
    assert set(result) == RESULT_KEYS
    assert result["n_searched"] == N_SONGS and len(result["matches"]) == 10
    best = result["matches"][0]
    assert (best["id"], best["title_ko"]) == ("s0", "첫 노래")
    assert best["start_s"] == pytest.approx(HUMMED_FROM_S, abs=1.0)
    assert best["key_shift_st"] == pytest.approx(HUMMED_SHIFT_ST, abs=0.5)
    assert not result["no_match"]


def test_an_earlier_hum_counts_too(client: Client, catalog: MiniatureCatalog, other_hum: Path) -> None:
    hum, earlier = handle_file(str(catalog.hum_path)), handle_file(str(other_hum))
    alone = client.predict(audio=hum, api_name="/recognize")
    joined = client.predict(audio=hum, earlier=earlier, api_name="/recognize")
    assert (alone["n_hums"], joined["n_hums"]) == (1, 2)
    assert alone["hum"] == joined["hum"]  # the latest hum is the one described
    assert alone["matches"][0]["id"] == "s0"
    assert {match["id"] for match in joined["matches"][:2]} == {"s0", OTHER_SONG}
    assert joined["matches"][0]["probability"] < alone["matches"][0]["probability"]


def test_genre_gender_and_top_k_are_obeyed(client: Client, catalog: MiniatureCatalog) -> None:
    hum = handle_file(str(catalog.hum_path))
    result = client.predict(hum, ["Ballad"], "male", 2, api_name="/recognize")
    fitting = [song for song in catalog.songs if song.genre in ("", "Ballad") and song.gender in ("", "male")]
    assert result["n_searched"] == len(fitting)
    assert result["n_unknown"] == sum(not (song.genre and song.gender) for song in fitting)
    assert 1 <= len(result["matches"]) <= 2
    assert {match["id"] for match in result["matches"]} <= {song.id for song in fitting}


def test_empty_options_mean_the_defaults(client: Client, catalog: MiniatureCatalog) -> None:
    result = client.predict(handle_file(str(catalog.hum_path)), None, None, None, api_name="/recognize")
    assert result["n_searched"] == N_SONGS and result["n_unknown"] == 0


def test_a_recording_that_cannot_be_used_is_refused_politely(
    client: Client, catalog: MiniatureCatalog, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is not audio")
    with pytest.raises(AppError, match="broken.wav"):
        client.predict(audio=handle_file(str(broken)), api_name="/recognize")
    with pytest.raises(AppError, match="broken.wav"):
        client.predict(handle_file(str(catalog.hum_path)), earlier=handle_file(str(broken)), api_name="/recognize")
    with pytest.raises(AppError, match="no recording"):
        client.predict(audio=None, api_name="/recognize")


def test_only_uploaded_files_are_opened(url: str, catalog: MiniatureCatalog) -> None:
    path = str(catalog.hum_path)  # audio, but nobody uploaded it
    uploaded = httpx.post(
        f"{url}/gradio_api/upload", files={"files": catalog.hum_path.read_bytes()}, timeout=TIMEOUT_S
    ).json()
    mine = {"path": uploaded[0], "meta": {"_type": "gradio.FileData"}}
    assert "event: complete" in ask(url, mine, None)
    for audio in ({"path": path, "meta": {"_type": "gradio.FileData"}}, {"path": path}, path):
        for answer in (ask(url, audio, None), ask(url, mine, audio)):
            assert "event: error" in answer and "matches" not in answer
    assert httpx.get(f"{url}/gradio_api/file={path}", timeout=TIMEOUT_S).status_code in (403, 404)


def test_parameters_that_were_added_later_may_be_left_out(url: str, catalog: MiniatureCatalog, client: Client) -> None:
    files = {"files": catalog.hum_path.read_bytes()}
    (path,) = httpx.post(f"{url}/gradio_api/upload", files=files, timeout=TIMEOUT_S).json()
    hum = {"path": path, "meta": {"_type": "gradio.FileData"}}
    n_searched = [
        int(re.search(r'"n_searched": ?(\d+)', ask_with(url, [hum, ["Ballad"], "any", 3, *added]))[1])
        for added in ([], [None], [None, True], [None, True, False])
    ]
    n_ballads, n_unknown = (sum(song.genre == genre for song in catalog.songs) for genre in ("Ballad", ""))
    assert n_searched == [n_ballads + n_unknown] * 2 + [n_ballads] * 2
    assert "event: error" in ask_with(url, [hum, [], "any"])
    known = {"genres": ["Ballad"], "only_known": True, "api_name": "/recognize"}
    assert client.predict(handle_file(str(catalog.hum_path)), **known)["n_searched"] == n_ballads


def ask(url: str, audio: object, earlier: object) -> str:
    return ask_with(url, [audio, [], "any", 3, earlier])


def ask_with(url: str, values: list) -> str:
    call = httpx.post(f"{url}/gradio_api/call/recognize", json={"data": values}, timeout=TIMEOUT_S).json()
    return httpx.get(f"{url}/gradio_api/call/recognize/{call['event_id']}", timeout=TIMEOUT_S).text


def test_the_catalog_can_be_searched(client: Client) -> None:
    assert len(client.predict(api_name="/catalog")) == N_SONGS
    (found,) = client.predict("첫 노래", api_name="/catalog")
    assert list(found) == ["id", "title", "title_ko", "artist", "genre", "gender", "year", "guessed"]
    assert list(found.values()) == ["s0", "Song 0", "첫 노래", "Author 0", "Folk", "female", "1900", {}]


def test_a_song_is_told_in_full(client: Client) -> None:
    song = client.predict("s0", api_name="/song")
    assert song["lyric"] == "la la\n<b>la</b>" and song["recording"] == "s0.flac"
    assert 20 < song["melody_s"] < 45


def test_a_hum_can_be_sent_in_chunks(client: Client, catalog: MiniatureCatalog) -> None:
    samples, rate_hz = soundfile.read(catalog.hum_path, dtype="float32")
    coded = mu_law(load_audio((rate_hz, samples)))
    at, answers = 0, []
    while at < len(coded) and not (answers and answers[-1]["stopped"]):
        chunk = b64encode(coded[at : at + 16000]).decode()
        answers.append(client.predict("mine", at, chunk, at + 16000 >= len(coded), api_name="/listen"))
        at = answers[-1]["n_samples"]
    assert answers[0]["result"] is None and answers[-1]["stopped"]
    assert set(answers[-1]["result"]) == RESULT_KEYS and answers[-1]["result"]["matches"][0]["id"] == "s0"
    for run, sound in (("mine", "not base64!"), ("", "")):
        with pytest.raises(AppError, match="base64|named by"):
            client.predict(run, 0, sound, api_name="/listen")


def mu_law(samples: np.ndarray) -> bytes:
    coded = io.BytesIO()
    soundfile.write(coded, samples, 16000, format="RAW", subtype="ULAW")
    return coded.getvalue()


def test_chunks_that_come_twice_or_too_late_count_once(catalog: MiniatureCatalog) -> None:
    runs = Runs(Recognizer.from_pretrained(catalog.folder))
    coded = mu_law(load_audio(catalog.hum_path))
    for at, end, n in ((0, 9000, 9000), (0, 9000, 9000), (5000, 12000, 12000), (20000, 30000, 12000)):
        assert runs.hear("a", at, coded[at:end])[0] == n
    asked, heard = runs.close("a")
    assert heard.heard_s == 12000 / 16000 and asked == Asked() and runs.close("a") is None
    for at, chunk in ((0, bytes(MAX_CHUNK_BYTES + 1)), (-1, b"x"), ("0", b"x")):
        with pytest.raises(QueryError, match="a chunk"):
            runs.hear("b", at, chunk)
    for number in range(MAX_RUNS):
        runs.open(str(number))
    with pytest.raises(QueryError, match="going on already"):
        runs.open("one more")
    assert len(runs) == MAX_RUNS


def test_a_silent_run_is_forgotten(catalog: MiniatureCatalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "KEPT_S", 0.3)
    runs = Runs(Recognizer.from_pretrained(catalog.folder))
    runs.open("a")
    wait_until(lambda: len(runs) == 0)


def test_who_finds_no_free_search_is_heard_all_the_same(catalog: MiniatureCatalog) -> None:
    runs = Runs(Recognizer.from_pretrained(catalog.folder), n_searching=0)
    coded = mu_law(load_audio(catalog.hum_path))
    n_samples, heard = runs.hear("a", 0, coded[:80000])
    assert (n_samples, heard.result) == (80000, None)
    assert runs.close("a")[1].result.matches[0].id == "s0"


def test_a_few_hums_can_be_joined_and_silence_counts_for_nothing(catalog: MiniatureCatalog) -> None:
    recognizer = Recognizer.from_pretrained(catalog.folder)
    page = page_of(recognizer)
    hum, silence = recognizer.hear(catalog.hum_path), Melody(np.full(250, np.nan))
    for latest, earlier, is_offered, joined_next in (
        (hum, [], True, [hum]),
        (hum, [hum] * (MAX_EARLIER - 1), True, [hum] * MAX_EARLIER),
        (hum, [hum] * MAX_EARLIER, False, [hum] * MAX_EARLIER),
        (silence, [], False, []),
        (silence, [hum], True, [hum]),  # nothing was heard this time: the first hum is not lost
    ):
        answer = Answer(recognizer.recognize_melody(latest, earlier=earlier), Asked(earlier=tuple(earlier)))
        assert page.word("en", answer, "")[page.live].props["can_join"] == is_offered
        assert list(page.join(answer, True)) == joined_next
        assert not page.join(answer, False)
    assert recognizer.recognize_melody(hum, earlier=[silence, hum]).to_dict()["n_hums"] == 2


def test_a_hum_that_joining_made_worse_is_shown_alone(catalog: MiniatureCatalog, other_hum: Path) -> None:
    recognizer = Recognizer.from_pretrained(catalog.folder)
    page = page_of(recognizer)
    other = page.search(str(other_hum), [], "any", False, False, "en", None)[page.answer]
    joined = page.search(str(catalog.hum_path), [], "any", False, False, "en", other, True)
    assert joined[page.answer].is_alone and not joined[page.answer].result.earlier
    assert "clearer" in joined[page.verdict]["value"]
    same = page.search(str(catalog.hum_path), [], "any", False, False, "en", joined[page.answer], True)[page.answer]
    assert not same.is_alone and len(same.result.earlier) == 1


def test_a_fault_is_told_from_a_bad_recording_and_logged(catalog: MiniatureCatalog, caplog) -> None:
    recognizer = Recognizer.from_pretrained(catalog.folder)
    page = page_of(recognizer)
    asked = ([], "any", False, False, "en", None)
    recognizer.recognize = Mock(side_effect=AudioError("'hum.wav' is empty"))
    assert "is empty" in page.search(str(catalog.hum_path), *asked)[page.status]
    assert not caplog.records
    recognizer.recognize = Mock(side_effect=RuntimeError("no memory <left>"))
    answer = page.search(str(catalog.hum_path), *asked)
    assert "fault in this program" in answer[page.status]
    assert "memory" not in answer[page.status]  # for the log, not for strangers
    assert page.answer not in answer  # what was found before stays
    (record,) = caplog.records
    assert record.levelname == "ERROR" and "no memory" in str(record.exc_info[1])


@pytest.mark.parametrize(
    ("fields", "filters", "genres", "genders"),
    [
        ({}, False, False, [ANY_GENDER]),
        ({"genre": "Folk"}, True, True, [ANY_GENDER]),
        ({"gender": "male"}, True, False, [ANY_GENDER, "male"]),
    ],
)
def test_only_filters_that_the_catalog_can_answer_are_offered(
    fields: dict, filters: bool, genres: bool, genders: list[str]
) -> None:
    recognizer = Mock(
        catalog=Catalog.build([Song("mine", "Mine", **fields)], [melody_from_notes(tune(1))], tiny_encoder())
    )
    page = page_of(recognizer)
    assert (page.filters.visible, page.genres.visible, page.gender.visible) == (filters, genres, len(genders) > 1)
    assert [gender for _, gender in page.word("ko", None, "")[page.gender]["choices"]] == genders
    assert not page.examples


def test_a_catalog_that_was_replaced_is_told(catalog: MiniatureCatalog, tmp_path: Path) -> None:
    folder = shutil.copytree(catalog.folder, tmp_path / "catalog")
    recognizer = Recognizer.from_pretrained(folder)
    page = page_of(recognizer)
    assert "replaced" not in page.word("en", None, "")[page.header]
    recognizer.catalog.save(folder)
    assert "replaced" not in page.word("en", None, "")[page.header]  # the same songs
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"n_songs": 12', '"n_songs": 13'))
    assert "replaced" in page.word("en", None, "")[page.header]


def test_examples_are_hums_of_songs_in_the_catalog() -> None:
    songs = [Song(id, id) for id in ("mine", "songbook_jingle-bells", "songbook_arirang")]
    assert [path.name for path in example_hums(Mock(songs=songs))] == ["arirang.flac", "jingle-bells.flac"]


def test_the_page_can_be_installed_and_previewed(url: str) -> None:
    manifest = httpx.get(f"{url}/manifest.json", timeout=TIMEOUT_S).json()
    assert manifest["name"] == "Hmm2Song"
    addresses = [icon["src"] for icon in manifest["icons"]]
    page = httpx.get(url, timeout=TIMEOUT_S).text
    addresses += re.findall(r'property="og:image" content="([^"]+)"', page)
    for address in addresses:
        assert httpx.get(f"{url}{address}", timeout=TIMEOUT_S).headers["content-type"] == "image/png"
    assert len(addresses) == 3 and "see which song it is" in page.partition("</head>")[0]


def test_our_own_code_is_light() -> None:
    room = Path(browser.__file__).parent
    assert sum(path.stat().st_size for path in room.iterdir() if path.suffix in (".js", ".css")) <= 60_000
    lines = (room / "page.css").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60 and max(map(len, lines)) <= 120


def test_gradio_is_imported_without_files_for_editors() -> None:
    code = """from hmm2song.page import import_gradio
import_gradio()
import gradio
assert gradio.component_meta.create_or_modify_pyi.__module__ == import_gradio.__module__
assert gradio.Blocks and gradio.Audio and gradio.__version__"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=TIMEOUT_S)


def test_the_page_loads_nothing_from_elsewhere(url: str) -> None:
    page, theme = (httpx.get(address, timeout=TIMEOUT_S).text for address in (url, f"{url}/theme.css"))
    assert "getUserMedia" in page
    loaded = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="([^"]+)"', page)
    loaded += re.findall(r"(?:@import|url\()\s*[\"']?([^\"')]+)", page + theme)
    assert loaded
    assert not [address for address in loaded if re.match("(https?:)?//", address)]


def test_the_command_line_explains_itself(tmp_path: Path) -> None:
    asking_help, without_catalog = (
        subprocess.Popen([sys.executable, "app.py", *options], cwd=ROOT, stdout=PIPE, stderr=PIPE, text=True)
        for options in (["--help"], ["--catalog", str(tmp_path / "none")])
    )
    words, _ = asking_help.communicate(timeout=TIMEOUT_S)
    assert asking_help.returncode == 0
    for option in ("--port", "--host", "--share", "--catalog", "--open", "--mcp"):
        assert option in words
    _, words = without_catalog.communicate(timeout=TIMEOUT_S)
    assert without_catalog.returncode == 2
    assert "none" in words and "Traceback" not in words


def test_a_port_that_is_taken_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = [sys.executable, "app.py", "--host", "127.0.0.1", "--port", port]
        told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert told.returncode == 2 and port in told.stderr and "--port" in told.stderr
    assert "Loading" not in told.stdout


def test_what_is_loaded_and_where_the_page_is_are_said(catalog: MiniatureCatalog, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    with running_app(catalog, tmp_path) as url:
        wait_until(lambda: "--share" in log.read_text())  # it answers a moment before it says where
    words = log.read_text()
    assert words.startswith(f"Loading {N_SONGS} songs…") and url in words
    assert "launch()" not in words
