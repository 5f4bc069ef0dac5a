"""Pairs of windows to learn from: a part of a melody as it is hummed, and the same part as it is written or tracked.

Every draw depends only on the seed and the number of the step, so a batch can be made again, in any process.
"""

from __future__ import annotations

import math
import multiprocessing
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.indexing.workers import start_worker
from hmm2song.melody.contour import FilledContour, fill_rests, sample_windows
from hmm2song.melody.melody import melody_from_notes
from hmm2song.melody.scores import read_rows, row_notes
from hmm2song.training.recipe import EFFECTS, GOOD_SINGER, POOR_SINGER, Recipe
from hmm2song.training.singer import hum_contour
from hmm2song.training.tracker import tracked, transcribed

RESEARCH_ONLY_SOURCES = frozenset({"essen", "symbtr", "nova_scotia"})
SHORTEST_MELODY_S = 6.0
"""A shorter melody is hardly longer than a window."""
LEAST_HELD_OUT = 8
"""Melodies held out before a limited pool stops reading."""


@dataclass(frozen=True, eq=False)
class PoolMelody:
    """A melody to learn from: its notes (n, 3), to be hummed, and its contour."""

    notes: np.ndarray
    contour: FilledContour


@dataclass(frozen=True)
class MelodyPool:
    """A file of melodies as JSON lines (.gz too), the ids never to learn from, and how many to learn from at most."""

    path: Path
    excluded: frozenset[str] = frozenset()
    limit: int | None = None

    def read(self) -> tuple[list[PoolMelody], list[PoolMelody]]:
        """Return the melodies to train on and those held out; their ids choose, so every run holds out the same."""
        learned, held_out = [], []
        for song_id, melody in self._melodies():
            chance = zlib.crc32(song_id.encode()) / 2**32
            (held_out if chance < Recipe.held_out_share else learned).append(melody)
            if self.limit and len(learned) >= self.limit and len(held_out) >= LEAST_HELD_OUT:
                break
        if not learned or not held_out:
            raise Hmm2SongError(
                f"{self.path.name} holds {len(learned)} melodies to train on and {len(held_out)} to validate with"
            )
        return learned, held_out

    def _melodies(self) -> Iterator[tuple[str, PoolMelody]]:
        """Yield id and melody of every row that may be trained on and is long enough."""
        for _, row in read_rows(self.path, "id", "source", "in_benchmark"):
            if self._is_forbidden(row):
                continue
            try:
                notes = row_notes(row)
                contour = fill_rests(melody_from_notes(notes))
            except MelodyError:
                continue
            if contour.duration_s >= SHORTEST_MELODY_S:
                yield str(row["id"]), PoolMelody(np.array(notes), contour)

    def _is_forbidden(self, row: dict) -> bool:
        return bool(
            row["in_benchmark"]
            or row["source"] in RESEARCH_ONLY_SOURCES
            or row["id"] in self.excluded
            or row.get("dup_of_earlier")
        )


def read_ids(path: Path) -> frozenset[str]:
    """Read the ids of songs (.jsonl), or the first column of a TSV."""
    if path.suffix == ".jsonl":
        return frozenset(str(row["id"]) for _, row in read_rows(path, "id"))
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except ValueError as error:
        raise Hmm2SongError(f"{path.name} is no list of songs ({error!r:.100})") from error
    return frozenset(line.split("\t")[0].strip() for line in lines)


@dataclass(frozen=True, eq=False)
class WindowPair:
    """A window of a hum and the window of its melody at the same place, each array (n_frames,)."""

    hum_pitch_st: np.ndarray
    hum_voiced: np.ndarray
    song_pitch_st: np.ndarray
    song_voiced: np.ndarray


@dataclass(frozen=True, eq=False)
class Batch(WindowPair):
    """Pairs row by row, each array (n, n_frames); ``song`` (n,) says which rows come from one melody."""

    song: np.ndarray


