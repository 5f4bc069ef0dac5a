"""The page in a real browser with a fake microphone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from serving import HOSTILE_TITLE, N_SONGS, MiniatureCatalog

from hmm2song.page.preview import LEAD_S

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
FAKE_MICROPHONE = ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
DEADLINE_MS = 90_000
"""Far more than anything takes, so that no test depends on how busy the machine is."""


@dataclass
class Visit:
    """A page and what went wrong on it."""

    page: playwright.Page
    troubles: list[str] = field(default_factory=list)

    def see(self, selector: str, words: str) -> None:
        """Wait until the element holds the words."""
        playwright.expect(self.page.locator(selector).first).to_contain_text(words)

    def upload(self, path: Path) -> None:
        if not self.page.locator("#recorder").is_visible():
            self.page.locator(".upload").click()
        clear = self.page.locator("#recorder button[aria-label='Clear']")
        if clear.count():
            clear.click()
        self.page.locator("#recorder [aria-label='Upload file']").first.click()
        self.page.locator("#recorder input[type=file]").first.set_input_files(path)


@pytest.fixture(scope="module")
def browser(catalog: MiniatureCatalog) -> Iterator[playwright.Browser]:
    flags = [*QUIET, *FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={catalog.hum_path}"]
    playwright.expect.set_options(timeout=DEADLINE_MS)
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=flags)


@pytest.fixture
def visit(browser: playwright.Browser, url: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Open the page; parametrize indirectly with options of the browser context."""
    options = {"locale": "en-US", "permissions": ["microphone"], **getattr(request, "param", {})}
    context = browser.new_context(**options)
    context.set_default_timeout(DEADLINE_MS)
    visit = Visit(context.new_page())
    visit.page.on("dialog", lambda dialog: (visit.troubles.append(dialog.message), dialog.dismiss()))
    visit.page.on("pageerror", lambda error: visit.troubles.append(str(error)))
    visit.page.on("request", lambda sent: visit.troubles.append(sent.url) if not is_local(sent.url, url) else None)
    visit.page.goto(url)
    playwright.expect(visit.page.locator(".face")).to_have_text(re.compile("Hum|허밍"))
    yield visit
    context.close()
    assert not visit.troubles  # no script from a title ran, nothing failed, nothing was fetched from elsewhere


def is_local(address: str, url: str) -> bool:
    return address.startswith((url, "data:", "blob:"))


def test_one_tap_leads_to_the_answer(visit: Visit) -> None:
    """Hum: guesses come while it goes on, it stops by itself, and the page tells what was found."""
    page = visit.page
    visit.see(".say", "Tap and hum")
    page.locator(".hum").dblclick()  # the second click changes nothing
    visit.see(".say", "Listening")
    playwright.expect(page.locator(".hum")).to_have_attribute("aria-pressed", "true")
    page.wait_for_function("document.querySelector('.live canvas').width > 200")
    visit.see(".winner h2", "Song 0")
    visit.see(".status", "Found: Song 0 (첫 노래)")
    visit.see(".others", "Also possible (9)")
    playwright.expect(page.locator(".hum")).to_have_text("New hum")
    assert page.evaluate("document.activeElement.className") == "hum"

    page.locator(".more").click()  # once more, and with second thoughts
    visit.see(".say", "Listening")
    assert page.locator("#answer").evaluate("a => a.inert && getComputedStyle(a).opacity") < "0.5"
    page.locator(".cancel").click()
    playwright.expect(page.locator("#page")).not_to_have_attribute("humming", "")
    assert not page.locator("#answer").evaluate("a => a.inert")
    visit.see(".winner", "Found")

    page.locator(".more").click()
    visit.see(".winner .state", "2 hums joined")
    guesses = re.compile("component_server")
    page.route(guesses, lambda route: route.abort())  # without guesses it does not stop by itself
    page.locator(".hum").click()  # a new hum stands for itself, and Stop ends it at once
    page.wait_for_timeout(4000)
    playwright.expect(page.locator(".hum")).to_have_attribute("aria-pressed", "true")
    page.locator(".hum").click()
    page.unroute(guesses)
    playwright.expect(page.locator(".winner .state")).to_have_text("Found")


def test_a_lost_connection_loses_no_hum(visit: Visit) -> None:
    page, lost = visit.page, []

    def lose(route: playwright.Route) -> None:
        lost.append(route)
        route.abort() if len(lost) < 3 else route.continue_()

    page.route(re.compile("component_server"), lose)
    page.locator(".hum").click()
    visit.see(".winner h2", "Song 0")
    assert len(lost) > 3


