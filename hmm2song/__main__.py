"""The command line: ``hmm2song recognize | listen | similar | ...``, or ``python -m hmm2song ...``.

Exit codes: 0 done, 2 an error that the message explains, 130 stopped by Ctrl-C. Every command imports what it needs
when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hmm2song import __version__
from hmm2song.errors import AudioError
from hmm2song.machine import n_cores
from hmm2song.script import main_of, printable

if TYPE_CHECKING:
    from tqdm import tqdm

    from hmm2song.indexing.edit import EditReport
    from hmm2song.indexing.extract import IndexOptions
    from hmm2song.indexing.report import IndexReport
    from hmm2song.match.results import SearchResult
    from hmm2song.similar.songs import SimilarSongs

EXAMPLES = """\
recognize hum.wav
recognize hum.m4a --genre Ballad --genre Trot --gender female --top-k 5
recognize hum.wav again.wav
recognize hum.wav --catalog my-catalog --json
listen
listen - --json < hum.wav
similar songbook_arirang
similar some-id --catalog my-catalog --like voice --years 1960-1979 --per-artist 2
similar new-song.mp3 --catalog my-catalog --facets voice=1,style=0.5 --json
path some-id another-id --catalog my-catalog --steps 8
index my-music --out my-catalog
index my-music --out my-catalog --update --separator htdemucs
index info.csv --out my-catalog --workers 4
add my-catalog new-song.mp3 more-songs --separator htdemucs
remove my-catalog arirang doraji
merge my-catalog your-catalog --out our-catalog
info my-catalog
""".splitlines()
STEPS = {"read": "reading", "embed": "embedding"}
UNITS = {"read": "files", "embed": "songs"}
SHOWN_LINES = 20
"""Skipped files, and warnings, listed on the screen; files beside the catalog hold all of them."""


def _parser() -> argparse.ArgumentParser:
    program = "hmm2song" if Path(sys.argv[0]).stem == "hmm2song" else "python -m hmm2song"
    parser = argparse.ArgumentParser(
        prog=program,
        description="Find a song by humming it, and make catalogs of songs that can be found.",
        epilog=_examples(program),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"hmm2song {__version__}")
    parser.set_defaults(program=program)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    exploring, editing = (_add_similar, _add_path), (_add_index, _add_add, _add_remove, _add_merge)
    for add_command in (_add_recognize, _add_listen, *exploring, *editing, _add_info, _add_warm_up):
        add_command(commands)
    return parser


def _add_command(
    commands: argparse._SubParsersAction, name: str, run: Callable[[argparse.Namespace], None], summary: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.epilog = _examples(command.prog.removesuffix(f" {name}"), name)
    command.set_defaults(run=run)
    command.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return command


def _examples(program: str, command: str = "") -> str:
    lines = [f"  {program} {line}\n" for line in EXAMPLES if line.startswith(command)]
    return "examples:\n" + "".join(lines)


# recognize --------------------------------------------------------------------------------------------------


def _add_recognize(commands: argparse._SubParsersAction) -> None:
    command = _add_command(commands, "recognize", _recognize, "Find the song that a recording hums, sings or whistles.")
    command.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="the recording: wav, flac, ogg, mp3, m4a, webm, ...; "
        "of several hums of the same tune (at most 5) the first is shown and all are joined",
    )
    _add_search_options(command)


def _add_search_options(command: argparse.ArgumentParser) -> None:
    _add_filter_options(command)
    command.add_argument("--top-k", type=int, default=10, metavar="N", help="how many songs to list (default: 10)")
    _add_catalog_options(command)


def _add_catalog_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--catalog", metavar="SOURCE", help="a folder or a repository on the Hub (default: the bundled catalog)"
    )
    command.add_argument("--revision", metavar="R", help="commit, tag or branch of the repository")


def _add_filter_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--genre", action="append", default=[], metavar="G", help="search only this genre; may be given several times"
    )
    command.add_argument(
        "--gender", default="any", choices=("any", "female", "male", "mixed"), help="search only these singers' songs"
    )
    command.add_argument(
        "--only-known", action="store_true", help="leave out songs of which what is filtered by is not known"
    )
    command.add_argument(
        "--guessed",
        action="store_true",
        help="where genre or gender is not stated, go by what was guessed when the recording was indexed",
    )


def _recognize(options: argparse.Namespace) -> None:
    from hmm2song.recognizer import Recognizer

    recognizer = Recognizer.from_pretrained(options.catalog, revision=options.revision)
    shown, *others = options.files
    earlier = [recognizer.hear(file) for file in others]
    result = recognizer.recognize(shown, **_search_options(options), earlier=earlier)
    if options.json:
        _print_json(result.to_dict())
    else:
        _print_result(result)


def _search_options(options: argparse.Namespace) -> dict:
    return {
        "genres": tuple(options.genre),
        "gender": options.gender,
        "top_k": options.top_k,
        "only_known": options.only_known,
        "guessed": options.guessed,
    }


def _print_result(result: SearchResult) -> None:
    from hmm2song.match.results import FOUND, HEADINGS, NONE, PERHAPS

    for notice in result.notices:
        print(f"note: {notice}", file=sys.stderr)
    for advice in result.advice:
        print(f"advice: {advice.message}", file=sys.stderr)
    if result.level == NONE:
        print(f"No match among the {result.n_searched} songs searched.")
    if result.matches:
        joined = f", {1 + len(result.earlier)} hums joined" if result.earlier else ""
        headings = {FOUND: "Best of {} songs", PERHAPS: "Perhaps, of {} songs", NONE: "The closest"}
        print(headings[result.level].format(result.n_searched) + joined + ":")
        _print_table(HEADINGS, [match.row() for match in result.matches])
    if result.n_unknown:
        print(f"Of {result.n_unknown} of them the genre or gender is not known; --only-known leaves these out.")
    if result.elsewhere is not None:
        print(f"Outside the filter: {printable(result.elsewhere.full_title)} ({result.elsewhere.probability:.0%})")


# listen -----------------------------------------------------------------------------------------------------


def _add_listen(commands: argparse._SubParsersAction) -> None:
    command = _add_command(commands, "listen", _listen, "Find a song while it is hummed into the microphone or a pipe.")
    command.add_argument(
        "file", metavar="FILE", nargs="?", help="a recording, or - for a pipe of WAV (default: the microphone)"
    )
    command.add_argument("--raw", action="store_true", help="the pipe is bare: 16 bit, mono, 16000 samples a second")
    _add_search_options(command)


def _listen(options: argparse.Namespace) -> None:
    from hmm2song.audio import live_blocks, microphone_blocks
    from hmm2song.recognizer import Recognizer

    recognizer = Recognizer.from_pretrained(options.catalog, revision=options.revision)
    recognizer.warm_up()  # it has to keep up with the singer
    with ExitStack() as stack:
        if options.file is None:
            chunks = microphone_blocks()
        else:
            source = 0 if options.file == "-" else options.file  # standard input without its buffer
            file = stack.enter_context(open(source, "rb", buffering=0, closefd=source != 0))
            chunks = live_blocks(file, options.raw)
        print("listening ...", file=sys.stderr)
        shown = None
        for heard in recognizer.listen(chunks, **_search_options(options)):
            if heard.result is shown and not heard.stopped:
                continue
            shown = heard.result
            if options.json:
                print(json.dumps(heard.to_dict(), ensure_ascii=False), flush=True)
            elif not heard.stopped and shown.matches:
                best = shown.matches[0]
                print(f"{heard.heard_s:4.1f} s  {best.probability:4.0%}  {printable(best.full_title)}", file=sys.stderr)
    if shown is None:
        raise AudioError("no sound came; check what is piped in")
    if not options.json:
        _print_result(shown)


# similar ----------------------------------------------------------------------------------------------------


def _add_similar(commands: argparse._SubParsersAction) -> None:
    command = _add_command(commands, "similar", _similar, "List songs like one, by voice, style, feel or melody.")
    command.add_argument(
        "song", metavar="SONG_OR_FILE", help="the song's id, as shown by `recognize --json` and the API, or a recording"
    )
    _add_facet_options(command)
    _add_search_options(command)
    command.add_argument(
        "--years", type=years, metavar="FROM-TO", help="list only songs of these years, such as 1960-1979"
    )
    command.add_argument(
        "--per-artist", type=int, default=1, metavar="N", help="songs of one artist at most (default: 1; 0: any number)"
    )


def _add_facet_options(command: argparse.ArgumentParser) -> None:
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "--like",
        metavar="PRESET",
        help="all (default), voice, style, feel or tune; catalogs of notes are compared by tune",
    )
    how.add_argument(
        "--facets",
        type=weights,
        metavar="WEIGHTS",
        help="weights of voice, style, feel and melody, such as voice=1,style=0.5",
    )


def weights(text: str) -> dict[str, float]:
    """Read weights by facet; ValueError if one is no number."""
    pairs = [part.partition("=") for part in text.split(",")]
    return {name.strip(): float(weight or 1) for name, _, weight in pairs}


def years(text: str) -> tuple[int, int]:
    """Read a year, or a first and a last one; ValueError if they are no numbers."""
    first, _, last = text.partition("-")
    return int(first), int(last or first)


def _similar(options: argparse.Namespace) -> None:
    from hmm2song.audio import AUDIO_SUFFIXES
    from hmm2song.similar.results import HEADINGS

    songs = _similar_songs(options)
    search = {**_search_options(options), "years": options.years, "per_artist": options.per_artist}
    is_named_so = Path(options.song).suffix.lower() in AUDIO_SUFFIXES  # then it is said that there is no such file
    is_file = options.song not in songs and (is_named_so or Path(options.song).is_file())
    result = songs.like(Path(options.song) if is_file else options.song, options.facets or options.like, **search)
    if options.json:
        _print_json(result.to_dict())
        return
    for notice in result.notices:
        print(f"note: {notice}", file=sys.stderr)
    print(f"Of {result.n_compared} songs the nearest by {', '.join(result.facets)}:")
    _print_table(HEADINGS, [song.row() for song in result.songs])


def _add_path(commands: argparse._SubParsersAction) -> None:
    command = _add_command(commands, "path", _path, "Lead from one song to another over songs alike.")
    command.add_argument("first", metavar="FIRST", help="id of the song to begin with")
    command.add_argument("last", metavar="LAST", help="id of the song to end with")
    command.add_argument("--steps", type=int, default=6, metavar="N", help="steps from song to song (default: 6)")
    _add_facet_options(command)
    _add_catalog_options(command)


def _path(options: argparse.Namespace) -> None:
    path = _similar_songs(options).path(options.first, options.last, options.steps, options.facets or options.like)
    if options.json:
        _print_json(path.to_dict())
        return
    for notice in path.notices:
        print(f"note: {notice}", file=sys.stderr)
    rows = [(song.id, song.full_title, song.artist, why) for song, why in zip(path.songs, path.why, strict=True)]
    _print_table(("id", "title", "artist", "why"), rows)


def _similar_songs(options: argparse.Namespace) -> SimilarSongs:
    from hmm2song.similar.songs import SimilarSongs

    return SimilarSongs.load(options.catalog, options.revision)


# index ------------------------------------------------------------------------------------------------------


def _add_index(commands: argparse._SubParsersAction) -> None:
    command = _add_command(
        commands, "index", _index, "Make a catalog of a folder of recordings and scores, or of a table."
    )
    command.add_argument(
        "source",
        metavar="FOLDER_OR_TABLE",
        help="a folder, a table (CSV: id,Title,Singer,Lyric,genre,path,gender), a score or a recording",
    )
    command.add_argument("--out", required=True, metavar="CATALOG", help="the folder to make or the catalog to replace")
    command.add_argument(
        "--update",
        action="store_true",
        help="read only what is new or changed, drop what is gone, and keep songs that were added by hand",
    )
    _add_reading_options(command)


def _add_reading_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--separator",
        default="none",
        metavar="SPEC",
        help="what separates the singer from the band: htdemucs, onnx:MODEL, spleeter[:FOLDER], stems:FOLDER "
        "(separated already), or none (default: the loudest line of each recording is its melody)",
    )
    command.add_argument(
        "--stems-cache",
        type=Path,
        metavar="FOLDER",
        help="keep the separated parts here (default: they are deleted as soon as the melody is stored)",
    )
    command.add_argument(
        "--previews",
        action="store_true",
        help="store the path of each recording, so that `python app.py --previews FOLDER` plays them at the match",
    )
    command.add_argument(
        "--no-listen",
        action="store_true",
        help="take melodies only: quicker, but the songs cannot be compared by voice, style and feel",
    )
    command.add_argument("--workers", type=int, metavar="N", help="files read at the same time (default: one per core)")
    command.add_argument(
        "--runner",
        default="local",
        metavar="RUNNER",
        help="where files are read: local (default: processes here), ray (started here), or ray:ADDRESS (a cluster)",
    )
    command.set_defaults(when_stopped="run the same command again to go on where it stopped")


def _reading_options(options: argparse.Namespace, update: bool = False) -> IndexOptions:
    from hmm2song.indexing.extract import IndexOptions

    return IndexOptions(
        options.separator, options.stems_cache, options.previews, update, options.runner, not options.no_listen
    )


def _index(options: argparse.Namespace) -> None:
    from hmm2song.catalog.hub import default_encoder, encoder_of
    from hmm2song.indexing.build import index
    from hmm2song.indexing.report import counted

    out = Path(options.out)
    encoder = encoder_of(out) if options.update else default_encoder()
    with _progress_bar() as show:
        report = index(options.source, out, encoder, options.workers, show, _reading_options(options, options.update))
    next_commands = _separation_commands(options) if report.recordings.n_not_separated else []
    if options.json:
        _print_json({"out": options.out, **report.to_dict(), "next_commands": next_commands})
        return
    changes = f"; {report.unchanged} files unchanged, {report.removed} songs removed" if options.update else ""
    print(f"{report.counts()}\n{counted(report.indexed, 'song')} in {options.out}{changes}")
    print("".join(f"{line}\n" for line in report.recordings.lines()), end="")
    if report.n_heard:
        print(f"{counted(report.n_heard, 'recording')} listened to: somebody sings in {report.n_sung}")
    _print_read(report, out)
    if next_commands:
        minutes = math.ceil(report.recordings.not_separated_s / 60 / (options.workers or n_cores()))
        print(f"to separate them (about {minutes} min here):")
        print("".join(f"  {command}\n" for command in next_commands), end="")


def _separation_commands(options: argparse.Namespace) -> list[str]:
    """Return the commands that index the same source again with separated voices."""
    from hmm2song.indexing.separation.separation import HTDEMUCS_SETUP, htdemucs_model

    index = [*options.program.split(), "index", options.source, "--out", options.out, "--separator", "htdemucs"]
    index += ["--update", *(["--previews"] if options.previews else [])]
    index += ["--no-listen"] if options.no_listen else []
    for name in ("stems_cache", "workers", "runner"):
        if (value := getattr(options, name)) not in (None, "local"):
            index += [f"--{name.replace('_', '-')}", str(value)]
    joined = subprocess.list2cmdline(index) if os.name == "nt" else shlex.join(index)
    return [joined] if htdemucs_model().is_file() else [HTDEMUCS_SETUP, joined]


def _print_read(report: IndexReport, catalog: Path) -> None:
    """Print the skipped files and the songs that may not be found, a screenful of each."""
    from hmm2song.catalog.storage import REPORT_NAME, SKIPPED_NAME

    _print_some([f"{entry.path}: {entry.reason}" for entry in report.skipped], catalog / SKIPPED_NAME)
    _print_some([f"{entry.path}: {'; '.join(entry.warnings)}" for entry in report.warned], catalog / REPORT_NAME)
    for note in report.notes:
        print(f"note: {note}")


def _print_some(lines: Sequence[str], everything: Path) -> None:
    for line in lines[:SHOWN_LINES]:
        print(f"  {printable(line)}")
    if len(lines) > SHOWN_LINES:
        print(f"  ... all of them: {everything}")


@contextmanager
def _progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback that shows one bar per step on a terminal, and nothing elsewhere."""
    from tqdm import tqdm

    bars: dict[str, tqdm] = {}

    def show(step: str, done: int, total: int) -> None:
        if step not in bars:
            bars[step] = tqdm(desc=STEPS[step], total=total, unit=f" {UNITS[step]}", disable=None, leave=False)
        bars[step].update(done - bars[step].n)

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()


