"""What a result shows in a notebook: a line, a table, the plot of the hum over the song."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from matches import HOSTILE, SONG, hum, make_match, make_result

from hmm2song import Recognizer
from hmm2song.errors import QueryError
from hmm2song.match import overlay
from hmm2song.match.results import HEADINGS
from hmm2song.melody.advice import Advice
from hmm2song.melody.melody import HOP_S, Melody


def test_everything_is_shown_in_a_line():
    match = make_match()
    assert repr(match) == "Match(1: 'Arirang (아리랑)', 93%, from 0:10)"
    assert repr(make_result(match, match)) == f"SearchResult(best 2 of 12 songs: {match!r})"
    for probability, words in ((0.01, "no match among 12 songs, the closest"), (0.3, "perhaps one of 12 songs")):
        poor = make_match(probability=probability)
        assert repr(make_result(poor)) == f"SearchResult({words}: {poor!r})"
    assert repr(make_result(no_match=True)) == "SearchResult(no match among 12 songs)"
    assert repr(hum()) == "Melody(4.0 s, 4.0 s of it voiced, MIDI 46.0 to 52.0)"
    assert repr(Melody(np.full(50, np.nan))) == "Melody(2.0 s, 0.0 s of it voiced)"


@pytest.mark.parametrize(
    ("probability", "voiced_s", "level"),
    [(0.9, 4.0, "found"), (0.5, 4.0, "found"), (0.49, 4.0, "perhaps"), (0.08, 4.0, "perhaps"), (0.04, 4.0, "none"),
     (0.9, 1.5, "none"), (0.0, 60.0, "none")],
)  # fmt: skip
def test_a_level_needs_evidence_and_a_probability_worth_saying(probability, voiced_s, level):
    hummed = Melody(np.full(round(voiced_s / HOP_S), 60.0))
    assert make_result(make_match(probability=probability), hum=hummed).level == level
    assert make_result(hum=hummed).level == "none"


@pytest.mark.usefixtures("tiny_model")
def test_a_short_hum_is_no_match_even_in_a_small_catalog():
    recognizer = Recognizer.from_melodies({"a": SONG})
    result = recognizer.recognize_melody(SONG.slice_s(0.0, 1.5))
    assert (result.level, result.no_match) == ("none", True)
    assert result.to_dict()["level"] == "none"


@pytest.mark.usefixtures("tiny_model")
def test_a_recognizer_says_what_it_searches():
    recognizer = Recognizer.from_melodies({"a": SONG, "b": SONG})
    assert repr(recognizer) == f"Recognizer({recognizer.catalog!r})"
    assert repr(recognizer.catalog).startswith("Catalog(2 songs, 0.0 h of melody, encoder ")


def test_the_table_of_a_notebook_is_escaped():
    advice = Advice("too_quiet", "Hum <louder>", 1.0)
    html = make_result(make_match(title=HOSTILE), make_match(rank=2), advice=(advice,))._repr_html_()
    assert html.count("<tr>") == 3 and "<td>93%</td>" in html and "Hum &lt;louder&gt;" in html
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "No match among 12 songs" in make_result(no_match=True)._repr_html_()


def test_rows_have_a_heading_each():
    assert dict(zip(HEADINGS, make_match().row(), strict=True)) == {
        "": "1",
        "sure": "93%",
        "title": "Arirang (아리랑)",
        "artist": "Trad. & Co",
        "genre": "Folk",
        "at": "0:10",
        "key": "-14 st",
        "tempo": "200%",
    }
    assert [make_match(title_ko=korean).full_title for korean in ("", "Arirang")] == ["Arirang", "Arirang"]


def test_to_frame_has_the_columns_of_the_json(monkeypatch):
    result = make_result(make_match(), make_match(rank=2))
    frame = result.to_frame()
    assert frame.to_dict("records") == [match.to_dict() for match in result.matches]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match="pip install .pandas"):
        result.to_frame()


def test_the_hum_is_drawn_where_it_lies_on_the_song() -> None:
    match = make_match()
    contour = overlay.hum_contour(hum(), match.alignment)
    assert contour.time_s[0] == pytest.approx(10.0)
    assert contour.time_s[-1] == pytest.approx(match.alignment.end_s)
    frames = np.round(contour.time_s / HOP_S).astype(int)
    np.testing.assert_allclose(contour.pitch_midi, SONG.pitch_midi[frames])
    assert overlay.distance_st(hum(), SONG, match.alignment) == pytest.approx(0.0)
    jumped = Melody(SONG.pitch_midi + np.where(np.arange(len(SONG.pitch_midi)) % 100 < 50, 12.0, 0.0))
    assert overlay.distance_st(hum(), jumped, match.alignment) > 5.0
    assert overlay.distance_st(hum(), jumped, match.alignment, modulo_octave=True) == pytest.approx(0.0)


def test_the_plot_shows_both_lines_and_is_json(monkeypatch) -> None:
    result = make_result(make_match(), make_match(rank=2, title_ko=""))
    figure = result.plot()
    song, drawn_hum = figure.data
    assert (song.name, drawn_hum.name) == ("Arirang (아리랑)", "hum")
    assert None in song.y  # notes stand apart
    assert list(figure.layout.xaxis.range) == [  # with some of the song before and after
        pytest.approx(10 - overlay.CONTEXT_S),
        pytest.approx(17.92 + overlay.CONTEXT_S, abs=2 * HOP_S),
    ]
    assert "0:10" in figure.layout.xaxis.ticktext
    low, high = figure.layout.yaxis.range
    assert low < 60 and high > 66
    assert "NaN" not in figure.to_json()
    assert result.plot(2).data[0].name == "Arirang"
    for rank in (0, 3):
        with pytest.raises(QueryError, match=f"rank {rank}; 2 were found"):
            result.plot(rank)
    silent = make_result(make_match(), hum=Melody(np.full(100, np.nan)))
    assert silent.plot().data[0].y
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(ImportError, match="pip install .plotly"):
        result.plot()
