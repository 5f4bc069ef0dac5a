"""The page: its widgets, and what happens when somebody uses them.

Whatever decides something lives elsewhere in the package; here widgets are laid out and connected. Widgets get their
words from :meth:`Page.greet`, which knows the visitor's language.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import gradio as gr

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import BUNDLED_CATALOG
from hmm2song.errors import Hmm2SongError
from hmm2song.match.overlay import overlay_figure
from hmm2song.melody.melody import Melody
from hmm2song.page import SEARCH_QUEUE, browser
from hmm2song.page import results as cards
from hmm2song.page.preview import Previews
from hmm2song.page.texts import DEFAULT_LANGUAGE, LANGUAGES, overlay_words, preferred_language, text
from hmm2song.page.tone import SAMPLE_RATE_HZ, melody_tone
from hmm2song.recognizer import DEFAULT_TOP_K, MAX_EARLIER, MIN_VOICED_S, Recognizer
from hmm2song.results import Match, SearchResult
from hmm2song.song import ANY_GENDER

EXAMPLES_FOLDER = BUNDLED_CATALOG.parent / "examples"
LISTED_SONGS = 60
TONE_LEAD_S = 1.0
"""The tone starts this long before the match and ends this long after it, so that the listener finds the place."""

PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
QUICK = {**PRIVATE, "queue": False}
"""For handlers that take milliseconds: they run even while searches wait in the queue."""

log = logging.getLogger(__name__)


class Page:
    """The widgets and their events. Create it inside ``gr.Blocks``.

    ``recordings`` is the folder that holds the catalog's recordings, by default the catalog's own.
    """

    def __init__(self, recognizer: Recognizer, blocks: gr.Blocks, recordings: Path | None = None) -> None:
        self.recognizer = recognizer
        self.recordings = recordings
        self.catalog = recognizer.catalog
        self.example_paths = example_hums(self.catalog)
        self.genders = {gender: count for gender, count in self.catalog.gender_counts().items() if gender and count}
        self._lay_out_question()
        self._lay_out_answer()
        self.previews = Previews(self.player.GRADIO_CACHE)  # a visitor gets files of this folder only
        self._connect_search()
        self._connect_words(blocks)

    def _lay_out_question(self) -> None:
        self.language = gr.Radio(
            [(name, code) for code, name in LANGUAGES.items()],
            label="Language",
            value=DEFAULT_LANGUAGE,
            container=False,
            min_width=0,
            elem_id="language",
        )
        self.header = gr.HTML()
        self.recorder = gr.Audio(
            sources=["microphone", "upload"], type="filepath", editable=False, buttons=[], elem_id="recorder"
        )
        self.status = gr.HTML()
        with gr.Row(visible=bool(self.example_paths), elem_id="examples"):
            self.examples_words = gr.HTML()
            names = [path.stem.replace("-", " ").capitalize() for path in self.example_paths]
            self.examples = [gr.Button(name, size="sm", scale=0, min_width=120) for name in names]
        genres = [(f"{genre} ({count})", genre) for genre, count in self.catalog.genre_counts().items()]
        with gr.Accordion(open=False, visible=bool(genres or self.genders)) as self.filters, gr.Row():
            self.genres = gr.Dropdown(genres, value=[], multiselect=True, min_width=280, visible=bool(genres))
            genders = self._gender_choices(DEFAULT_LANGUAGE)
            self.gender = gr.Radio(genders, value=ANY_GENDER, min_width=280, visible=bool(self.genders))
            self.only_known = gr.Checkbox(min_width=280)
        self.narrowing = [self.genres, self.gender, self.only_known]

    def _lay_out_answer(self) -> None:
        self.result = gr.State()
        self.again = gr.State(False)  # whether the next recording is another hum of the tune last searched
        self.earlier = gr.State(())  # the hums that the recording in the recorder is joined with
        with gr.Row(visible=False, elem_id="results") as self.results:
            with gr.Column(scale=5, min_width=300):
                self.verdict = gr.HTML()
                self.drop_filter = gr.Button(variant="primary")
                self.once_more = gr.Button(size="md", scale=0, elem_id="once-more")
                self.cards = gr.HTML(js_on_load=browser.CHOOSE_CARD_JS)
            with gr.Column(scale=6, min_width=300, elem_id="overlay") as self.overlay:
                self.plot_words = gr.HTML()
                self.plot = gr.Plot(show_label=False)
                native = gr.WaveformOptions(show_recording_waveform=False)
                self.player = gr.Audio(interactive=False, buttons=[], waveform_options=native)
        with gr.Accordion(open=False) as self.catalog_panel:
            self.query = gr.Textbox("")
            self.songs = gr.HTML()
        self.privacy = gr.HTML()
        self.shown = [self.plot_words, self.plot, self.player]
        columns = [self.verdict, self.drop_filter, self.once_more, self.cards, self.overlay, *self.shown]
        self.answered = [self.status, self.results, *columns]
        top = [self.header, self.recorder, self.examples_words, self.filters, *self.narrowing]
        self.worded = [*self.answered, *top, self.catalog_panel, self.query, self.songs, self.privacy]

    def _gender_choices(self, language: str) -> list[tuple[str, str]]:
        known = [(f"{text(language, gender)} ({count})", gender) for gender, count in self.genders.items()]
        return [(text(language, ANY_GENDER), ANY_GENDER), *known]

    # Events

    def _connect_search(self) -> None:
        self._search_new(partial(gr.on, [self.recorder.stop_recording, self.recorder.upload]))
        self._search_after(partial(gr.on, [widget.input for widget in self.narrowing]))
        dropping = self.drop_filter.click(lambda: ([], ANY_GENDER, False), None, self.narrowing, **QUICK)
        self._search_after(dropping.then)
        for button, path in zip(self.examples, self.example_paths, strict=True):
            self._search_new(button.click(partial(str, path), None, self.recorder, **QUICK).then)
        self._say(self.recorder.start_recording, "listening")
        self.recorder.clear(self.wait, [self.again, self.language], self.status, **QUICK)
        self._say(self.once_more.click, "again")
        asked = [self.recorder, self.again]
        self.once_more.click(lambda: (None, True), None, asked, js=browser.SHOW_RECORDER_JS, **QUICK)
        self.cards.click(self.choose, [self.result, self.language], self.shown, **QUICK)

    def _search_new(self, trigger: Callable) -> None:
        # The hums to join are chosen before the queue: a filter that is set meanwhile must search the same ones.
        self._search_after(trigger(self.join, [self.result, self.again], self.earlier, **QUICK).then)

    def _search_after(self, trigger: Callable) -> None:
        searching = self._say(trigger, "searching").then(
            self.search,
            [self.recorder, *self.narrowing, self.language, self.again, self.earlier],
            [self.result, self.again, *self.answered],
            concurrency_id=SEARCH_QUEUE,
            trigger_mode="always_last",  # a filter that is set during a search must not be lost
            **PRIVATE,
        )
        # ``search`` explains its own errors, so only a search that never started gets here: the queue is full.
        self._say(searching.failure, "busy")

    def _say(self, trigger: Callable, key: str) -> gr.events.Dependency:
        """Set the status line at once, in the browser."""
        lines = {language: cards.status_html(key, language) for language in LANGUAGES}
        return trigger(None, self.language, self.status, js=browser.pick_js(lines), **QUICK)

    def _connect_words(self, blocks: gr.Blocks) -> None:
        # change, not input: Gradio's input event misses text that is pasted.
        self.query.change(self.list_songs, [self.query, self.language], self.songs, **QUICK)
        blocks.load(self.greet, None, [self.language, *self.worded], **QUICK)
        worded_by = [self.language, self.result, self.again, self.query]
        self.language.input(self.word, worded_by, self.worded, **QUICK)
        self.language.change(None, self.language, None, js=browser.TELL_LANGUAGE_JS, **QUICK)

    def wait(self, again: bool, language: str) -> str:
        """Say what the empty recorder waits for."""
        return cards.status_html("again" if again else "ready", language)

    def join(self, result: SearchResult | None, again: bool) -> tuple[Melody, ...]:
        """Return the hums that a new recording is joined with; none unless the visitor asked for that."""
        return _hums(result)[-MAX_EARLIER:] if again and result else ()

    def search(
        self,
        path: str | None,
        genres: list,
        gender: str,
        only_known: bool,
        language: str,
        again: bool,
        earlier: tuple[Melody, ...],
    ) -> dict:
        """Answer a recording, or say why there is no answer.

        A filter also starts a search; then there may be no recording yet, or its file may be deleted already.
        """
        if path is None:
            return {self.status: self.wait(again, language)}
        if not os.path.exists(path):
            return {self.status: cards.status_html("gone", language)}
        try:
            result = self.recognizer.recognize(path, genres, gender, DEFAULT_TOP_K, only_known, earlier)
            return {self.result: result, self.again: False, **self._answer(result, language)}
        except Hmm2SongError as error:
            words = str(error)
        except Exception:
            log.exception("A search failed.")
            words = text(language, "fault")
        # "Hum once more" stays in force: the next recording is joined instead of this one.
        status = cards.error_html(words, language) + (self.wait(again, language) if again else "")
        return {self.status: status, self.results: gr.update(visible=False)}

    def choose(self, result: SearchResult | None, language: str, event: gr.EventData) -> dict:
        """Show the match whose card was opened."""
        if result is None or not 0 <= event.index < len(result.matches):
            return {self.plot_words: ""}
        return self._show(result, result.matches[event.index], language)

    def list_songs(self, query: str, language: str) -> str:
        """List the songs of the catalog that ``query`` finds."""
        songs = self.catalog.find(query, LISTED_SONGS + 1)
        return cards.songs_html(songs[:LISTED_SONGS], query, language, is_cut=len(songs) > LISTED_SONGS)

    def greet(self, request: gr.Request) -> dict:
        """Word the page in the visitor's language."""
        language = preferred_language(request.headers.get("accept-language"))
        return {self.language: language, **self.word(language, None, False, "")}

    def word(self, language: str, result: SearchResult | None, again: bool, query: str) -> dict:
        """Word the whole page, the last answer included, in ``language``."""
        labels = {
            self.recorder: text(language, "recorder"),
            self.filters: text(language, "filters"),
            self.genres: text(language, "genre"),
            self.only_known: text(language, "only_known"),
            self.catalog_panel: text(language, "catalog"),
            self.query: text(language, "catalog_search", n=len(self.catalog)),
        }
        return {
            **{widget: gr.update(label=label) for widget, label in labels.items()},
            **(self._answer(result, language) if result else {}),
            **({self.status: self.wait(again, language)} if again or not result else {}),
            self.gender: gr.update(label=text(language, "gender"), choices=self._gender_choices(language)),
            self.header: cards.header_html(language),
            self.examples_words: cards.examples_html(language),
            self.songs: self.list_songs(query, language),
            self.privacy: cards.privacy_html(language),
        }

    def _answer(self, result: SearchResult, language: str) -> dict:
        verdict = cards.verdict_html(result, language)
        dropping, once_more = text(language, "drop_filter"), text(language, "once_more")
        return {
            **(self._show(result, result.matches[0], language) if result.matches else {}),
            self.overlay: gr.update(visible=bool(result.matches)),
            self.status: cards.found_html(result, language),
            self.results: gr.update(visible=True),
            self.verdict: gr.update(value=verdict, visible=bool(verdict)),
            self.drop_filter: gr.update(value=dropping, visible=result.elsewhere is not None),
            self.once_more: gr.update(value=once_more, visible=1 <= len(_hums(result)) <= MAX_EARLIER),
            self.cards: cards.ranking_html(result, language),
        }

    def _show(self, result: SearchResult, match: Match, language: str) -> dict:
        names = [text(language, f"overlay_{line}") for line in ("song", "hum", "time")]
        return {
            self.plot_words: cards.description_html(overlay_words(match, result.hum, language), language),
            self.plot: overlay_figure(result.hum, match.melody, match.alignment, *names),
            self.player: self._sound(match, language),
        }

    def _sound(self, match: Match, language: str) -> dict:
        start_s, end_s = match.alignment.start_s, match.alignment.end_s
        recording = self.catalog.recording(match.id, self.recordings)
        preview = self.previews.cut(recording, start_s) if recording else None
        if preview:
            label = text(language, "play_recording")
            return gr.update(value=str(preview.path), playback_position=preview.match_s, label=label)
        tone = melody_tone(self.catalog.melody(match.id), start_s - TONE_LEAD_S, end_s + TONE_LEAD_S)
        return gr.update(value=(SAMPLE_RATE_HZ, tone), playback_position=0, label=text(language, "play_tone"))


def example_hums(catalog: Catalog) -> list[Path]:
    """Return the bundled hums whose song is in the catalog, sorted by name."""
    listing = EXAMPLES_FOLDER / "examples.json"
    rows = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else []
    ids = {song.id for song in catalog.songs}
    return sorted(EXAMPLES_FOLDER / row["file"] for row in rows if row["song_id"] in ids)


def _hums(result: SearchResult) -> tuple[Melody, ...]:
    """Return the hums of an answer that another one can be joined with: those in which a melody was heard."""
    return result.earlier + ((result.hum,) if result.hum.voiced_s >= MIN_VOICED_S else ())