# add, remove, merge -----------------------------------------------------------------------------------------


def _add_add(commands: argparse._SubParsersAction) -> None:
    command = _add_command(commands, "add", _add, "Add songs to a catalog, without indexing the others again.")
    command.add_argument("catalog", metavar="CATALOG", help="the catalog's folder")
    command.add_argument("sources", metavar="SOURCE", nargs="+", help="a recording, a score, a folder or a table")
    command.add_argument(
        "--replace",
        action="store_true",
        help="replace the song that has the same id (default: the new song gets another id)",
    )
    _add_reading_options(command)


def _add(options: argparse.Namespace) -> None:
    from hmm2song.catalog.hub import encoder_of
    from hmm2song.indexing.edit import add

    catalog = Path(options.catalog)
    how = _reading_options(options)
    with _progress_bar() as show:
        report = add(catalog, options.sources, encoder_of(catalog), options.workers, show, how, options.replace)
    _print_edit(report, catalog, f"{report.n_new} songs added, {len(report.catalog)} in {catalog}", options.json)


def _add_remove(commands: argparse._SubParsersAction) -> None:
    command = _add_command(commands, "remove", _remove, "Remove songs from a catalog.")
    command.add_argument("catalog", metavar="CATALOG", help="the catalog's folder")
    command.add_argument(
        "ids", metavar="ID", nargs="+", help="the song's id, as shown by `recognize --json` and the API"
    )


