"""The figures, made with matplotlib and without a display."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from tdml.monitor.record import headline, ranked, replicas_of

matplotlib.rcParams["text.parse_math"] = False  # a $ in a name is one

ACCUSED, SUSPECT, HONEST = "#c62828", "#ef8f00", "#1565c0"
_MOST_NAMED = 12  # replicas: a longer legend covers the lines
_CLOSE = 0.06  # of an axis: labels of points that are nearer cover each other
COLOURS = {"malicious": ACCUSED, "suspicious": SUSPECT, "honest": HONEST}


def rank_scatter(line: dict[str, Any]) -> Figure:
    """The paper's figure for one round of metrics.jsonl in which replicas were ranked: mean against
    standard deviation of ranks.

    One point a replica, the accused in red.
    """
    replicas = ranked(line)
    # there is one a round, and to find the margins costs more than to draw it
    figure = Figure(figsize=(3.4, 2.8))
    axes = figure.add_axes((0.2, 0.17, 0.74, 0.73))
    for verdict, colour in COLOURS.items():
        points = [r for r in replicas.values() if r["verdict"] == verdict]
        if points:
            axes.scatter(
                [r["rank_mean"] for r in points],
                [r["rank_std"] for r in points],
                c=colour,
                s=42,
                label=verdict,
            )
    places = {f"r{name}": (r["rank_mean"], r["rank_std"]) for name, r in replicas.items()}
    _span(axes, *zip(*places.values(), strict=True))
    for names in _crowds(axes, places):
        axes.annotate(
            " ".join(names), places[names[0]], xytext=(5, 4), textcoords="offset points", fontsize=8
        )
    void = ", taken back" if line.get("void") else ""
    axes.set(
        xlabel="mean of ranks",
        ylabel="standard deviation of ranks",
        title=f"round {line['round']}{void}",
    )
    axes.legend(fontsize=7, loc="best")
    axes.grid(alpha=0.25)
    return figure


def _span(axes: Axes, means: Sequence[float], stds: Sequence[float]) -> None:
    """Limits around the points, never so close that the noise of an honest round fills the
    figure."""
    for values, set_limits in ((means, axes.set_xlim), (stds, axes.set_ylim)):
        middle, half = (min(values) + max(values)) / 2, max(0.1, 0.65 * (max(values) - min(values)))
        set_limits(middle - half, middle + half)


def _crowds(axes: Axes, points: Mapping[str, tuple[float, float]]) -> list[list[str]]:
    """The names, those together whose points lie so close that one label would cover another."""
    wide, high = (_CLOSE * (most - least) for least, most in (axes.get_xlim(), axes.get_ylim()))
    crowds: list[list[str]] = []
    for name, (x, y) in points.items():
        for crowd in crowds:
            a, b = points[crowd[0]]
            if abs(a - x) < wide and abs(b - y) < high:
                crowd.append(name)
                break
        else:
            crowds.append([name])
    return crowds


def curves(lines: Sequence[dict[str, Any]]) -> Figure:
    """The task's first metric and the losses over the rounds of metrics.jsonl."""
    figure = Figure(figsize=(9, 3), layout="constrained")
    metric, loss = figure.subplots(1, 2)
    _draw_metric(metric, lines)
    _draw_losses(loss, lines)
    for axes in (metric, loss):
        axes.grid(alpha=0.25)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return figure


def _draw_metric(axes: Axes, lines: Sequence[dict[str, Any]]) -> None:
    name, rounds = headline(lines[-1]), [line["round"] for line in lines]
    tested = [_number(line.get(f"test_{name}")) for line in lines]
    axes.plot(rounds, tested, "o-", color=HONEST, label="test")
    if any(f"validation_{name}" in line for line in lines):
        validated = [_number(line.get(f"validation_{name}")) for line in lines]
        axes.plot(rounds, validated, ".--", color=SUSPECT, label="validation")
        axes.legend(fontsize=7, loc="lower right")
    title = name.replace("_", " ")
    axes.set(xlabel="round", ylabel=title, title=f"Test {title}")
    if name.endswith("accuracy"):
        axes.set_ylim(0, 1.02)


def _draw_losses(axes: Axes, lines: Sequence[dict[str, Any]]) -> None:
    rounds, replicas = [line["round"] for line in lines], replicas_of(lines)
    named = len(replicas) <= _MOST_NAMED
    for place, replica in enumerate(replicas):
        records = [line["replicas"].get(replica, {}) for line in lines]
        together = "" if place else "each replica, training"
        axes.plot(
            rounds,
            [_number(r.get("train_loss")) for r in records],
            ".-",
            color=None if named else HONEST,
            alpha=0.7 if named else 0.3,
            label=f"r{replica}, training" if named else together,
        )
    tested = [_number(line["test_loss"]) for line in lines]
    axes.plot(rounds, tested, "ko--", markersize=4, label="global, test")
    axes.set(xlabel="round", ylabel="loss", title="Loss")
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    shown = values[np.isfinite(values)]
    if shown.size and shown.min() > 0:  # some tasks' are not
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")  # 3, and not 3 × 10⁰
        axes.yaxis.set_minor_formatter(LogFormatter())
    axes.legend(fontsize=7, ncols=2)


def to_svg(figure: Figure) -> str:
    """The figure as an SVG element to be put into a page; the same text for the same figure."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Glyph .* missing")
        try:
            return _drawn(figure, "path")
        except UserWarning:  # what our font lacks, as for Chinese names, that of a browser has
            warnings.filterwarnings("ignore", "Glyph .* missing")
            return _drawn(figure, "none")


def _drawn(figure: Figure, letters: str) -> str:
    """`letters`: as matplotlib's setting svg.fonttype."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "tdml", "svg.fonttype": letters}):
        # not figure.savefig(), which draws twice
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
