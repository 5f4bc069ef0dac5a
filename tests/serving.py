"""What the tests of the running app share: a miniature catalog, a hum, ``python app.py`` as a subprocess."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import soundfile
from encoders import tiny_encoder
from humming import tune

from hmm2song import script
from hmm2song.catalog.catalog import Catalog
from hmm2song.melody.melody import Melody, melody_from_notes
from hmm2song.page.tone import SAMPLE_RATE_HZ, melody_tone
from hmm2song.song import Song

ROOT = script.ROOT
HOSTILE_TITLE = "<script>alert('x')</script> ${alert(1)} {{7*7}}"
HUMMED_FROM_S, HUMMED_TO_S, HUMMED_SHIFT_ST = 12.0, 22.0, -3.0
N_SONGS = 12
EXAMPLE_SONG = "songbook_arirang"
"""Id of the last song: the page offers the bundled hum of it as an example."""


@dataclass(frozen=True, eq=False)
class MiniatureCatalog:
    """A saved catalog with its model; ``hum_path`` is a hum of its first song, which alone has a recording."""

    folder: Path
    songs: tuple[Song, ...]
    hum_path: Path


def make_catalog(folder: Path) -> MiniatureCatalog:
    """Save a catalog of a dozen random melodies and a hum of the first one."""
    songs, melodies = zip(*(_make_song(number) for number in range(N_SONGS)), strict=True)
    save_with_model(Catalog.build(songs, melodies, tiny_encoder()), folder / "catalog")
    soundfile.write(folder / "catalog" / "s0.flac", melody_tone(melodies[0], 0.0, 60.0), SAMPLE_RATE_HZ)
    hum = Melody(melodies[0].pitch_midi + HUMMED_SHIFT_ST)
    soundfile.write(folder / "hum.wav", melody_tone(hum, HUMMED_FROM_S, HUMMED_TO_S), SAMPLE_RATE_HZ)
    return MiniatureCatalog(folder / "catalog", songs, folder / "hum.wav")


def save_with_model(catalog: Catalog, folder: Path) -> None:
    """Save a catalog that brings along the tiny encoder it was made with."""
    catalog.save(folder)
    tiny_encoder().save(folder)


def _make_song(number: int) -> tuple[Song, Melody]:
    song = Song(
        id=EXAMPLE_SONG if number == N_SONGS - 1 else f"s{number}",
        title=HOSTILE_TITLE if number == 1 else f"Song {number}",
        title_ko="첫 노래" if number == 0 else "",
        author=f"Author {number}",
        lyric="la la\n<b>la</b>" if number < 2 else "",
        genre=("Folk", "Ballad", "")[number % 3],
        gender=("female", "male", "mixed", "")[number % 4],
        path="s0.flac" if number == 0 else "",
        year=str(1900 + number),
    )
    return song, melody_from_notes(tune(number))


@contextmanager
def running_app(catalog: MiniatureCatalog, temporary: Path, *options: str) -> Iterator[str]:
    """Start ``python app.py`` on a free port and yield its address; what it writes goes to ``temporary``."""
    known = {"HMM2SONG_CATALOG": str(catalog.folder), "GRADIO_TEMP_DIR": str(temporary / "gradio")}
    with script.running_app(temporary / "app.log", *options, **known) as (url, _):
        yield url
