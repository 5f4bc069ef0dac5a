"""The web page: its layout and events, its API, and what it shows.

Only this room imports gradio; ``app.py`` decides how it is served.
"""

import importlib.util
import sys

SEARCH_QUEUE = "search"
"""Searches of the page and of the API share one queue, so that together they keep to the limit of the host."""
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
"""For handlers of the page, which are no endpoints."""
QUICK = {**PRIVATE, "queue": False}
"""For those that take milliseconds: they run even while searches wait in the queue."""
CONCURRENT_SEARCHES = 2
"""So many searches of that queue, and as many of hums that still go on: the usual host has two cores, and one search
keeps one busy."""


def import_gradio() -> None:
    """Import Gradio in 1.5 s instead of 2.5.

    For editors it parses the source of each of its components at every import and compares it with a ``.pyi`` file.
    That is switched off: in its module, which has to be imported before the package itself runs.
    """
    if "gradio" in sys.modules or (spec := importlib.util.find_spec("gradio")) is None:
        return
    sys.modules["gradio"] = package = importlib.util.module_from_spec(spec)
    importlib.import_module("gradio.component_meta").create_or_modify_pyi = lambda *_: None
    spec.loader.exec_module(package)
