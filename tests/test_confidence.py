"""Probabilities: shares of one, "none of these" among them, and moved the right way by what is known."""

import numpy as np
import pytest

from hmm2song.match.confidence import TRACKED, WRITTEN, Confidence, LogitConstants, log_odds
from hmm2song.match.confidence import probabilities as of_odds

SCORES_ST = np.array([-0.2, -0.5, -0.55, -0.8])
CONSTANTS = LogitConstants(
    sharpness_per_st=10.0, length_exponent=0.5, none_score_st=-0.5, crowd_weight=0.5, typical_crowd_st=-0.6
)


def probabilities(scores_st: np.ndarray, voiced_s: float, constants: LogitConstants = WRITTEN) -> Confidence:
    return of_odds(log_odds(scores_st, voiced_s, constants))


@pytest.mark.parametrize("voiced_s", [0.0, 1.0, 6.0, 60.0])
@pytest.mark.parametrize("scores_st", [SCORES_ST, np.array([0.3]), np.full(200, -3.0), np.array([])])
def test_songs_and_none_share_one(scores_st, voiced_s):
    found = probabilities(scores_st, voiced_s)
    assert found.song.shape == scores_st.shape
    assert found.song.sum() + found.none == pytest.approx(1.0)
    assert (found.song >= 0).all()
    assert found.song.sum() <= 1.0
    assert 0.0 < found.none <= 1.0


def test_by_hand():
    # six seconds and no crowd: b = 10, s0 = -0.5
    found = probabilities(np.array([-0.4, -0.5]), 6.0, CONSTANTS)
    e = np.exp(1.0)
    np.testing.assert_allclose(found.song, [e / (e + 2), 1 / (e + 2)])
    assert found.none == pytest.approx(1 / (e + 2))
    # four times as long, and a crowd 0.2 st better than usual: b = 20, s0 = -0.4
    found = probabilities(np.full(12, -0.4), 24.0, CONSTANTS)
    np.testing.assert_allclose([*found.song, found.none], [1 / 13] * 13)


def test_extreme_scores_stay_numbers():
    for scores_st in ([-1e9, -1e9], [1e9, 0.0], [0.3] * 1000):
        found = probabilities(np.array(scores_st), 60.0)
        assert np.isfinite([*found.song, found.none]).all()
    assert probabilities(np.array([-1e9]), 6.0).none == 1.0
    assert probabilities(np.array([]), 6.0).none == 1.0


@pytest.mark.parametrize("fitted", [WRITTEN, TRACKED])
def test_the_fitted_constants_point_the_right_way(fitted):
    assert fitted.sharpness_per_st > 0
    assert 0 < fitted.crowd_weight < 1.5
    assert -2.5 < fitted.none_score_st < 0.3  # scores lie between the cap of the costs and a full vote
