#!/usr/bin/env python
"""Measure the second source system on real hums: its four cells, and what its auto-encoder's latent holds.

    python scripts/studies/measure_voice_baselines.py --hums qbsh/queries.csv --melodies pool.jsonl.gz --work work

The CSV has the columns file,song_id,singer. Half of the singers train the five networks of the four cells
(hmm2song/evaluation/baselines/voices/four_cells.py), the others judge them: pairs of different songs. Beside them
stand the MFCC, and a control that hears no voice: the spectrum of the quietest tenth of each hum.

The auto-encoder (hmm2song/evaluation/baselines/voices/tcae.py) learns from simulated hums of the melodies. It is asked
for the hum of the same song by another person among one hum of each song, as is this project's melody encoder.

Results stay in --work; the same command continues where it was interrupted.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import librosa
import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from scipy.fft import dct

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from hmm2song.audio import SAMPLE_RATE_HZ, load_audio
from hmm2song.catalog.hub import BUNDLED_MODEL
from hmm2song.catalog.storage import whole_file
from hmm2song.embeddings.contour_encoder import MelodyEncoder
from hmm2song.errors import Hmm2SongError, MelodyError
from hmm2song.evaluation.accuracy import Query, read_queries, retrieval_scores, singer_scores
from hmm2song.evaluation.baselines.voices import four_cells, tcae
from hmm2song.melody.contour import fill_rests
from hmm2song.melody.pitch import track_pitch
from hmm2song.melody.scores import read_rows
from hmm2song.script import GOES_ON, Journal, interval_text, main_of, markdown_table, positive, progress
from hmm2song.training.singer import FEMALE, Singer
from hmm2song.training.voice import hum_audio

HUM_S = 8.0
TRAINED_PER_SINGER, JUDGED_PER_SINGER = 8, 6
POOLED_FRAMES = 8
"""Frames of the latent that are averaged before they are aligned: 0.13 s."""
QUIET_SHARE = 0.1


def run(options: argparse.Namespace) -> None:
    """Measure what is not yet in the journal, and print two tables."""
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    queries = [query for query in read_queries(options.hums) if query.singer]
    journal, rng = Journal(options.work / "voices.jsonl"), np.random.default_rng(options.seed)
    names = rng.permutation(sorted({query.singer for query in queries}))
    if len(names) < 4:
        raise Hmm2SongError(f"{options.hums} has {len(names)} singers; needed are four")
    trained = draw(queries, names[1::2], TRAINED_PER_SINGER, rng)
    judged = draw(queries, names[::2], JUDGED_PER_SINGER, rng)
    rows = [
        (name, *journal.remembered(f"singer {name}", measure)) for name, measure in voices(trained, judged, options)
    ]
    print(markdown_table(("singers", "equal error rate", "nearest is the singer"), rows), "\n")
    gallery, asked = melody_task(queries, options.limit, rng)
    rows = [
        (name, *journal.remembered(f"melody {name}", measure)) for name, measure in melodies(gallery, asked, options)
    ]
    print(markdown_table((f"{len(asked)} hums among {len(gallery)} songs", "top-1", "top-10", "MRR"), rows))


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hums", type=Path, required=True, metavar="CSV", help="file,song_id,singer")
    parser.add_argument("--melodies", type=Path, required=True, metavar="JSONL", help="what simulated hums sing")
    parser.add_argument("--work", type=Path, required=True, help="folder for what was computed")
    parser.add_argument("--cell-steps", type=positive, default=150, help="of each of the five networks")
    parser.add_argument("--tcae-steps", type=positive, default=300)
    parser.add_argument("--simulated", type=positive, default=150, help="hums that the auto-encoder learns from")
    parser.add_argument("--limit", type=positive, default=200, help="hums asked for their song (default 200)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def draw(queries: Sequence[Query], names: np.ndarray, n: int, rng: np.random.Generator) -> list[Query]:
    """Draw n hums of each singer who has two."""
    of_singer = [[query for query in queries if query.singer == name] for name in names]
    return [hums[at] for hums in of_singer if len(hums) > 1 for at in rng.permutation(len(hums))[:n]]


def load_8k(query: Query) -> np.ndarray:
    """Read a hum at 8 kHz, of one length for all."""
    samples = librosa.resample(load_audio(query.file), orig_sr=SAMPLE_RATE_HZ, target_sr=four_cells.SAMPLE_RATE_HZ)
    return np.resize(samples, int(HUM_S * four_cells.SAMPLE_RATE_HZ))


def mels_of(name: str, queries: Sequence[Query], options: argparse.Namespace, with_copies: bool) -> list[np.ndarray]:
    """Return log-mel spectrograms (n, n_frames, n_mels) of the hums, and of their copies; kept in --work."""
    file = options.work / f"mels_{name}.safetensors"
    if not file.is_file():
        rng, mels = np.random.default_rng(options.seed), []
        with progress(name, "hums", len(queries)) as show:
            for done, query in enumerate(queries, start=1):
                samples = load_8k(query)
                sounds = (samples, *four_cells.copies(samples, rng)) if with_copies else (samples,)
                mels.append([four_cells.log_mel(np.resize(sound, len(samples))) for sound in sounds])
                show(done)
        with whole_file(file) as new:
            save_file({"mels": np.array(mels, np.float16)}, new)
    return list(np.moveaxis(load_file(file)["mels"].astype(np.float32), 1, 0))


def voices(
    trained: Sequence[Query], judged: Sequence[Query], options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Yield methods and what measures them."""
    singers, songs = np.array([query.singer for query in judged]), np.array([query.acceptable[0] for query in judged])

    def scored(embed: Callable[[np.ndarray], np.ndarray]) -> list[str]:
        (mels,) = mels_of("judged", judged, options, with_copies=False)
        vectors = embed(mels)
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        scores = singer_scores(vectors @ vectors.T, singers, songs, options.seed).to_dict()
        return [interval_text(scores[key]) for key in ("equal_error", "nearest")]

    def cell_scores(cell: four_cells.Cell) -> list[str]:
        mels = mels_of("trained", trained, options, with_copies=True)
        network = four_cells.train_cell(mels, np.array([each.singer for each in trained]), cell, options.cell_steps)
        with torch.inference_mode():
            return scored(lambda judged_mels: network(torch.from_numpy(judged_mels)).numpy())

    yield "MFCC, means and deviations", lambda: scored(mfcc_statistics)
    yield "control: the quietest tenth of each hum", lambda: scored(quiet_spectrum)
    for cell in four_cells.CELLS:
        yield str(cell), lambda cell=cell: cell_scores(cell)


