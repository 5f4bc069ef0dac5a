#!/usr/bin/env python
"""Fill the path column of info.csv from your own music folder.

    pip install -r requirements-collect.txt
    python scripts/match_audio.py --table info.csv --music my-music
    python -m hmm2song index my-music --out my-catalog

Recordings are recognised by their tags (title, artist), then by file and folder names; small differences, brackets and
Unicode forms do not matter. Nothing is downloaded, moved or changed: the table with paths is written into the music
folder as info.csv, where `python -m hmm2song index` finds it. Paths already there are kept as long as the file is.

match_report.csv, beside it, lists what to look at: pairs to check, songs without a recording (with the nearest one
found) and recordings left over. Correct a path in info.csv by hand, or empty it, and run the command again.
"""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.collect.info_csv import Row, TableError, read_info, table_csv, write_info, write_whole
from hmm2song.collect.match_files import Matching, MusicFolderError, find_recordings, match, read_track
from hmm2song.indexing.sources import INFO_NAME, SkippedFile
from hmm2song.script import main_of

REPORT_NAME = "match_report.csv"
REPORT_COLUMNS = ("what", "id", "Title", "Singer", "path", "score", "how")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, required=True, help="the table of songs, info.csv")
    parser.add_argument("--music", type=Path, required=True, metavar="FOLDER", help="folder of recordings")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Write the table with paths and the report, and say how it went."""
    table, music = options.table, options.music
    rows = read_info(table)
    out = music / INFO_NAME
    files, unusable = find_recordings(music)
    if out.exists() and not out.samefile(table):
        raise TableError(f"{out} exists and is another table; go on with it (--table {out}) or move it away")
    if not files:
        raise MusicFolderError(
            f"no usable recording in {str(music)!r}" + (f" ({unusable[0].reason})" if unusable else "")
        )
    taken = kept_paths(rows, files, music)
    free = [file for file in files if file not in taken.values()]
    wanting = [row for row in rows if row["id"] not in taken]
    tracks = [read_track(file, music) for file in tqdm(free, desc="tags", unit=" files", file=sys.stderr)]
    matching = match(wanting, tracks)
    paths = {pair.song_id: pair.path for pair in matching.pairs}
    paths |= {song_id: file.relative_to(music).as_posix() for song_id, file in taken.items()}
    write_info(out, [row | {"path": paths.get(row["id"], "")} for row in rows])
    write_whole(music / REPORT_NAME, report(wanting, matching, unusable))
    n_to_check = sum(not pair.is_sure for pair in matching.pairs)
    print(
        f"{out}: {len(paths)} of {len(rows)} songs have a recording, {n_to_check} of them to check; "
        f"{len(matching.unused) + len(unusable)} recordings left over; see {music / REPORT_NAME}"
    )


def kept_paths(rows: Sequence[Row], files: Sequence[Path], music: Path) -> dict[str, Path]:
    """Return the files that the table names already, by the id of the song."""
    known = {same_form(file.relative_to(music).as_posix()): file for file in files}
    return {row["id"]: known[same_form(row["path"])] for row in rows if same_form(row["path"]) in known}


def same_form(path: str) -> str:
    """Return a path in one Unicode form: systems differ in how they store the same name."""
    return unicodedata.normalize("NFC", path.replace("\\", "/").removeprefix("./"))


def report(wanting: Sequence[Row], matching: Matching, unusable: Sequence[SkippedFile]) -> str:
    """Return what to look at, as CSV; ``wanting`` are the songs that had no recording before."""
    pairs = {pair.song_id: pair for pair in matching.pairs}
    near = {pair.song_id: pair for pair in matching.near_misses}
    to_check = sorted((pair for pair in matching.pairs if not pair.is_sure), key=lambda pair: pair.score)
    songs = {row["id"]: row for row in wanting}
    lines = [songs[pair.song_id] | {"what": "check"} | vars(pair) for pair in to_check]
    for song_id, row in songs.items():
        if song_id in near:
            lines.append(row | {"what": "no recording, nearest"} | vars(near[song_id]))
        elif song_id not in pairs:
            gone = f"{row['path']} is not in the folder" if row["path"] else ""
            lines.append(row | {"what": "no recording", "path": "", "how": gone})
    lines += [{"what": "unused recording", "path": path} for path in matching.unused]
    lines += [{"what": "unusable file", "path": file.path, "how": file.reason} for file in unusable]
    return table_csv(REPORT_COLUMNS, lines)


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
