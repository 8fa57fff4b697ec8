"""The figures of a report."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from tdml.monitor.figures import curves, rank_scatter


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


@pytest.mark.parametrize(
    ("losses", "scale"),
    [
        ([2.0, 0.5], "log"),
        ([2.1, 1.4], "log"),
        ([0.5, -1.0], "linear"),
        ([0.0, 0.0], "linear"),
        ([None, None], "linear"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_losses_that_are_not_positive_are_drawn_as_they_are(losses: list, scale: str) -> None:
    lines = [
        {"round": n, "test_loss": loss, "test_r2": 0.1, "replicas": {"0": {"train_loss": loss}}}
        for n, loss in enumerate(losses, start=1)
    ]
    figure = curves(lines)
    _, axes = figure.axes
    assert axes.get_yscale() == scale
    figure.draw_without_rendering()
    labels = [text.get_text() for text in axes.yaxis.get_ticklabels(which="both")]
    assert any(labels)
    assert not any("times" in label for label in labels), "3, and not 3 × 10⁰"


@pytest.mark.parametrize(("replicas", "entries"), [(1, 2), (12, 13), (64, 2)])
def test_a_legend_covers_no_lines(replicas: int, entries: int) -> None:
    records = {str(index): {"train_loss": 1.0 + index} for index in range(replicas)}
    lines = [{"round": number, "test_loss": 1.0, "replicas": records} for number in range(1, 4)]
    figure = curves(lines)
    FigureCanvasAgg(figure).draw()
    loss = figure.axes[1]
    assert len(loss.lines) == replicas + 1
    assert len(loss.get_legend().get_texts()) == entries
    box = loss.get_legend().get_window_extent()
    assert loss.bbox.contains(*box.min) and loss.bbox.contains(*box.max)


def test_rounds_are_whole_numbers() -> None:
    line = {"round": 1, "test_loss": 1.0, "replicas": {"0": {"train_loss": 1.0}}}
    figure = curves([line])
    FigureCanvasAgg(figure).draw()
    for axes in figure.axes:
        ticks = axes.get_xticks()
        assert len(ticks) and all(tick == round(tick) for tick in ticks)
