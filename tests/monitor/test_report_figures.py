"""Which rounds' ranks the report shows."""

from itertools import pairwise

from tdml.monitor.report import _MOST_SCATTERS, _scatters, _telling


def _line(number: int, *verdicts: str) -> dict:
    replicas = {
        str(i): {"verdict": verdict, "rank_mean": 2.0 + i, "rank_std": 1.0}
        for i, verdict in enumerate(verdicts)
    }
    return {"round": number, "replicas": replicas}


def test_few_rounds_are_all_shown() -> None:
    lines = [_line(n, "honest") for n in range(1, _MOST_SCATTERS + 1)]
    assert _telling(lines) == lines


def test_of_many_the_gravest_and_an_even_spread_of_the_rest() -> None:
    lines = [_line(n, "honest", "honest") for n in range(1, 1001)]
    lines[400] = _line(401, "honest", "malicious")
    lines[700] = _line(701, "suspicious", "lost")
    shown = [line["round"] for line in _telling(lines)]
    assert shown == sorted(shown)
    assert len(shown) == _MOST_SCATTERS
    assert {1, 401, 701, 1000} <= set(shown)
    gaps = [b - a for a, b in pairwise(shown)]
    assert max(gaps) < 60


def test_more_accused_than_there_is_room_for() -> None:
    lines = [_line(n, "malicious" if n % 2 else "suspicious") for n in range(100)]
    shown = _telling(lines)
    assert len(shown) == _MOST_SCATTERS
    assert all(line["replicas"]["0"]["verdict"] == "malicious" for line in shown)


def test_the_page_says_how_many_it_leaves_out() -> None:
    lines = [_line(n, "honest", "honest") for n in range(1, 31)]
    page = _scatters(lines)
    assert page.count("<svg") == _MOST_SCATTERS
    assert f"{_MOST_SCATTERS} of 30 rounds" in page
    lost = _line(31, "lost")
    lost["replicas"]["0"]["rank_mean"] = None
    assert _scatters([lost]) == "<p>No replica was ranked.</p>"
