"""The public endpoints (``/recognize``, ``/listen``, ``/catalog``, ``/song``); minor versions keep their JSON.

Gradio takes the descriptions of parameters from ``Args:`` in docstrings.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import gradio as gr

from hmm2song.errors import AudioError, Hmm2SongError, QueryError
from hmm2song.page import SEARCH_QUEUE
from hmm2song.page.live import Runs
from hmm2song.recognizer import DEFAULT_TOP_K, Recognizer
from hmm2song.song import ANY_GENDER, GENDERS, Song

LISTED_SONGS = 200
LISTED_FIELDS = ("id", "title", "title_ko", "artist", "genre", "gender", "year")


def no_tool(endpoint: Callable) -> Callable:
    """Keep an endpoint out of the MCP tools that Gradio lists; :mod:`hmm2song.page.tools` has others."""
    endpoint._mcp_type = "endpoint"
    return endpoint


class Api:
    """The endpoints. Create it inside ``gr.Blocks``."""

    def __init__(self, recognizer: Recognizer, runs: Runs) -> None:
        self.recognizer = recognizer
        self.runs = runs
        queued, quick, unseen = {"concurrency_id": SEARCH_QUEUE}, {"queue": False}, {"visible": False}
        chunk = [
            gr.Textbox(label="name of the hum", **unseen),
            gr.Number(precision=0, label="sample at which the chunk begins", **unseen),
            gr.Textbox(label="mu-law bytes in base64", **unseen),
            gr.Checkbox(False, label="whether nothing follows", **unseen),
        ]
        words, song = gr.Textbox("", label="words to find", **unseen), gr.Textbox(label="id of the song", **unseen)
        # Components, not gr.api: that takes any path for a recording, and types no object.
        for name, endpoint, asked, kind, how in (
            ("recognize", self.recognize, self.query_inputs(), "object", queued),
            ("listen", self.listen, chunk, "object", queued),
            ("catalog", self.catalog, [words], "array", quick),
            ("song", self.song, [song], "object", quick),
        ):
            gr.on([], endpoint, asked, json_answer(kind), api_name=name, **how)

    def query_inputs(self) -> list[gr.components.Component]:
        """Return components that give :meth:`recognize` its parameters their types and labels."""
        genres, genders = list(self.recognizer.catalog.genre_counts(guessed=True)), [ANY_GENDER, *GENDERS]
        # Custom values reach the library, whose errors say more than Gradio's.
        any_value = {"allow_custom_value": True, "visible": False}
        return [
            gr.Audio(type="filepath", label="recording", visible=False),
            gr.Dropdown(genres, value=[], multiselect=True, label="genres to search, none for all", **any_value),
            gr.Dropdown(genders, value=ANY_GENDER, label="gender of the singer", **any_value),
            gr.Number(DEFAULT_TOP_K, precision=0, label="how many songs to list, 1 to 100", visible=False),
            gr.Audio(type="filepath", label="an earlier recording of the same tune", visible=False),
            gr.Checkbox(False, label="leave out songs of unknown genre or gender", visible=False),
            gr.Checkbox(False, label="take guessed genres and genders for known", visible=False),
        ]

    @no_tool
    def recognize(
        self,
        audio: str,
        genres: list[str] | None,
        gender: str | None,
        top_k: int | None,
        earlier: str | None = None,
        only_known: bool = False,
        guessed: bool = False,
    ) -> dict:
        """Find the song of a recording, joined with an earlier one of the same tune if there is one.

        Args:
            audio: A recording of somebody humming, whistling or singing, at most a minute.
            genres: Search only these genres, and songs of unknown genre.
            gender: Search only songs whose known singer is female, male or mixed.
            top_k: How many songs to list.
            earlier: Another recording of the same tune, or nothing.
            only_known: Leave out songs of which the genre or gender that is asked for is unknown.
            guessed: Take the guessed genre and gender of a song for known.
        """
        with polite_errors():
            if audio is None:
                raise AudioError('no recording was sent; pass audio=handle_file("hum.wav")')
            genres = checked_genres(genres)
            top_k = DEFAULT_TOP_K if top_k is None else top_k
            hums = [self.recognizer.hear(earlier)] if earlier else []
            known = {"only_known": bool(only_known), "guessed": bool(guessed)}
            result = self.recognizer.recognize(audio, genres, gender or ANY_GENDER, top_k, earlier=hums, **known)
        return result.to_dict()

    @no_tool
    def listen(self, run: str, at: int, sound: str, final: bool = False) -> dict:
        """Listen to a hum that comes in chunks, and tell what it could be so far.

        The answer holds heard_s, n_samples, stopped (empty while more is wanted) and result, see /recognize.

        Args:
            run: A name of your choice for this hum; it is forgotten a minute after the last chunk.
            at: The sample at which the chunk begins: n_samples of the last answer, or 0.
            sound: Mono at 16 kHz as mu-law bytes (G.711), in base64.
            final: Nothing follows: everything is searched.
        """
        with polite_errors():
            try:
                coded = b64decode(sound, validate=True)
            except ValueError as error:
                raise AudioError(f"the sound is not base64 ({error}); code the mu-law bytes so") from error
            n_samples, heard = self.runs.hear(run, at, coded)
            if final or heard.stopped:
                _, heard = self.runs.close(run)
        return {**heard.to_dict(), "n_samples": n_samples}

    @no_tool
    def catalog(self, query: str = "") -> list[dict]:
        """List the songs whose title, artist, genre or id holds every word of the query, at most 200.

        Args:
            query: The words; empty lists the first songs.
        """
        songs = self.recognizer.catalog.find(query or "", LISTED_SONGS)
        return [{field: getattr(song, field) for field in LISTED_FIELDS} | _guessed(song) for song in songs]

    @no_tool
    def song(self, id: str) -> dict:
        """Return everything the catalog knows about a song, and how long its melody is.

        Args:
            id: The song's id, as /recognize and /catalog give it.
        """
        with polite_errors():
            song, melody = self.recognizer.catalog.song(id), self.recognizer.catalog.melody(id)
        fields = asdict(song)
        # Gradio's client takes any object with a "path" for a file and would try to download it.
        fields["recording"] = fields.pop("path")
        return {**fields, **_guessed(song), "artist": song.artist, "melody_s": round(melody.duration_s, 2)}


def _guessed(song: Song) -> dict:
    return {"guessed": {label: guess.to_dict() for label, guess in song.guesses.items()}}


def json_answer(kind: str) -> gr.JSON:
    """Return a component whose answer is described as of this JSON type; a subclass makes Gradio write a .pyi file."""
    answer = gr.JSON(label="answer, see docs/api.md", visible=False)
    answer.api_info = lambda: {"type": kind} | ({"items": {"type": "object"}} if kind == "array" else {})
    return answer


def checked_genres(genres: object) -> list[str] | str:
    """Return the genres of a filter, none for all; QueryError for what is no name and no list: anything may be sent."""
    if not isinstance(genres, list | str | None):
        raise QueryError(f"genres must be a list of names, got {genres!r:.60}")
    return genres or []


@contextmanager
def polite_errors() -> Iterator[None]:
    """Send the library's messages to the caller; Gradio logs any other exception and hides it from the caller."""
    try:
        yield
    except Hmm2SongError as error:
        raise gr.Error(str(error), print_exception=False) from error
