"""scripts/collect_chart.py against a web server of our own: what it reads, what it leaves alone, how it goes on."""

from __future__ import annotations

import itertools
import json
import os
import runpy
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from email.utils import formatdate
from pathlib import Path

import pytest
from waiting import wait_until
from web_site import Site, answer

from hmm2song.collect import chart as melon
from hmm2song.collect.fetch import (
    FIRST_WAIT_S,
    MAX_ATTEMPTS,
    MAX_PAGE_BYTES,
    MAX_WAIT_S,
    FetchError,
    PageMissingError,
    PoliteClient,
    RobotsError,
)
from hmm2song.collect.info_csv import (
    COLUMNS,
    TableError,
    add_collected,
    apply_corrections,
    read_corrections,
    read_info,
    write_info,
)
from hmm2song.song import Song

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = ROOT / "scripts" / "collect_chart.py"
PAGES = ROOT / "tests" / "pages"
MONTH = "2023-12"
PAUSE_S = 5.0
DANCE, BALLAD = (melon.chart_path(genre, MONTH) for genre in ("Dance", "Ballad"))
ARTIST_11, ARTIST_12, ARTIST_13 = map(melon.artist_path, ("11", "12", "13"))
FEMALE = '솔로<span class="bar">|</span>여성'
MALE = '그룹<span class="bar">|</span>\n\t\t남성'
BAR = '<span class="bar">|</span>'


def page(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def artist_page(kind: str) -> str:
    return page("artist.html").replace("{type}", kind)


@pytest.fixture
def site() -> Iterator[Site]:
    """A site without robots.txt and without pages."""
    server = Site()
    yield server
    server.close()


@pytest.fixture
def charts(site: Site) -> Site:
    """A site with two charts and their artists, of whom one is a woman, one a man and one a secret."""
    site.put("/robots.txt", answer("User-agent: *\nDisallow: /member/\n", Content_Type="text/plain"))
    site.put(DANCE, page("chart_dance.html"))
    site.put(BALLAD, page("chart_ballad.html"))
    site.put(ARTIST_11, artist_page(FEMALE))
    site.put(ARTIST_12, artist_page(MALE))
    site.put(ARTIST_13, artist_page("솔로"))
    return site


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.sleeps_s: list[float] = []

    def sleep(self, duration_s: float) -> None:
        self.sleeps_s.append(duration_s)
        self.now_s += duration_s

    def __call__(self) -> float:
        return self.now_s


def client_of(site: Site, clock: Clock, pause_s: float = PAUSE_S) -> PoliteClient:
    return PoliteClient(site.url, pause_s, sleep=clock.sleep, clock=clock)


# Pages --------------------------------------------------------------------------------------------------------


def test_a_chart_is_read_row_by_row():
    assert melon.parse_chart(page("chart_dance.html"), MONTH) == (
        melon.ChartSong(1, "101", 'Hello, "World" (Feat. 나비)', ("가나다 (GANADA)",), ("11",)),
        melon.ChartSong(2, "102", "둘이서 & 셋이서", ("가나다 (GANADA)", "라마바"), ("11", "12")),
        melon.ChartSong(3, "103", "모두의 노래", ("Various Artists",), ()),
    )
    spelt_apart = unicodedata.normalize("NFD", page("chart_ballad.html"))
    assert melon.parse_chart(spelt_apart)[0].title == "느린 노래"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("data-song-no", "data-no", "no rows"),
        ('data-song-no="102"', 'data-song-no="../x"', "row 2"),
        ('class="rank ">2<', 'class="rang">2<', "not both numbers"),
        ('class="rank ">2<', 'class="rank ">5<', "ranks"),
        ("rank01", "title", "no title"),
        ("rank02", "singer", "no div.rank02"),
        ("Various Artists", "", "no singer"),
        ("calendar_prid", "calendar", "month"),
        ("2023.12", "2024.11", "asked for the chart of 2023-12, but the site shows that of 2024.11"),
    ],
)
def test_changed_markup_is_an_error(old, new, said):
    changed = page("chart_dance.html").replace(old, new)
    assert changed != page("chart_dance.html")
    with pytest.raises(melon.MarkupError, match=said):
        melon.parse_chart(changed, MONTH)


