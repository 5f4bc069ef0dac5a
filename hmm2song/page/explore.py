"""The Explore tab: songs and moments like one, a path between two songs, a map of them all.

Conventions
-----------
* A visitor explores from one song, or from a recording, and looks at one *view* of it at a time.
* Nothing is computed, and nothing that compares songs is made, before the tab is opened.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import gradio as gr

from hmm2song.catalog.facets import Facets
from hmm2song.errors import AudioError, Hmm2SongError
from hmm2song.page import PRIVATE, QUICK, SEARCH_QUEUE, browser
from hmm2song.page import explore_cards as cards
from hmm2song.page import results as page_cards
from hmm2song.page.explorer import MAX_QUERY_S, OWN, Explorer, years_of
from hmm2song.page.preview import Preview
from hmm2song.page.texts import LANGUAGES, genre_words, text
from hmm2song.similar.presets import FACETS, PRESETS
from hmm2song.song import ANY_GENDER, GENDERS

VIEWS = ("songs", "moments", "path", "map")
COLOURED_BY = ("cluster", "genre", "voice")
LISTED = 8
"""Songs listed for words that are looked for."""

QUEUED = {"concurrency_id": SEARCH_QUEUE, **PRIVATE}

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Query:
    """What is explored from: a song of a collection, or what was heard in a recording; and where a path ends."""

    collection: str = OWN
    song_id: str = ""
    heard: Facets | None = None
    name: str = ""
    warnings: tuple[str, ...] = ()
    goal_id: str = ""

    @property
    def subject(self) -> str | Facets | None:
        """What to ask with, or None as long as nothing was chosen."""
        return self.heard if self.heard is not None else self.song_id or None


class Controls(NamedTuple):
    """The values of the tab's controls, in the order of :attr:`Explore.controls`."""

    view: str
    preset: str | None
    voice: float
    style: float
    feel: float
    melody: float
    genres: list[str]
    gender: str
    first_year: str
    last_year: str
    only_known: bool
    guessed: bool
    once: bool
    at_s: float
    n_steps: int
    colour: str
    place: str | None
    language: str

    @property
    def filter(self) -> dict:
        """What songs are to be listed, as :meth:`SimilarSongs.like` takes it."""
        return {
            "genres": self.genres,
            "gender": self.gender,
            "years": years_of(self.first_year, self.last_year),
            "only_known": self.only_known,
            "guessed": self.guessed,
            "per_artist": int(self.once),
        }

    @property
    def facets(self) -> str | dict[str, float]:
        """The preset, or the weights of who moved a slider since."""
        return self.preset or {name: getattr(self, name) for name in FACETS}


