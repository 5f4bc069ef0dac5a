"""Songs of three or four minutes put together from blocks, whose windows are embedded once.

A block is a verse of recombined phrases (:mod:`hmm2song.training.recombining`). In a song, rests longer than a window
of the encoder part its blocks, as instrumental breaks part the verses of recordings. Every block ends on one note, as
verses end on the tonic. So what a window sees depends on one block only: it lies in it, reaches from it into the rest,
or comes from the rest, in which that note is held, into the next one. A song's windows are those of its blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.melody import FRAME_RATE_HZ, Melody
from hmm2song.training.recombining import recombined

SHORTEST_BLOCK_S, LONGEST_BLOCK_S = 28.0, 38.0
SONG_SPREAD = 1.15
"""A song is as much longer or shorter than asked for, at most."""
LAST_MIDI = 60.0
"""The note that every block ends on, before its song is transposed."""
HIGHEST_KEY_ST = 5


@dataclass(frozen=True, eq=False)
class Block:
    """A verse, with its windows as songs need them.

    Attributes
    ----------
    pitch_midi : np.ndarray, shape (n_frames,), float32
        Voiced at both ends; NaN in rests.
    n_hops : int
        Hops of the encoder from its beginning to that of the next block.
    lead : np.ndarray, shape (n_lead, dim), float16
        The windows that begin in the rest before it and reach into it.
    inner : np.ndarray, shape (n_hops - n_lead, dim), float16
        Those that begin in it, or in the rest behind it and end there.
    last : np.ndarray, shape (n, dim), float16
        Those that begin in it if it is the last block of a song.
    """

    pitch_midi: np.ndarray
    n_hops: int
    lead: np.ndarray
    inner: np.ndarray
    last: np.ndarray


def make_block(phrases: Sequence[np.ndarray], rng: np.random.Generator, encoder: MelodyEncoder) -> Block:
    """Make a block of phrases of all songs and embed its windows."""
    verse = recombined(phrases, rng, rng.uniform(SHORTEST_BLOCK_S, LONGEST_BLOCK_S)).pitch_midi
    voiced = np.flatnonzero(~np.isnan(verse))
    verse = verse[voiced[0] : voiced[-1] + 1]
    verse = (verse + (LAST_MIDI - verse[-1])).astype(np.float32)
    hop, window = (
        round(length_s * FRAME_RATE_HZ) for length_s in (encoder.windows.song_hop_s, encoder.windows.window_s)
    )
    n_lead, n_hops = -(-window // hop) - 1, -(-(len(verse) + window) // hop)
    before = np.full((n_lead + 1) * hop, np.nan, np.float32)
    before[0] = LAST_MIDI
    behind = np.full(n_hops * hop - len(verse) + 1, np.nan, np.float32)
    behind[-1] = LAST_MIDI
    within = encoder.cut(fill_rests(Melody(np.concatenate((before, verse, behind)))))
    alone = encoder.cut(fill_rests(Melody(verse)))
    # of the windows that begin in the block, the last ones look beyond the song if it ends there
    n_whole = max(0, (len(verse) - window) // hop + 1)
    pitch, voicing = (
        np.concatenate((getattr(within, name)[1 : 1 + n_hops], getattr(alone, name)[n_whole:]))
        for name in ("pitch_st", "voiced")
    )
    windows = encoder.embed(pitch, voicing).astype(np.float16)
    inner = windows[n_lead:n_hops]
    return Block(verse, n_hops, windows[:n_lead], inner, np.concatenate((inner[:n_whole], windows[n_hops:])))


def song_of_blocks(
    blocks: Sequence[Block], rng: np.random.Generator, duration_s: float, hop_s: float
) -> tuple[Melody, np.ndarray]:
    """Put a song of about ``duration_s`` together; return it and its windows (n, dim), float16."""
    left_s = duration_s * SONG_SPREAD ** rng.uniform(-1, 1)
    chosen: list[Block] = []
    while not chosen or left_s > chosen[-1].n_hops * hop_s / 2:
        chosen.append(blocks[rng.integers(len(blocks))])
        left_s -= chosen[-1].n_hops * hop_s
    hop = round(hop_s * FRAME_RATE_HZ)
    starts = np.cumsum([0, *(block.n_hops * hop for block in chosen[:-1])])
    pitch = np.full(starts[-1] + len(chosen[-1].pitch_midi), np.nan, np.float32)
    windows = []
    for number, (start, block) in enumerate(zip(starts, chosen, strict=True)):
        pitch[start : start + len(block.pitch_midi)] = block.pitch_midi
        windows += [block.lead] if number else []
        windows.append(block.inner if number < len(chosen) - 1 else block.last)
    key_st = rng.integers(-HIGHEST_KEY_ST, HIGHEST_KEY_ST + 1)
    return Melody(np.clip(pitch + key_st, 0.0, 127.0)), np.concatenate(windows)
