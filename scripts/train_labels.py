#!/usr/bin/env python
"""Train what guesses genre and singer's gender when recordings are indexed (assets/model_labels).

    python scripts/train_labels.py --speakers SPEAKERS --music MUSIC --catalog CATALOG [--catalog ...] --out OUT

SPEAKERS holds speakers.csv (file, speaker, gender) and the recordings that it names, a few seconds of each speaker;
the bundled model was trained on LibriSpeech (CC BY 4.0). Of each, the clean recording is learned from and five with
music of the folder MUSIC under it: voices in mixes are embedded elsewhere than clean ones. The catalogs hold facets of
recordings whose genre is stated (and gender, only to be measured): how probable a tag must be for its genre to be right
is learned from them.

Printed is what was measured: gender by speaker (ten folds), and on the catalogs; genre by artist or source, left out
one by one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, cross_val_predict
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from hmm2song.audio import SAMPLE_RATE_HZ, load_part, load_recording
from hmm2song.catalog import storage
from hmm2song.catalog.facets import Facets
from hmm2song.catalog.hub import assets_folder
from hmm2song.embeddings.voice import VOICE_DIM, VoiceEncoder
from hmm2song.errors import AudioError, Hmm2SongError
from hmm2song.script import main_of, table_rows
from hmm2song.similar.enrich import GUESSED_GENRES, LABELS_FILE, MIN_PROBABILITY, LabelModel, best_genres
from hmm2song.song import Song

GENDER_C, GENRE_C = 30.0, 10.0
TAG_WEIGHT, TAG_MIDDLE = 2.5, 1.8
"""The log of the female over the male tag is at most 1.1 for eleven songs by men, at least 2.4 for eight by a woman."""
SNR_DB = ((-3, 0, 3), (-3, 0, 3), (0, 3, 6), (6, 10), (6, 10))
"""Speech over music, one choice of each for a speaker."""
MUSIC_FROM_S, MUSIC_S = 20.0, 20.0
MIN_MUSIC_S = 10.0
ALIASES = {"dnb": "Electronic", "house": "Electronic", "ambiance": "Ambient"}
ROUNDED = 5


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speakers", type=Path, required=True, help="folder with speakers.csv and recordings")
    parser.add_argument("--music", type=Path, required=True, help="folder of music without voices")
    parser.add_argument("--catalog", type=Path, action="append", required=True, help="facets and stated labels")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the model to")
    parser.add_argument("--seed", type=int, default=0, help="for the mixtures (default 0)")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> None:
    """Train, measure and write."""
    voices, is_male, speaker = embedded_speakers(options)
    songs, facets = labelled_songs(options.catalog)
    gender = LogisticRegression(C=GENDER_C, max_iter=3000)
    probability = cross_val_predict(gender, voices, is_male, groups=speaker, cv=GroupKFold(10), method="predict_proba")
    gender.fit(voices, is_male)
    _, evidence, right, group = genre_evidence(songs, facets)
    genre = LogisticRegression(C=GENRE_C)
    fit = {"groups": group, "cv": LeaveOneGroupOut(), "method": "predict_proba"}
    genre_probability = cross_val_predict(genre, evidence, right, **fit)[:, 1]
    genre.fit(evidence, right)
    model = {
        "credit": "voices: LibriSpeech (V. Panayotov and others, CC BY 4.0)",
        "gender": {
            "voice_weights": gender.coef_[0].round(ROUNDED).tolist(),
            "voice_bias": round(float(gender.intercept_[0]), ROUNDED),
            "tag_weight": TAG_WEIGHT,
            "tag_middle": TAG_MIDDLE,
        },
        "genre": {"slope": round(float(genre.coef_[0, 0]), 3), "offset": round(float(genre.intercept_[0]), 3)},
    }
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / LABELS_FILE).write_text(json.dumps(model) + "\n", encoding="utf-8")
    figures = {
        "gender of speakers": answered(probability.max(axis=1), probability.argmax(axis=1) == is_male, "gender"),
        "gender of singers": singers(LabelModel.load(options.out), songs, facets),
        "genre": answered(genre_probability, right, "genre") | {"songs": len(songs)},
    }
    print(json.dumps(figures, indent=1))


def embedded_speakers(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return voices (n, 256), whether each is male, and the number of its speaker."""
    encoder, random = VoiceEncoder(assets_folder() / "model_voice"), np.random.default_rng(options.seed)
    rows = table_rows(options.speakers / "speakers.csv", "file", "gender", "speaker")
    music = list(backgrounds(options.music, random))
    voices, is_male, speakers = [], [], []
    for row in tqdm(rows, desc="speakers", unit=" speakers"):
        speech = load_recording(options.speakers / row["file"])
        noisy = [mixed(speech, music[random.integers(len(music))], random.choice(db), random) for db in SNR_DB]
        for samples in (speech, *noisy):
            voices.append(encoder.embed(samples, [(0.0, len(samples) / SAMPLE_RATE_HZ)])[:VOICE_DIM])
            is_male.append(row["gender"] == "male")
            speakers.append(row["speaker"])
    return np.array(voices), np.array(is_male), np.unique(speakers, return_inverse=True)[1]