def test_a_lyric_keeps_its_lines_and_loses_the_markup():
    assert melon.parse_lyric(page("song.html")) == '하나 둘,\n"셋"\n\n라 라 라'
    assert melon.parse_lyric(page("song_without_lyric.html")) == ""


def test_the_gender_is_what_the_page_states():
    genders = {FEMALE: "female", MALE: "male", f"그룹{BAR}혼성": "mixed", "솔로": "", "": "", f"여성{BAR}남성": ""}
    assert {kind: melon.parse_artist_gender(artist_page(kind)) for kind in genders} == genders


def test_pages_of_another_kind_are_errors_and_words_elsewhere_are_no_gender():
    without = artist_page(FEMALE).replace("<dt>유형</dt>", "<dt>비고</dt>")
    assert "남성" in without and melon.parse_artist_gender(without) == ""
    with pytest.raises(melon.MarkupError, match="not an artist's page"):
        melon.parse_artist_gender(page("song.html"))
    with pytest.raises(melon.MarkupError, match="not a song's page"):
        melon.parse_lyric(page("chart_dance.html"))


def test_the_gender_of_several():
    singers = (["female", "female"], ["female", "male"], ["mixed", ""], ["female", ""], [])
    assert [melon.song_gender(genders) for genders in singers] == ["female", "mixed", "mixed", "", ""]


# Politeness ---------------------------------------------------------------------------------------------------


def test_what_robots_txt_forbids_is_not_requested(site):
    site.put("/robots.txt", answer("User-agent: hmm2song\nDisallow: /*?songId=\n\nUser-agent: *\nDisallow: /\n"))
    site.put("/open", "yes")
    client = client_of(site, Clock())
    client.require_allowed(["/chart?x=1"])
    with pytest.raises(RobotsError, match="forbids programs to read /song"):
        client.get("/song/detail.htm?songId=1")
    assert site.requests == ["/robots.txt"]
    assert client.get("/open") == "yes"


@pytest.mark.parametrize(
    "robots",
    [
        answer("", 503),
        answer("", 403),
        answer("<html>Welcome</html>"),
        answer("", 302, Location="http://127.0.0.2:9/robots.txt"),
        answer(f"User-agent: *\nCrawl-delay: {MAX_WAIT_S + 1}\n"),
    ],
)
def test_without_readable_rules_nothing_is_requested(site, robots):
    site.put("/robots.txt", robots)
    site.put("/page", "never")
    with pytest.raises(RobotsError, match=r"robots\.txt"):
        client_of(site, Clock()).get("/page")
    assert set(site.requests) == {"/robots.txt"}


def test_a_dead_site_is_an_error_after_some_attempts(site):
    site.close()
    with pytest.raises(RobotsError, match=f"gave up after {MAX_ATTEMPTS} attempts"):
        client_of(site, Clock()).get("/page")


@pytest.mark.parametrize(("robots", "pause_s"), [("", PAUSE_S), ("User-agent: *\nCrawl-delay: 30\n", 30.0)])
def test_there_is_a_pause_before_every_request_but_the_first(site, robots, pause_s):
    site.put("/robots.txt", answer(robots))
    site.put("/a", "1")
    clock = Clock()
    client = client_of(site, clock)
    client.get("/a")
    client.get("/a")
    clock.now_s += pause_s + 1.0  # the caller was busy for longer than the pause
    client.get("/a")
    assert clock.sleeps_s == [pause_s, pause_s]
    assert site.requests == ["/robots.txt", "/a", "/a", "/a"]
    assert all(agent.startswith("Hmm2Song/") for agent in site.agents)


