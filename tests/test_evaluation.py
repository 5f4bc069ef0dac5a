"""Retrieval metrics against numbers worked out by hand."""

import json

import numpy as np
import pytest

from hmm2song.evaluation import rank_of, retrieval_scores

RANKS = [1, 2, 0, 4, 11]


@pytest.mark.parametrize(
    ("acceptable", "rank"), [({"a"}, 1), ({"c"}, 3), ({"d", "b"}, 2), ({"x"}, 0), (set(), 0), (["c", "a"], 1)]
)
def test_rank_is_the_place_of_the_first_acceptable(acceptable, rank):
    assert rank_of(["a", "b", "c", "d"], acceptable) == rank


def test_an_empty_ranking_holds_nothing():
    assert rank_of([], {"a"}) == 0


def test_metrics_by_hand():
    scores = retrieval_scores(RANKS)
    assert scores.n == 5
    assert scores.top1.value == pytest.approx(1 / 5)
    assert scores.top3.value == pytest.approx(2 / 5)
    assert scores.top10.value == pytest.approx(3 / 5)
    assert scores.mrr.value == pytest.approx((1 + 1 / 2 + 0 + 1 / 4 + 1 / 11) / 5)


@pytest.mark.parametrize(("ranks", "value"), [([1] * 20, 1.0), ([0] * 20, 0.0)])
def test_unanimous_ranks_leave_no_doubt(ranks, value):
    scores = retrieval_scores(ranks)
    for metric in (scores.top1, scores.top3, scores.top10, scores.mrr):
        assert (metric.value, metric.low, metric.high) == (value, value, value)


def test_intervals_hold_the_mean_and_shrink_with_more_queries():
    few, many = retrieval_scores(RANKS * 5), retrieval_scores(RANKS * 80)
    for name in ("top1", "top3", "top10", "mrr"):
        for metric in (getattr(few, name), getattr(many, name)):
            assert 0.0 <= metric.low < metric.value < metric.high <= 1.0
        width_few = getattr(few, name).high - getattr(few, name).low
        width_many = getattr(many, name).high - getattr(many, name).low
        assert width_many == pytest.approx(width_few / 4, rel=0.25)


def test_the_interval_is_that_of_a_proportion():
    top1 = retrieval_scores([1, 0] * 200).top1
    half_width = 1.96 * np.sqrt(0.25 / 400)
    assert (top1.low, top1.high) == pytest.approx((0.5 - half_width, 0.5 + half_width), abs=0.01)


def test_the_same_seed_gives_the_same_interval():
    first, second, other = (retrieval_scores(RANKS * 5, seed) for seed in (0, 0, 1))
    assert first == second
    assert first.mrr.value == other.mrr.value
    assert first.mrr != other.mrr


def test_scores_as_json():
    scores = json.loads(json.dumps(retrieval_scores(RANKS).to_dict()))
    assert set(scores) == {"n", "top1", "top3", "top10", "mrr"}
    assert (scores["n"], scores["top3"]["value"], scores["mrr"]["value"]) == (5, 0.4, 0.3682)
    assert all(set(scores[name]) == {"value", "low", "high"} for name in ("top1", "top3", "top10", "mrr"))
