"""The page: its widgets, and what happens when somebody uses them.

Whatever decides something lives elsewhere in the package; here widgets are laid out and connected. Widgets get their
words from :meth:`Page.greet`, which knows the visitor's language.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import count, islice
from pathlib import Path

import gradio as gr

from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import BUNDLED_CATALOG
from hmm2song.catalog.storage import MANIFEST_FILE
from hmm2song.errors import Hmm2SongError, UnknownSongError
from hmm2song.match.listening import FIRST_SEARCH_S, MAX_LISTENING_S, SEARCH_EVERY_S
from hmm2song.match.results import FOUND, NONE, SearchResult
from hmm2song.melody.melody import Melody
from hmm2song.page import PRIVATE, QUICK, SEARCH_QUEUE, browser
from hmm2song.page import results as cards
from hmm2song.page.explore import Explore
from hmm2song.page.explorer import Explorer
from hmm2song.page.live import Asked, Runs
from hmm2song.page.preview import Preview, Previews
from hmm2song.page.texts import (
    DEFAULT_LANGUAGE,
    LANGUAGES,
    error_words,
    genre_words,
    load_texts,
    preferred_language,
    text,
)
from hmm2song.recognizer import MAX_EARLIER, MIN_VOICED_S, Recognizer
from hmm2song.song import ANY_GENDER

EXAMPLES_FOLDER = BUNDLED_CATALOG.parent / "examples"
LISTED_SONGS = 60
SAMPLED_FROM_S, SAMPLED_S = 30.0, 30.0
"""What is played of a song that was not hummed."""
NAMED_GENRES = 4
"""Genres named under the title, the most frequent."""
LIVE_WORDS = (
    "hum", "new_hum", "stop", "cancel", "upload", "ready", "ready_plain", "asking", "listening", "searching",
    "uploading", "waiting", "busy", "reconnecting", "offline", "retry", "denied", "no_microphone", "guess",
    "guess_found", "once_more", "live",
)  # fmt: skip
ANSWER_WORDS = ("copied", "saved", "said_yes", "said_no")
HISTORY_WORDS = ("title", "none", "keep", "forget")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Answer:
    """The last search of a visitor; ``is_alone`` if earlier hums were left out because the new one is clearer."""

    result: SearchResult
    asked: Asked
    is_alone: bool = False


class Page:
    """The widgets and their events. Create it inside ``gr.Blocks``.

    ``recordings`` is the folder that holds the catalog's recordings, by default the catalog's own.
    """

    def __init__(self, recognizer: Recognizer, blocks: gr.Blocks, recordings: Path | None = None) -> None:
        self.recognizer = recognizer
        self.recordings = recordings
        self.catalog = recognizer.catalog
        self.runs = Runs(recognizer)
        self.example_paths = example_hums(self.catalog)
        self._manifest = self._read_manifest()
        self.genre_counts = self.catalog.genre_counts(guessed=True)
        self.genders = {
            gender: count for gender, count in self.catalog.gender_counts(guessed=True).items() if gender and count
        }
        self.has_guesses = self.catalog.songs.has_guesses
        self._number = count(1)  # of answers, so that the recorder learns of every one
        with gr.Column(elem_id="page"):  # its attributes say in which state the page is: Gradio's CSS reaches no higher
            self._lay_out_head()
            with gr.Tabs(elem_id="tabs") as self.tabs:
                with gr.Tab("Hum", id="hum") as self.hum_tab:
                    self._lay_out_question()
                    self._lay_out_answer()
                with gr.Tab("Explore", id="explore") as self.explore_tab:
                    self.explore = Explore(Explorer(self.catalog), self.language, self._sample)
        self.previews = Previews(self.recorder.GRADIO_CACHE)  # a visitor gets files of this folder only
        self._connect_search()
        self._connect_words(blocks)
        self.explore.connect(self.tabs, self.explore_tab, (self.winner.like, self.cards.like, self.songs.like))

    def _lay_out_head(self) -> None:
        self.language = gr.Radio(
            [(name, code) for code, name in LANGUAGES.items()],
            label="Language",
            value=DEFAULT_LANGUAGE,
            container=False,
            min_width=0,
            elem_id="language",
        )
        self.header = gr.HTML(elem_id="header")

    def _lay_out_question(self) -> None:
        def hear(body: object) -> dict:  # a server function's name becomes an attribute of its component
            meta = json.loads(body.data["meta"])
            return self.hear(body.files[0][1], meta["run"], meta["at"], str(meta["language"]))

        self.live = gr.HTML(
            html_template=browser.RECORDER_HTML,
            js_on_load=browser.RECORDER_JS,
            server_functions=[hear],
            elem_id="live",
            words=_words(LIVE_WORDS, DEFAULT_LANGUAGE),
            language=DEFAULT_LANGUAGE,
            first_s=FIRST_SEARCH_S,
            every_s=SEARCH_EVERY_S,
            max_s=MAX_LISTENING_S,
            can_join=False,
            answer=0,
            answered=False,
        )
        self.status = gr.HTML()
        with gr.Column(elem_id="plain"):
            self.recorder = gr.Audio(
                sources=["microphone", "upload"], type="filepath", editable=False, buttons=[], elem_id="recorder"
            )
        with gr.Row(visible=bool(self.example_paths), elem_id="examples"):
            self.examples_words = gr.HTML()
            names = self._example_names(DEFAULT_LANGUAGE)
            self.examples = [gr.Button(name, size="sm", scale=0, min_width=120) for name in names]

    def _lay_out_answer(self) -> None:
        self.answer = gr.State()
        self.again = gr.State(False)  # whether the next recording of the plain recorder is joined
        self.winner = gr.HTML(
            js_on_load=browser.ANSWER_JS, elem_id="answer", words=_words(ANSWER_WORDS, DEFAULT_LANGUAGE)
        )
        self.verdict = gr.HTML(js_on_load=browser.LEADS_JS, elem_id="verdict")
        self.drop_filter = gr.Button(variant="primary", visible=False)
        self.cards = gr.HTML(js_on_load=browser.LIKE_JS + browser.CHOOSE_JS, elem_id="cards")
        genres = self._genre_choices(DEFAULT_LANGUAGE)
        with (
            gr.Accordion(open=False, visible=bool(genres or self.genders), elem_id="filters") as self.filters,
            gr.Row(),
        ):
            self.genres = gr.Dropdown(genres, value=[], multiselect=True, min_width=280, visible=bool(genres))
            genders = self._gender_choices(DEFAULT_LANGUAGE)
            self.gender = gr.Radio(genders, value=ANY_GENDER, min_width=280, visible=bool(self.genders))
            self.only_known = gr.Checkbox(min_width=280)
            self.guessed = gr.Checkbox(self.has_guesses, min_width=280, visible=self.has_guesses)
        self.narrowing = [self.genres, self.gender, self.only_known, self.guessed]
        # No accordion: it would mount its content, and so begin to listen for answers, only when it is opened.
        self.history = gr.HTML(
            html_template=browser.HISTORY_HTML, js_on_load=browser.HISTORY_JS, words={}, elem_id="history"
        )
        with gr.Accordion(open=False, elem_id="catalog") as self.catalog_panel:
            self.query = gr.Textbox("")
            self.songs = gr.HTML(js_on_load=browser.LIKE_JS)
        self.privacy = gr.HTML()
        self.answered = [self.status, self.live, self.winner, self.verdict, self.drop_filter, self.cards]
        top = [self.header, self.recorder, self.examples_words, self.filters, *self.narrowing]
        panels = [self.history, self.catalog_panel, self.query, self.songs, self.privacy]
        self.worded = [*self.answered, *top, *panels, *self.examples]

    def _example_names(self, language: str) -> list[str]:
        korean = [
            self.catalog.song(song_id).title_ko if language == "ko" else "" for song_id in self.example_paths.values()
        ]
        names = [path.stem.replace("-", " ").capitalize() for path in self.example_paths]
        return [own or name for own, name in zip(korean, names, strict=True)]

    def _genre_choices(self, language: str) -> list[tuple[str, str]]:
        return [(f"{genre_words(genre, language)} ({count})", genre) for genre, count in self.genre_counts.items()]

    def _gender_choices(self, language: str) -> list[tuple[str, str]]:
        known = [(f"{text(language, gender)} ({count})", gender) for gender, count in self.genders.items()]
        return [(text(language, ANY_GENDER), ANY_GENDER), *known]

    # Events

    def _connect_search(self) -> None:
        known = [*self.narrowing, self.language, self.answer]
        self.live.start(self.begin, known, None, trigger_mode="multiple", **QUICK)
        self._search(self.live.done, self.finish, known)
        self.live.plain(self.prepare, self.language, [self.again, self.recorder, self.status], **QUICK)
        self._search_recording(self.recorder.stop_recording, self.again)
        self._search_recording(self.recorder.upload)
        for button, path in zip(self.examples, self.example_paths, strict=True):
            self._search_recording(button.click(partial(str, path), None, self.recorder, **QUICK).then)
        self._say(self.recorder.start_recording, "listening_plain")
        refining = partial(gr.on, [widget.input for widget in self.narrowing])
        self._search(refining, self.refine, known)
        dropping = self.drop_filter.click(
            lambda: ([], ANY_GENDER, False, self.has_guesses), None, self.narrowing, **QUICK
        )
        self._search(dropping.then, self.refine, known)
        self.cards.click(self.choose, [self.answer, self.language], self.winner, **QUICK)

    def _search_recording(self, trigger: Callable, again: gr.State | None = None) -> None:
        inputs = [self.recorder, *self.narrowing, self.language, self.answer, *([again] if again else [])]
        self._search(self._say(trigger, "searching").then, self.search, inputs)

    def _search(self, trigger: Callable, search: Callable, inputs: list) -> None:
        how = {"concurrency_id": SEARCH_QUEUE, "trigger_mode": "always_last", **PRIVATE}
        searching = trigger(search, inputs, [self.answer, self.again, *self.answered], **how)
        # Searches explain their own errors, so only one that never started gets here: the queue is full.
        searching.failure(self.tell_busy, self.language, [self.status, self.live], **QUICK)
        if search != self.refine:  # a filter that was set during the search must not be lost
            known = [*self.narrowing, self.language, self.answer]
            searching.success(self.refine, known, [self.answer, self.again, *self.answered], **how)

    def _say(self, trigger: Callable, key: str) -> gr.events.Dependency:
        """Set the status line at once, in the browser."""
        lines = {language: cards.status_html(key, language) for language in LANGUAGES}
        return trigger(None, self.language, self.status, js=browser.pick_js(lines), **QUICK)

    def _connect_words(self, blocks: gr.Blocks) -> None:
        # change, not input: Gradio's input event misses text that is pasted.
        self.query.change(self.list_songs, [self.query, self.language], self.songs, **QUICK)
        tabs = [self.hum_tab, self.explore_tab]
        blocks.load(self.greet, None, [self.language, *tabs, *self.worded, *self.explore.worded], **QUICK)
        self.language.input(self.word, [self.language, self.answer, self.query], [*tabs, *self.worded], **QUICK)
        self.language.change(None, self.language, None, js=browser.TELL_LANGUAGE_JS, **QUICK)

    # The hum

    def begin(
        self,
        genres: list,
        gender: str,
        only_known: bool,
        guessed: bool,
        language: str,
        answer: Answer | None,
        event: gr.EventData,
    ) -> None:
        """Remember what a hum is searched for whose first sound is about to come."""
        asked = Asked(tuple(genres), gender, only_known, guessed, self.join(answer, event.again))
        try:
            self.runs.open(event.run, asked)
        except Hmm2SongError as error:  # the first chunk is told the same
            log.info("A hum was not taken: %s", error)

    def hear(self, coded: bytes, run: str, at: int, language: str) -> dict:
        """Take a chunk of a hum and tell what it could be so far."""
        if language not in LANGUAGES:
            language = DEFAULT_LANGUAGE
        try:
            n_samples, heard = self.runs.hear(run, at, coded)
        except Hmm2SongError as error:
            log.info("A chunk was not taken: %s", error)
            return {"error": text(language, "busy")}
        level = heard.result.level if heard.result else NONE
        known = cards.guesses(heard.result, language) if level != NONE else []
        return {"n": n_samples, "guesses": known, "level": level, "stopped": heard.stopped}

    def finish(
        self,
        genres: list,
        gender: str,
        only_known: bool,
        guessed: bool,
        language: str,
        answer: Answer | None,
        event: gr.EventData,
    ) -> dict:
        """Answer a hum that has come in chunks."""

        def search() -> Answer:
            closed = self.runs.close(event.run)
            if closed is None or closed[1].result is None:
                raise Hmm2SongError(text(language, "lost"))
            asked = Asked(tuple(genres), gender, only_known, guessed, self.join(answer, event.again))
            result = closed[1].result
            if closed[0].filter != asked.filter or len(closed[0].earlier) != len(asked.earlier):
                result = self._search_melody(result, asked)
            return self._clearer(Answer(result, asked))

        return self._explained(search, language)

    def search(
        self,
        path: str | None,
        genres: list,
        gender: str,
        only_known: bool,
        guessed: bool,
        language: str,
        answer: Answer | None,
        again: bool = False,
    ) -> dict:
        """Answer a recording."""
        if path is None:
            return {self.status: ""}
        asked = Asked(tuple(genres), gender, only_known, guessed, self.join(answer, again))

        def search() -> Answer:
            return self._clearer(Answer(self.recognizer.recognize(path, **asked._asdict()), asked))

        return self._explained(search, language)

    def refine(
        self, genres: list, gender: str, only_known: bool, guessed: bool, language: str, answer: Answer | None
    ) -> dict:
        """Search the last hum again if the filter has changed since."""
        if answer is None or answer.asked.filter == (tuple(genres), gender, only_known, guessed):
            return {self.answer: gr.skip()}
        asked = Asked(tuple(genres), gender, only_known, guessed, answer.asked.earlier)
        return self._explained(
            lambda: self._clearer(Answer(self._search_melody(answer.result, asked), asked)), language
        )

    def join(self, answer: Answer | None, again: bool) -> tuple[Melody, ...]:
        """Return the hums that a new one is joined with; none unless the visitor asked for that."""
        return _hums(answer.result)[-MAX_EARLIER:] if again and answer else ()

    def _search_melody(self, heard: SearchResult, asked: Asked) -> SearchResult:
        """Search what was heard once more; what was wrong with the recording stays true."""
        return replace(self.recognizer.recognize_melody(heard.hum, **asked._asdict()), advice=heard.advice)

    def _clearer(self, answer: Answer) -> Answer:
        """Return the answer to the new hum alone if joining made it worse."""
        joined = answer.result
        if not joined.earlier or joined.hum.voiced_s < MIN_VOICED_S:
            return answer
        alone = self._search_melody(joined, answer.asked._replace(earlier=()))
        songs = [result.matches[0].tune or result.matches[0].id for result in (alone, joined) if result.matches]
        is_surer = _surety(alone) > _surety(joined)
        if alone.level == FOUND and is_surer and (joined.level != FOUND or len(set(songs)) == 2):
            return Answer(alone, answer.asked._replace(earlier=()), is_alone=True)
        return answer

    def _explained(self, search: Callable[[], Answer], language: str) -> dict:
        """Show an answer, or say why there is none."""
        try:
            answer = search()
            return {self.answer: answer, self.again: False, **self._show(answer, language)}
        except Hmm2SongError as error:
            words = error_words(error, language)
        except Exception:
            log.exception("A search failed.")
            words = text(language, "fault")
        return {self.status: cards.error_html(words, language), self.live: self._told(False)}

    def tell_busy(self, language: str) -> dict:
        """Say that the queue is full."""
        return {self.status: cards.status_html("busy", language), self.live: self._told(False)}

    def prepare(self, language: str, event: gr.EventData) -> dict:
        """Empty the plain recorder for a new hum, or for one more of the same tune."""
        status = cards.status_html("again", language) if event.again else ""
        return {self.again: bool(event.again), self.recorder: None, self.status: status}

    # What is shown

    def choose(self, answer: Answer | None, language: str, event: gr.EventData) -> gr.HTML | dict:
        """Show the match whose card was chosen."""
        if answer is None or not 0 <= event.index < len(answer.result.matches):
            return gr.skip()
        return self._winner(answer.result, event.index, language)

    def list_songs(self, query: str, language: str) -> str:
        """List the songs of the catalog that ``query`` finds."""
        songs = self.catalog.find(query, LISTED_SONGS + 1)
        return cards.songs_html(songs[:LISTED_SONGS], query, language, is_cut=len(songs) > LISTED_SONGS)

    def greet(self, request: gr.Request) -> dict:
        """Word the page in the visitor's language, and show the song that the address names."""
        language = preferred_language(request.headers.get("accept-language"))
        shown = self.word(language, None, "") | self.explore.word(language)
        if song_id := request.query_params.get("song"):
            shown |= self._song(song_id, language, self._live_words(language))
        return {self.language: language, **shown}

    def word(self, language: str, answer: Answer | None, query: str) -> dict:
        """Word the whole page, the last answer included, in ``language``."""
        labels = {
            self.recorder: text(language, "recorder"),
            self.hum_tab: text(language, "tab_hum"),
            self.explore_tab: text(language, "tab_explore"),
            self.filters: text(language, "filters"),
            self.only_known: text(language, "only_known"),
            self.guessed: text(language, "with_guessed"),
            self.catalog_panel: text(language, "catalog"),
            self.query: text(language, "catalog_search", n=len(self.catalog)),
        }
        live = self._live_words(language)
        return {
            **{widget: gr.update(label=label) for widget, label in labels.items()},
            self.live: gr.HTML(**live),
            self.winner: gr.HTML(words=_words(ANSWER_WORDS, language)),
            **(self._show(answer, language, live) if answer else {self.status: ""}),
            self.genres: gr.update(label=text(language, "genre"), choices=self._genre_choices(language)),
            self.gender: gr.update(label=text(language, "gender"), choices=self._gender_choices(language)),
            self.header: cards.header_html(self._about(language), language),
            self.examples_words: cards.examples_html(language),
            **dict(zip(self.examples, self._example_names(language), strict=True)),
            self.history: gr.HTML(words={name: text(language, f"history_{name}") for name in HISTORY_WORDS}),
            self.songs: self.list_songs(query, language),
            self.privacy: cards.privacy_html(language),
        }

    def _live_words(self, language: str) -> dict:
        return {"words": _words(LIVE_WORDS, language), "language": language}

    def _told(self, answered: bool, **properties: object) -> gr.HTML:
        """Tell the recorder that a search has ended, with an answer or without."""
        return gr.HTML(answer=next(self._number), answered=answered, **properties)

    def _about(self, language: str) -> str:
        genres = genre_words(", ".join(islice(filter(None, self.genre_counts), NAMED_GENRES)), language)
        words = text(language, "about" if genres else "about_plain", n=len(self.catalog), genres=genres)
        return words if self._manifest == self._read_manifest() else f"{words} {text(language, 'about_old')}"

    def _read_manifest(self) -> bytes | None:
        """Return the manifest of the catalog's folder, which changes when the catalog is replaced."""
        try:
            return (self.catalog.folder / MANIFEST_FILE).read_bytes() if self.catalog.folder else None
        except OSError:  # it is being replaced
            return None

    def _song(self, song_id: str, language: str, live: dict) -> dict:
        try:
            song, melody = self.catalog.song(song_id), self.catalog.melody(song_id)
        except UnknownSongError:
            return {self.status: cards.error_html(text(language, "song_gone"), language)}
        sound = self._sound(song_id, 0.0, min(melody.duration_s, cards.SONG_SHOWN_S))
        winner = self._card(cards.song_html(song, melody, sound, language), language)
        return {self.winner: winner, self.live: self._told(True, **live)}

    def _show(self, answer: Answer, language: str, live: dict | None = None) -> dict:
        result = answer.result
        verdict = cards.verdict_html(result, language, answer.is_alone)
        dropping = text(language, "drop_filter")
        can_join = 1 <= len(_hums(result)) <= MAX_EARLIER
        return {
            self.status: cards.found_html(result, language),
            self.live: self._told(True, can_join=can_join, **(live or {})),
            self.winner: self._winner(result, 0, language) if result.level != NONE else "",
            self.verdict: gr.update(value=verdict, visible=bool(verdict)),
            self.drop_filter: gr.update(value=dropping, visible=result.elsewhere is not None),
            self.cards: cards.ranking_html(result, language),
        }

    def _winner(self, result: SearchResult, index: int, language: str) -> gr.HTML:
        match = result.matches[index]
        sound = self._sound(match.id, match.alignment.start_s, match.alignment.end_s)
        return self._card(cards.winner_html(result, index, sound, language), language)

    def _card(self, html: str, language: str) -> gr.HTML:
        """Fill the winner's card, and tell its script the language."""
        return gr.HTML(value=html, words=_words(ANSWER_WORDS, language))

    def _sample(self, song_id: str, at_s: float) -> Preview:
        """Return a stretch of a song from a second on, from past its beginning if that is 0."""
        length_s = self.catalog.melody(song_id).duration_s
        start_s = at_s or min(SAMPLED_FROM_S, length_s / 4)
        return self._sound(song_id, start_s, min(length_s, start_s + SAMPLED_S))

    def _sound(self, song_id: str, start_s: float, end_s: float) -> Preview:
        recording = self.catalog.recording(song_id, self.recordings)
        preview = self.previews.cut(recording, start_s) if recording else None
        return preview or self.previews.tone(song_id, self.catalog.melody(song_id), start_s, end_s)


def example_hums(catalog: Catalog) -> dict[Path, str]:
    """Return the bundled hums whose song is in the catalog, sorted by name, and the ids of their songs."""
    listing = EXAMPLES_FOLDER / "examples.json"
    rows = json.loads(listing.read_text(encoding="utf-8")) if listing.is_file() else []
    ids = {song.id for song in catalog.songs}
    return dict(sorted((EXAMPLES_FOLDER / row["file"], row["song_id"]) for row in rows if row["song_id"] in ids))


def _words(names: tuple[str, ...], language: str) -> dict[str, str]:
    """Return words for a script, which fills in the placeholders itself."""
    return {name: load_texts()[language][name] for name in names}


def _surety(result: SearchResult) -> float:
    return result.matches[0].probability if result.matches else 0.0


def _hums(result: SearchResult) -> tuple[Melody, ...]:
    """Return the hums of an answer that another one can be joined with: those in which a melody was heard."""
    return result.earlier + ((result.hum,) if result.hum.voiced_s >= MIN_VOICED_S else ())