class Explore:
    """The widgets of the tab and their events. Create it inside its ``gr.Tab``.

    ``sound`` makes something to play of a song of the app's catalog, from a second on.
    """

    def __init__(
        self,
        explorer: Explorer,
        language: gr.Radio,
        sound: Callable[[str, float], Preview],
    ) -> None:
        self.explorer = explorer
        self.language = language
        self._sound = sound
        self._number = count(1)  # of sounds, so that the same one can be played again
        self.query = gr.State(Query())
        self._lay_out_query()
        self._lay_out_views()
        self.status = gr.HTML(elem_id="asking")
        self.shown = gr.HTML(js_on_load=browser.EXPLORE_JS, elem_id="explored", sound={})
        self._lay_out_options()
        self.controls = [
            self.view, self.preset, *self.weights.values(), self.genres, self.gender, self.first_year, self.last_year,
            self.only_known, self.guessed, self.once, self.at_s, self.n_steps, self.colour, self.place, self.language,
        ]  # fmt: skip
        self.groups = {"songs": self.alike, "moments": self.moment, "path": self.way, "map": self.drawn}
        self.chosen = [
            self.query, self.view, self.status, self.about, self.words, self.choices, self.at_s, *self.groups.values()
        ]  # fmt: skip
        self.offered = [
            self.missing, self.drop, self.preset, *self.weights.values(), self.genres, self.gender, self.guessed,
            self.colour, self.place,
        ]  # fmt: skip
        self.worded = [
            self.about, self.collection, self.words, self.drop, self.recording, self.view, self.weighing,
            *self.weights.values(), self.genres, self.gender, self.first_year, self.last_year, self.only_known,
            self.guessed, self.once, self.at_s, self.n_steps, self.privacy,
        ]  # fmt: skip

    def _lay_out_query(self) -> None:
        self.about = gr.HTML()
        sizes = self.explorer.sizes
        self.collection = gr.Radio(list(sizes), value=OWN, visible=len(sizes) > 1, container=False, elem_classes="bare")
        self.words = gr.Textbox("")
        self.choices = gr.HTML(js_on_load=browser.EXPLORE_JS, sound={})

    def _lay_out_views(self) -> None:
        self.view = gr.Radio(list(VIEWS), value="songs", container=False, elem_classes="bare")
        self.missing = gr.HTML()
        with gr.Column() as self.alike:
            self.preset = gr.Radio(list(PRESETS), value="all", container=False, elem_classes="bare")
        with gr.Row(visible=False) as self.moment:
            self.at_s = gr.Slider(0, 600, 0, step=1)
        with gr.Row(visible=False) as self.way:
            self.n_steps = gr.Slider(3, 12, 6, step=1)
        with gr.Row(visible=False) as self.drawn:
            self.colour = gr.Radio(list(COLOURED_BY), value="cluster")
            self.place = gr.Radio(list(FACETS), value=None)

    def _lay_out_options(self) -> None:
        with gr.Accordion(open=False) as self.weighing:
            with gr.Row():
                self.weights = {name: gr.Slider(0, 1, PRESETS["all"].get(name, 0), step=0.1) for name in FACETS}
            with gr.Row():
                self.genres = gr.Dropdown([], value=[], multiselect=True)
                self.gender = gr.Radio([ANY_GENDER, *GENDERS], value=ANY_GENDER)
            with gr.Row():
                self.first_year, self.last_year = (gr.Textbox("", max_length=4, min_width=120) for _ in range(2))
            checks = [False, True, True]
            self.only_known, self.guessed, self.once = (gr.Checkbox(each) for each in checks)
        with gr.Accordion(open=False) as self.drop:
            self.recording = gr.Audio(sources=["upload"], type="filepath", editable=False, buttons=[])
            self.privacy = gr.HTML()

    # Events

    def connect(self, tabs: gr.Tabs, tab: gr.Tab, leads: Iterable[Callable]) -> None:
        """Connect the events; each of ``leads`` is an event, anywhere on the page, that names a song of the catalog."""
        self._tabs = tabs
        tab.select(self.open, [self.collection, self.language], self.offered, **QUICK)
        self.words.change(self.look_up, [self.words, self.query, self.language], self.choices, **QUICK)
        for lead in leads:
            led = lead(self.lead, self.language, [tabs, self.collection, *self.offered, *self.chosen], **QUICK)
            self._show(led.then)
        for listed in (self.choices, self.shown):
            self._show(listed.like(self.choose, [self.query, self.language], self.chosen, **QUICK).then)
            self._show(listed.goal(self.aim, [self.query, self.language], self.chosen, **QUICK).then)
        self.shown.hear(self.play, self.query, self.shown, **QUICK)
        changing = self.collection.input(
            self.change, [self.collection, self.language], [*self.offered, *self.chosen], **QUICK
        )
        self._show(changing.then)
        heard = self.recording.upload(
            lambda language: page_cards.status_html("listening_to", language), self.language, self.status, **QUICK
        ).then(self.hear, [self.recording, self.query, self.language], [self.recording, *self.chosen], **QUEUED)
        self._show(heard.then)
        viewed = self.view.input(self.look, self.view, list(self.groups.values()), **QUICK)
        self._show(viewed.then)
        preset = self.preset.input(self.weigh, self.preset, list(self.weights.values()), **QUICK)
        self._show(preset.then)
        for slider in self.weights.values():
            self._show(slider.release(lambda: None, None, self.preset, **QUICK).then)
        for widget in (self.genres, self.gender, self.only_known, self.guessed, self.once, self.colour, self.place):
            self._show(widget.input)
        for widget in (self.first_year, self.last_year):
            self._show(widget.blur)
            self._show(widget.submit)
        for widget in (self.at_s, self.n_steps):
            self._show(widget.release)
        worded = self.language.input(self.reword, [self.query, self.language], [*self.offered, *self.worded], **QUICK)
        self._show(worded.then)

    def _show(self, trigger: Callable) -> None:
        lines = {language: page_cards.status_html("searching", language) for language in LANGUAGES}
        asking = trigger(None, self.language, self.status, js=browser.pick_js(lines), **QUICK)
        showing = asking.then(
            self.show,
            [self.query, *self.controls],
            [self.status, self.shown],
            trigger_mode="always_last",
            **QUEUED,
        )
        showing.failure(lambda language: page_cards.status_html("busy", language), self.language, self.status, **QUICK)

    # What is explored from

    def open(self, collection: str, language: str) -> dict:
        """Open the tab; what its first questions need is made while the visitor chooses a song."""
        self.explorer.prepare(collection)
        return self.offer(collection, language)

    def offer(self, collection: str, language: str) -> dict:
        """Offer what songs of a collection can be compared and filtered by."""
        songs = self.explorer.songs(collection)
        can = {name: not why_not for name, why_not in songs.facets.items()}
        presets = [name for name, weights in PRESETS.items() if all(can[facet] for facet in weights)]
        presets = [*(["all"] if can["style"] else []), *(name for name in presets if name != "all")]
        genres, counts = songs.songs.genre_counts(guessed=True), songs.songs.gender_counts(guessed=True)
        genders = [gender for gender in GENDERS if counts[gender]]
        missing = {"unheard": not can["style"], "unsung": can["style"] and not can["voice"], "notes": not can["melody"]}
        notes = "".join(cards.note_html(f"missing_{why}", language) for why, is_so in missing.items() if is_so)
        places = [name for name in FACETS if can[name]]
        return {
            self.missing: gr.update(value=notes, visible=bool(notes)),
            self.drop: gr.update(visible=can["style"]),
            self.preset: gr.update(
                label=text(language, "preset"),
                choices=[(text(language, f"preset_{name}"), name) for name in presets],
                value=presets[0],
                visible=len(presets) > 1,
            ),
            **{
                slider: gr.update(visible=can[name], value=PRESETS[presets[0]].get(name, 0.0))
                for name, slider in self.weights.items()
            },
            self.genres: gr.update(
                choices=[(f"{genre_words(genre, language)} ({n:,})", genre) for genre, n in genres.items()],
                value=[],
                visible=bool(genres),
            ),
            self.gender: gr.update(
                choices=[(text(language, gender), gender) for gender in (ANY_GENDER, *genders)],
                value=ANY_GENDER,
                visible=bool(genders),
            ),
            self.guessed: gr.update(visible=songs.songs.has_guesses),
            self.colour: gr.update(
                label=text(language, "colour"),
                choices=[
                    (text(language, f"colour_{name}"), name) for name in COLOURED_BY if genders or name != "voice"
                ],
                value="cluster",
            ),
            self.place: gr.update(
                label=text(language, "place"),
                choices=[(text(language, f"facet_{name}").capitalize(), name) for name in places],
                value="style" if can["style"] else places[0],
                visible=len(places) > 1,
            ),
        }

    def change(self, collection: str, language: str) -> dict:
        """Go to the other collection."""
        return {**self.open(collection, language), **self._chosen(Query(collection), "songs", language)}

    def lead(self, language: str, event: gr.EventData) -> dict:
        """Come from a song that was found by humming."""
        return {
            **self._chosen(Query(OWN, song_id=event.id), "songs", language),
            **self.offer(OWN, language),
            self.collection: OWN,
            self._tabs: gr.Tabs(selected="explore"),
        }

    def choose(self, query: Query, language: str, event: gr.EventData) -> dict:
        """Explore from another song of the collection."""
        return self._chosen(Query(query.collection, song_id=event.id), "songs", language)

    def aim(self, query: Query, language: str, event: gr.EventData) -> dict:
        """Set where the path ends."""
        return self._chosen(replace(query, goal_id=event.id), "path", language)

    def hear(self, path: str | None, query: Query, language: str) -> dict:
        """Explore from a recording."""
        if path is None:
            return {self.status: ""}

        def listen() -> dict:
            heard = self.explorer.hear(path, query.collection)
            name = Path(path).stem
            found = Query(query.collection, heard=heard.facets, name=name, warnings=heard.warnings)
            return self._chosen(found, "songs", language)

        return {self.recording: None, **self._explained(listen, language)}

    def look_up(self, words: str, query: Query, language: str) -> str:
        """List songs to explore from, or to end a path with."""
        if not words.strip():
            return ""
        songs = self.explorer.find(query.collection, words, LISTED)
        return cards.choices_html(songs, words, self._look(query, language))

    def _chosen(self, query: Query, view: str, language: str) -> dict:
        songs = self.explorer.songs(query.collection)
        heard = query.heard if query.heard is not None or not query.song_id else songs.heard(query.song_id)
        length_s = 0.0 if heard is None else float(heard.duration_s[0])
        return {
            self.query: query,
            self.view: view,
            self.status: page_cards.status_html("searching", language),
            self.about: cards.about_html(self._titles(query, language), language),
            self.words: "",
            self.choices: "",
            **self.look(view),
            self.at_s: gr.update(maximum=max(1, int(length_s)), value=int(length_s / 2)),
        }

    # What is shown

    def show(self, query: Query, *values: object) -> dict:
        """Answer what the controls ask about the query."""
        asked = Controls(*values)

        def answer() -> dict:
            told = cards.told_html(self._titles(query, asked.language), asked.language)
            return {self.status: told, self.shown: gr.HTML(value=self._view(query, asked), sound={})}

        shown = self._explained(answer, asked.language)
        return shown if self.shown in shown else {**shown, self.shown: gr.HTML(value="", sound={})}

    def _view(self, query: Query, asked: Controls) -> str:
        songs, language = self.explorer.songs(query.collection), asked.language
        shown = self._look(query, language)

        def lacking(compared: Mapping[str, float]) -> list[str]:
            """Return what the song asked about lacks of what is to be compared; the tab says what the catalog lacks."""
            wanted = PRESETS[asked.preset] if asked.preset else asked.facets
            return [name for name, w in wanted.items() if w and name not in compared and not songs.facets[name]]

        if asked.view == "map":
            drawn = self.explorer.map(query.collection, asked.place)
            return cards.map_html(drawn, asked.colour, query.song_id, shown)
        if query.subject is None:
            return cards.note_html("explore_choose", language)
        if asked.view == "path":
            if not query.song_id or not query.goal_id:
                return cards.note_html("explore_aim", language)
            path = songs.path(query.song_id, query.goal_id, int(asked.n_steps) - 1, asked.facets)
            return cards.path_html(path, lacking(path.facets), shown)
        if asked.view == "moments":
            moments = songs.moments(query.subject, asked.at_s, top_k=cards.TOP_K, **asked.filter)
            return cards.moments_html(moments, asked.once, shown)
        result = songs.like(query.subject, asked.facets, top_k=cards.TOP_K, **asked.filter)
        return cards.songs_html(result, query.warnings, lacking(result.facets), asked.once, shown)

    def look(self, view: str) -> dict:
        """Show the controls of a view."""
        return {group: gr.update(visible=name == view) for name, group in self.groups.items()}

    def weigh(self, preset: str) -> dict:
        """Set the sliders as a preset has them."""
        return {slider: PRESETS[preset].get(name, 0.0) for name, slider in self.weights.items()}

    def play(self, query: Query, event: gr.EventData) -> gr.HTML | dict:
        """Play a song of the app's catalog, at a moment or past its beginning."""
        if query.collection != OWN:
            return gr.skip()
        try:
            sound = self._sound(str(event.id), float(event.at))
        except (Hmm2SongError, ValueError, TypeError):  # a page that is older than this server
            return gr.skip()
        address = "gradio_api/file=" + quote(sound.path.as_posix())
        return gr.HTML(sound={"src": address, "at": sound.match_s, "n": next(self._number)})

    def _look(self, query: Query, language: str) -> cards.Look:
        return cards.Look(language, can_play=query.collection == OWN, can_lead=bool(query.song_id))

    def _titles(self, query: Query, language: str) -> list[str]:
        """Return what is explored from, and where the path ends."""
        songs = self.explorer.songs(query.collection)
        ids = [song_id for song_id in (query.song_id, query.goal_id) if song_id]
        titles = [cards.title_of(songs.songs[songs.position(song_id)], language) for song_id in ids]
        return [query.name, *titles] if query.name else titles

    def reword(self, query: Query, language: str) -> dict:
        """Word the tab in another language; what is offered begins anew."""
        return {
            **self.word(language),
            **self.offer(query.collection, language),
            self.about: cards.about_html(self._titles(query, language), language),
        }

    def word(self, language: str) -> dict:
        """Word the tab in ``language``."""
        labels = {
            self.words: "explore_search", self.drop: "explore_drop", self.recording: "explore_drop",
            self.weighing: "weigh", self.genres: "genre", self.first_year: "year_from", self.last_year: "year_to",
            self.only_known: "only_known", self.guessed: "with_guessed", self.once: "once", self.at_s: "moment_at",
            self.n_steps: "n_steps", self.gender: "gender",
        }  # fmt: skip
        sizes = self.explorer.sizes
        return {
            **{widget: gr.update(label=text(language, key)) for widget, key in labels.items()},
            **{
                slider: gr.update(label=text(language, f"facet_{name}").capitalize())
                for name, slider in self.weights.items()
            },
            self.about: cards.about_html([], language),
            self.collection: gr.update(
                label=text(language, "explore_in"),
                choices=[(text(language, f"collection_{name}", n=n), name) for name, n in sizes.items()],
            ),
            self.view: gr.update(
                label=text(language, "view"), choices=[(text(language, f"view_{name}"), name) for name in VIEWS]
            ),
            self.privacy: cards.note_html("explore_privacy", language, minutes=int(MAX_QUERY_S // 60)),
        }

    def _explained(self, answer: Callable[[], dict], language: str) -> dict:
        """Answer, or say why not."""
        try:
            return answer()
        except AudioError as error:
            words = text(language, "error_recording", detail=error)
        except Hmm2SongError as error:
            words = str(error)
        except Exception:
            log.exception("Exploring failed.")
            words = text(language, "fault")
        return {self.status: page_cards.error_html(words, language)}
