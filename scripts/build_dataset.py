#!/usr/bin/env python
"""Build the dataset of the first source system from recordings: log-mel clips and their five imitations of a hum.

    pip install -r requirements-dataset.txt
    python scripts/build_dataset.py --source my-music --out clips --separator onnx:htdemucs.onnx
    python scripts/build_dataset.py --source my-music/info.csv --out clips --stage separate

SOURCE is a folder of recordings or a table (info.csv). Every song is separated into voice and accompaniment, joined to
its full input (voice where there is voice, accompaniment elsewhere) and cut into clips of 10 s every 8 s. Every clip is
made into five hums (fh, fl, mh, ml, n), and all six into pictures of 128 x 431 decibels.
hmm2song.evaluation.baselines.mel_cnn.clips reads OUT.

--stage makes only one stage and what it needs: separate, full, split and filters (clips and hums as sound, to listen
to), mel (the pictures, song by song), or all (the pictures, then OUT). Results are kept in OUT.work and not made again,
so after an interruption the same command continues. When OUT is complete, OUT.work may be deleted.

Broken recordings are skipped and listed, also in OUT/skipped.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.errors import Hmm2SongError
from hmm2song.evaluation.baselines.mel_cnn.assemble import DATASET, SongPictures, assemble, parameters
from hmm2song.evaluation.baselines.mel_cnn.collection import Collection, collect
from hmm2song.evaluation.baselines.mel_cnn.full_input import Rule
from hmm2song.evaluation.baselines.mel_cnn.stages import Settings, Stage, make
from hmm2song.indexing.runners import Runner, runner_of
from hmm2song.indexing.separation.separation import open_separator
from hmm2song.indexing.sources import SkippedFile
from hmm2song.script import GOES_ON, main_of, positive, progress

ALL = "all"
RAY = "ray"


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="folder of recordings, or info.csv")
    parser.add_argument("--out", type=Path, required=True, help="the dataset's folder")
    parser.add_argument(
        "--separator", default="none", metavar="SPEC", help="none, stems:FOLDER, onnx:MODEL or spleeter (default: none)"
    )
    parser.add_argument(
        "--rule", type=Rule, choices=list(Rule), default=Rule.DIFFERENCE, help="where there is voice (%(default)s)"
    )
    parser.add_argument("--stage", choices=[*map(str, Stage), ALL], default=ALL, help="what to make (%(default)s)")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where what is made is kept (OUT.work)")
    parser.add_argument("--workers", type=positive, metavar="N", help="songs at the same time (one per core)")
    parser.add_argument(
        "--runner", choices=["local", RAY], default="local", help="processes here, or a Ray cluster (%(default)s)"
    )
    parser.add_argument("--ray-address", metavar="ADDRESS", help="a running cluster; else Ray is started here")
    options = parser.parse_args(arguments)
    if options.ray_address and options.runner != RAY:
        parser.error("--ray-address needs --runner ray")
    return options


def run(options: argparse.Namespace) -> None:
    """Make a stage of every recording, or the whole dataset."""
    out = options.out.absolute()
    work = (options.work or out.with_name(out.name + ".work")).absolute()
    settings = Settings(work, options.separator, options.rule)
    if options.stage == ALL:
        DATASET.check_replaceable(out)
    separator_name = open_separator(options.separator).name  # fails here, not after the first song
    collection = collect(options.source, leave_out=other_sound(out, work, options.separator))
    stage = Stage.MEL if options.stage == ALL else Stage(options.stage)
    runner = runner_of(f"{RAY}:{options.ray_address or ''}" if options.runner == RAY else "local")
    made, skipped = make_all(stage, collection, settings, runner, options.workers)
    for entry in skipped:
        print(f"skipped {entry.path}: {entry.reason}", file=sys.stderr)
    if not made:
        raise Hmm2SongError(f"none of the {len(collection.recorded)} recordings could be used")
    if options.stage != ALL:
        print(f"{work / stage}: {len(made)} songs; {len(skipped)} skipped")
        return
    songs = [SongPictures(song, work / place) for song, place in made]
    with progress("dataset", "songs", len(songs)) as show:
        clips = assemble(songs, skipped, parameters(options.rule, separator_name), out, show)
    print(f"{out}: {len(clips)} clips of {len(clips.songs)} songs; {len(skipped)} skipped")


def other_sound(out: Path, work: Path, separator: str) -> list[Path]:
    """Return folders whose sound is not that of songs, wherever they lie."""
    kind, _, argument = separator.partition(":")
    folders = [out, work, *([Path(argument)] if kind == "stems" else [])]
    return [folder.resolve() for folder in folders]


def make_all(
    stage: Stage, collection: Collection, settings: Settings, runner: Runner, workers: int | None
) -> tuple[list[tuple], list[SkippedFile]]:
    """Make a stage of every recording; return (song, place in the work folder) of each, and what was left out."""
    calls = [(str(stage), str(one.file), one.song.id, settings) for one in collection.recorded]
    with progress(str(stage), "songs", len(calls)) as show:
        results = runner(make, calls, workers, show)
    made, skipped = [], list(collection.skipped)
    for one, result in zip(collection.recorded, results, strict=True):
        if isinstance(result, Hmm2SongError):
            skipped.append(SkippedFile(one.song.path, str(result)))
        else:
            made.append((one.song, result))
    return made, skipped


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