def test_faults_are_waited_out_twice_as_long_each_time(site):
    site.put("/a", answer("", 503), answer("", 500), answer("", 429), "at last")
    clock = Clock()
    told: list[tuple[float, str]] = []
    client = PoliteClient(site.url, 0.0, lambda *wait: told.append(wait), clock.sleep, clock)
    assert client.get("/a") == "at last"
    assert [wait_s for wait_s, _ in told] == clock.sleeps_s == [FIRST_WAIT_S, 2 * FIRST_WAIT_S, 4 * FIRST_WAIT_S]
    assert [problem[:3] for _, problem in told] == ["503", "500", "429"]


def test_a_cut_answer_is_asked_for_again(site):
    site.put("/a", answer("half", Content_Length="8"), "complete")
    assert client_of(site, Clock()).get("/a") == "complete"


def test_retry_after_is_obeyed(site):
    in_100_s = formatdate(time.time() + 100.0, usegmt=True)
    site.put("/a", answer("", 429, Retry_After="77"), answer("", 503, Retry_After=in_100_s), "done")
    site.put("/b", answer("", 429, Retry_After="soon"), "done")
    clock = Clock()
    client = client_of(site, clock, pause_s=0.0)
    client.get("/a")
    client.get("/b")
    assert clock.sleeps_s[0] == 77.0
    assert clock.sleeps_s[1] == pytest.approx(100.0, abs=30.0)
    assert clock.sleeps_s[2:] == [FIRST_WAIT_S]


@pytest.mark.parametrize(
    ("status", "headers", "error", "said", "n_requests"),
    [
        *((status, {}, FetchError, f"refuses this program .{status}", 1) for status in (401, 403, 406, 451)),
        (404, {}, PageMissingError, "no such page", 1),
        (429, {"Retry_After": "86400"}, FetchError, "wait 86400 s", 1),
        (429, {}, FetchError, r"gave up after .* \(429 Too Many Requests\)", MAX_ATTEMPTS),
    ],
)
def test_how_often_an_answer_is_asked_for_again(site, status, headers, error, said, n_requests):
    site.put("/a", answer("", status, **headers))
    with pytest.raises(error, match=said):
        client_of(site, Clock()).get("/a")
    assert site.requests.count("/a") == n_requests


def test_redirects_stay_on_the_site_and_inside_the_rules(site):
    other = Site()
    other.put("/elsewhere", "bait")
    site.put("/robots.txt", answer("User-agent: *\nDisallow: /member\n"))
    site.put("/a", answer("", 301, Location="/b?x=1#top"))
    site.put("/b?x=1", "moved")
    site.put("/login", answer("", 302, Location="/member/login"))
    site.put("/loop", answer("", 302, Location="/loop"))
    site.put("/out", answer("", 302, Location=f"{other.url}/elsewhere"))
    site.put("/almost", answer("", 302, Location=f"{site.url}.example.org/"))
    client = client_of(site, Clock())
    assert client.get("/a") == "moved"
    with pytest.raises(RobotsError):
        client.get("/login")
    with pytest.raises(FetchError, match="more than"):
        client.get("/loop")
    for path in ("/out", "/almost"):
        with pytest.raises(FetchError, match="another site"):
            client.get(path)
    other.close()
    assert other.requests == []
    assert "/member/login" not in site.requests


def test_what_is_no_page_is_refused(site):
    site.put("/large", answer(b"x" * (MAX_PAGE_BYTES + 1)))
    site.put("/json", answer("{}", Content_Type="application/json"))
    site.put("/binary", answer(b"\xff\xfe\xfa"))
    site.put("/korean", answer("한글".encode("euc-kr"), Content_Type="text/html; charset=EUC-KR"))
    site.put("/unlabelled", answer("한글", Content_Type="text/html"))
    client = client_of(site, Clock())
    for path, said in (("/large", "larger"), ("/json", "instead of a page"), ("/binary", "not text")):
        with pytest.raises(FetchError, match=said):
            client.get(path)
    assert client.get("/korean") == client.get("/unlabelled") == "한글"
    site.put("/slow", answer(b"x" * 1_000_000))
    slow = PoliteClient(site.url, 0.0, sleep=lambda _: None, clock=itertools.count(0.0, 50.0).__next__)
    with pytest.raises(FetchError, match="did not arrive"):
        slow.get("/slow")


