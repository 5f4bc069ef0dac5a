#!/usr/bin/env python
"""Measure how far recordings are from each other for musly and bliss, the open programs for songs alike.

    python -m venv rivals && rivals/bin/pip install pymusly==2.0.0 bliss-audio==0.2.0 soundfile soxr
    rivals/bin/python scripts/studies/measure_rivals.py FOLDER/audio --out rivals.json

It runs in an environment of its own, because nothing here depends on them (bliss is GPL), and imports nothing of
Hmm2Song. scripts/evaluate_similar.py --rivals reads the result. A file that a program cannot read is farthest from all.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

MUSLY_RATE_HZ, MUSLY_EXCERPT_S = 22050, 30
"""What musly hears: by default its program takes 30 s from the middle."""
SILENCE = 1e-4


def main() -> int:
    """Measure all recordings of a folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path, help="folder of recordings; their names without suffix are their ids")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    options = parser.parse_args()
    files = sorted(options.audio.iterdir())
    methods = {}
    for name, measure in (("musly timbre", musly), ("bliss", bliss)):
        started_s = time.process_time()
        distance, n_unreadable = measure(files)
        print(f"{name}: {n_unreadable} of {len(files)} files unreadable", file=sys.stderr)
        methods[name] = {
            "seconds_per_song": round((time.process_time() - started_s) / len(files), 3),
            "unreadable": n_unreadable,
            "distance": np.round(distance, 6).tolist(),
        }
    options.out.write_text(json.dumps({"ids": [file.stem for file in files], "methods": methods}), encoding="utf-8")
    return 0


def musly(files: list[Path]) -> tuple[np.ndarray, int]:
    """Return distances (n, n) of musly's method "timbre", and how many files it cannot read."""
    import pymusly
    import soundfile
    import soxr

    jukebox = pymusly.MuslyJukebox(method="timbre", decoder="none")
    tracks = {}
    for number, file in enumerate(files):
        try:
            with soundfile.SoundFile(file) as sound:
                n_frames = MUSLY_EXCERPT_S * sound.samplerate
                sound.seek(max(0, (len(sound) - n_frames) // 2))
                mono = sound.read(n_frames, always_2d=True).mean(axis=1)
                samples = soxr.resample(mono, sound.samplerate, MUSLY_RATE_HZ)
        except soundfile.LibsndfileError as error:
            print(f"{file.name}: {error}", file=sys.stderr)
            continue
        if np.abs(samples).max() > SILENCE:  # with one silent track all its distances are NaN
            tracks[number] = jukebox.track_from_audiodata(samples.astype(np.float32).tolist())
        else:
            print(f"{file.name}: its excerpt is silent", file=sys.stderr)
    known = list(tracks)
    jukebox.set_style([*tracks.values()])  # what its mutual proximity is measured against
    jukebox.add_tracks([*tracks.items()])
    distance = np.full((len(files), len(files)), np.inf)
    for number in known:
        distance[number, known] = jukebox.compute_similarity((number, tracks[number]), [*tracks.items()])
    return _farthest(distance), len(files) - len(known)


def bliss(files: list[Path]) -> tuple[np.ndarray, int]:
    """Return Euclidean distances (n, n) of bliss's features, and how many files it cannot read."""
    import bliss_audio

    features = {}
    for number, file in enumerate(files):
        try:
            features[number] = bliss_audio.Song(str(file)).analysis
        except Exception as error:  # it raises a bare Exception for what it cannot read
            print(f"{file.name}: {error}", file=sys.stderr)
    known = list(features)
    vectors = np.array([features[number] for number in known])
    distance = np.full((len(files), len(files)), np.inf)
    distance[np.ix_(known, known)] = np.linalg.norm(vectors[:, None] - vectors, axis=2)
    return _farthest(distance), len(files) - len(known)


def _farthest(distance: np.ndarray) -> np.ndarray:
    known = np.isfinite(distance)
    return np.where(known, distance, 2 * distance[known].max())


if __name__ == "__main__":
    sys.exit(main())
