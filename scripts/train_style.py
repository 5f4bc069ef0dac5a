#!/usr/bin/env python
"""Learn what MP3 at 64 kbit/s changes in the style and the timbre of recordings: assets/model_style/model.safetensors.

    python scripts/train_style.py --audio FOLDER/audio --out assets/model_style

FOLDER is that of scripts/build_free_catalog.py. Random recordings of at most 90 s are copied and heard again; what the
copies differ by from what the catalog holds is written, with the ids, so that scripts/evaluate_similar.py judges by
other recordings. See hmm2song/similar/codec_changes.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hmm2song.catalog.facets import Facets
from hmm2song.errors import CatalogError, Hmm2SongError
from hmm2song.hearing.recording import hear
from hmm2song.script import main_of, positive, progress
from hmm2song.similar.codec_changes import CopyChanges
from hmm2song.similar.songs import SimilarSongs
from hmm2song.similar.spaces import unit
from hmm2song.training.copies import as_mp3, short_ones


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audio", type=Path, required=True, metavar="FOLDER", help="the recordings, named by ids")
    parser.add_argument("--catalog", type=Path, default=ROOT / "assets" / "free_catalog", help="what was heard in them")
    parser.add_argument("--copies", type=positive, default=70, metavar="N", help="recordings to copy (default 70)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where to write model.safetensors")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Copy, listen, write."""
    songs, facets = SimilarSongs.load(options.catalog).songs, Facets.load(options.catalog)
    if facets is None:
        raise CatalogError(f"{options.catalog} has no facets: nobody has listened to its recordings")
    rows = short_ones(songs, facets, options.seed)[: options.copies]
    heard = []
    with progress("copies", "recordings", len(rows)) as show, tempfile.TemporaryDirectory() as folder:
        for number, row in enumerate(rows):
            file = next(options.audio.glob(f"{songs[row].id}.*"), None)
            if file is None:
                raise Hmm2SongError(
                    f"{options.audio} lacks {songs[row].id}; scripts/build_free_catalog.py puts it there"
                )
            heard.append(hear(as_mp3(file, Path(folder) / "copy.mp3")).facets)
            show(number + 1)
    copies, originals = Facets.concatenate(heard), facets.take(rows)
    style = unit(copies.style) - unit(originals.style)
    timbre = copies.timbre.astype(np.float32) - originals.timbre.astype(np.float32)
    options.out.mkdir(parents=True, exist_ok=True)
    CopyChanges(style, timbre).save(options.out, [songs[row].id for row in rows])
    print(f"{options.out}: what {len(rows)} copies change")


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
