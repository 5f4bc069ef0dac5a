"""The page in a real browser with a fake microphone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import soundfile
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
        self.page.get_by_label("Upload file").first.click()
        self.page.locator("#recorder input[type=file]").first.set_input_files(path)

    def hum_once_more(self) -> None:
        self.page.get_by_role("button", name="Hum once more").dblclick()  # the second press changes nothing
        self.see(".status", "Hum the same tune again")


@pytest.fixture(scope="module")
def parts(catalog: MiniatureCatalog, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two hums of the first song, of different places."""
    samples, rate_hz = soundfile.read(catalog.hum_path)
    folder = tmp_path_factory.mktemp("parts")
    soundfile.write(folder / "first.wav", samples[: 6 * rate_hz], rate_hz)
    soundfile.write(folder / "second.wav", samples[4 * rate_hz :], rate_hz)
    return folder / "first.wav", folder / "second.wav"


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
    visit.page.locator("#recorder").wait_for()
    yield visit
    context.close()
    assert not visit.troubles  # no script from a title ran, nothing failed, nothing was fetched from elsewhere


def is_local(address: str, url: str) -> bool:
    return address.startswith((url, "data:", "blob:"))


def test_a_recording_is_searched_when_it_ends(visit: Visit) -> None:
    page = visit.page
    visit.see(".status", "Press Record")
    page.locator("#recorder .record-button").click()
    visit.see(".status", "Listening")
    page.wait_for_timeout(6000)  # the fake microphone plays the hum in real time
    page.locator("#recorder .stop-button").click()
    visit.see(".card[open]", "Song 0")
    visit.see(".status", "Song 0 (첫 노래)")
    playwright.expect(page.locator(".card")).to_have_count(10)


def test_the_microphone_is_asked_for_plain_sound(visit: Visit) -> None:
    settings = visit.page.evaluate(
        "navigator.mediaDevices.getUserMedia({audio: true}).then(s => s.getAudioTracks()[0].getSettings())"
    )
    names = ("echoCancellation", "noiseSuppression", "autoGainControl")
    assert {name: settings[name] for name in names} == dict.fromkeys(names, False)


def test_the_match_is_drawn_described_and_played_at_its_place(visit: Visit, catalog: MiniatureCatalog) -> None:
    visit.upload(catalog.hum_path)
    visit.see("#overlay", "Song 0")
    page = visit.page
    playwright.expect(page.locator("#overlay .scatterlayer .trace")).to_have_count(2)
    player = page.locator("#overlay audio").first
    player.wait_for(state="attached")
    page.wait_for_function("document.querySelector('#overlay audio').currentTime > 0")
    assert player.evaluate("a => a.currentTime") == pytest.approx(LEAD_S, abs=1.0)
    assert "match-" in player.evaluate("a => a.currentSrc")

    second = page.locator(".card summary[data-index='1']")
    title = second.locator(".names b").inner_text()
    second.press("Enter")  # by keyboard
    visit.see("#overlay .quiet", title)
    playwright.expect(page.locator(".card[open]")).to_have_count(1)
    playwright.expect(page.locator("#overlay")).to_contain_text("plain tone")


def test_a_filter_searches_again_and_can_be_dropped(visit: Visit, catalog: MiniatureCatalog) -> None:
    visit.upload(catalog.hum_path)
    visit.see(".status", "Song 0")
    page = visit.page
    page.get_by_text("Narrow the search").click()
    page.get_by_label(re.compile("^Genre")).click()
    page.get_by_role("option", name="Ballad (4)").click()
    visit.see("#results .note >> nth=-1", "Song 0")  # the good match outside the filter
    visit.see("#results", "have no genre or singer on record")
    page.get_by_role("button", name="Drop the filter").click()
    visit.see(".status", "Song 0")
    visit.see("#results", f"Searched {N_SONGS} songs")


