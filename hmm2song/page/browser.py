"""What the visitor's browser gets beside Gradio's own code: the theme, one style sheet and a few scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import gradio as gr

ROOM = Path(__file__).parent
ICON = ROOM / "icon.png"

THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    # Fonts of the visitor's system: nothing is loaded from elsewhere, and Korean has glyphs.
    font=["Segoe UI", "Roboto", "Helvetica Neue", "Apple SD Gothic Neo", "Noto Sans KR", "sans-serif"],
    font_mono=["Consolas", "Menlo", "monospace"],
).set(
    body_background_fill="*neutral_50",
    block_radius="14px",
    body_text_color_subdued="*neutral_600",  # Gradio's own is too pale for the ends of a slider
    body_text_color_subdued_dark="*neutral_300",
)


def _script(*names: str) -> str:
    return "".join((ROOM / f"{name}.js").read_text(encoding="utf-8") for name in names)


CSS = (ROOM / "page.css").read_text(encoding="utf-8")


# Gradio's footer and background lie outside the part of the page that a media rule of its CSS reaches.
MEDIA = """<style>@media (prefers-reduced-motion: reduce) {* {animation: none !important; transition: none !important}}
@media print {footer {display: none !important} body, .gradio-container {background: #fff !important}
  #page {--link: #43c; --soft: #456; --block-background-fill: #fff; --body-text-color: #111; --lines: none}
  :is(#page, #tabs, .tabitem > *) > :not(#header, #tabs, .tabitem, #answer), .acts, .play {display: none !important}}
</style>"""
HEAD = f'{MEDIA}<meta name="theme-color" content="#4f46e5"><script>{_script("head")}</script>'


RECORDER_HTML = """<section class="live">
<button type="button" class="hum" aria-pressed="false"><svg class="mic" viewBox="0 0 24 24" width="48"
aria-hidden="true" fill="none" stroke="#fff" stroke-width="2" stroke-linecap="round">
<rect x="9" y="3" width="6" height="11" rx="3"/><path d="M5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21"/></svg>
<span class="face"></span></button>
<canvas aria-hidden="true"></canvas><p class="clock" aria-hidden="true"></p>
<p class="say" role="status" aria-live="polite"></p><ol class="guesses" aria-hidden="true"></ol>
<p class="acts"><button type="button" class="more" hidden></button><button type="button" class="cancel" hidden></button>
<button type="button" class="retry" hidden></button><button type="button" class="upload"></button></p></section>"""
RECORDER_JS = _script("pitch", "recorder")
ANSWER_JS = _script("answer")
EXPLORE_JS = _script("explore")
HISTORY_HTML = """<details class="others"><summary data-word="title"></summary>
<p class="none quiet" data-word="none"></p><ol></ol><div class="acts">
<label><input type="checkbox"> <span data-word="keep"></span></label>
<button type="button" data-word="forget"></button></div></details>"""
HISTORY_JS = _script("history")

LIKE_JS = """element.addEventListener("click", (event) => {
  const like = event.target.closest("[data-like]");
  if (!like) return;
  scrollTo(0, 0);
  trigger("like", {id: like.dataset.like});
});"""
"""Runs inside what lists songs: asks for songs like one."""

CHOOSE_JS = """element.addEventListener("click", (event) => {
  const card = event.target.closest("[data-index]");
  if (!card) return;
  trigger("click", {index: Number(card.dataset.index)});
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  document.getElementById("answer").scrollIntoView({behavior: calm ? "auto" : "smooth"});
});"""
"""Runs inside the list of candidates: the chosen one takes the winner's place."""

LEADS_JS = """element.addEventListener("click", (event) => {
  if (!event.target.closest("[data-act=catalog]")) return;
  const panel = document.getElementById("catalog"), label = panel.querySelector("button.label-wrap");
  if (!label.classList.contains("open")) label.click();
  panel.scrollIntoView();
});"""
"""Runs inside the verdict: leads to the list of songs."""

TELL_LANGUAGE_JS = "(language) => {document.documentElement.lang = language}"
"""Screen readers choose their voice by it."""


def pick_js(values: Mapping[str, str]) -> str:
    """Return a function that maps the language code to one of ``values``."""
    return f"(language) => ({json.dumps(values)})[language]"
