"""A web site on this machine, for tests of what reads pages or downloads files."""

from __future__ import annotations

import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from waiting import PATIENCE_S

HTML = "text/html; charset=utf-8"

Answer = tuple[int, dict[str, str], bytes]


def answer(body: str | bytes, status: int = 200, **headers: str) -> Answer:
    named = {"Content-Type": HTML} | {name.replace("_", "-"): value for name, value in headers.items()}
    return status, named, body.encode() if isinstance(body, str) else body


class Site:
    """A web server on this machine; ``answers`` are given in turn, the last one for good."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.requests: list[str] = []
        self.agents: set[str] = set()
        self.hold: dict[str, threading.Event] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def put(self, path: str, *answers: str | Answer) -> None:
        self.answers[path] = [answer(given) if isinstance(given, str) else given for given in answers]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append(self.path)
                site.agents.add(self.headers["User-Agent"])
                if self.path in site.hold:
                    site.hold[self.path].wait(PATIENCE_S)
                given = site.answers.get(self.path, [answer("nothing here", 404)])
                status, headers, body = given.pop(0) if len(given) > 1 else given[0]
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                with suppress(ConnectionError):  # whoever asked was killed
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Keep the test's output clean."""

        return Handler
