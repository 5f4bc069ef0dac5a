"""Pages of one web site, read politely.

* One request at a time, with a pause between the end of one and the start of the next. A longer ``Crawl-delay`` of the
  site replaces the pause.
* ``robots.txt`` (RFC 9309) is read before anything else, and what it forbids is not requested. A site without one (404,
  410) allows everything. If it cannot be read for any other reason, everything is forbidden.
* The program says who it is. A refusal (401, 403, 406, 451) is final: it is neither retried nor got around.
* After "too many requests" (429), faults of the server (500, 502, 503, 504) and of the connection the client waits and
  tries again: twice as long each time, or as long as ``Retry-After`` says.
* Redirects are followed only within the site and only to pages that ``robots.txt`` allows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

import requests
from protego import Protego
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader

from hmm2song import __version__
from hmm2song.errors import Hmm2SongError

AGENT = "Hmm2Song"
"""The name that groups in ``robots.txt`` are matched with."""
USER_AGENT = f"{AGENT}/{__version__} (chart metadata for a personal catalog; one request at a time)"
DEFAULT_PAUSE_S = 2.0
FIRST_WAIT_S = 4.0
"""Back-off before the second attempt; it doubles for each one after."""
MAX_ATTEMPTS = 4
MAX_WAIT_S = 600.0
"""The run ends if ``Retry-After`` or ``Crawl-delay`` asks for a longer wait."""
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 30.0
"""Longest silence in the middle of an answer."""
PAGE_TIMEOUT_S = 120.0
"""Longest time in which the body of one page must arrive."""
MAX_PAGE_BYTES = 8 * 2**20
"""Largest page, unpacked: a chart of 100 songs takes 0.6 MB."""
BLOCK_BYTES = 64 * 2**10
MAX_REDIRECTS = 3
REFUSALS = frozenset({401, 403, 406, 451})
PASSING = frozenset({429, 500, 502, 503, 504})
MISSING = frozenset({404, 410})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
ROBOTS_PATH = "/robots.txt"

Waiting = Callable[[float, str], None]
"""Called before a wait that is longer than the usual pause, with the seconds and the reason."""


class FetchError(Hmm2SongError):
    """A page cannot be read: the site refuses, is down, or answers with something that is not a page."""


class PageMissingError(FetchError):
    """The site has no such page (404, 410)."""


class RobotsError(FetchError):
    """``robots.txt`` forbids a page, or cannot be read."""


@dataclass(frozen=True)
class _Reply:
    """An answer of the site; ``body`` is empty unless the status is 200, ``told`` is the status in words."""

    status: int
    told: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").lower()


class PoliteClient:
    """Reads pages of one site (``"https://www.example.org"``) as the module's docstring says.

    ``pause_s`` is the least time between two requests; tests replace ``sleep`` and ``clock``.
    """

    def __init__(
        self,
        site: str,
        pause_s: float = DEFAULT_PAUSE_S,
        on_wait: Waiting | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not re.fullmatch(r"https?://[\w.-]+(:\d{1,5})?/?", site):
            raise FetchError(f"{site!r} is not a site; give scheme and host only, as in https://www.example.org")
        if not 0.0 <= pause_s <= MAX_WAIT_S:
            raise FetchError(f"a pause of {pause_s} s is not between 0 and {MAX_WAIT_S:.0f}")
        self.site = site.rstrip("/")
        self._pause_s, self._on_wait, self._sleep, self._clock = pause_s, on_wait, sleep, clock
        self._last_end_s: float | None = None
        self._robots: Protego | None = None
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": USER_AGENT, "Accept": "text/html, text/plain;q=0.9"})

    def require_allowed(self, paths: Iterable[str]) -> None:
        """Raise a RobotsError if ``robots.txt`` forbids one of these paths (with query) or cannot be read."""
        if self._robots is None:
            self._robots = self._read_robots()
        for path in paths:
            if not self._robots.can_fetch(self.site + path, AGENT):
                raise RobotsError(f"{self.site}{ROBOTS_PATH} forbids programs to read {path}; it was not requested")

    def get(self, path: str) -> str:
        """Return the text of a page, given by its path and query, which start with ``/``."""
        self.require_allowed([path])
        reply = self._follow(path, self.require_allowed)
        where = f"{self.site}{path}"
        if reply.status in MISSING:
            raise PageMissingError(f"{where}: there is no such page ({reply.status})")
        if reply.status in REFUSALS:
            raise FetchError(f"{where}: the site refuses this program ({reply.told}). Do not retry or get around it")
        if reply.status != 200:
            raise FetchError(f"{where}: answered {reply.told}")
        if not re.match(r"(text/html|application/xhtml\+xml)\b", reply.content_type):
            raise FetchError(f"{where}: sent {reply.content_type or 'no type'!r:.60} instead of a page")
        return self._decoded(path, reply)

    def _read_robots(self) -> Protego:
        where = f"{self.site}{ROBOTS_PATH}"
        try:
            reply = self._follow(ROBOTS_PATH, lambda _: None)
        except FetchError as error:
            raise RobotsError(f"{error}. Without the site's rules nothing else is requested") from error
        if reply.status in MISSING:
            return Protego.parse("")
        if reply.status != 200:
            raise RobotsError(f"{where} cannot be read ({reply.told}), so nothing else is requested; try another day")
        text = self._decoded(ROBOTS_PATH, reply)
        if text.lstrip("\ufeff \r\n\t").startswith("<"):  # an error page with status 200 states no rules
            raise RobotsError(f"{where} is a page, not rules, so nothing else is requested")
        robots = Protego.parse(text)
        delay_s = robots.crawl_delay(AGENT) or 0.0
        if delay_s > MAX_WAIT_S:
            raise RobotsError(f"{where} asks for {delay_s:.0f} s between two pages, which is too long")
        self._pause_s = max(self._pause_s, delay_s)
        return robots

    def _follow(self, path: str, check: Callable[[Iterable[str]], None]) -> _Reply:
        """Request a page and what it redirects to; ``check`` raises if a path is forbidden."""
        here = path
        for _ in range(MAX_REDIRECTS + 1):
            reply = self._patiently(here)
            if reply.status not in REDIRECTS:
                return reply
            here = self._inside(here, reply.headers.get("Location", ""))
            check([here])
        raise FetchError(f"{self.site}{path}: redirects more than {MAX_REDIRECTS} times")

    def _inside(self, path: str, location: str) -> str:
        """Return the path and query that ``Location`` names, which must lie on the site."""
        try:
            target = urljoin(self.site + path, location)
        except ValueError as error:
            raise FetchError(f"{self.site}{path}: redirects to {location!r:.80}, which is no address") from error
        if not f"{target}/".startswith(f"{self.site}/"):
            raise FetchError(f"{self.site}{path}: redirects to another site ({target:.80}), which is not followed")
        return urldefrag(target.removeprefix(self.site)).url or "/"

    def _patiently(self, path: str) -> _Reply:
        """Request a page until the answer is more than a passing fault."""
        problem, wait_s = "", 0.0
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                if self._on_wait is not None:
                    self._on_wait(wait_s, problem)
                self._sleep(wait_s)
            wait_s = FIRST_WAIT_S * 2**attempt
            try:
                reply = self._request(path)
            except requests.RequestException as error:
                problem = f"{type(error).__name__}: {error!s:.200}"
            else:
                if reply.status not in PASSING:
                    return reply
                problem = reply.told
                wait_s = self._asked_wait_s(path, reply, wait_s)
        raise FetchError(f"{self.site}{path}: gave up after {MAX_ATTEMPTS} attempts ({problem}); wait an hour or more")

    def _asked_wait_s(self, path: str, reply: _Reply, default_s: float) -> float:
        """Return what ``Retry-After`` asks for (seconds or a date), or the default if it says neither."""
        try:
            asked_s = Retry(retry_after_max=10**9).parse_retry_after(reply.headers.get("Retry-After", ""))
        except (InvalidHeader, ValueError, OverflowError):
            return default_s
        if asked_s > MAX_WAIT_S:
            raise FetchError(
                f"{self.site}{path}: {reply.told}, and the site asks to wait {asked_s:.0f} s; run the command again "
                "after that"
            )
        return max(asked_s, self._pause_s)

    def _request(self, path: str) -> _Reply:
        """Make one request, at least the pause after the end of the last one."""
        if self._last_end_s is not None:
            wait_s = self._pause_s - (self._clock() - self._last_end_s)
            if wait_s > 0.0:
                self._sleep(wait_s)
        timeout_s = (CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        try:
            with self._session.get(self.site + path, allow_redirects=False, stream=True, timeout=timeout_s) as response:
                body = self._body(path, response) if response.status_code == 200 else b""
        finally:
            self._last_end_s = self._clock()
        told = f"{response.status_code} {response.reason or ''}"[:60]
        return _Reply(response.status_code, told, response.headers, body)

    def _body(self, path: str, response: requests.Response) -> bytes:
        deadline_s = self._clock() + PAGE_TIMEOUT_S
        body = bytearray()
        for block in response.iter_content(BLOCK_BYTES):
            body += block
            if len(body) > MAX_PAGE_BYTES:
                raise FetchError(f"{self.site}{path}: larger than {MAX_PAGE_BYTES} bytes, which no chart page is")
            if self._clock() > deadline_s:
                raise FetchError(f"{self.site}{path}: did not arrive within {PAGE_TIMEOUT_S:.0f} s")
        return bytes(body)

    def _decoded(self, path: str, reply: _Reply) -> str:
        stated = re.search(r"charset\s*=\s*[\"']?([\w.-]+)", reply.content_type)
        encoding = stated.group(1) if stated else "utf-8"
        try:
            return reply.body.decode(encoding)
        except (LookupError, UnicodeError) as error:
            raise FetchError(f"{self.site}{path}: is not text in {encoding!r:.40}") from error
