"""The page in a real browser with a fake microphone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from serving import HOSTILE_TITLE, HUMMED_FROM_S, N_SONGS, MiniatureCatalog

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
SLOWLY_MS = 20_000


@dataclass
class Visit:
    """A page and what went wrong on it."""

    page: playwright.Page
    troubles: list[str] = field(default_factory=list)

    def see(self, selector: str, words: str) -> None:
        """Wait until the element holds the words."""
        playwright.expect(self.page.locator(selector).first).to_contain_text(words, timeout=SLOWLY_MS)

    def upload(self, path: Path) -> None:
        self.page.get_by_label("Upload file").first.click()
        self.page.locator("#recorder input[type=file]").first.set_input_files(path)


@pytest.fixture(scope="module")
def browser(catalog: MiniatureCatalog) -> Iterator[playwright.Browser]:
    flags = [*QUIET, *FAKE_MICROPHONE, f"--use-file-for-fake-audio-capture={catalog.hum_path}"]
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=CHROMIUM, args=flags)


@pytest.fixture
def visit(browser: playwright.Browser, url: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Open the page; parametrize indirectly with options of the browser context."""
    options = {"locale": "en-US", "permissions": ["microphone"], **getattr(request, "param", {})}
    context = browser.new_context(**options)
    visit = Visit(context.new_page())
    visit.page.on("dialog", lambda dialog: (visit.troubles.append(dialog.message), dialog.dismiss()))
    visit.page.on("pageerror", lambda error: visit.troubles.append(str(error)))
    visit.page.on("request", lambda sent: visit.troubles.append(sent.url) if not is_local(sent.url, url) else None)
    visit.page.goto(url)
    visit.page.locator("#recorder").wait_for(timeout=SLOWLY_MS)
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
    playwright.expect(page.locator("#overlay .scatterlayer .trace")).to_have_count(2, timeout=SLOWLY_MS)
    player = page.locator("#overlay audio").first
    player.wait_for(state="attached")
    page.wait_for_function("document.querySelector('#overlay audio').currentTime > 0")
    assert player.evaluate("a => a.currentTime") == pytest.approx(HUMMED_FROM_S, abs=1.0)
    assert "s0.flac" in player.evaluate("a => a.currentSrc")

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


def test_a_file_that_is_no_audio_is_explained(visit: Visit, tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is not audio")
    visit.upload(broken)
    visit.see("[role=alert]", "broken.wav")


@pytest.mark.parametrize("visit", [{"locale": "ko-KR", "viewport": {"width": 360, "height": 740}}], indirect=True)
def test_a_korean_phone(visit: Visit, catalog: MiniatureCatalog) -> None:
    page = visit.page
    visit.see(".status", "녹음")
    page.locator("#recorder input[type=file], #recorder .source-selection button").first.click()
    page.locator("#recorder input[type=file]").first.set_input_files(catalog.hum_path)
    visit.see(".status", "찾았습니다: 첫 노래 (Song 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.documentElement.lang") == "ko"
    page.get_by_label("English").check(force=True)
    visit.see(".status", "Found: Song 0")
    visit.see("header", "Hum a tune")
    page.get_by_text("What can I hum?").click()
    page.get_by_label(f"Search {N_SONGS} songs").fill("author 1")
    visit.see("ul.songs", HOSTILE_TITLE)
    playwright.expect(page.locator("ul.songs li")).to_have_count(3)  # authors 1, 10 and 11
