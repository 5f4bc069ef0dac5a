"""The tools that programs with a language model use, over MCP; ``app.py --mcp`` offers them.

Gradio 6.31 makes a tool of every public endpoint, but sends a dict as Python source. So these answer with JSON as text,
and the endpoints of :mod:`hmm2song.page.api` are no tools.
"""

from __future__ import annotations

import json

import gradio as gr

from hmm2song.page import SEARCH_QUEUE
from hmm2song.page.api import Api


class Tools:
    """The MCP tools. Create it inside ``gr.Blocks``."""

    def __init__(self, api: Api) -> None:
        self.api = api
        inputs, answer = api.query_inputs(), gr.Textbox(label="answer as JSON", visible=False)
        gr.on([], self.find_song, inputs[:-1], answer, api_name="find_song", concurrency_id=SEARCH_QUEUE)
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


def _json(answer: dict | list) -> str:
    return json.dumps(answer, ensure_ascii=False)
