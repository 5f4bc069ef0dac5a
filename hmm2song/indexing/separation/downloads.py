"""Weights from the web: downloaded with a progress bar, and used only if their checksum is the known one."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from pathlib import Path

from tqdm import tqdm

from hmm2song.catalog.storage import sha256_of, whole_file
from hmm2song.errors import SeparatorUnavailableError

TIMEOUT_S = 30.0
"""Longest silence of a server."""
BLOCK_BYTES = 2**18


def download(url: str, archive: Path, sha256: str) -> Path:
    """Download an archive, unless it is there already; its checksum is not compared."""
    if archive.is_file() and sha256_of(archive) == sha256:
        return archive
    if not url.startswith(("https://", "http://")):
        raise SeparatorUnavailableError(f"{url!r} is no web address; see --help for how to give a local file")
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, whole_file(archive) as temporary:
            total = int(answer.headers.get("Content-Length") or 0)
            bar = tqdm(desc="weights", total=total, unit="B", unit_scale=True, file=sys.stderr)
            with bar, temporary.open("wb") as file:
                while block := answer.read(BLOCK_BYTES):
                    file.write(block)
                    bar.update(len(block))
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise SeparatorUnavailableError(
            f"the weights cannot be downloaded from {url} ({error}); get {archive.name} elsewhere, and see --help for "
            "how to give it"
        ) from error
    return archive


def check_sha256(file: Path, expected: str) -> None:
    """Raise SeparatorUnavailableError if a file is not the one that is expected."""
    found = sha256_of(file)
    if found != expected:
        raise SeparatorUnavailableError(
            f"{file.name} is not the expected archive: its SHA-256 is {found}, not {expected}; download it again"
        )