def test_an_address_must_be_a_site():
    for address in ("melon.com", "ftp://x.org", "https://x.org/chart", "https://me:secret@x.org", "https://["):
        with pytest.raises(FetchError, match="not a site"):
            PoliteClient(address)


# The table ----------------------------------------------------------------------------------------------------


def row(**cells: str) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, "") | cells


def test_a_table_survives_being_written_and_read(tmp_path, monkeypatch):
    rows = [
        row(
            id="1", Title='눈, "코", 입', Singer="가, 나", Lyric="하나\n둘,\n\n셋", genre="Dance, Ballad", gender="male"
        ),
        row(id="2", Title="=1+1", path=unicodedata.normalize("NFD", "한글/노래.mp3"), note="mine"),
    ]
    write_info(tmp_path / "info.csv", rows)
    again = read_info(tmp_path / "info.csv")
    assert again == [rows[0] | {"note": ""}, rows[1]]
    assert [Song.from_row(read).genres for read in again] == [("Dance", "Ballad"), ()]
    before = (tmp_path / "info.csv").read_bytes()
    assert before.startswith(b"id,Title,Singer,Lyric,genre,path,gender,note\n")

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(TableError, match="No space left"):  # the old table stays
        write_info(tmp_path / "info.csv", [row(id="2")])
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == {tmp_path / "info.csv": before}


def test_tables_of_other_programs_are_read(tmp_path):
    file = tmp_path / "excel.csv"
    file.write_bytes("ID,title,Gender,genre\r\n7,노래,여성,Dance \r\n".encode("cp949"))
    assert read_info(file) == [row(id="7", Title="노래", gender="female", genre="Dance")]
    file.write_bytes('\ufeffid,Title,Lyric\r\n7,노래,"a\r\nb\rc"\r\n,,\r\n'.encode())
    assert read_info(file) == [row(id="7", Title="노래", Lyric="a\nb\nc")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "first line"),
        ("Singer,genre\nx,y\n", "first line"),
        ("id,id\n1,2\n", "twice"),
        ("id,Title\n1,a,b\n", r"line 2: 3 cells for 2 columns"),
        ("id,Title\n,a\n", "line 2: the row has no id"),
        ("id,Title\n1,a\n1,b\n", "line 3: the id '1' is already"),
        ("id,gender\n1,robot\n", "line 2: gender 'robot'"),
        ("id,path\n1,../a.mp3\n", "leads out"),
        ("id,path\n1,/a.mp3\n", "leads out"),
        ("id,Lyric\n1," + "x" * 100_001 + "\n", "line 2"),
        ("id,Lyric\n1," + "x" * 200_000 + "\n", "line 2"),
        (b"\x00\x01\x02", "not text"),
    ],
)
def test_broken_tables_are_named(tmp_path, content, said):
    file = tmp_path / "info.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TableError, match=said):
        read_info(file)
    file.write_text("id,Title,gender\n,,female\n", encoding="utf-8")
    with pytest.raises(TableError, match="line 2: the row needs an id or a Title"):
        read_corrections(file)


def test_corrections_win_and_find_their_rows():
    old = [row(id="1", Title="같은", Singer="갑", gender="male", path="a.mp3"), row(id="2", Title="같은", Singer="을")]
    corrected = apply_corrections(
        old, [row(id="1", gender="female"), row(Title="같은", Singer="을", genre="Trot"), row(Title="New", Singer="N")]
    )
    assert corrected[0] == old[0] | {"gender": "female"}
    assert corrected[1] == old[1] | {"genre": "Trot"}
    assert corrected[2]["id"].startswith("own-")
    assert apply_corrections(corrected, [row(Title="new ", gender="mixed")])[2] == corrected[2] | {
        "Title": "new ",
        "gender": "mixed",
    }
    with pytest.raises(TableError, match="fits 2 rows"):
        apply_corrections(old, [row(Title="같은", gender="female")])
    with pytest.raises(TableError, match="which the table lacks"):
        apply_corrections(old, [row(id="3", gender="female")])
    assert add_collected(old, [row(id="1", Title="theirs", genre="Folk", gender="female")])[0] == old[0] | {
        "genre": "Folk"
    }