def backgrounds(folder: Path, random: np.random.Generator) -> list[np.ndarray]:
    """Return the music of a folder, without what cannot be read, is short or is silent; at most 150 recordings."""
    files = random.permutation(sorted(str(path) for path in folder.rglob("*") if path.is_file()))[:600]
    kept: list[np.ndarray] = []
    for file in files:
        try:
            samples = load_part(file, SAMPLE_RATE_HZ, MUSIC_FROM_S, MUSIC_S)
        except AudioError:
            continue
        if len(samples) >= MIN_MUSIC_S * SAMPLE_RATE_HZ and level_of(samples) > 0.005:
            kept.append(samples)
        if len(kept) == 150:
            break
    if not kept:
        raise Hmm2SongError(f"{folder} holds no music of at least {MUSIC_FROM_S + MIN_MUSIC_S:.0f} s that can be read")
    return kept


def mixed(speech: np.ndarray, music: np.ndarray, snr_db: float, random: np.random.Generator) -> np.ndarray:
    """Return speech with a random part of some music under it."""
    start = random.integers(max(1, len(music) - len(speech)))
    under = np.resize(music[start : start + len(speech)], len(speech))
    gain = level_of(speech) / max(level_of(under), 1e-6) * 10 ** (-snr_db / 20)
    return (speech + gain * under).astype(np.float32)


def level_of(samples: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def labelled_songs(folders: Sequence[Path]) -> tuple[tuple[Song, ...], Facets]:
    """Return the heard songs of catalogs."""
    songs, parts = [], []
    for folder in folders:
        facets, rows = Facets.load(folder), storage.read_songs(folder)
        if facets is None:
            raise Hmm2SongError(f"{folder} has no facets: index the recordings again")
        wanted = [place for place in range(len(rows)) if facets.heard[place]]
        songs += [rows[place] for place in wanted]
        parts.append(facets.take(wanted))
    return tuple(songs), Facets.concatenate(parts)


def genre_evidence(songs: Sequence[Song], facets: Facets) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return, of songs whose best tag is of a genre to be guessed: genre, log odds (n, 1), whether right, and group."""
    names, evidence = best_genres(facets.tags)
    chosen = [k for k, song in enumerate(songs) if song.genre and names[k] in GUESSED_GENRES]
    right = np.array([is_right(names[k], songs[k]) for k in chosen])
    groups = np.unique([songs[k].source or songs[k].artist for k in chosen], return_inverse=True)[1]
    return [names[k] for k in chosen], evidence[chosen][:, None], right, groups


def is_right(genre: str, song: Song) -> bool:
    """Tell whether a guess fits what is stated: "Metal" fits "Death Metal"."""
    stated = song.genre.lower()
    return genre.lower() in stated or ALIASES.get(stated) == genre


def answered(probability: np.ndarray, right: np.ndarray, label: str) -> dict:
    """Return how many are sure enough to be filled in, and how many of those are right."""
    sure = probability >= MIN_PROBABILITY[label]
    return {"asked": len(right), "answered": int(sure.sum()), "right": int(right[sure].sum())}


def singers(model: LabelModel, songs: Sequence[Song], facets: Facets) -> dict:
    """Return the same for songs by women and by men, and for those that state no gender, as instrumentals do."""
    guesses = model.genders(facets)
    figures = {}
    for gender in ("female", "male", "mixed", ""):
        values = [guess and guess.value for song, guess in zip(songs, guesses, strict=True) if song.gender == gender]
        counts = {"asked": len(values), "answered": len(values) - values.count(None), "right": values.count(gender)}
        figures[gender or "not stated"] = counts
    return figures


main = main_of(__file__, parse_options, run)

if __name__ == "__main__":
    sys.exit(main())