@pytest.mark.parametrize("visit", [{"permissions": []}], indirect=True)
def test_without_a_live_microphone_the_plain_recorder_stands_in(visit: Visit) -> None:
    page = visit.page
    page.add_init_script("delete window.AudioWorkletNode")
    page.reload()
    visit.see(".say", "No live listening")
    page.locator("#recorder .record-button").click()
    visit.see(".status", "Listening")
    page.wait_for_timeout(6000)  # the fake microphone plays the hum in real time, and stutters on a busy machine
    page.locator("#recorder .stop-button").click()
    playwright.expect(page.locator(".winner, .no-match").first).to_be_visible()  # so whatever was heard is answered


def test_a_refused_microphone_is_explained(visit: Visit) -> None:
    refuse = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }"
    visit.page.evaluate(f"() => {{ {refuse} }}")
    visit.page.locator(".hum").click()
    visit.see(".say", "microphone is blocked")
    playwright.expect(visit.page.locator("#recorder")).to_be_visible()
    visit.page.locator("#language").get_by_text("한국어").click()  # as if the words of the language came late
    visit.see(".say", "마이크가 차단되어 있습니다")


def test_the_microphone_is_asked_for_plain_sound(visit: Visit) -> None:
    settings = visit.page.evaluate(
        "navigator.mediaDevices.getUserMedia({audio: true}).then(s => s.getAudioTracks()[0].getSettings())"
    )
    names = ("echoCancellation", "noiseSuppression", "autoGainControl")
    assert {name: settings[name] for name in names} == dict.fromkeys(names, False)


def test_the_match_is_drawn_and_played_at_its_place(visit: Visit, catalog: MiniatureCatalog) -> None:
    visit.upload(catalog.hum_path)
    visit.see(".winner h2", "Song 0")
    page = visit.page
    playwright.expect(page.locator(".plot path")).to_have_count(2)
    player = page.locator(".winner audio")
    page.wait_for_function("document.querySelector('.winner audio').currentTime > 0")
    assert player.evaluate("a => a.currentTime") == pytest.approx(LEAD_S, abs=1.0)
    assert "match-" in player.evaluate("a => a.currentSrc")
    page.get_by_role("button", name="Hear the match").click()
    page.wait_for_function("document.querySelector('.winner audio').currentTime > 4")
    head_x = page.locator(".head").bounding_box()["x"]
    page.wait_for_timeout(500)
    assert page.locator(".head").bounding_box()["x"] > head_x
    page.get_by_role("button", name="Pause").click()

    page.locator("#cards summary").press("Enter")  # by keyboard
    second = page.locator(".card[data-index='1']")
    title = second.locator(".names b").inner_text()
    second.press("Enter")
    visit.see(".winner h2", title)
    visit.see(".winner .state", "Only a guess")

    page.emulate_media(media="print")  # the card alone
    assert page.locator(".winner h2").is_visible()
    for hidden in ("footer", "#history", "#cards", ".hum", ".winner .acts", ".play"):
        assert not page.locator(hidden).first.is_visible(), hidden


def test_songs_like_the_winner_are_explored_played_and_found_on_the_map(
    visit: Visit, catalog: MiniatureCatalog
) -> None:
    page = visit.page
    visit.upload(catalog.hum_path)
    visit.see(".winner h2", "Song 0")
    page.get_by_role("button", name="Songs like this").click()
    visit.see("#page h2 >> visible=true", "Like “Song 0”")
    playwright.expect(page.locator("#explored article")).to_have_count(N_SONGS - 1)
    page.locator("#explored .play").first.click()
    playwright.expect(page.locator("#explored .play.playing")).to_have_count(1)
    page.get_by_label("Map").check()
    page.locator(".map").press("ArrowRight")
    chosen = page.locator(".spot-words").inner_text()
    page.locator(".map").press("Enter")
    visit.see("#page h2 >> visible=true", chosen.partition(" · ")[0])
    page.get_by_label("Find a song").fill("author 5")
    page.locator("article", has_text="Author 5").get_by_role("button", name="Path to it").first.click()
    visit.see("#explored article >> nth=-1", "Song 5")


def test_what_was_found_is_kept_judged_shared_and_forgotten(visit: Visit, catalog: MiniatureCatalog) -> None:
    page = visit.page
    visit.upload(catalog.hum_path)
    visit.see(".winner h2", "Song 0")
    page.get_by_role("button", name="This is it").click()
    visit.see(".said", "kept on this device only")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Share picture").click()
    assert Path(saved.value.path()).read_bytes().startswith(b"\x89PNG")
    page.reload()
    page.locator("#history summary").click()
    visit.see("#history li", "✓")
    page.locator("#history li a").click()
    visit.see(".winner .state", "A song to hum")
    assert "song=s0" in page.url
    page.locator("#history summary").click()
    page.get_by_label("Keep a list").uncheck()
    playwright.expect(page.locator("#history li")).to_have_count(0)
    assert page.evaluate("localStorage.getItem('hmm2song-history')") is None
    page.goto(page.url.partition("?")[0] + "?song=nowhere")
    visit.see("[role=alert]", "not in this catalog")