# The script ---------------------------------------------------------------------------------------------------


@pytest.fixture
def collect(charts: Site, tmp_path: Path) -> Callable[..., int]:
    """Run the script on the site, into ``info.csv`` of the test's folder."""
    main = runpy.run_path(str(SCRIPT))["main"]

    def run(*arguments: str) -> int:
        return main([*options(charts, tmp_path), *arguments])

    return run


def options(charts: Site, folder: Path) -> list[str]:
    return [
        *("--site", charts.url, "--pause", "0", "--out", str(folder / "info.csv")),
        *("--month", MONTH, "--genre", "Dance", "--genre", "Ballad"),
    ]


TABLE = [
    row(
        id="101", Title='Hello, "World" (Feat. 나비)', Singer="가나다 (GANADA)", genre="Dance, Ballad", gender="female"
    ),
    row(id="102", Title="둘이서 & 셋이서", Singer="가나다 (GANADA), 라마바", genre="Dance", gender="mixed"),
    row(id="103", Title="모두의 노래", Singer="Various Artists", genre="Dance"),
    row(id="201", Title="느린 노래", Singer="라마바", genre="Ballad", gender="male"),
    row(id="202", Title="아무도 모르는 사람", Singer="사아자", genre="Ballad"),
]


def test_charts_become_a_table(charts, collect, tmp_path, capsys):
    assert collect() == 0
    assert read_info(tmp_path / "info.csv") == TABLE
    assert charts.requests == ["/robots.txt", DANCE, BALLAD, ARTIST_11, ARTIST_12, ARTIST_13]
    assert [entry.name for entry in tmp_path.iterdir()] == ["info.csv"]
    said = capsys.readouterr().out
    assert "5 songs, 5 new; 2 without gender, 5 without path" in said
    assert "lists 3 songs, not 150" in said


def test_a_missing_artist_is_no_obstacle_and_top_cuts_the_charts(charts, collect, tmp_path):
    assert collect("--top", "1", "--no-gender") == 0
    assert [song["id"] for song in read_info(tmp_path / "info.csv")] == ["101", "201"]
    assert charts.requests == ["/robots.txt", DANCE, BALLAD]
    charts.put(ARTIST_12, answer("gone", 404))
    assert collect() == 0
    assert {song["id"]: song["gender"] for song in read_info(tmp_path / "info.csv")}["201"] == ""


def test_a_later_run_keeps_what_people_did(charts, collect, tmp_path):
    (tmp_path / "info.csv").write_text(
        "id,Title,gender,path,genre,mood\n202,아무도,여성,a/b.mp3,Indie,sad\nmine,내 노래,,,,\n", encoding="utf-8"
    )
    assert collect() == 0
    rows = {song["id"]: song for song in read_info(tmp_path / "info.csv")}
    assert list(rows) == ["202", "mine", "101", "102", "103", "201"]
    assert rows["202"] == row(
        id="202", Title="아무도", Singer="사아자", genre="Indie, Ballad", path="a/b.mp3", gender="female", mood="sad"
    )
    assert ARTIST_13 not in charts.requests


def test_robots_txt_is_asked_about_every_kind_of_page_before_the_first_is_read(charts, collect, tmp_path, capsys):
    charts.put("/robots.txt", answer("User-agent: *\nDisallow: /artist/\n", Content_Type="text/plain"))
    assert collect() == 2
    assert charts.requests == ["/robots.txt"]
    assert list(tmp_path.iterdir()) == []
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "robots.txt forbids programs to read /artist/" in captured.err
    assert "--from-csv" in captured.err
    assert collect("--no-gender") == 0
    assert len(read_info(tmp_path / "info.csv")) == len(TABLE)


