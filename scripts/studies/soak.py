#!/usr/bin/env python
"""Use and abuse the running app from many clients, and count wrong answers and what it loses.

    python scripts/studies/soak.py --requests 2000
    python scripts/studies/soak.py --requests 300 --seed 7 --figures soak.json

Starts ``app.py`` on a copy of the bundled catalog, on the loopback only. Clients send requests of 44 kinds in random
order: hums whose song is known, songs and lists, what must be refused, and uploads that are slow, cut off, or never
read. In the middle the app is killed and started again. Further on its catalog is replaced, its clock jumps a day
forward and back, and its disk is filled and freed (a tmpfs of 200 MB; without the right to mount one this is left out).

An answer is wrong if it is not that of the kind: another song, a song for what is no hum, a traceback, or a 5xx that
does not belong to a full disk. What comes while the app is down is lost, not wrong. Memory and file handles are those
of the app's process after the first requests of each of its two lives, and after each phase; memory is its own, without
the files that it maps.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from hmm2song.audio import MAX_FILE_BYTES, SAMPLE_RATE_HZ, load_audio
from hmm2song.catalog.catalog import Catalog
from hmm2song.catalog.hub import BUNDLED_CATALOG, encoder_of
from hmm2song.machine import own_memory_bytes
from hmm2song.script import free_port, main_of, output_file, positive, progress, start_app, write_json

TIMEOUT_S = 120.0
TMPFS_BYTES = 200_000_000
DAY_S = 86400
WARM_REQUESTS = 40
LOST_PAUSE_S = 1.0
"""A client that lost an answer waits before it asks again."""
EXAMPLES = ROOT / "assets" / "examples"
JUMPING_CLOCK = f"""
import runpy, signal, sys, time
real, offset_s = time.time, [0]
time.time = lambda: real() + offset_s[0]
signal.signal(signal.SIGUSR1, lambda *_: offset_s.__setitem__(0, {DAY_S}))
signal.signal(signal.SIGUSR2, lambda *_: offset_s.__setitem__(0, -{DAY_S}))
sys.path.insert(0, {str(ROOT)!r})
runpy.run_path("app.py", run_name="__main__")
"""
"""Starts the app with a clock that signals set a day forward or back."""


class WrongAnswerError(Exception):
    """The app answered something that does not belong to the question."""


@dataclass
class App:
    """The running app; ``growth`` has MB and file handles of its lives, after the first requests and each phase."""

    folder: Path
    temporary: Path
    port: int
    process: subprocess.Popen | None = None
    growth: list[list[tuple[float, int]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        known = {"GRADIO_TEMP_DIR": str(self.temporary), "HMM2SONG_CATALOG": str(self.folder)}
        self.process = start_app(self.port, self.folder.with_name("app.log"), "-c", JUMPING_CLOCK, **known)
        self.growth.append([])

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def measure(self) -> None:
        """Note memory in MB and file handles."""
        handles = len(os.listdir(f"/proc/{self.process.pid}/fd"))
        self.growth[-1].append((own_memory_bytes(self.process.pid) / 2**20, handles))


class Client:
    """One client: each kind of request is a method or an entry of :meth:`kinds`."""

    def __init__(self, app: App, dice: random.Random) -> None:
        self.app, self.dice = app, dice
        fresh = httpx.Limits(max_keepalive_connections=0)  # a connection must not outlive the app it was made to
        self.web = httpx.Client(base_url=f"{app.url}/gradio_api", timeout=TIMEOUT_S, limits=fresh)
        self.examples = json.loads((EXAMPLES / "examples.json").read_text())

    def upload(self, content: bytes, name: str = "hum.wav") -> dict:
        """Upload a file and return what the endpoints take."""
        answer = self.web.post("/upload", files={"files": (name, content)})
        if answer.status_code != 200:
            raise httpx.HTTPStatusError(f"upload {answer.status_code}", request=answer.request, response=answer)
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def call(self, endpoint: str, *data: object) -> object:
        """Call an endpoint; return its answer, or None if it refuses."""
        asked = self.web.post(f"/call/{endpoint}", json={"data": list(data)})
        if asked.status_code >= 500 and asked.status_code != 503:
            raise WrongAnswerError(f"{endpoint}: {asked.status_code} {asked.text[:200]}")
        if asked.status_code != 200:
            return None
        told = self.web.get(f"/call/{endpoint}/{asked.json()['event_id']}").text
        if "Traceback" in told:
            raise WrongAnswerError(f"{endpoint}: {told[:200]}")
        event, _, answer = told.rpartition("event: ")[2].partition("\ndata: ")
        return json.loads(answer.strip())[0] if event == "complete" else None

    def recognize(self, audio: object, *options: object) -> dict | None:
        """Search a recording."""
        genres, gender, top_k, earlier = (*options, *(None, None, None, None)[len(options) :])
        return self.call("recognize", audio, genres, gender, top_k, earlier)

    def kinds(self) -> dict[str, Callable[[], bool]]:
        """Return the kinds of request; each returns whether the answer is right."""
        return {
            **{f"hum {row['file']}": lambda row=row: self.finds(row) for row in self.examples},
            **{f"wav of {row['file']}": lambda row=row: self.finds(row, as_wav=True) for row in self.examples},
            "one result": lambda: len(self.recognize(self.hum(), None, None, 1)["matches"]) == 1,
            "genre": lambda: all("Folk" in m["genre"] or not m["genre"] for m in self.matches(["Folk"])),
            "gender": lambda: {m["gender"] for m in self.matches(None, "female")} <= {"", "female"},
            "two hums": lambda: self.recognize(self.hum(), None, None, 5, self.hum())["n_hums"] == 2,
            "chunks": self.listens,
            "song": lambda: self.call("song", row := self.dice.choice(self.examples)["song_id"])["id"] == row,
            "list": lambda: any(s["id"] == "songbook_arirang" for s in self.call("catalog", "arirang")),
            "page": lambda: "Hmm2Song" in httpx.get(self.app.url, timeout=TIMEOUT_S).text,
            "silence": lambda: self.sound(np.zeros(SAMPLE_RATE_HZ * 4))["level"] == "none",
            "noise": lambda: (
                self.sound(np.random.default_rng(1).normal(0, 0.1, SAMPLE_RATE_HZ * 6))["level"] != "found"
            ),
            "too long": lambda: self.sound(np.zeros(SAMPLE_RATE_HZ * 70)) is None,
            "empty file": lambda: self.recognize(self.upload(b"")) is None,
            "text as wav": lambda: self.recognize(self.upload(b"no sound at all" * 99)) is None,
            "random bytes": lambda: self.recognize(self.upload(self.dice.randbytes(9999))) is None,
            "cut flac": self.cut,
            "no recording": lambda: self.recognize(None) is None,
            "a path of the server": lambda: self.recognize({"path": str(EXAMPLES / "arirang.flac")}) is None,
            "wrong type": lambda: self.recognize([1, {"x": 2}]) is None,
            "unknown genre": lambda: self.recognize(self.hum(), ["Polka"]) is None,
            "unknown gender": lambda: self.recognize(self.hum(), None, "tenor") is None,
            "too many results": lambda: self.recognize(self.hum(), None, None, 101) is None,
            "unknown song": lambda: self.call("song", "nobody") is None,
            "too few values": lambda: self.call("song") is None,
            "no JSON": lambda: self.web.post("/call/song", content=b"{" * 99).status_code in (400, 422),
            # Gradio 6.31 answers 500 to this, and says no more.
            "no endpoint": lambda: self.web.post("/call/sing", json={"data": [1]}).status_code >= 400,
            "bad chunk": lambda: self.call("listen", "bad", 0, "not base64!", True) is None,
            "far chunk": lambda: self.call("listen", self.run(), 10**6, "AAAA", False)["n_samples"] == 0,
            "too large": self.overloads,
            "slow upload": lambda: self.rude(n_parts=8, pause_s=0.3, is_whole=True),
            "cut upload": lambda: self.rude(n_parts=3, pause_s=0.05, is_whole=False),
            "header only": lambda: self.rude(n_parts=0, pause_s=0.0, is_whole=False),
            "answer not read": self.leaves,
        }

    def hum(self) -> dict:
        """Upload one of the examples."""
        return self.upload((EXAMPLES / self.dice.choice(self.examples)["file"]).read_bytes(), "hum.flac")

    def matches(self, *options: object) -> list[dict]:
        """Search an example among some songs."""
        return self.recognize(self.hum(), *options)["matches"]

    def finds(self, row: dict, as_wav: bool = False) -> bool:
        """Search a hum and compare the song."""
        path = EXAMPLES / row["file"]
        content = as_wav_bytes(load_audio(path)) if as_wav else path.read_bytes()
        best = self.recognize(self.upload(content, "hum.wav" if as_wav else path.name))["matches"][0]
        return row["song_id"] in (best["id"], best["tune"])

    def sound(self, samples: np.ndarray) -> dict | None:
        """Search samples."""
        return self.recognize(self.upload(as_wav_bytes(samples)))

    def overloads(self) -> bool:
        """Upload more than is allowed."""
        answer = self.web.post("/upload", files={"files": bytes(MAX_FILE_BYTES + 1)})
        if answer.status_code >= 500:
            raise httpx.HTTPStatusError("too large", request=answer.request, response=answer)
        return answer.status_code == 413

    def cut(self) -> bool:
        """Send half a file: it is refused, or what can be read of it is searched."""
        whole = (EXAMPLES / "arirang.flac").read_bytes()
        answer = self.recognize(self.upload(whole[: len(whole) // 2], "hum.flac"))
        return answer is None or answer["hum"]["duration_s"] < 30

    def run(self) -> str:
        """Return a new name for a hum in chunks."""
        return f"soak-{self.dice.getrandbits(64):x}"

    def listens(self) -> bool:
        """Send a hum in chunks until it is known."""
        row, coded, run, at = self.dice.choice(self.examples), BytesIO(), self.run(), 0
        samples = load_audio(EXAMPLES / row["file"])[: 15 * SAMPLE_RATE_HZ]
        soundfile.write(coded, samples, SAMPLE_RATE_HZ, format="RAW", subtype="ULAW")
        sound = coded.getvalue()
        while True:
            end = at + 2 * SAMPLE_RATE_HZ
            told = self.call("listen", run, at, b64encode(sound[at:end]).decode(), end >= len(sound))
            if told is None:  # too many hums at a time
                return True
            at = told["n_samples"]
            if told["stopped"] or end >= len(sound):
                best = told["result"]["matches"][0]
                return row["song_id"] in (best["id"], best["tune"])

    def rude(self, n_parts: int, pause_s: float, is_whole: bool) -> bool:
        """Upload in parts with pauses, and go away early unless the upload ``is_whole``."""
        content = (EXAMPLES / "arirang.flac").read_bytes()
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.flac"\r\n\r\n'
        body = head + content + b"\r\n--x--\r\n"
        with socket.create_connection(("127.0.0.1", self.app.port), timeout=TIMEOUT_S) as line:
            line.sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            for number in range(n_parts):
                step = -(-len(body) // 8)
                line.sendall(body[number * step : (number + 1) * step])
                time.sleep(pause_s)
            return not is_whole or b" 200 " in line.recv(64)

    def leaves(self) -> bool:
        """Ask and never fetch the answer."""
        hum = self.hum()
        return self.web.post("/call/recognize", json={"data": [hum, None, None, 3, None]}).status_code in (200, 503)


def as_wav_bytes(samples: np.ndarray) -> bytes:
    """Return a WAV file."""
    file = BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="WAV")
    return file.getvalue()


class Soak:
    """The clients and what they counted."""

    def __init__(self, app: App, n_clients: int, seed: int) -> None:
        self.app, self.counts, self.wrong, self.may_lose = app, Counter(), [], False
        self.dice = random.Random(seed)
        self.clients = [Client(app, random.Random(self.dice.random())) for _ in range(n_clients)]
        self.lock = threading.Lock()

    def ask(self, client: Client) -> None:
        """Send one request and count its answer."""
        kinds = client.kinds()
        kind = client.dice.choice(list(kinds))
        before = self.may_lose
        try:
            is_right = kinds[kind]()
            outcome = "right" if is_right else "wrong"
        except (httpx.HTTPError, OSError) as error:
            outcome = "lost" if before or self.may_lose else f"lost without trouble: {error!r:.80}"
        except (WrongAnswerError, TypeError, KeyError, IndexError, ValueError) as error:
            outcome = "lost" if before or self.may_lose else "wrong"
            kind = f"{kind}: {error!r:.120}"
        with self.lock:
            self.counts[outcome] += 1
            if outcome == "wrong" or outcome.startswith("lost without"):
                self.wrong.append(f"{outcome}: {kind}")
        if outcome == "lost":
            time.sleep(LOST_PAUSE_S)

    def burst(self, n_requests: int, show: Callable[..., None]) -> None:
        """Let all clients send ``n_requests`` in all."""
        left = iter(range(n_requests))

        def work(client: Client) -> None:
            while True:
                with self.lock:
                    if next(left, None) is None:
                        return
                self.ask(client)
                show(self.counts.total())

        threads = [threading.Thread(target=work, args=(client,)) for client in self.clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def during(self, what: Callable[[], None], n_requests: int, show: Callable[..., None], may_lose: bool) -> None:
        """Send requests while something happens, which may cost answers or not."""
        self.may_lose = may_lose
        happening = threading.Thread(target=what)
        happening.start()
        self.burst(n_requests, show)
        happening.join()
        self.may_lose = False


def run(options: argparse.Namespace) -> None:
    """Soak the app and print what was wrong."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as ending:
        folder, temporary = Path(name) / "catalog", Path(name) / "disk"
        shutil.copytree(BUNDLED_CATALOG, folder)
        temporary.mkdir()
        is_small = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_BYTES}", "tmpfs", str(temporary)], capture_output=True
        )
        if is_small.returncode == 0:
            ending.callback(subprocess.run, ["umount", "-l", str(temporary)], check=False)
        app = App(folder, temporary, free_port())
        app.start()
        ending.callback(app.kill)
        soak = Soak(app, options.clients, options.seed)
        catalog = Catalog.load(folder, encoder_of(folder))
        part = max((options.requests - 3 * WARM_REQUESTS) // 6, 1)
        with progress("soaking", "requests", options.requests) as show:
            soak.burst(WARM_REQUESTS, show)
            app.measure()
            for _ in range(2):
                soak.burst(part, show)
                app.measure()
            soak.during(lambda: restart(app), WARM_REQUESTS, show, may_lose=True)
            soak.burst(WARM_REQUESTS, show)
            app.measure()
            soak.during(lambda: replace_catalog(catalog, folder), part, show, may_lose=False)
            app.measure()
            for jump in (signal.SIGUSR1, signal.SIGUSR2):
                app.process.send_signal(jump)
                soak.burst(part // 2, show)
            if is_small.returncode == 0:
                soak.during(lambda: fill(temporary), part, show, may_lose=True)
            soak.burst(part, show)
            app.measure()
        report(soak, app, is_small.returncode == 0, options.figures)


def restart(app: App) -> None:
    """Kill the app in the middle of its work and start it again."""
    time.sleep(1.0)
    app.kill()
    app.start()


def replace_catalog(catalog: Catalog, folder: Path) -> None:
    """Save another catalog in the place of the one that is served."""
    songs = tuple(replace(song, title=f"{song.title} (new)") for song in catalog.songs)
    replace(catalog, songs=songs).save(folder)


def fill(disk: Path) -> None:
    """Fill the disk, wait, and free it."""
    file = disk / "full"
    with contextlib.suppress(OSError), file.open("wb", buffering=0) as full:
        while True:
            full.write(bytes(1 << 20))
    time.sleep(8.0)
    file.unlink()


def report(soak: Soak, app: App, has_disk: bool, figures: Path | None) -> None:
    """Print counts, wrong answers and growth."""
    for outcome, n in soak.counts.most_common():
        print(f"{n:6d} {outcome}")
    for line in soak.wrong[:20]:
        print(line)
    for number, life in enumerate(app.growth, start=1):
        sizes, handles = (" -> ".join(f"{values[which]:.0f}" for values in life) for which in (0, 1))
        print(f"life {number}: {sizes} MB, {handles} file handles")
    if not has_disk:
        print("no tmpfs could be mounted: the full disk was left out")
    write_json(figures, {"counts": soak.counts, "wrong": soak.wrong, "growth": app.growth, "has_disk": has_disk})


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=positive, default=2000)
    parser.add_argument("--clients", type=positive, default=16)
    parser.add_argument("--seed", type=int, default=0, help="of the order of requests")
    parser.add_argument("--figures", type=output_file, help="JSON file for the counts")
    return parser.parse_args(arguments)


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
