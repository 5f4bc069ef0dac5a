"""The public endpoints about songs like a song: ``/similar``, ``/moments``, ``/path``, ``/map``.

As with those of :mod:`hmm2song.page.api`, minor versions keep their JSON.
"""

from __future__ import annotations

import gradio as gr

from hmm2song.catalog.facets import Facets
from hmm2song.errors import QueryError
from hmm2song.page import SEARCH_QUEUE
from hmm2song.page.api import checked_genres, json_answer, no_tool, polite_errors
from hmm2song.page.explorer import OWN, Explorer, facets_of, years_of
from hmm2song.similar.presets import DEFAULT_STEPS, DEFAULT_TOP_K, FACETS, PRESETS
from hmm2song.song import ANY_GENDER, GENDERS

UNSEEN = {"visible": False}
ANY_VALUE = {"allow_custom_value": True, **UNSEEN}
"""Custom values reach the library, whose errors say more than Gradio's."""


class ExploreApi:
    """The endpoints. Create it inside ``gr.Blocks``."""

    def __init__(self, explorer: Explorer) -> None:
        self.explorer = explorer
        for name, endpoint, asked in (
            ("similar", self.similar, [*self.query_inputs(), self.facets_input(), *self.filter_inputs()]),
            ("moments", self.moments, [*self.query_inputs(), self.second_input(), *self.filter_inputs()]),
            ("path", self.path, self.path_inputs()),
            ("map", self.map, self.map_inputs()),
        ):
            gr.on([], endpoint, asked, json_answer("object"), api_name=name, concurrency_id=SEARCH_QUEUE)

    def query_inputs(self) -> list[gr.components.Component]:
        """Return components of a song or a recording to ask with."""
        return [
            gr.Textbox("", label="id of the song to ask with", **UNSEEN),
            gr.Audio(type="filepath", label="or a recording to ask with", **UNSEEN),
        ]

    def facets_input(self) -> gr.Dropdown:
        """Return a component of what is to be alike."""
        return gr.Dropdown(list(PRESETS), value="all", label="preset, or weights as voice=1,style=0.5", **ANY_VALUE)

    def second_input(self) -> gr.Number:
        """Return a component of a place in the song."""
        return gr.Number(None, label="second of the song, none for its most typical moment", **UNSEEN)

    def collection_input(self) -> gr.Dropdown:
        """Return a component of the collections that can be asked."""
        return gr.Dropdown(list(self.explorer.sizes), value=OWN, label="the app's catalog, or free", **ANY_VALUE)

    def filter_inputs(self) -> list[gr.components.Component]:
        """Return components of which songs to list."""
        genres = list(self.explorer.own.genre_counts(guessed=True))
        return [
            gr.Dropdown(genres, value=[], multiselect=True, label="genres to list, none for all", **ANY_VALUE),
            gr.Dropdown([ANY_GENDER, *GENDERS], value=ANY_GENDER, label="gender of the singer", **ANY_VALUE),
            gr.Number(DEFAULT_TOP_K, precision=0, label="how many to list, 1 to 100", **UNSEEN),
            gr.Number(None, precision=0, label="first year", **UNSEEN),
            gr.Number(None, precision=0, label="last year", **UNSEEN),
            gr.Checkbox(False, label="leave out songs of unknown genre, gender or year", **UNSEEN),
            gr.Checkbox(False, label="take guessed genres and genders for known", **UNSEEN),
            gr.Number(1, precision=0, label="songs of one artist at most, 0 for any number", **UNSEEN),
            self.collection_input(),
        ]

    def path_inputs(self) -> list[gr.components.Component]:
        """Return components of the ends of a path, its length and by what it goes."""
        ends = [gr.Textbox(label=f"id of the {which} song", **UNSEEN) for which in ("first", "last")]
        steps = gr.Number(DEFAULT_STEPS, precision=0, label="steps from song to song, 1 to 50", **UNSEEN)
        return [*ends, steps, self.facets_input(), self.collection_input()]

    def map_inputs(self) -> list[gr.components.Component]:
        """Return components of how a map is drawn."""
        return [
            gr.Dropdown(list(FACETS), value=None, label="facet that songs are placed by", **ANY_VALUE),
            gr.Number(None, precision=0, label="how many clusters, none for as many as fit", **UNSEEN),
            self.collection_input(),
        ]

    @no_tool
    def similar(
        self,
        id: str = "",
        audio: str | None = None,
        facets: str | None = None,
        genres: list[str] | None = None,
        gender: str | None = None,
        top_k: int | None = None,
        first_year: int | None = None,
        last_year: int | None = None,
        only_known: bool = False,
        guessed: bool = False,
        per_artist: int | None = None,
        catalog: str | None = None,
    ) -> dict:
        """List the songs most like a song of the catalog, or like a recording.

        Args:
            id: The song's id, as /recognize and /catalog give it; empty if a recording is sent.
            audio: A recording of music, at most ten minutes; it is listened to and not kept.
            facets: What is to be alike: all, voice, style, feel, tune, or weights of voice, style, feel and melody.
            genres: List only these genres, and songs of unknown genre.
            gender: List only songs whose known singer is female, male or mixed.
            top_k: How many songs to list.
            first_year: List only songs of this year or later.
            last_year: List only songs of this year or earlier.
            only_known: Leave out songs of which the genre, gender or year that is asked for is unknown.
            guessed: Take the guessed genre and gender of a song for known.
            per_artist: How many songs of one artist to list at most.
            catalog: "own" for the songs of this app, "free" for the bundled free recordings if they are there.
        """
        with polite_errors():
            collection = catalog or OWN
            query, warnings = self._query(id, audio, collection)
            listing = _listing(genres, gender, top_k, first_year, last_year, only_known, guessed, per_artist)
            result = self.explorer.songs(collection).like(query, facets_of(facets), **listing).to_dict()
        return {**result, "notices": [*warnings, *result["notices"]]}

    @no_tool
    def moments(
        self,
        id: str = "",
        audio: str | None = None,
        at_s: float | None = None,
        genres: list[str] | None = None,
        gender: str | None = None,
        top_k: int | None = None,
        first_year: int | None = None,
        last_year: int | None = None,
        only_known: bool = False,
        guessed: bool = False,
        per_artist: int | None = None,
        catalog: str | None = None,
    ) -> dict:
        """List the moments of other songs, of eight beats each, that sound most like one of a song or a recording.

        Args:
            id: The song's id, as /recognize and /catalog give it; empty if a recording is sent.
            audio: A recording of music, at most ten minutes; it is listened to and not kept.
            at_s: The second of the song or the recording whose moment is compared.
            genres: List only these genres, and songs of unknown genre.
            gender: List only songs whose known singer is female, male or mixed.
            top_k: How many moments to list.
            first_year: List only songs of this year or later.
            last_year: List only songs of this year or earlier.
            only_known: Leave out songs of which the genre, gender or year that is asked for is unknown.
            guessed: Take the guessed genre and gender of a song for known.
            per_artist: How many songs of one artist to list at most.
            catalog: "own" for the songs of this app, "free" for the bundled free recordings if they are there.
        """
        with polite_errors():
            collection = catalog or OWN
            query, warnings = self._query(id, audio, collection)
            listing = _listing(genres, gender, top_k, first_year, last_year, only_known, guessed, per_artist)
            result = self.explorer.songs(collection).moments(query, at_s, **listing).to_dict()
        return {**result, "notices": [*warnings, *result["notices"]]}

    @no_tool
    def path(
        self, first: str, last: str, n_steps: int | None = None, facets: str | None = None, catalog: str | None = None
    ) -> dict:
        """Lead from one song to another in steps between songs that are alike.

        Args:
            first: The id of the first song.
            last: The id of the last song.
            n_steps: Steps from song to song, 1 to 50; there is one more song.
            facets: What is to be alike from step to step, see /similar.
            catalog: "own" for the songs of this app, "free" for the bundled free recordings if they are there.
        """
        with polite_errors():
            n_steps = DEFAULT_STEPS if n_steps is None else n_steps
            return self.explorer.songs(catalog or OWN).path(first, last, n_steps, facets_of(facets)).to_dict()

    @no_tool
    def map(self, facet: str | None = None, n_clusters: int | None = None, catalog: str | None = None) -> dict:
        """Place all songs on a plane, so that songs that are alike lie near each other, and name the clusters.

        Args:
            facet: voice, style, feel or melody; nothing for style, or for melody if there is no sound.
            n_clusters: How many clusters.
            catalog: "own" for the songs of this app, "free" for the bundled free recordings if they are there.
        """
        with polite_errors():
            return self.explorer.map(catalog or OWN, facet or None, n_clusters).to_dict()

    def _query(self, song_id: str, audio: str | None, collection: str) -> tuple[str | Facets, tuple[str, ...]]:
        """Return what to ask with, and what is to be said about it."""
        if bool(song_id) == bool(audio):
            raise QueryError("ask with either the id of a song or a recording")
        if song_id:
            return song_id, ()
        heard = self.explorer.hear(audio, collection)
        return heard.facets, heard.warnings


def _listing(
    genres: object,
    gender: str | None,
    top_k: int | None,
    first_year: int | None,
    last_year: int | None,
    only_known: bool,
    guessed: bool,
    per_artist: int | None,
) -> dict:
    """Return what is to be listed, as :meth:`SimilarSongs.like` takes it."""
    return {
        "genres": checked_genres(genres),
        "gender": gender or ANY_GENDER,
        "years": years_of(first_year, last_year),
        "only_known": bool(only_known),
        "guessed": bool(guessed),
        "top_k": DEFAULT_TOP_K if top_k is None else top_k,
        "per_artist": 1 if per_artist is None else per_artist,
    }