def test_lyrics_only_on_request(charts, collect, tmp_path, capsys):
    charts.put(melon.song_path("201"), page("song.html"))
    charts.put(melon.song_path("102"), page("song_without_lyric.html"))
    assert collect() == 0
    assert not any(path.startswith("/song/") for path in charts.requests)
    assert "lyrics belong" not in capsys.readouterr().out
    assert collect("--lyrics") == 0
    lyrics = {song["id"]: song["Lyric"] for song in read_info(tmp_path / "info.csv")}
    assert lyrics == dict.fromkeys(("101", "102", "103", "202"), "") | {"201": '하나 둘,\n"셋"\n\n라 라 라'}
    assert "lyrics belong to their authors" in capsys.readouterr().out
    assert [entry.name for entry in tmp_path.iterdir()] == ["info.csv"]


def test_a_killed_run_goes_on_where_it_was(charts, collect, tmp_path):
    charts.hold[ARTIST_12] = threading.Event()
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *options(charts, tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    wait_until(lambda: process.poll() is not None or ARTIST_12 in charts.requests)
    process.kill()
    process.wait()
    charts.hold.pop(ARTIST_12).set()
    assert charts.requests[-1] == ARTIST_12
    journal = tmp_path / "info.csv.partial" / "pages.jsonl"
    assert "<" not in journal.read_text(encoding="utf-8")
    with journal.open("a", encoding="utf-8") as stream:  # as if it had been killed while writing
        stream.write("\n" + json.dumps([charts.url + ARTIST_12, "male"])[:-4])
    charts.requests.clear()
    assert collect() == 0
    assert charts.requests == ["/robots.txt", ARTIST_12, ARTIST_13]
    assert read_info(tmp_path / "info.csv") == TABLE
    assert not journal.parent.exists()


def test_an_error_on_the_way_keeps_what_was_read(charts, collect, tmp_path, capsys):
    charts.put(ARTIST_12, "<html>Sorry, we have redesigned</html>")
    assert collect() == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "artistId=12" in said
    assert "the markup changed (5 songs so far; the same command goes on from here)" in said
    assert len(read_info(tmp_path / "info.csv")) == len(TABLE)
    charts.put(ARTIST_12, answer("", 406))
    assert collect() == 2
    assert "406 Not Acceptable" in capsys.readouterr().err.splitlines()[-1]
    charts.put(ARTIST_12, artist_page(MALE))
    charts.requests.clear()
    assert collect() == 0
    assert charts.requests == ["/robots.txt", ARTIST_12, ARTIST_13]
    assert read_info(tmp_path / "info.csv") == TABLE


def test_hand_made_rows_need_no_network(charts, tmp_path, capsys):
    main = runpy.run_path(str(SCRIPT))["main"]
    hand_made = tmp_path / "hand.csv"
    hand_made.write_text('Title,Singer,genre,gender\n"눈, 코",가,"Indie,Ballad",혼성\n', encoding="utf-8")
    progress = tmp_path / "info.csv.partial"
    progress.mkdir()
    for _ in range(2):
        assert main(["--from-csv", str(hand_made), "--out", str(tmp_path / "info.csv")]) == 0
    (made,) = read_info(tmp_path / "info.csv")
    assert made == row(id=made["id"], Title="눈, 코", Singer="가", genre="Indie, Ballad", gender="mixed")
    assert charts.requests == []
    assert progress.is_dir(), "an unfinished collection is not forgotten"
    assert "1 songs, 0 new" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing to do"),
        (["--month", "2999-01"], "past month"),
        (["--month", MONTH, "--pause", "nan"], "be polite"),
        (["--month", MONTH, "--top", "0"], "--top 0"),
        (["--month", MONTH, "--out", "nowhere/info.csv"], "no such folder"),
        (["--month", MONTH, "--site", "https://example.org/chart"], "not a site"),
        (["--from-csv", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_bad_options_are_one_line(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runpy.run_path(str(SCRIPT))["main"](arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
