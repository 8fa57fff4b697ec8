"""The paper's scatter figures (arXiv 2407.07339) from any runs: ranks of updates under attack."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tdml.monitor.figures import ACCUSED, HONEST
from tdml.monitor.history import History
from tdml.monitor.labels import shorten


def ranks(histories: Sequence[History]) -> Figure | None:
    """Mean against standard deviation of the ranks of every update, from the attack's first round
    on: a panel for each attacked run. None if none was attacked yet."""
    attacked = [(history, points) for history in histories if (points := ranked(history))]
    if not attacked:
        return None
    columns = 2 if len(attacked) == 4 else min(3, len(attacked))
    rows = -(-len(attacked) // columns)
    figure = Figure(
        figsize=(0.4 + 3.5 * columns, 0.8 + 2.9 * rows), layout=ConstrainedLayoutEngine(h_pad=0.1)
    )
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    title, names = shorten([history.name for history, _ in attacked])
    for axes, (history, points), name in zip(panels, attacked, names, strict=False):
        _scatter(axes, points)
        axes.set_title(f"{name}, from round {history.attacked_from}", fontsize=10)
    for axes in panels[len(attacked) :]:
        axes.set_visible(False)
    figure.suptitle(title, fontsize=11)
    figure.supxlabel("mean of ranks", fontsize=9)
    figure.supylabel("standard deviation of ranks", fontsize=9)
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside lower right",
        ncols=2,
        fontsize=8,
        frameon=False,
    )
    return figure


def ranked(history: History) -> list[tuple[float, float, bool]]:
    """Mean and standard deviation of the ranks of each update since the attack began, and whether
    it is a lie."""
    return [
        (*moments, int(name) in history.attacking(line.round))
        for line in history.rounds
        if history.attack and line.round >= history.attacked_from
        for name, moments in line.ranks.items()
    ]


def _scatter(axes: Axes, points: Sequence[tuple[float, float, bool]]) -> None:
    for attacks, colour, marker, name in (
        (False, HONEST, "o", "honest"),
        (True, ACCUSED, "X", "attacks"),
    ):
        chosen = [(mean, std) for mean, std, attacker in points if attacker == attacks]
        means, stds = zip(*chosen, strict=True) if chosen else ((), ())
        axes.scatter(
            means,
            stds,
            c=colour,
            marker=marker,
            label=name,
            s=30,
            alpha=0.65,
            linewidths=0,
            zorder=2 + attacks,
        )
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=8)
    axes.margins(0.12)
