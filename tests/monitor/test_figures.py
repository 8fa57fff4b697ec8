"""The figures of a report."""

from tdml.monitor.figures import rank_scatter


def _replica(mean: float, std: float, verdict: str = "honest") -> dict:
    return {"verdict": verdict, "rank_mean": mean, "rank_std": std}


def test_points_that_lie_together_have_one_label() -> None:
    replicas = {
        "0": _replica(2.5, 0.72), "1": _replica(2.501, 0.721), "2": _replica(2.499, 0.719),
        "3": _replica(2.5, 1.45, "malicious"), "4": _replica(2.6, 0.72),
    }  # fmt: skip
    figure = rank_scatter({"round": 2, "replicas": replicas, "void": True})
    [axes] = figure.axes
    assert [text.get_text() for text in axes.texts] == ["r0 r1 r2", "r3", "r4"]
    assert axes.get_title() == "round 2, taken back"
