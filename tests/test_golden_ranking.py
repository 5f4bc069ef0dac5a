"""Golden rankings: what the bundled catalog answers to the bundled examples and to simulated hums.

Constants of the tracker, the search and the confidence cannot move without a test that notices. When a change is
meant, look at what it changes and record anew: ``PYTHONPATH=. python tests/test_golden_ranking.py``.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hmm2song import Recognizer
from hmm2song.audio import SAMPLE_RATE_HZ
from hmm2song.match.results import SearchResult
from hmm2song.melody.notation import abc
from hmm2song.melody.notation.parts import melody_line
from hmm2song.training.singer import FEMALE, Singer
from hmm2song.training.voice import hum_audio

ASSETS = Path(__file__).parent.parent / "assets"
GOLDEN = Path(__file__).parent / "golden" / "ranking.json"
EXAMPLES = sorted(path.name for path in (ASSETS / "examples").glob("*.flac"))
SIMULATED = (
    "auld-lang-syne", "die-forelle", "greensleeves", "la-cucaracha", "korobeiniki", "mo-li-hua", "my-bonnie",
    "o-holy-night", "scarborough-fair", "silent-night",
)  # fmt: skip
"""Files of the songbook that are hummed for this test, the longer numbers by a woman."""
TOP_K = 3
PROBABILITY_TOLERANCE = 0.02
START_TOLERANCE_S = 0.3
KEY_TOLERANCE_ST = 0.3
TEMPO_TOLERANCE = 0.04


def simulated_hum(name: str, number: int) -> tuple[int, np.ndarray]:
    """Hum a tune of the songbook, for 4 to 10 s: short hums have probabilities in the middle."""
    text = (ASSETS / "songbook" / f"{name}.abc").read_text(encoding="utf-8")
    notes = [tuple(note) for note in melody_line(abc.parse_tune(abc.split_tunes(text)[0]).parts)]
    singer = FEMALE if number % 2 else Singer()
    _, samples = hum_audio(notes, singer, np.random.default_rng(number), duration_s=4.0 + 0.6 * number)
    return SAMPLE_RATE_HZ, samples


def hums() -> dict[str, Path | tuple[int, np.ndarray]]:
    """Return all hums by name."""
    examples = {name: ASSETS / "examples" / name for name in EXAMPLES}
    return examples | {name: simulated_hum(name, number) for number, name in enumerate(SIMULATED)}


def summary(result: SearchResult) -> dict:
    """Return what is compared."""
    matches = [
        {
            "id": match.id,
            "probability": round(match.probability, 4),
            "start_s": round(match.alignment.start_s, 2),
            "key_shift_st": round(match.alignment.key_shift_st, 2),
            "tempo_ratio": round(match.alignment.tempo_ratio, 3),
        }
        for match in result.matches
    ]
    return {"no_match": result.no_match, "matches": matches}


@pytest.fixture(scope="module")
def answers() -> dict[str, dict]:
    recognizer = Recognizer.from_pretrained()
    return {name: summary(recognizer.recognize(hum, top_k=TOP_K)) for name, hum in hums().items()}


@pytest.mark.parametrize("name", [*EXAMPLES, *SIMULATED])
def test_the_ranking_is_the_one_recorded(answers, name):
    answer, golden = answers[name], json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    assert answer["no_match"] == golden["no_match"]
    first, golden_first = answer["matches"][0], golden["matches"][0]
    assert first["id"] == golden_first["id"]
    assert first["start_s"] == pytest.approx(golden_first["start_s"], abs=START_TOLERANCE_S)
    assert first["key_shift_st"] == pytest.approx(golden_first["key_shift_st"], abs=KEY_TOLERANCE_ST)
    assert first["tempo_ratio"] == pytest.approx(golden_first["tempo_ratio"], abs=TEMPO_TOLERANCE)
    probability_of = {match["id"]: match["probability"] for match in answer["matches"]}
    for match in golden["matches"]:
        assert probability_of.get(match["id"], 0.0) == pytest.approx(match["probability"], abs=PROBABILITY_TOLERANCE)


def test_probabilities_in_the_middle_are_among_them():
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    best = [answer["matches"][0]["probability"] for answer in golden.values()]
    assert sum(0.05 < probability < 0.95 for probability in best) >= 3


if __name__ == "__main__":
    recognizer = Recognizer.from_pretrained()
    recorded = {name: summary(recognizer.recognize(hum, top_k=TOP_K)) for name, hum in hums().items()}
    GOLDEN.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")