def cut(contour: FilledContour, start_s: float, span_s: float, n_frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one window (pitch_st, voiced), each (n_frames,): ``span_s`` of the contour, centred on its median."""
    return sample_windows(contour, start_s + (np.arange(n_frames) + 0.5) * (span_s / n_frames))


def window_pairs(melody: PoolMelody, recipe: Recipe, rng: np.random.Generator) -> Iterator[WindowPair]:
    """Hum a part of the melody and yield pairs of windows of it."""
    singer = POOR_SINGER if rng.random() < recipe.poor_singer_share else GOOD_SINGER
    singer = replace(singer, **EFFECTS[recipe.without]) if recipe.without else singer
    performance = hum_contour(melody.notes, singer, rng, duration_s=rng.uniform(*recipe.hum_s))
    hum = fill_rests(performance.melody)
    if hum.duration_s < 1.0:
        return
    song = _song_side(melody.contour, recipe, rng)
    hum_s, song_s = performance.hum_onset_s - hum.offset_s, performance.song_onset_s - song.offset_s
    window_s, n_frames = recipe.windows.window_s, recipe.network.n_frames
    for _ in range(recipe.windows_per_hum):
        tempo_error_log = np.clip(recipe.tempo_residual_log_sd * rng.standard_normal(), -0.2, 0.2)
        speed = performance.tempo_ratio * math.exp(tempo_error_log)
        span_s = window_s / speed
        start_s = rng.uniform(0.0, max(hum.duration_s - recipe.min_fill * span_s, 0.02))
        centre_s = start_s + min(span_s, hum.duration_s - start_s) / 2
        song_centre_s = np.interp(centre_s, hum_s, song_s) + max(centre_s - hum_s[-1], 0.0) * speed
        residual_s = rng.uniform(-1.0, 1.0) * recipe.start_residual_s
        song_start_s = max(song_centre_s - (centre_s - start_s) * speed + residual_s, 0.0)
        if song_start_s < song.duration_s - 0.1 * window_s:
            yield WindowPair(*cut(hum, start_s, span_s, n_frames), *cut(song, song_start_s, window_s, n_frames))


def _song_side(contour: FilledContour, recipe: Recipe, rng: np.random.Generator) -> FilledContour:
    if recipe.tracked_song_share and rng.random() < recipe.tracked_song_share:
        return tracked(contour, rng)
    return transcribed(contour, rng) if rng.random() < recipe.noisy_song_share else contour


def make_batch(melodies: list[PoolMelody], recipe: Recipe, seed: int, step: int) -> Batch:
    """Draw the batch of a step; the same seed and step give the same batch."""
    rng = np.random.default_rng([seed, step])
    pairs: list[WindowPair] = []
    numbers: list[int] = []
    for number in rng.choice(len(melodies), min(recipe.n_hums, len(melodies)), replace=False):
        try:
            drawn = list(window_pairs(melodies[number], recipe, rng))
        except MelodyError:
            continue  # the part that was drawn is too short to sing
        pairs += drawn
        numbers += [int(number)] * len(drawn)
    columns = zip(*(vars(pair).values() for pair in pairs), strict=True)
    return Batch(*map(np.stack, columns), np.array(numbers))


_MELODIES: list[PoolMelody] = []
"""The melodies of a worker process, read when it starts."""


def _start(pool: MelodyPool) -> None:
    start_worker()
    torch.set_num_threads(1)
    _MELODIES[:] = pool.read()[0]


def _worker_batch(recipe: Recipe, seed: int, step: int) -> Batch:
    return make_batch(_MELODIES, recipe, seed, step)


def batches(pool: MelodyPool, recipe: Recipe, seed: int, first_step: int, n_workers: int) -> Iterator[Batch]:
    """Yield the batches from ``first_step`` to the last, made ahead by workers.

    The workers are spawned, since a fork would break on the threads that torch holds by now.
    """
    n_ahead = 2 * n_workers + 1
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n_workers, context, _start, (pool,)) as workers:
        waiting: list[Future[Batch]] = []
        for step in range(first_step, recipe.n_steps):
            while len(waiting) < n_ahead and step + len(waiting) < recipe.n_steps:
                waiting.append(workers.submit(_worker_batch, recipe, seed, step + len(waiting)))
            yield waiting.pop(0).result()
