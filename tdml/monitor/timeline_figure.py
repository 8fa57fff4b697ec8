"""The timeline of a run as a figure: a row for each node, a column for each round."""

from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from tdml.monitor.figures import ACCUSED
from tdml.monitor.timeline import Timeline

_REPLICAS = ("#9ecae1", "#a1d99b", "#fdd0a2", "#dadaeb", "#fcbba1", "#d9d9d9", "#c7e9c0", "#fde0dd")
_COORDINATOR, _STANDBY, _INK = "#37474f", "#9e9e9e", "#1a1a1a"
_HEIGHT = 0.7  # of a bar, in rows
_WIDEST = 24.0  # inches
_NUMBERED = 40  # rounds, each of which has its number under it
_MARKS = {  # marker, colour, and side of the column: where a node comes, and where it goes
    "joins": (">", "#2e7d32", -0.4),
    "is back": ("P", "#2e7d32", -0.4),
    "is gone": ("X", _INK, 0.4),
    "is banned": ("X", ACCUSED, 0.4),
}


def draw_timeline(timeline: Timeline) -> Figure:
    """Who held which slot in which round."""
    nodes = timeline.nodes
    width = min(max(7.5, 1.6 + 0.45 * len(timeline.rounds)), _WIDEST)
    figure = Figure(figsize=(width, 1.5 + 0.32 * (len(nodes) + 1)), layout="constrained")
    axes = figure.subplots()
    _draw_coordinator(axes, timeline)
    for row, node in enumerate(nodes, start=1):
        _draw_node(axes, timeline, node, row)
    for event in timeline.events:
        marker, colour, side = _MARKS[event.what]
        axes.plot(
            event.place + side,
            nodes.index(event.node) + 1,
            marker,
            color=colour,
            markersize=9,
            markeredgecolor="white",
            markeredgewidth=0.9,
            zorder=4,
        )
    _set_axes(axes, timeline, nodes)
    figure.legend(
        handles=_legend(timeline), loc="outside lower left", ncols=6, fontsize=8, frameon=False
    )
    return figure


def _draw_coordinator(axes: Axes, timeline: Timeline) -> None:
    """One bar for each of its lives, and a line through all rows where one ends."""
    starts = [0, *timeline.restarts]
    ends = [*timeline.restarts, len(timeline.rounds)]
    lives = [(start - 0.45, end - start - 0.1) for start, end in zip(starts, ends, strict=True)]
    axes.broken_barh(lives, (-_HEIGHT / 2, _HEIGHT), color=_COORDINATOR, zorder=2)
    for places, style in ((timeline.restarts, "solid"), (timeline.rollbacks, (0, (2, 2)))):
        for place in places:
            axes.axvline(place - 0.5, color=_COORDINATOR, linewidth=1.2, linestyle=style, zorder=1)


def _draw_node(axes: Axes, timeline: Timeline, node: str, row: int) -> None:
    """A bar for as long as it held a slot, with its name; a line while it stood by. Rounds that do
    not count are pale."""
    states = [(r.slots.get(node), node in r.standby, r.counts) for r in timeline.rounds]
    named = None
    for (slot, standby, counts), numbers in groupby(range(len(states)), key=states.__getitem__):
        places = [*numbers]
        first, last = places[0], places[-1]
        if standby:
            axes.hlines(row, first - 0.45, last + 0.45, color=_STANDBY, linewidth=2, zorder=2)
        if slot is None:
            named = None
            continue
        axes.broken_barh(
            [(first - 0.45, last - first + 0.9)],
            (row - _HEIGHT / 2, _HEIGHT),
            color=_colour(slot),
            alpha=1.0 if counts else 0.4,
            linewidth=0,
            zorder=2,
        )
        if slot != named:
            axes.annotate(slot, (first - 0.2, row), va="center", fontsize=8, color=_INK, zorder=3)
        named = slot


def _colour(slot: str) -> str:
    """That of the replica, whichever node works in it."""
    return _REPLICAS[int(slot[1 : slot.index(".")]) % len(_REPLICAS)]


def _set_axes(axes: Axes, timeline: Timeline, nodes: list[str]) -> None:
    count = len(timeline.rounds)
    every = -(-count // _NUMBERED)
    places = range(0, count, every)
    axes.set_xticks(places, [str(timeline.rounds[place].number) for place in places], fontsize=8)
    axes.set_yticks(range(len(nodes) + 1), ["coordinator", *nodes], fontsize=9)
    axes.set(xlim=(-0.7, count - 0.3), ylim=(len(nodes) + 0.6, -0.6), xlabel="round, as played")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _legend(timeline: Timeline) -> list[Line2D | Patch]:
    """Of what there is in this run."""
    happened = {event.what for event in timeline.events}
    handles: list[Line2D | Patch] = [
        Line2D([], [], marker=marker, color=colour, linestyle="", label=what)
        for what, (marker, colour, _) in _MARKS.items()
        if what in happened
    ]
    if any(played.standby for played in timeline.rounds):
        handles.append(Line2D([], [], color=_STANDBY, linewidth=2, label="stands by"))
    if timeline.restarts:
        handles.append(Line2D([], [], color=_COORDINATOR, label="coordinator starts again"))
    if timeline.rollbacks:
        dashed = Line2D([], [], color=_COORDINATOR, linestyle=(0, (2, 2)))
        dashed.set_label("rounds are taken back")
        handles.append(dashed)
    if not all(played.counts for played in timeline.rounds):
        handles.append(Patch(color=_REPLICAS[0], alpha=0.4, label="does not count"))
    return handles
