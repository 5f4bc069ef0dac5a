"""What the visitor's browser gets beside Gradio's own code: the theme, a little CSS and a little script."""

from __future__ import annotations

import json
from collections.abc import Mapping

import gradio as gr

THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    # Fonts of the visitor's system: nothing is loaded from elsewhere, and Korean has glyphs.
    font=["Segoe UI", "Roboto", "Helvetica Neue", "Apple SD Gothic Neo", "Noto Sans KR", "sans-serif"],
    font_mono=["Consolas", "Menlo", "monospace"],
).set(body_background_fill="*neutral_50", block_radius="14px")

CSS = """
.gradio-container .main {max-width: 1080px !important; padding: 1rem} .html-container {padding: 0 !important}
#language {position: absolute; right: 0; top: .3rem; width: auto; padding: 2px; border-radius: 0; z-index: 2}
#language .wrap {flex-wrap: nowrap; gap: .3rem} #language label {padding: .2rem .5rem; font-size: .8rem}
.chips a {text-decoration:underline} #language span {margin:0} #language input {position:absolute; opacity:0}
#language label:focus-within {outline: 2px solid} #language .selected {border-color: var(--color-accent)}
#examples, #recorder .controls, #recorder .wrapper {justify-content: center; flex-wrap: wrap; gap: .7rem}
#recorder .wrapper button {height: 3.3rem; border-radius: 2rem; padding: 0 2rem; font-size: 1rem; width: auto}
#recorder .record, .narrow {background: var(--color-accent); color: #fff} .lyrics {white-space: pre-line}
#recorder .source-selection {height: auto; padding: .5rem; gap: 1.5rem} @keyframes beat {to {opacity: .2}}
#recorder .record::before {background: #fff} .status {text-align: center; font-size: 1.15rem} .names {flex: 1}
.moving::before {content: "● "; color: var(--color-accent); animation: beat .8s infinite alternate}
#once-more {margin-right: auto} html:not(.insecure) .only-insecure {display: none} .dim > :not([open]) {opacity: .6}
.note, .card {border: 1px solid var(--border-color-primary); border-radius: 12px; margin: .5rem 0} .quiet {opacity: .75}
.note, .card {background: var(--block-background-fill)} .note, .card[open] {border-color: var(--color-accent)}
.note, .card > summary {padding: .7rem 1rem} .body {padding: 0 1rem .8rem} .dark audio {color-scheme: dark}
.card > summary {display: flex; gap: .7rem; align-items: center; cursor: pointer} #examples > * {flex: none}
.sure {background: linear-gradient(90deg, var(--color-accent) var(--sure), #8884 0) bottom/100% 3px no-repeat}
.body, .chips {display: flex; flex-wrap: wrap; gap:.5rem} .names > * {display: block; overflow-wrap: anywhere}
.chips > span, .narrow {padding: .1rem .6rem; border-radius: 1rem} .chips > span {background: #8882}
.js-plotly-plot text {fill: var(--body-text-color) !important} @media (width>767px) {.narrow {display: none}}
"""

HEAD = """<script>
document.documentElement.classList.toggle("insecure", !window.isSecureContext);
if (navigator.mediaDevices && navigator.mediaDevices.getUserMedia) {
  // Browsers treat a hum as noise around speech: ask for the plain microphone.
  const plain = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (wanted) => {
    if (!wanted || !wanted.audio) return ask(wanted);
    return ask({...wanted, audio: {...(wanted.audio === true ? {} : wanted.audio), ...plain}});
  };
}
</script>"""

CHOOSE_CARD_JS = """element.addEventListener("click", (event) => {
  const chooser = event.target.closest("[data-index]");
  if (chooser) trigger("click", {index: Number(chooser.dataset.index)});
  if (chooser && chooser.tagName === "BUTTON") {
    document.getElementById("overlay").scrollIntoView({behavior: "smooth"});
  }
});"""
"""Runs inside the cards' element: an opened card is shown in the plot; on a phone a button leads there."""

SHOW_RECORDER_JS = """() => {
  document.getElementById("recorder").scrollIntoView({behavior: "smooth", block: "center"});
  return [];
}"""
"""On a phone the recorder is off the screen when "Hum once more" is pressed."""

TELL_LANGUAGE_JS = "(language) => {document.documentElement.lang = language}"
"""Screen readers choose their voice by it."""


def pick_js(values: Mapping[str, str]) -> str:
    """Return a function that maps the language code to one of ``values``."""
    return f"(language) => ({json.dumps(values)})[language]"