def test_a_second_hum_is_joined_with_the_first(visit: Visit, parts: tuple[Path, Path]) -> None:
    page, (first, second) = visit.page, parts
    visit.upload(first)
    visit.see(".status", "Song 0")
    visit.hum_once_more()
    playwright.expect(page.locator("#recorder input[type=file]")).to_have_count(1)  # ready for the next one
    visit.upload(second)
    visit.see(".status", "· 2 hums joined")

    page.get_by_text("Narrow the search").click()
    page.get_by_label(re.compile("^Genre")).click()
    page.get_by_role("option", name="Folk (4)").click()
    visit.see("#results", "Searched 8 songs")
    visit.see(".status", "· 2 hums joined")  # the same two, searched again

    page.get_by_label("Clear", exact=True).first.click()
    visit.see(".status", "Press Record")
    visit.upload(first)  # without the button it is a new question
    playwright.expect(page.locator(".status").first).to_have_text(re.compile("% sure$"))


def test_what_was_hummed_survives_a_bad_recording_and_another_language(
    visit: Visit, parts: tuple[Path, Path], tmp_path: Path
) -> None:
    page = visit.page
    visit.upload(parts[0])
    visit.see(".status", "Song 0")
    visit.hum_once_more()
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is not audio")
    visit.upload(broken)
    visit.see("[role=alert]", "broken.wav")
    visit.see(".status", "Hum the same tune again")
    page.get_by_label("한국어").check(force=True)
    visit.see(".status", "같은 노래를 한 번 더")
    page.get_by_label("English").check(force=True)
    visit.see(".status", "Hum the same tune again")
    page.locator("#recorder button[aria-label='Clear']").click()
    page.get_by_label("Record audio").click()
    page.locator("#recorder .record-button").click()
    visit.see(".status", "Listening")
    page.wait_for_timeout(4000)
    page.locator("#recorder .stop-button").click()
    visit.see(".status", "· 2 hums joined")


def test_visitors_hum_for_themselves(visit: Visit, browser: playwright.Browser, parts: tuple[Path, Path]) -> None:
    visit.upload(parts[0])
    visit.see(".status", "Song 0")
    visit.hum_once_more()
    context = browser.new_context(locale="en-US")
    context.set_default_timeout(DEADLINE_MS)
    other = Visit(context.new_page())
    other.page.goto(visit.page.url)
    other.upload(parts[1])
    playwright.expect(other.page.locator(".status").first).to_have_text(re.compile("% sure$"))
    context.close()
    visit.page.get_by_role("button", name="Arirang").click()  # an example counts as a hum
    visit.see(".status", "· 2 hums joined")


def test_a_full_queue_is_told_from_a_fault(visit: Visit, catalog: MiniatureCatalog) -> None:
    # What Gradio answers when its queue is full.
    visit.page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Queue is full."}))
    visit.upload(catalog.hum_path)
    visit.see(".status", "Too many people")


@pytest.mark.parametrize("visit", [{"locale": "ko-KR", "viewport": {"width": 360, "height": 740}}], indirect=True)
def test_a_korean_phone(visit: Visit, catalog: MiniatureCatalog) -> None:
    page = visit.page
    visit.see(".status", "녹음")
    page.locator("#recorder input[type=file], #recorder .source-selection button").first.click()
    page.locator("#recorder input[type=file]").first.set_input_files(catalog.hum_path)
    visit.see(".status", "찾았습니다: 첫 노래 (Song 0)")
    visit.see("#results", "한 번 더 흥얼거리기")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.documentElement.lang") == "ko"
    page.get_by_label("English").check(force=True)
    visit.see(".status", "Found: Song 0")
    visit.see("header", "Hum a tune")
    page.get_by_text("What can I hum?").click()
    page.get_by_label(f"Search {N_SONGS} songs").fill("author 1")
    visit.see("ul.songs", HOSTILE_TITLE)
    playwright.expect(page.locator("ul.songs li")).to_have_count(3)  # authors 1, 10 and 11
