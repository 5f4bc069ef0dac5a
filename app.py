"""Serve the page and the API: what a Space runs, and ``python app.py`` at home."""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import os
import socket
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from hmm2song import Recognizer
from hmm2song.audio import MAX_FILE_BYTES
from hmm2song.catalog.hub import BUNDLED_CATALOG, CATALOG_VARIABLE
from hmm2song.catalog.storage import read_manifest
from hmm2song.errors import CatalogError, Hmm2SongError
from hmm2song.machine import return_freed_memory
from hmm2song.page import CONCURRENT_SEARCHES, import_gradio

if TYPE_CHECKING:
    import gradio as gr

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # Gradio reads it when it is imported
# Its figures of calls are shown nowhere; by itself it makes them anew after each call, with pandas, in 2 to 7 ms.
os.environ.setdefault("GRADIO_ANALYTICS_CACHE_FREQUENCY", str(10**9))
MAX_WAITING = 64
"""Further searches are refused at once: at a few a second, nobody should wait longer than half a minute."""
MAX_SESSIONS = 128
"""Each call of the API without a session begins one, of which Gradio keeps 0.2 MB; the oldest are forgotten."""
CACHE_SWEEP_S, CACHE_AGE_S = 600, 600
"""Every ten minutes, recordings older than ten minutes are deleted."""
QUEUE_POLL_S, PROGRESS_POLL_S = 0.02, 0.1
"""How often Gradio looks for waiting calls and for progress. Its own 1 and 10 ms take 6 % of a core, even idle."""
EXIT_ERROR = 2


def build_app(recognizer: Recognizer, recordings: Path | None = None, mcp: bool = False) -> gr.Blocks:
    """Return the page and the API; ``recordings`` is the folder of the songs' sound, by default the catalog's own.

    With ``mcp`` there are MCP tools too.
    """
    from hmm2song.page.api import Api  # Gradio takes seconds to be imported: main does other things meanwhile
    from hmm2song.page.app_blocks import AppBlocks
    from hmm2song.page.explore_api import ExploreApi
    from hmm2song.page.search import Page
    from hmm2song.page.tools import Tools

    with AppBlocks(title="Hmm2Song", delete_cache=(CACHE_SWEEP_S, CACHE_AGE_S), analytics_enabled=False) as blocks:
        page = Page(recognizer, blocks, recordings)
        api, explore_api = Api(recognizer, page.runs), ExploreApi(page.explore.explorer)
        if mcp:
            Tools(api, explore_api)
    blocks.api_open, queue = False, blocks._queue  # blocks.queue() would make all routes anew, in a tenth of a second
    queue.max_size, queue.default_concurrency_limit = MAX_WAITING, CONCURRENT_SEARCHES
    queue.sleep_when_free, queue.progress_update_sleep_when_free = QUEUE_POLL_S, PROGRESS_POLL_S
    return blocks


def launch(blocks: gr.Blocks, options: argparse.Namespace) -> str:
    """Begin to serve, and return the address."""
    from hmm2song.page.app_blocks import PREVIEW_PICTURE
    from hmm2song.page.browser import CSS, HEAD, ICON, THEME
    from hmm2song.page.search import EXAMPLES_FOLDER

    _, url, share_url = blocks.launch(
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        inbrowser=options.open,
        mcp_server=options.mcp,
        quiet=True,  # Gradio names options of its own functions, not ours
        prevent_thread_lock=True,
        theme=THEME,
        css=CSS,
        head=HEAD,
        favicon_path=ICON,
        pwa=True,
        max_file_size=MAX_FILE_BYTES,
        state_session_capacity=MAX_SESSIONS,
        show_error=False,
        run_history=False,
        ssr_mode=False,
        footer_links=["api", "settings"],
        allowed_paths=[str(EXAMPLES_FOLDER), str(PREVIEW_PICTURE)],
    )
    return share_url or url


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the environment gives what it leaves open."""
    parser = argparse.ArgumentParser(description="Serve the Hmm2Song page and API.")
    parser.add_argument("--port", type=int, help="default: GRADIO_SERVER_PORT, or the first free one from 7860")
    parser.add_argument("--host", help="0.0.0.0 lets other machines in; default: GRADIO_SERVER_NAME, or 127.0.0.1")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    parser.add_argument("--mcp", action="store_true", help="offer MCP tools too (requirements-mcp.txt)")
    parser.add_argument("--share", action="store_true", help="make a public link through Gradio's servers")
    parser.add_argument("--catalog", help="folder or Hub repository; default: HMM2SONG_CATALOG, or the bundled one")
    parser.add_argument(
        "--previews",
        type=Path,
        metavar="FOLDER",
        help="play the match from the recordings in this folder: the one that was indexed",
    )
    return parser.parse_args(arguments)


def check_port(host: str | None, port: int | None) -> None:
    """Raise Hmm2SongError if the page could not be served there; without a port a free one will be looked for."""
    host = host or os.environ.get("GRADIO_SERVER_NAME") or "127.0.0.1"
    try:
        port = port or int(os.environ.get("GRADIO_SERVER_PORT") or 0)
        socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except (OSError, OverflowError, ValueError) as error:
        raise Hmm2SongError(
            f"port {port} of {host} cannot be used ({error}); stop what uses it, or choose another with --port"
        ) from error


def catalog_words(source: str | None) -> str:
    """Say what is about to be loaded."""
    source = source or os.environ.get(CATALOG_VARIABLE) or str(BUNDLED_CATALOG)
    try:
        return f"{read_manifest(Path(source))['n_songs']:,} songs"
    except (CatalogError, KeyError, TypeError, ValueError):
        return f"the catalog {source}"


def main() -> int:
    """Load, warm up, serve; return the exit code."""
    options = parse_options()
    return_freed_memory()
    gc.disable()  # nothing that is imported or made at the start is garbage: looking for it takes 0.3 s
    try:
        if options.previews is not None and not options.previews.is_dir():
            raise CatalogError(f"there is no folder {str(options.previews)!r} of recordings; check --previews")
        if options.mcp and importlib.util.find_spec("mcp") is None:
            raise Hmm2SongError("MCP tools need the package mcp; run: pip install -r requirements-mcp.txt")
        check_port(options.host, options.port)
        print(f"Loading {catalog_words(options.catalog)}…", flush=True)
        with ThreadPoolExecutor(1) as pool:  # what a search needs is loaded, or compiled, while the page is made
            loading = pool.submit(Recognizer.from_pretrained, options.catalog)
            import_gradio()
            importlib.import_module("hmm2song.page.search")  # not while compiling, which unsets filters of warnings
            warming = pool.submit(lambda: loading.result().warm_up())
            blocks = build_app(loading.result(), options.previews, options.mcp)
            address = launch(blocks, options)
            warming.result()  # who hums before that waits, and gets an answer
        gc.freeze()
        gc.enable()
    except Hmm2SongError as error:
        print(f"hmm2song: {error}", file=sys.stderr)
        return EXIT_ERROR
    print(f"The page is at {address} (Ctrl-C ends it).", flush=True)
    if not options.share:
        print("--share makes a public link, --open opens the browser.", flush=True)
    blocks.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
