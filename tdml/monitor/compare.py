"""`tdml report --compare`: several runs on one page, with nothing beside it needed, and the page's
figures as files."""

import html
from collections.abc import Sequence
from pathlib import Path

from tdml.common.files import replace_file
from tdml.errors import SettingError, one_line
from tdml.monitor import compare_figures, compare_ranks
from tdml.monitor.compare_figures import PAPERS_ACCURACY
from tdml.monitor.figures import to_svg
from tdml.monitor.history import History, baseline_of, has_accuracy, read_all
from tdml.monitor.report import STYLE
from tdml.monitor.run_folder import reading

_STYLE = """
body { max-width: 90rem; } .wide { margin-top: 1.5rem; }
td { white-space: nowrap; } td:first-child, th:first-child { text-align: left; }
"""
_HEAD = ("run", "replicas × stages", "attack", "rounds")
_OF_ACCURACY = ("test accuracy", "best", "0.90 at round", "against one machine")
_OF_LOSS = ("test loss", "best")


def write_comparison(runs: Sequence[Path], folder: Path) -> Path:
    """Write compare.html and its figures into a folder, which is made. Returns the page's path.

    Raises:
        SettingError: one of `runs` is not a run, or is damaged, or the folder cannot be written.
    """
    histories = read_all([run for run in runs if not _is_earlier_page(run, folder)] or runs)
    with reading(f"one of {', '.join(map(str, runs))}"):
        figures = draw_figures(histories)
        text = _page(histories, figures)
    page = folder / "compare.html"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, svg in figures.items():
            replace_file(folder / f"{name}.svg", svg)
        replace_file(page, text)
    except OSError as error:
        raise SettingError(f"--out {folder} cannot be written: {one_line(error)}") from error
    return page


def _is_earlier_page(run: Path, folder: Path) -> bool:
    """Whether it is no run, but what a comparison has left before: runs/* names that, too."""
    return run.resolve() == folder.resolve() and not (run / "config.yaml").exists()


def draw_figures(histories: Sequence[History]) -> dict[str, str]:
    """The figures as SVG, by name: accuracy, or the test loss of tasks that have none; loss; and
    ranks where a run was attacked."""
    tested = (
        {"accuracy": compare_figures.accuracies(histories)}
        if has_accuracy(histories)
        else {"test_loss": compare_figures.test_losses(histories)}
    )
    figures = tested | {"loss": compare_figures.losses(histories)}
    if scatter := compare_ranks.ranks(histories):
        figures["ranks"] = scatter
    return {name: to_svg(figure) for name, figure in figures.items()}


def _page(histories: Sequence[History], figures: dict[str, str]) -> str:
    tested = _OF_ACCURACY if has_accuracy(histories) else _OF_LOSS
    head = "".join(f"<th>{title}</th>" for title in (*_HEAD, *tested, "hours"))
    rows = "".join(f"<tr>{_row(history, histories)}</tr>" for history in histories)
    drawn = "".join(f'<div class="wide">{svg}</div>' for svg in figures.values())
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>TDML runs compared</title><style>{STYLE}{_STYLE}</style></head><body>
<h1>{len(histories)} runs compared</h1>
<p class="sub">Lines end in a ring where a run has not ended,
and are dashed where nobody defends.</p>
<div class="wide"><table><tr>{head}</tr>{rows}</table></div>
{drawn}
</body></html>
"""


def _row(history: History, histories: Sequence[History]) -> str:
    tested = (
        [*_accuracies(history), gain_over_baseline(history, histories)]
        if has_accuracy(histories)
        else _test_losses(history)
    )
    cells = [
        history.name,
        "{} × {}".format(*history.topology),
        attack_of(history),
        f"{history.last.round if history.last else 0} of {history.settings['rounds']}",
        *tested,
        f"{history.seconds / 3600:.2g}",
    ]
    return "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)


def _accuracies(history: History) -> list[str]:
    """The last, the best, and the first round that is as good as the paper's runs."""
    accuracies = [line.test_accuracy for line in history.rounds if line.test_accuracy is not None]
    reached = history.first_round_at(PAPERS_ACCURACY)
    last = history.last.test_accuracy if history.last else None
    return [_number(last), _number(max(accuracies, default=None)), str(reached or "–")]


def _test_losses(history: History) -> list[str]:
    """The last and the best."""
    losses = [line.test_loss for line in history.rounds if line.test_loss is not None]
    last = history.last.test_loss if history.last else None
    return [_number(last), _number(min(losses, default=None))]


def attack_of(history: History) -> str:
    """Who attacks how, in words."""
    if not history.attack:
        return "–"
    defended = "" if history.settings["trust"]["enabled"] else ", undefended"
    replicas = {node.partition(".")[0] for node in history.attackers}
    return f"{history.attack}, {len(replicas)} of {history.topology[0]}{defended}"


def gain_over_baseline(history: History, histories: Sequence[History]) -> str:
    """How much better a run is than the one on one machine, if that is among `histories`: in test
    accuracy, after the last round that both have."""
    baseline = baseline_of(history, histories)
    if baseline is None or history.is_baseline or not history.last or not baseline.last:
        return "–"
    number = min(history.last.round, baseline.last.round)
    ours, theirs = history.accuracy(number), baseline.accuracy(number)
    if ours is None or theirs is None:
        return "–"
    return f"{ours - theirs:+.4f}" + (
        f" at round {number}" if number < history.settings["rounds"] else ""
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