def _remove(options: argparse.Namespace) -> None:
    from hmm2song.catalog.hub import encoder_of
    from hmm2song.indexing.edit import remove

    catalog = Path(options.catalog)
    report = remove(catalog, options.ids, encoder_of(catalog))
    n_removed = len(set(options.ids))
    _print_edit(report, catalog, f"{n_removed} songs removed, {len(report.catalog)} in {catalog}", options.json)


def _add_merge(commands: argparse._SubParsersAction) -> None:
    command = _add_command(commands, "merge", _merge, "Make one catalog of several.")
    command.add_argument("catalogs", metavar="CATALOG", nargs="+", help="the folders of the catalogs, two at least")
    command.add_argument("--out", required=True, metavar="CATALOG", help="the folder to make or the catalog to replace")


def _merge(options: argparse.Namespace) -> None:
    from hmm2song.catalog.hub import encoder_of
    from hmm2song.indexing.edit import merge

    report = merge(options.catalogs, options.out, encoder_of(Path(options.catalogs[0])))
    _print_edit(report, Path(options.out), f"{len(report.catalog)} songs in {options.out}", options.json)


def _print_edit(report: EditReport, catalog: Path, summary: str, as_json: bool) -> None:
    if as_json:
        _print_json(report.to_dict())
        return
    print(summary)
    for renamed in report.renamed:
        print(printable(f"  {renamed.id}: the id was taken, so the song is now {renamed.new_id}"))
    for song_id in report.repeated:
        print(printable(f"  {song_id}: was there already"))
    if report.read:
        print(report.read.counts())
        _print_read(report.read, catalog)


