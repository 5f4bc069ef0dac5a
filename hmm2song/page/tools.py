"""The tools that programs with a language model use, over MCP; ``app.py --mcp`` offers them.

Gradio 6.31 makes a tool of every public endpoint, but sends a dict as Python source. So these answer with JSON as text,
and the endpoints of :mod:`hmm2song.page.api` are no tools.
"""

from __future__ import annotations

import json

import gradio as gr

from hmm2song.page import SEARCH_QUEUE
from hmm2song.page.api import Api
from hmm2song.page.explore_api import ExploreApi


class Tools:
    """The MCP tools. Create it inside ``gr.Blocks``."""

    def __init__(self, api: Api, explore: ExploreApi) -> None:
        self.api = api
        self.explore = explore
        answer, queued = gr.Textbox(label="answer as JSON", visible=False), {"concurrency_id": SEARCH_QUEUE}
        gr.on([], self.find_song, api.query_inputs()[:4], answer, api_name="find_song", **queued)
        similar = [*explore.query_inputs(), explore.facets_input(), *explore.filter_inputs()[:3]]
        gr.on(
            [], self.similar_songs, [*similar, explore.collection_input()], answer, api_name="similar_songs", **queued
        )
        for tool in (self.similar_moments, self.song_path, self.song_map):
            gr.api(tool, api_name=tool.__name__, **queued)
        gr.api(self.list_songs, api_name="list_songs", queue=False)
        gr.api(self.describe_song, api_name="describe_song", queue=False)

    def find_song(self, audio: str, genres: list[str] | None = None, gender: str = "any", top_k: int = 10) -> str:
        """Find which song somebody hums, whistles or sings in a recording of 3 to 60 seconds.

        The answer is JSON: matches (best first, with title, artist, probability, start_s and end_s in the song),
        level ("found", "perhaps" or "none") and advice for a better recording.

        Args:
            audio: The recording as an http(s) address or a data URI (data:audio/wav;base64,...).
            genres: Search only these genres of the catalog, and songs of unknown genre; all if empty.
            gender: Search only songs whose known singer is "female", "male" or "mixed"; "any" searches all.
            top_k: How many songs to list, 1 to 100.
        """
        return _json(self.api.recognize(audio, genres, gender, top_k))

    def list_songs(self, query: str = "") -> str:
        """List the songs that can be found, as JSON: at most 200 with id, title, artist, genre and year.

        Args:
            query: Words that the title, artist, genre or id must hold; all songs if empty.
        """
        return _json(self.api.catalog(query))

    def describe_song(self, id: str) -> str:
        """Tell everything that the catalog knows about one song, as JSON.

        Args:
            id: The song's id, as find_song and list_songs give it.
        """
        return _json(self.api.song(id))

    def similar_songs(
        self,
        id: str = "",
        audio: str | None = None,
        facets: str = "all",
        genres: list[str] | None = None,
        gender: str = "any",
        top_k: int = 10,
        catalog: str = "own",
    ) -> str:
        """List the songs most like a song of the catalog, or like a recording of music, as JSON, each with the reason.

        Args:
            id: The song's id, as find_song and list_songs give it; empty if a recording is sent.
            audio: A recording as an http(s) address or a data URI (data:audio/wav;base64,...), instead of an id.
            facets: What is to be alike: all, voice, style, feel, tune, or weights such as "voice=1,style=0.5".
            genres: List only these genres of the catalog, and songs of unknown genre; all if empty.
            gender: List only songs whose known singer is "female", "male" or "mixed"; "any" lists all.
            top_k: How many songs to list, 1 to 100.
            catalog: "own" for the songs that can be hummed, "free" for the bundled free recordings.
        """
        return _json(self.explore.similar(id, audio, facets, genres, gender, top_k, guessed=True, catalog=catalog))

    def similar_moments(self, id: str, at_s: float = 0.0, top_k: int = 10, catalog: str = "own") -> str:
        """List the moments of other songs that sound most like one of a song, as JSON with seconds in each song.

        Args:
            id: The song's id, as find_song and list_songs give it.
            at_s: The second of the song whose moment is compared.
            top_k: How many moments to list, 1 to 100.
            catalog: "own" for the songs that can be hummed, "free" for the bundled free recordings.
        """
        return _json(self.explore.moments(id, at_s=at_s, top_k=top_k, guessed=True, catalog=catalog))

    def song_path(self, first: str, last: str, n_steps: int = 6, facets: str = "all", catalog: str = "own") -> str:
        """Lead from one song to another in steps between songs that are alike, as JSON: good for a playlist.

        Args:
            first: The id of the first song.
            last: The id of the last song.
            n_steps: Steps from song to song, 1 to 50; there is one more song.
            facets: What is to be alike from step to step, as for similar_songs.
            catalog: "own" for the songs that can be hummed, "free" for the bundled free recordings.
        """
        return _json(self.explore.path(first, last, n_steps, facets, catalog))

    def song_map(self, facet: str = "", n_clusters: int | None = None, catalog: str = "own") -> str:
        """Place all songs on a plane by likeness and group them in named clusters, as JSON.

        Args:
            facet: voice, style, feel or melody; empty for what the catalog is best compared by.
            n_clusters: How many clusters; nothing for as many as fit.
            catalog: "own" for the songs that can be hummed, "free" for the bundled free recordings.
        """
        return _json(self.explore.map(facet, n_clusters, catalog))


def _json(answer: dict | list) -> str:
    return json.dumps(answer, ensure_ascii=False)