def test_a_filter_searches_again_and_can_be_dropped(visit: Visit, catalog: MiniatureCatalog) -> None:
    visit.upload(catalog.hum_path)
    visit.see(".winner h2", "Song 0")
    page = visit.page
    page.get_by_text("Narrow the search").click()
    page.get_by_label(re.compile("^Genre")).click()
    page.get_by_role("option", name="Ballad (4)").click()
    visit.see("#verdict .note >> nth=-1", "Song 0")  # the good match outside the filter
    visit.see("#cards", "have no genre or singer on record")
    page.get_by_role("button", name="Drop the filter").click()
    visit.see(".winner h2", "Song 0")
    visit.see("#cards", f"Searched {N_SONGS} songs")


def test_a_file_or_an_example_is_a_new_question(visit: Visit, catalog: MiniatureCatalog, tmp_path: Path) -> None:
    page = visit.page
    visit.upload(catalog.hum_path)
    visit.see(".winner h2", "Song 0")
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is not audio")
    visit.upload(broken)
    visit.see("[role=alert]", "broken.wav")
    visit.see(".winner h2", "Song 0")  # what was found stays
    visit.upload(catalog.hum_path)
    visit.see(".status", "Found: Song 0")
    playwright.expect(page.locator(".winner .state")).to_have_text("Found")


def test_a_full_queue_is_told_from_a_fault(visit: Visit, catalog: MiniatureCatalog) -> None:
    # What Gradio answers when its queue is full.
    visit.page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Queue is full."}))
    visit.upload(catalog.hum_path)
    visit.see(".status", "Too many people")


def test_who_waits_is_told_the_place_and_keeps_the_hum(visit: Visit) -> None:
    page = visit.page
    page.locator(".live .hum").click()
    visit.see(".say", "Listening")
    page.wait_for_timeout(2500)
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Queue is full."}))
    page.locator(".live .hum").click()
    visit.see(".status", "Too many people")
    page.route("**/queue/status", lambda route: route.fulfill(json={"queue_size": 7}))
    page.route("**/queue/join*", lambda route: None)  # it waits
    page.get_by_role("button", name="Send it again").click()
    visit.see(".say", "about number 7")
    page.route("**/queue/status", lambda route: route.abort())
    visit.see(".say", "Your hum is kept")
    page.unroute_all()
    page.reload()  # as Gradio does when the server is back
    playwright.expect(page.locator(".winner, .no-match").first).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("visit", [{"locale": "ko-KR", "viewport": {"width": 360, "height": 740}}], indirect=True)
def test_a_korean_phone(visit: Visit, catalog: MiniatureCatalog) -> None:
    page = visit.page
    visit.see(".say", "버튼을 누르고")
    languages, advice = (page.locator(part).first.bounding_box() for part in ("#language .wrap", "header p"))
    assert languages["y"] + languages["height"] <= advice["y"]  # not over the words
    light = page.locator(".upload").evaluate("button => getComputedStyle(button).borderTopColor")
    page.evaluate("document.body.classList.add('dark')")
    playwright.expect(page.locator(".upload")).not_to_have_css("border-top-color", light)  # after its transition
    visit.upload(catalog.hum_path)
    visit.see(".status", "찾았습니다: 첫 노래 (Song 0)")
    visit.see(".more", "한 번 더 흥얼거리기")
    page.evaluate("scrollTo(0, 0)")
    plot = page.locator(".winner .plot").bounding_box()
    assert plot["y"] + plot["height"] <= 740  # the winner and its overlay are on the first screen
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.documentElement.lang") == "ko"
    page.get_by_label("English").check(force=True)
    visit.see(".status", "Found: Song 0")
    visit.see("header", "Hum a tune")
    visit.see(".hum", "New hum")
    page.get_by_text("What can I hum?").click()
    playwright.expect(page.locator("ul.songs li")).to_have_count(N_SONGS)
    page.get_by_label(f"Search {N_SONGS} songs").fill("author 1")
    visit.see("ul.songs", HOSTILE_TITLE)
    playwright.expect(page.locator("ul.songs li")).to_have_count(3)  # authors 1, 10 and 11


@pytest.mark.parametrize("visit", [{"locale": "ko-KR"}], indirect=True)
def test_the_card_of_a_linked_song_speaks_the_language_of_the_visitor(visit: Visit) -> None:
    visit.page.goto(f"{visit.page.url}?song=s0")
    visit.page.get_by_role("button", name="그림 공유").click()
    visit.see(".said", "그림을 저장했습니다")
