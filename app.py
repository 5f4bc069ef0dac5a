"""The Space: a page and an API around :class:`hmm2song.Recognizer`.

Whatever decides something lives in the package; here widgets are laid out and connected. Three endpoints
(``/recognize``, ``/catalog``, ``/song``) are public, the page's own events are private.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # Gradio reads it when it is imported

import gradio as gr

from hmm2song import Recognizer
from hmm2song.audio import AUDIO_SUFFIXES, MAX_FILE_BYTES
from hmm2song.errors import AudioError, CatalogError, Hmm2SongError, QueryError
from hmm2song.melody.melody import Melody
from hmm2song.page import browser
from hmm2song.page import results as cards
from hmm2song.page.plot import overlay_figure, overlay_words
from hmm2song.page.texts import DEFAULT_LANGUAGE, LANGUAGES, preferred_language, text
from hmm2song.page.tone import SAMPLE_RATE_HZ, melody_tone
from hmm2song.recognizer import MAX_EARLIER, MIN_VOICED_S
from hmm2song.results import Match, SearchResult
from hmm2song.song import ANY_GENDER, GENDERS

EXAMPLES = sorted((Path(__file__).parent / "assets" / "examples").glob("*.flac"))
TOP_K = 10
LISTED_ON_PAGE, LISTED_BY_API = 60, 200
LISTED_FIELDS = ("id", "title", "title_ko", "artist", "genre", "gender", "year")
TONE_LEAD_S = 1.0
"""The tone starts and ends this much outside the match, so that the ear finds its way in."""
CONCURRENT_SEARCHES = 2
"""The usual host has two cores, and one search keeps one busy."""
MAX_WAITING = 64
"""Further searches are refused at once: at a few a second, nobody should wait longer than half a minute."""
CACHE_SWEEP_S, CACHE_AGE_S = 600, 600
"""Recordings are deleted when they are ten minutes old; every ten minutes that is checked."""
EXIT_ERROR = 2

PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
QUICK = {**PRIVATE, "queue": False}
"""For what takes milliseconds: it works on while searches wait in the queue."""
THEME = gr.themes.Default(
    primary_hue="indigo",
    neutral_hue="slate",
    # Fonts of the visitor's system: nothing is loaded from elsewhere, and Korean has glyphs.
    font=["Segoe UI", "Roboto", "Helvetica Neue", "Apple SD Gothic Neo", "Noto Sans KR", "sans-serif"],
    font_mono=["Consolas", "Menlo", "monospace"],
).set(body_background_fill="*neutral_50", block_radius="14px")


class Page:
    """The widgets and what happens when they are used. Made inside ``gr.Blocks``."""

    def __init__(self, recognizer: Recognizer, blocks: gr.Blocks, previews: Path | None = None) -> None:
        self.recognizer = recognizer
        self.previews = previews
        self.catalog = recognizer.catalog
        self._lay_out_question()
        self._lay_out_answer()
        self._connect_search()
        self._connect_words(blocks)

    # Widgets have no words until ``greet`` knows the visitor's language.

    def _lay_out_question(self) -> None:
        languages = [(name, code) for code, name in LANGUAGES.items()]
        self.language = gr.Radio(
            languages,
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
        with gr.Row(visible=bool(EXAMPLES), elem_id="examples"):
            self.examples_words = gr.HTML()
            names = [path.stem.replace("-", " ").capitalize() for path in EXAMPLES]
            self.examples = [gr.Button(name, size="sm", scale=0, min_width=120) for name in names]
        with gr.Accordion(open=False) as self.filters, gr.Row():
            genres = [(f"{genre} ({count})", genre) for genre, count in self.catalog.genre_counts().items()]
            self.genres = gr.Dropdown(genres, value=[], multiselect=True, min_width=280)
            self.gender = gr.Radio(self._gender_choices(DEFAULT_LANGUAGE), value=ANY_GENDER, min_width=280)
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
        counts = self.catalog.gender_counts()
        known = [(f"{text(language, gender)} ({counts[gender]})", gender) for gender in GENDERS]
        return [(text(language, ANY_GENDER), ANY_GENDER), *known]

    # Events

    def _connect_search(self) -> None:
        self._search_new(partial(gr.on, [self.recorder.stop_recording, self.recorder.upload]))
        self._search_after(partial(gr.on, [widget.input for widget in self.narrowing]))
        dropping = self.drop_filter.click(lambda: ([], ANY_GENDER, False), None, self.narrowing, **QUICK)
        self._search_after(dropping.then)
        for button, path in zip(self.examples, EXAMPLES, strict=True):
            self._search_new(button.click(partial(str, path), None, self.recorder, **QUICK).then)
        self._say(self.recorder.start_recording, "listening")
        self.recorder.clear(self.wait, [self.again, self.language], self.status, **QUICK)
        self._say(self.once_more.click, "again")
        asked = [self.recorder, self.again]
        self.once_more.click(lambda: (None, True), None, asked, js=browser.SHOW_RECORDER_JS, **QUICK)
        self.cards.click(self.choose, [self.result, self.language], self.shown, **QUICK)

    def _search_new(self, trigger: Callable) -> None:
        # What a new recording is joined with is settled before the queue: a filter chosen meanwhile must know it.
        self._search_after(trigger(self.join, [self.result, self.again], self.earlier, **QUICK).then)

    def _search_after(self, trigger: Callable) -> None:
        searching = self._say(trigger, "searching").then(
            self.search,
            [self.recorder, *self.narrowing, self.language, self.again, self.earlier],
            [self.result, self.again, *self.answered],
            concurrency_id="search",
            trigger_mode="always_last",  # a filter chosen while another is searched must not be lost
            **PRIVATE,
        )
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
        """Return the hums that a new recording is joined with; none unless that was asked for."""
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
        """Answer a recording; where a filter was chosen before the first or long after it, say what to do."""
        if path is None:
            return {self.status: self.wait(again, language)}
        if not os.path.exists(path):
            return {self.status: cards.status_html("gone", language)}
        try:
            result = self.recognizer.recognize(path, genres, gender, TOP_K, only_known, earlier)
        except Hmm2SongError as error:
            # Asked for once more, that still holds: the next recording is joined instead of this one.
            status = cards.error_html(str(error), language) + (self.wait(again, language) if again else "")
            return {self.status: status, self.results: gr.update(visible=False)}
        return {self.result: result, self.again: False, **self._answer(result, language)}

    def choose(self, result: SearchResult | None, language: str, event: gr.EventData) -> dict:
        """Show the match whose card was opened."""
        if result is None or not 0 <= event.index < len(result.matches):
            return {self.plot_words: ""}
        return self._show(result, result.matches[event.index], language)

    def list_songs(self, query: str, language: str) -> str:
        """List the songs of the catalog that ``query`` finds."""
        songs = self.catalog.find(query, LISTED_ON_PAGE + 1)
        return cards.songs_html(songs[:LISTED_ON_PAGE], query, language, is_cut=len(songs) > LISTED_ON_PAGE)

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
        melody = self.catalog.melody(match.id)
        words = overlay_words(match, result.hum, melody, language)
        return {
            self.plot_words: cards.description_html(words, language),
            self.plot: overlay_figure(match, result.hum, melody, language),
            self.player: self._sound(match, language),
        }

    def _sound(self, match: Match, language: str) -> dict:
        start_s, end_s = match.alignment.start_s, match.alignment.end_s
        recording = self.catalog.recording(match.id, self.previews)
        if recording is not None and recording.suffix.lower() in AUDIO_SUFFIXES:
            # A copy of this one file is served, for ten minutes; the folder it is in stays closed to visitors.
            copy = self.player.move_resource_to_block_cache(recording)
            return gr.update(value=copy, playback_position=start_s, label=text(language, "play_recording"))
        tone = melody_tone(self.catalog.melody(match.id), start_s - TONE_LEAD_S, end_s + TONE_LEAD_S)
        return gr.update(value=(SAMPLE_RATE_HZ, tone), playback_position=0, label=text(language, "play_tone"))


class Api:
    """The public endpoints. Their answers are plain JSON and do not change between minor versions."""

    def __init__(self, recognizer: Recognizer) -> None:
        self.recognizer = recognizer
        # A component for the recording, not gr.api: gr.Audio takes only uploaded files, gr.api any path.
        asked = [
            gr.Audio(type="filepath", visible=False),
            gr.JSON([], visible=False),
            gr.Textbox(ANY_GENDER, visible=False),
            gr.JSON(str(TOP_K), visible=False),
            gr.Audio(type="filepath", visible=False),
        ]
        answer = gr.JSON(label="result", visible=False)
        gr.on([], self.recognize, asked, answer, api_name="recognize", concurrency_id="search")
        gr.api(self.catalog, api_name="catalog", queue=False)
        gr.api(self.song, api_name="song", queue=False)

    def recognize(
        self, audio: str, genres: list[str] | None, gender: str | None, top_k: int | None, earlier: str | None = None
    ) -> dict:
        """Find the song of a recording, joined with an earlier one of the same tune if there is one.

        Returns a :class:`hmm2song.results.SearchResult` as JSON.
        """
        with _polite_errors():
            if audio is None:
                raise AudioError('no recording was sent; pass audio=handle_file("hum.wav")')
            if not isinstance(genres, list | str | None):
                raise QueryError(f"genres must be a list of names, got {genres!r:.60}")
            top_k = TOP_K if top_k is None else top_k
            hums = [self.recognizer.hear(earlier)] if earlier else []
            result = self.recognizer.recognize(audio, genres or (), gender or ANY_GENDER, top_k, earlier=hums)
        return result.to_dict()

    def catalog(self, query: str = "") -> list[dict]:
        """List the songs whose title, artist, genre or id holds every word of the query, at most 200."""
        songs = self.recognizer.catalog.find(query or "", LISTED_BY_API)
        return [{field: getattr(song, field) for field in LISTED_FIELDS} for song in songs]

    def song(self, id: str) -> dict:
        """Return everything the catalog knows about a song, and how long its melody is."""
        with _polite_errors():
            song, melody = self.recognizer.catalog.song(id), self.recognizer.catalog.melody(id)
        fields = asdict(song)
        # Gradio's client takes any object with a "path" for a file and would try to download it.
        fields["recording"] = fields.pop("path")
        return {**fields, "artist": song.artist, "melody_s": round(melody.duration_s, 2)}


def _hums(result: SearchResult) -> tuple[Melody, ...]:
    """Return the hums of an answer that another one can be joined with: those in which a melody was heard."""
    return result.earlier + ((result.hum,) if result.hum.voiced_s >= MIN_VOICED_S else ())


@contextmanager
def _polite_errors() -> Iterator[None]:
    """Let the library's messages reach the caller; anything else stays in the server's log."""
    try:
        yield
    except Hmm2SongError as error:
        raise gr.Error(str(error), print_exception=False) from error


def build_app(recognizer: Recognizer, previews: Path | None = None) -> gr.Blocks:
    """Return the page and the API around a recognizer, to be launched with :func:`serve`.

    ``previews`` is the folder in which the catalog's recordings are, by default the catalog's own.
    """
    delete_cache = (CACHE_SWEEP_S, CACHE_AGE_S)
    with gr.Blocks(title="Hmm2Song", delete_cache=delete_cache, analytics_enabled=False) as blocks:
        Page(recognizer, blocks, previews)
        Api(recognizer)
    return blocks.queue(max_size=MAX_WAITING, default_concurrency_limit=CONCURRENT_SEARCHES, api_open=False)


def serve(blocks: gr.Blocks, options: argparse.Namespace) -> None:
    """Serve until interrupted."""
    blocks.launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        theme=THEME,
        css=browser.CSS,
        head=browser.HEAD,
        max_file_size=MAX_FILE_BYTES,
        show_error=False,
        run_history=False,
        ssr_mode=False,
        footer_links=["api", "settings"],
        allowed_paths=[str(folder) for folder in {path.parent for path in EXAMPLES}],
    )


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; what it leaves open comes from the environment."""
    parser = argparse.ArgumentParser(description="Serve the Hmm2Song page and API.")
    parser.add_argument("--port", type=int, help="default: GRADIO_SERVER_PORT, or the first free one from 7860")
    parser.add_argument("--host", help="0.0.0.0 lets other machines in; default: GRADIO_SERVER_NAME, or 127.0.0.1")
    parser.add_argument("--share", action="store_true", help="make a public link through Gradio's servers")
    parser.add_argument("--catalog", help="folder or Hub repository; default: HMM2SONG_CATALOG, or the bundled one")
    parser.add_argument(
        "--previews",
        type=Path,
        metavar="FOLDER",
        help="play the match from the recordings in this folder, for catalogs indexed with --previews",
    )
    return parser.parse_args(arguments)


def main() -> int:
    """Load, warm up, serve; return the exit code."""
    options = parse_options()
    try:
        if options.previews is not None and not options.previews.is_dir():
            raise CatalogError(f"there is no folder {str(options.previews)!r} of recordings; check --previews")
        recognizer = Recognizer.from_pretrained(options.catalog)
        recognizer.warm_up()
    except Hmm2SongError as error:
        print(f"hmm2song: {error}", file=sys.stderr)
        return EXIT_ERROR
    serve(build_app(recognizer, options.previews), options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
