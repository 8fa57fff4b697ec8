"""The paper's figures (arXiv 2407.07339) from any runs: a line for each, with its name and last
value at its end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from tdml.monitor.figures import ACCUSED
from tdml.monitor.history import History, RoundMetrics
from tdml.monitor.labels import shorten, spread

PAPERS_ACCURACY = 0.9  # what all of the paper's runs end near
_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#c0549a", "#8c6d00", "#3aa0dc", "#7a3e9d", "#e69f00",
    "#1b5e20", "#b2182b", "#5e6b73", "#00a5a8",
)  # fmt: skip
_MUTED = "#8a8a8a"
_DASHES = (0, (5, 4))
_LABEL = 12.0  # height of a label, in points
_LEFT, _BOTTOM, _TOP = 0.75, 0.6, 0.7  # margins of a panel, in inches
_NARROW, _WIDE, _LEAST_HEIGHT = 3.6, 5.4, 3.6  # of a panel, in inches
_INCHES_A_LETTER = 0.073
_LEAST_ENLARGED = 10  # rounds; in fewer, lines have not come near each other
_INSET = (0.42, 0.22, 0.54, 0.46)  # place in a panel: left, bottom, width, height
_LOOKS = ("color", "linestyle", "marker", "markeredgecolor", "markerfacecolor")


@dataclass(frozen=True)
class _Quantity:
    """What is drawn by round."""

    name: str
    of: Callable[[RoundMetrics], float | None]
    form: str
    scale: str = "linear"
    limits: tuple[float, float] | None = None  # of the axis; None: those of the values

    def points(self, history: History) -> tuple[list[int], list[float]]:
        """Rounds and values; a gap where a value is not known."""
        values = (self.of(line) for line in history.rounds)
        return [line.round for line in history.rounds], [
            float("nan") if v is None else v for v in values
        ]

    def end(self, history: History) -> tuple[int, float] | None:
        """The last round with a value, and that; None if there is none."""
        known = (
            (line.round, value)
            for line in reversed(history.rounds)
            if (value := self.of(line)) is not None
        )
        return next(known, None)


@dataclass(frozen=True)
class _Line:
    """One run, as it is drawn."""

    history: History
    name: str
    colour: str


def accuracies(histories: Sequence[History]) -> Figure:
    """Test accuracy by round: the baselines, and beside them all others."""
    figure = _by_round(
        histories,
        _Quantity("test accuracy", lambda line: line.test_accuracy, ".3f", limits=(0.0, 1.0)),
    )
    _enlarge_ends(figure.axes[-1])
    for axes in figure.axes:
        axes.axhline(PAPERS_ACCURACY, color=_MUTED, linewidth=0.9, linestyle=_DASHES, zorder=1)
    figure.axes[0].annotate(
        "the paper's 90 %",
        (0, PAPERS_ACCURACY),
        xycoords=("axes fraction", "data"),
        xytext=(5, 3),
        textcoords="offset points",
        fontsize=8,
        color=_MUTED,
    )
    return figure


def test_losses(histories: Sequence[History]) -> Figure:
    """Test loss by round: the baselines, and beside them all others."""
    return _of_losses(histories, "test loss", lambda line: line.test_loss)


def losses(histories: Sequence[History]) -> Figure:
    """Training loss by round, the mean of the replicas that count: the baselines, and beside them
    all others."""
    return _of_losses(histories, "training loss", lambda line: line.train_loss)


def _of_losses(
    histories: Sequence[History], name: str, of: Callable[[RoundMetrics], float | None]
) -> Figure:
    values = [
        value for each in histories for line in each.rounds if (value := of(line)) is not None
    ]
    scale = "log" if all(value > 0 for value in values) else "linear"  # some tasks' are not
    return _by_round(histories, _Quantity(name, of, ".3g", scale=scale))


def _by_round(histories: Sequence[History], quantity: _Quantity) -> Figure:
    """A panel for the baselines, one for all others, in which the baselines are drawn in grey once
    more."""
    title, names = shorten([history.name for history in histories])
    named = dict(zip(map(id, histories), names, strict=True))
    baselines = [history for history in histories if history.is_baseline]
    others = [history for history in histories if not history.is_baseline]
    panels = [
        [_Line(h, named[id(h)], _COLOURS[i % len(_COLOURS)]) for i, h in enumerate(group)]
        for group in (baselines, others)
        if group
    ]
    figure = _empty_figure(panels, quantity)
    figure.suptitle(
        " · ".join(filter(None, [quantity.name.capitalize(), title])),
        x=0.01,
        ha="left",
        fontsize=12,
    )
    for axes, lines in zip(figure.axes, panels, strict=True):
        alone = lines[0].history.is_baseline
        for history in () if alone else baselines:
            axes.plot(*quantity.points(history), color=_MUTED, linewidth=1.2, alpha=0.7, zorder=2)
        for line in lines:
            _draw(axes, line, quantity)
        kind = (
            "one machine"
            if alone
            else "replicas × stages" + ", in grey one machine" * bool(baselines)
        )
        axes.set_title(kind, fontsize=9, loc="left", color=_MUTED)
    _share_limits(figure.axes, histories, quantity)
    for axes, lines in zip(figure.axes, panels, strict=True):
        _mark_attacks(axes, lines)
        _write_labels(axes, lines, quantity)
    return figure


def _empty_figure(panels: Sequence[Sequence[_Line]], quantity: _Quantity) -> Figure:
    """With a place for each panel, and at its right for its labels."""
    height = max(_LEAST_HEIGHT, max(map(len, panels)) * _LABEL / 72)
    widths = [_NARROW if lines[0].history.is_baseline else _WIDE for lines in panels]
    beside = [
        0.35 + _INCHES_A_LETTER * max(len(_text(line, quantity)) for line in lines)
        for lines in panels
    ]
    total = sum(widths) + sum(beside) + _LEFT * len(panels), _BOTTOM + height + _TOP
    figure, left = Figure(figsize=total), 0.0
    for width, labels in zip(widths, beside, strict=True):
        place = ((left + _LEFT) / total[0], _BOTTOM / total[1], width / total[0], height / total[1])
        axes = figure.add_axes(place)
        axes.set(xlabel="round", ylabel=quantity.name, yscale=quantity.scale)
        if quantity.scale == "log":  # 3, and not 3 × 10⁰
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(LogFormatter())
        axes.locator_params(axis="x", integer=True)
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        left += _LEFT + width + labels
    return figure


def _draw(axes: Axes, line: _Line, quantity: _Quantity) -> None:
    """Dashed where nobody defends; the end is filled once the run has ended."""
    undefended = line.history.attack and not line.history.settings["trust"]["enabled"]
    style = (0, (4, 2)) if undefended else "solid"
    axes.plot(
        *quantity.points(line.history), color=line.colour, linewidth=1.5, linestyle=style, zorder=3
    )
    if end := quantity.end(line.history):
        face = line.colour if line.history.ended else "white"
        axes.plot(
            *end, "o", markersize=5, markeredgecolor=line.colour, markerfacecolor=face, zorder=4
        )


def _share_limits(
    panels: Sequence[Axes], histories: Sequence[History], quantity: _Quantity
) -> None:
    last = max(
        (max(h.settings["rounds"], h.last.round if h.last else 0) for h in histories), default=1
    )
    low = min(axes.get_ylim()[0] for axes in panels)
    high = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set(xlim=(0, last * 1.01), ylim=quantity.limits or (low, high))


def _enlarge_ends(axes: Axes) -> None:
    """The last rounds of the best lines once more, where a panel of accuracies is empty: their ends
    lie close."""
    x, y, width, height = _INSET
    rounds, values = np.concatenate(
        [np.asarray(line.get_data(), float) for line in axes.get_lines()], axis=1
    )
    known = ~np.isnan(values)
    last = rounds[known].max(initial=0.0)
    late = values[known & (rounds > last * x)]
    if last < _LEAST_ENLARGED or ((late > y) & (late < y + height)).any():
        return
    inset = axes.inset_axes((x + 0.02, y, width, height))
    for line in axes.get_lines():
        copied = {name: getattr(line, f"get_{name}")() for name in _LOOKS}
        inset.plot(*line.get_data(), linewidth=1.1, markersize=4, **copied)
    inset.axhline(PAPERS_ACCURACY, color=_MUTED, linewidth=0.9, linestyle=_DASHES, zorder=1)
    inset.set(xlim=(last / 2, last * 1.02), ylim=(late.max() - 0.06, late.max() + 0.015))
    inset.grid(alpha=0.25, linewidth=0.6)
    inset.tick_params(labelsize=7)
    axes.indicate_inset_zoom(inset, edgecolor=_MUTED, alpha=0.5)


def _mark_attacks(axes: Axes, lines: Sequence[_Line]) -> None:
    for number in sorted({line.history.attacked_from for line in lines if line.history.attack}):
        axes.vlines(
            number,
            0,
            1,
            transform=axes.get_xaxis_transform(),
            color=ACCUSED,
            linewidth=0.9,
            linestyle=(0, (1, 2)),
        )
        axes.annotate(
            f"attack from round {number}",
            (number, 0.01),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8,
            color=ACCUSED,
        )


def _text(line: _Line, quantity: _Quantity) -> str:
    """A line's label."""
    end = quantity.end(line.history)
    value = "no round yet" if end is None else format(end[1], quantity.form)
    reached = (
        ""
        if line.history.ended or end is None
        else f", round {end[0]} of {line.history.settings['rounds']}"
    )
    return f"{line.name}  {value}{reached}"


def _write_labels(axes: Axes, lines: Sequence[_Line], quantity: _Quantity) -> None:
    """Right of the panel, at the height of the line's end or as near as the others leave room."""
    height = axes.bbox.height / axes.figure.dpi * 72
    to_panel = axes.transData + axes.transAxes.inverted()
    ends = [quantity.end(line.history) for line in lines]
    heights = [0.5 if end is None else float(to_panel.transform(end)[1]) for end in ends]
    for line, end, place in zip(lines, ends, spread(heights, _LABEL / height, 0, 1), strict=True):
        axes.annotate(
            _text(line, quantity),
            end or (0, 0),
            xycoords="data",
            xytext=(1.03, place),
            textcoords="axes fraction",
            fontsize=8.5,
            color=line.colour,
            va="center",
            arrowprops=None
            if end is None
            else {
                "arrowstyle": "-",
                "color": line.colour,
                "linewidth": 0.6,
                "alpha": 0.6,
                "shrinkB": 3,
                "relpos": (0, 0.5),
            },
        )
