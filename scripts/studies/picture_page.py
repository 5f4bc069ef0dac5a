#!/usr/bin/env python
"""Picture every state of the page, wide and narrow, light and dark, in each language; check it with axe-core.

    python scripts/studies/picture_page.py --out pictures [--axe node_modules/axe-core/axe.min.js] [--states found ...]

Starts app.py and a headless Chromium whose microphone plays `--hum` (a recording that Chromium can play is made of it).
Prints, for each picture, the violations that axe-core calls serious or critical, where the winner and its plot end on
the screen, how many bytes a hum sent, what it would be for eight seconds, how long after the tap the page shows that
it was heard and that it listens, how long after the last sound that was sent the answer stands there, and hosts other
than the app's. Times are those of this machine, with whatever else it does.
axe-core is a test tool (npm, MPL): it is not part of the project.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from playwright.sync_api import Error, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.script import main_of, running_app

SIZES = {"wide": (1280, 800), "narrow": (360, 740)}
LOCALES = {"en": "en-US", "ko": "ko-KR"}
FLAGS = ["--no-sandbox", "--disable-gpu", "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"]
WAIT_MS = 60_000
SHORT_HUM = ROOT / "assets/examples/happy-birthday.flac"


def start(page: Page, options: argparse.Namespace) -> None:
    """Show the page as it opens."""


def upload(page: Page, path: Path) -> None:
    """Choose a file."""
    page.locator(".upload").click()
    page.get_by_label("Upload file").first.click()
    page.locator("#recorder input[type=file]").first.set_input_files(path)


def listening(page: Page, options: argparse.Namespace) -> None:
    """Hum for two seconds."""
    page.locator(".hum").click()
    page.wait_for_timeout(2500)


def guessing(page: Page, options: argparse.Namespace) -> None:
    """Hum until the first guesses stand there."""
    page.locator(".hum").click()
    page.locator(".guesses li").first.wait_for()


def found(page: Page, options: argparse.Namespace) -> None:
    """Hum until it stops by itself."""
    page.locator(".hum").click()
    page.locator(".winner").wait_for()


def again(page: Page, options: argparse.Namespace) -> None:
    """Hum once more; the old answer is dim."""
    found(page, options)
    page.locator(".more").click()
    page.wait_for_timeout(2000)


def others(page: Page, options: argparse.Namespace) -> None:
    """Upload a hum and open everything that can be opened."""
    upload(page, options.sound)
    page.locator(".winner").wait_for()
    for panel in page.locator(".winner details > summary, .others > summary, button.label-wrap").all():
        panel.click()


def perhaps(page: Page, options: argparse.Namespace) -> None:
    """Upload three seconds of a hum, which leave a doubt."""
    upload(page, options.short)
    page.locator(".winner").wait_for()


def printed(page: Page, options: argparse.Namespace) -> None:
    """Print an answer."""
    perhaps(page, options)
    page.emulate_media(media="print")


def busy(page: Page, options: argparse.Namespace) -> None:
    """Come when the queue is full, which Gradio tells so."""
    page.route("**/queue/join*", lambda route: route.fulfill(status=503, json={"detail": "Queue is full."}))
    upload(page, options.sound)
    page.locator("#page .status:not(.moving)").wait_for()


def no_match(page: Page, options: argparse.Namespace) -> None:
    """Upload a tune that nobody wrote."""
    upload(page, options.nonsense)
    page.locator(".no-match").wait_for()


def error(page: Page, options: argparse.Namespace) -> None:
    """Upload a file that is no recording."""
    upload(page, options.broken)
    page.locator("[role=alert]").wait_for()


def song(page: Page, options: argparse.Namespace) -> None:
    """Follow a link to a song."""
    page.goto(f"{page.url.partition('?')[0]}?song=songbook_arirang&{page.url.partition('?')[2]}")
    page.locator(".winner").wait_for()


def plain(page: Page, options: argparse.Namespace) -> None:
    """Come with a browser that cannot listen live."""
    page.add_init_script("delete window.AudioWorkletNode")
    page.reload()
    page.locator("#recorder").wait_for()


def denied(page: Page, options: argparse.Namespace) -> None:
    """Refuse the microphone."""
    refuse = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('', 'NotAllowedError') }"
    page.evaluate(f"() => {{ {refuse} }}")
    page.locator(".hum").click()
    page.locator("#recorder").wait_for()


def offline(page: Page, options: argparse.Namespace) -> None:
    """Lose the connection in the middle of a hum."""
    page.locator(".hum").click()
    page.wait_for_timeout(1500)
    page.context.set_offline(True)
    page.wait_for_timeout(3000)


def explore(page: Page, options: argparse.Namespace) -> None:
    """Choose a song and see those like it."""
    page.get_by_role("tab").nth(1).click()
    page.get_by_role("textbox").first.fill(options.song)
    page.locator("[data-like]:visible").first.click()
    page.locator("#explored article").first.wait_for()


def moments(page: Page, options: argparse.Namespace) -> None:
    """See moments of other songs; a catalog of notes says why there are none."""
    explore(page, options)
    page.locator("input[type=radio][value=moments]").check()
    page.locator("#explored p").or_(page.locator("[role=alert]")).first.wait_for()


def path(page: Page, options: argparse.Namespace) -> None:
    """Go from a song to one that is far down its list."""
    explore(page, options)
    page.locator("#explored [data-goal]").last.click()
    page.wait_for_timeout(2000)


def song_map(page: Page, options: argparse.Namespace) -> None:
    """Walk over the map by keyboard."""
    explore(page, options)
    page.locator("input[type=radio][value=map]").check()
    page.locator(".map").press("ArrowRight")


def weighed(page: Page, options: argparse.Namespace) -> None:
    """Open all that narrows the list, and give nothing a weight, which is an error."""
    explore(page, options)
    for panel in page.locator("button.label-wrap:visible").all():
        panel.click()
    for slider in page.locator("input[type=range]:visible").all():
        slider.fill("0")
        slider.dispatch_event("pointerup")
    page.locator("[role=alert]").wait_for()


STATES: dict[str, Callable[[Page, argparse.Namespace], None]] = {
    state.__name__: state
    for state in (start, listening, guessing, found, perhaps, again, others, printed)
    + (no_match, error, busy, song, plain, denied, offline, explore, moments, path, song_map, weighed)
}


def run(options: argparse.Namespace) -> None:
    """Take the pictures."""
    options.out.mkdir(parents=True, exist_ok=True)
    make_sounds(options)
    microphone = f"--use-file-for-fake-audio-capture={options.sound}"
    chosen = ("--catalog", options.catalog) if options.catalog else ()
    temporary = str(options.out / "gradio")
    served = running_app(options.out / "app.log", *chosen, GRADIO_TEMP_DIR=temporary)
    with served as (url, _), sync_playwright() as driver:
        expect.set_options(timeout=WAIT_MS)
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        for state in options.states:
            # Anew for every state: the microphone's sound begins when the browser first listens.
            for size, scheme in [(size, scheme) for size in options.sizes for scheme in options.schemes]:
                browser = driver.chromium.launch(executable_path=chromium, args=[*FLAGS, microphone])
                for language in options.languages:
                    picture(browser, url, state, size, scheme, language, options)
                browser.close()


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    parser.add_argument("--hum", type=Path, default=ROOT / "assets/examples/arirang.flac", help="what is hummed")
    parser.add_argument("--states", nargs="+", choices=STATES, default=list(STATES), metavar="STATE")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), metavar="SIZE")
    parser.add_argument("--schemes", nargs="+", choices=("light", "dark"), default=["light", "dark"], metavar="SCHEME")
    parser.add_argument("--languages", nargs="+", choices=LOCALES, default=["en"], metavar="LANGUAGE")
    parser.add_argument("--axe", type=Path, metavar="FILE", help="axe.min.js of axe-core")
    parser.add_argument("--catalog", help="as for app.py")
    parser.add_argument("--song", default="amazing grace", help="words that find the song to explore from")
    return parser.parse_args(arguments)


def make_sounds(options: argparse.Namespace) -> None:
    """Write what the microphone hears, a tune that nobody wrote, and a file that is no recording."""
    samples = load_audio(options.hum)
    options.sound, options.nonsense = options.out / "hum.wav", options.out / "nonsense.wav"
    options.broken, options.short = options.out / "broken.wav", options.out / "short.wav"
    soundfile.write(options.short, load_audio(SHORT_HUM)[: 3 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
    soundfile.write(options.sound, np.concatenate([samples, samples]), SAMPLE_RATE_HZ)
    rng = np.random.default_rng(1)
    f0_hz = np.repeat(220 * 2 ** (rng.uniform(-6, 6, 24) / 12), SAMPLE_RATE_HZ // 3)
    soundfile.write(options.nonsense, 0.3 * np.sin(2 * np.pi * np.cumsum(f0_hz) / SAMPLE_RATE_HZ), SAMPLE_RATE_HZ)
    options.broken.write_text("this is not audio")


def picture(
    browser: object, url: str, state: str, size: str, scheme: str, language: str, options: argparse.Namespace
) -> None:
    """Bring the page into a state, take its picture and print what was measured."""
    width, height = SIZES[size]
    context = browser.new_context(
        locale=LOCALES[language],
        color_scheme=scheme,
        viewport={"width": width, "height": height},
        permissions=["microphone"],
    )
    context.set_default_timeout(WAIT_MS)
    page = context.new_page()
    chunks, faults = [], []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on("request", lambda sent: faults.append(sent.url) if not sent.url.startswith((url, "data:", "blob:")) else 0)
    page.on("requestfinished", lambda sent: chunks.append(sent) if "component_server" in sent.url else 0)
    page.add_init_script(COUNT_BYTES_JS)
    page.goto(f"{url}/?__theme={scheme}")
    page.locator(".hum").wait_for()
    expect(page.locator(".face")).not_to_be_empty()
    page.evaluate(WATCH_JS)
    name = "-".join((state, size, scheme, language))
    try:
        STATES[state](page, options)
        page.wait_for_timeout(1200)
    except Error as fault:
        faults.append(str(fault).splitlines()[0])
    page.screenshot(path=options.out / f"{name}.png")
    page.screenshot(path=options.out / f"{name}-full.png", full_page=True)
    bottoms = page.evaluate(BOTTOMS_JS)
    times = page.evaluate("window.times")
    n_bytes = times["bytes"] + sum(chunk.sizes()["requestHeadersSize"] for chunk in chunks)
    measured = f"{len(chunks)} chunks, {n_bytes} bytes"
    if times["sound"]:
        measured += f" ({8 * SAMPLE_RATE_HZ * n_bytes / times['sound'] / 1000:.0f} kB for 8 s)"
    for sign, begin, end in (
        ("first sign", "tap", "sign"),
        ("listens", "tap", "listening"),
        ("answer", "sent", "answer"),
    ):
        if times.get(begin) and times.get(end):
            measured += f", {sign} {times[end] - times[begin]:.0f} ms"
    print(f"{name}: {bottoms}, {measured}", *faults, flush=True)
    if options.axe:
        check(page, options.axe)
    context.set_offline(False)
    context.close()


WATCH_JS = """() => {
  const note = (name) => { window.times[name] ||= performance.now(); };
  const see = (selector, options, name, is) => new MutationObserver(() => window.times.tap && is() && note(name))
    .observe(document.querySelector(selector), options);
  document.querySelector(".hum").addEventListener("click", () => note("tap"), true);
  see(".say", {childList: true}, "sign", () => true);
  see("#page", {attributes: true}, "listening", () => document.querySelector("#page[listening]"));
  see("#answer", {childList: true, subtree: true}, "answer", () => document.querySelector(".winner"));
}"""
COUNT_BYTES_JS = """(() => {
  const ask = window.fetch;
  window.times = {bytes: 0, sound: 0};
  window.fetch = (...sent) => {
    if (sent[1]?.body instanceof FormData) {
      window.times.sent = performance.now();
      for (const part of sent[1].body.values()) if (part instanceof Blob) window.times.sound += part.size;
      new Response(sent[1].body).arrayBuffer().then((body) => { window.times.bytes += body.byteLength; });
    }
    return ask(...sent);
  };
})()"""
BOTTOMS_JS = """() => Object.fromEntries([".winner h2", ".winner .plot", ".hum"].map((name) => {
  const part = document.querySelector(name);
  return [name, part && Math.round(part.getBoundingClientRect().bottom)];
}).filter(([, at]) => at !== null).concat([["scroll", document.documentElement.scrollWidth]]))"""


def check(page: Page, axe: Path) -> None:
    """Print what axe-core finds serious or critical."""
    page.evaluate(axe.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run().then((report) => report.violations)")
    for each in found:
        if each["impact"] in ("serious", "critical"):
            where = "; ".join(str(node["target"][0]) for node in each["nodes"][:4])
            print(f"  {each['impact']}: {each['id']} ({len(each['nodes'])}): {where}", flush=True)


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
