"""The web page: its layout and events, its API, and what it shows.

Only this room imports gradio; ``app.py`` decides how it is served.
"""

SEARCH_QUEUE = "search"
"""Searches of the page and of the API share one queue, so that together they keep to the limit of the host."""
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
"""For handlers of the page, which are no endpoints."""
QUICK = {**PRIVATE, "queue": False}
"""For those that take milliseconds: they run even while searches wait in the queue."""
CONCURRENT_SEARCHES = 2
"""So many searches of that queue, and as many of hums that still go on: the usual host has two cores, and one search
keeps one busy."""
