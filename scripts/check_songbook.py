#!/usr/bin/env python
"""Check our songbook against reference melodies: our own search must find each tune by its reference.

    python scripts/check_songbook.py --references pool.jsonl.gz [--references songs.jsonl ...]

For every songbook tune, each reference with the same title (or one listed in ALIASES) is asked, ten seconds from
its start and ten from its middle, in the bundled catalog. A tune passes when some reference finds it, a version of it,
or another entry of its name first. Tunes without a reference are listed. References from the catalog's own sources
count too: they are not our transcription.
"""

from __future__ import annotations

import argparse
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.melody.melody import Melody
from hmm2song.melody.scores import read_scores
from hmm2song.recognizer import Recognizer
from hmm2song.song import Song

EXCERPT_S = 10.0
MIN_PREFIX_CHARS = 9
"""A reference title may go on ("Silent Night, Holy Night"), if what is common is this long."""
ALIASES = {
    "allmylittleducklings": ("allemeineentchen",),
    "brahmslullaby": ("wiegenlied",),
    "camptownraces": ("gwinetorunallnight", "gwinetorunallnightordecamptownraces"),
    "deutschlandlied": ("gloriousthingsoftheearespoken",),
    "dorajitaryeong": ("daolaji",),
    "foxyouvestolenthegoose": ("fuchsduhastdieganssgestohlen", "fuchsduhastdiegansgestohlen"),
    "frerejacques": ("brotherjohn", "brotherjohnareyousleeping"),
    "jasmineflower": ("jasmine", "molihua"),
    "lightlyrow": ("haenschenkleingingalleinindieweitewelthinein",),
    "londonderryair": ("dannyboy",),
    "odetojoy": ("joyfuljoyfulweadorethee",),
    "ohsusanna": ("ohsuzanna",),
    "ohdulieberaugustin": ("achdulieberaugustin", "olieberaugustin"),
    "ohshenandoah": ("shenandoah",),
    "sakurasakura": ("sakura",),
    "tenlittlefingers": ("tenlittleindians",),
    "twinkletwinkle": ("twinkletwinklelittlestar",),
    "whenthesaintsgomarchingin": ("saints",),
}
"""Other names of tunes, both folded to letters and digits."""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--references", type=Path, action="append", required=True, help="melodies as JSON lines (.gz too)"
    )
    options = parser.parse_args()
    recognizer = Recognizer.from_pretrained()
    tunes = {folded(song.title): song for song in recognizer.catalog.songs if song.id.startswith("songbook_")}
    best_rank: dict[str, tuple[int, str]] = {}
    for title, reference_id, melody in tqdm(list(references(options.references, tunes)), unit=" references"):
        song = tunes[title]
        rank = min(rank_of_tune(recognizer, excerpt, song) for excerpt in excerpts(melody))
        best_rank[title] = min(best_rank.get(title, (rank, reference_id)), (rank, reference_id))
    report(tunes, best_rank)
    return 0


def references(paths: list[Path], tunes: dict[str, Song]) -> Iterator[tuple[str, str, Melody]]:
    """Yield (folded title of our tune, reference id, melody) for every reference that names one of our tunes."""
    for path in paths:
        for scored in read_scores(path).melodies:
            named = folded(scored.song.title)
            for title in tunes:
                if same_title(title, named):
                    yield title, scored.song.id, scored.melody


def folded(title: str) -> str:
    """Reduce a title to lower-case letters and digits, without what stands in brackets and leading articles."""
    bare = re.sub(r"\([^)]*\)|^(the|a|an) ", "", title.casefold().strip())
    decomposed = unicodedata.normalize("NFKD", bare)
    return re.sub(r"[^a-z0-9]", "", decomposed)


def same_title(title: str, named: str) -> bool:
    """Tell whether two folded titles name the same tune."""
    if title == named or named in ALIASES.get(title, ()):
        return True
    shorter, longer = sorted((title, named), key=len)
    return len(shorter) >= MIN_PREFIX_CHARS and longer.startswith(shorter)


def excerpts(melody: Melody) -> list[Melody]:
    """Return the start and the middle of a melody."""
    middle_s = max(0.0, melody.duration_s / 2 - EXCERPT_S / 2)
    return [melody.slice_s(start_s, start_s + EXCERPT_S) for start_s in (0.0, middle_s)]


def rank_of_tune(recognizer: Recognizer, excerpt: Melody, song: Song) -> int:
    """Return where our tune or a version of it ranks; 999 when it does not."""
    for match in recognizer.recognize_melody(excerpt, top_k=100).matches:
        is_version = bool(song.tune) and match.tune == song.tune
        if match.id == song.id or is_version or same_title(folded(song.title), folded(match.title)):
            return match.rank
    return 999


def report(tunes: dict[str, Song], best_rank: dict[str, tuple[int, str]]) -> None:
    """Print what was found."""
    found = [title for title, (rank, _) in best_rank.items() if rank == 1]
    print(f"{len(tunes)} tunes: {len(found)} found first by a reference, {len(best_rank) - len(found)} not first, "
          f"{len(tunes) - len(best_rank)} without a reference")  # fmt: skip
    for title, (rank, reference_id) in sorted(best_rank.items()):
        if rank != 1:
            print(f"  not first: {tunes[title].title} (best rank {rank}, reference {reference_id})")
    print("without a reference: " + ", ".join(sorted(tunes[title].title for title in tunes if title not in best_rank)))


if __name__ == "__main__":
    sys.exit(main())