# info -------------------------------------------------------------------------------------------------------


def _add_info(commands: argparse._SubParsersAction) -> None:
    command = _add_command(commands, "info", _info, "Check a catalog and say what is in it.")
    command.add_argument("catalog", metavar="CATALOG", help="the catalog's folder")
    command.add_argument("--verify", action="store_true", help="read every file and compare its checksum")


def _info(options: argparse.Namespace) -> None:
    from collections import Counter

    from hmm2song.catalog.catalog import Catalog
    from hmm2song.catalog.hub import encoder_of
    from hmm2song.catalog.storage import MELODIES_FILE, read_manifest
    from hmm2song.similar.songs import SimilarSongs

    folder = Path(options.catalog)
    if MELODIES_FILE in read_manifest(folder)["files"]:
        encoder = encoder_of(folder)
        catalog = Catalog.load(folder, encoder, options.verify)
        similar = SimilarSongs.of(catalog, encoder)
        duration_s, words, fingerprint = float(catalog.melodies.duration_s.sum()), "melody", catalog.encoder_fingerprint
        is_verified = options.verify
    else:  # it is small and read whole
        similar = SimilarSongs.load(folder)
        duration_s, words, fingerprint = similar.heard_s, "recordings, without melodies", ""
        is_verified = True
    songs, clusters = similar.songs, similar.map().clusters if similar.heard_s else ()
    genres, genders = songs.genre_counts(), songs.gender_counts()
    checksums = "ok" if is_verified else "not compared"
    if options.json:
        about = {"songs": len(songs), "duration_s": round(duration_s, 1), "genres": genres, "genders": genders}
        about["guessed"] = {"genre": Counter(), "gender": Counter()}
        for song, n_songs in songs.n_alike():
            for label, guess in song.guesses.items():
                about["guessed"][label][guess.value] += n_songs
        about["clusters"] = [cluster.to_dict() for cluster in clusters]
        _print_json({**about, "encoder": fingerprint, "checksums": checksums})
        return
    print(f"songs      {len(songs)}")
    print(f"duration   {int(duration_s) // 3600} h {int(duration_s) % 3600 // 60:02d} min of {words}")
    print(f"encoder    {fingerprint or 'none'}")
    print(f"checksums  {checksums}{'' if is_verified else ' (--verify reads every file)'}")
    with_guesses = (songs.genre_counts(guessed=True), songs.gender_counts(guessed=True))
    for name, counts, guessed in zip(("genre", "singers"), (genres, genders), with_guesses, strict=True):
        print()
        heading = (name, "songs", "with guesses") if guessed != counts else (name, "songs")
        rows = [(key or "unknown", str(counts.get(key, 0)), str(count)) for key, count in guessed.items()]
        _print_table(heading, [row[: len(heading)] for row in rows])
    if clusters:
        print()
        _print_table(("cluster", "songs"), [(cluster.name, str(cluster.n_songs)) for cluster in clusters])


# warm-up ----------------------------------------------------------------------------------------------------


def _add_warm_up(commands: argparse._SubParsersAction) -> None:
    _add_command(commands, "warm-up", _warm_up, "Compile what searches need, once after the installation.")


def _warm_up(options: argparse.Namespace) -> None:
    import numpy as np

    from hmm2song.melody.melody import Melody
    from hmm2song.recognizer import Recognizer

    started_s = time.perf_counter()
    melody = Melody(60.0 + np.arange(500) // 25 % 5)
    Recognizer.from_melodies({"written": melody, "tracked": melody}, tracked={"tracked"}).warm_up()
    seconds = round(time.perf_counter() - started_s, 1)
    if options.json:
        _print_json({"seconds": seconds})
    else:
        print(f"Searches are compiled ({seconds} s).")


# output -----------------------------------------------------------------------------------------------------


def _print_json(value: dict) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


def _print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [[printable(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    for row in lines:
        cells = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())


def _width(text: str) -> int:
    """Return the columns a text takes on a terminal: Hangul and Han letters take two each, accents none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


main = main_of("hmm2song", lambda arguments: _parser().parse_args(arguments), lambda options: options.run(options), "")

if __name__ == "__main__":
    sys.exit(main())