def mfcc_statistics(mels: np.ndarray) -> np.ndarray:
    """Return scaled means and deviations of 19 MFCC."""
    cepstra = dct(mels, axis=2, norm="ortho")[:, :, 1:20]
    return scaled(np.concatenate([cepstra.mean(axis=1), cepstra.std(axis=1)], axis=1))


def quiet_spectrum(mels: np.ndarray) -> np.ndarray:
    """Return the scaled mean spectrum of the quietest frames, relative to its own mean: the channel, mostly."""
    order = np.argsort(np.exp(mels).sum(axis=2), axis=1)[:, : int(mels.shape[1] * QUIET_SHARE)]
    quiet = np.take_along_axis(mels, order[:, :, None], axis=1).mean(axis=1)
    return scaled(quiet - quiet.mean(axis=1, keepdims=True))


def scaled(columns: np.ndarray) -> np.ndarray:
    """Return columns of mean 0 and deviation 1."""
    return (columns - columns.mean(axis=0)) / (columns.std(axis=0) + 1e-9)


def melody_task(queries: Sequence[Query], limit: int, rng: np.random.Generator) -> tuple[list[Query], list[Query]]:
    """Draw one hum of each song, and hums of the same songs by other people."""
    shuffled = [queries[at] for at in rng.permutation(len(queries))]
    gallery = list({query.acceptable[0]: query for query in shuffled}.values())
    singer_of = {query.acceptable[0]: query.singer for query in gallery}
    asked = (query for query in shuffled if query.singer != singer_of[query.acceptable[0]])
    return gallery, list(islice(asked, limit))


def melodies(
    gallery: Sequence[Query], asked: Sequence[Query], options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    """Yield methods and what measures them."""

    def scored(
        describe: Callable[[Query], np.ndarray], distance: Callable[[np.ndarray, np.ndarray], float]
    ) -> list[str]:
        songs = [(query.acceptable[0], describe(query)) for query in gallery]
        ranks = []
        with progress("hums", "hums", len(asked)) as show:
            for done, query in enumerate(asked, start=1):
                hum = describe(query)
                far = {song: distance(hum, described) for song, described in songs}
                ranks.append(1 + sum(other < far[query.acceptable[0]] for other in far.values()))
                show(done)
        scores = retrieval_scores(ranks, options.seed).to_dict()
        return [interval_text(scores[key]) for key in ("top1", "top10", "mrr")]

    def latent_of(network: tcae.Tcae) -> Callable[[Query], np.ndarray]:
        return lambda query: course(network.latent(tcae.tcae_mel(load_audio(query.file))))

    encoder = MelodyEncoder.load(BUNDLED_MODEL)
    n_songs = len(gallery)
    chance = [f"{share:.3f}" for share in (1 / n_songs, min(10 / n_songs, 1), np.mean(1 / np.arange(1, n_songs + 1)))]
    yield "chance", lambda: chance
    yield (
        "input of the TCAE (log-mel), aligned",
        lambda: scored(lambda hum: course(tcae.tcae_mel(load_audio(hum.file)).T), aligned),
    )
    yield "TCAE untrained, latent aligned", lambda: scored(latent_of(tcae.Tcae().eval()), aligned)
    yield "TCAE, latent aligned", lambda: scored(latent_of(trained_tcae(options)), aligned)
    yield "melody encoder of this project", lambda: scored(lambda hum: windows_of(hum, encoder), unlike)


def trained_tcae(options: argparse.Namespace) -> tcae.Tcae:
    """Train the auto-encoder on simulated hums; its weights are kept in --work."""
    file = options.work / "tcae.safetensors"
    if not file.is_file():
        rng, mels = np.random.default_rng(options.seed), []
        n_frames = int(HUM_S * SAMPLE_RATE_HZ) // tcae.HOP
        for number, (_, row) in enumerate(read_rows(options.melodies, "id", "notes")):
            if len(mels) == options.simulated:
                break
            try:
                _, samples = hum_audio(row["notes"], (Singer(), FEMALE)[number % 2], rng, duration_s=HUM_S)
            except MelodyError:
                continue
            mels.append(np.resize(tcae.tcae_mel(samples).T, (n_frames, tcae.N_MELS)).T)
        with progress("auto-encoder", "steps", options.tcae_steps) as show:
            network = tcae.train_tcae(np.array(mels), options.tcae_steps, progress=lambda step, _: show(step + 1))
        with whole_file(file) as new:
            save_file({name: weight.numpy() for name, weight in network.state_dict().items()}, new)
    network = tcae.Tcae()
    network.load_state_dict({name: torch.from_numpy(weight) for name, weight in load_file(file).items()})
    return network.eval()


def course(frames: np.ndarray) -> np.ndarray:
    """Return the course of frames (n, dim), averaged over POOLED_FRAMES, each column scaled: (dim, n / 8)."""
    whole = len(frames) // POOLED_FRAMES * POOLED_FRAMES
    return scaled(frames[:whole].reshape(-1, POOLED_FRAMES, frames.shape[1]).mean(axis=1)).T


def aligned(hum: np.ndarray, other: np.ndarray) -> float:
    """Return the mean cost of the best alignment by time warping."""
    cost, path = librosa.sequence.dtw(hum, other, metric="euclidean")
    return float(cost[-1, -1]) / len(path)


def windows_of(query: Query, encoder: MelodyEncoder) -> np.ndarray:
    """Return embeddings of the windows of a hum."""
    contour = fill_rests(track_pitch(load_audio(query.file)).melody)
    return encoder.embed_song(contour) if len(contour.pitch_midi) else np.zeros((1, encoder.dim), np.float32)


def unlike(hum: np.ndarray, other: np.ndarray) -> float:
    """Return how far each window is from its best one, on average."""
    return -float((hum @ other.T).max(axis=1).mean())


main = main_of(__file__, parse_options, run, GOES_ON)

if __name__ == "__main__":
    sys.exit(main())
