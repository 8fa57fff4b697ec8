"""`docs/results.md` and its figures, made from `docs/results/*.json` alone."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tdml.common.files import replace_file
from tdml.errors import SettingError
from tdml.monitor.compare import attack_of, draw_figures, gain_over_baseline
from tdml.monitor.compare_figures import PAPERS_ACCURACY
from tdml.monitor.compare_ranks import ranked
from tdml.monitor.history import History
from tdml.paper.bars import BARS, MET, MISSED, NOT_RUN, Bar, BarResult, bar_results
from tdml.paper.runs import MODELS, RECIPES, Run

_HEADING = "# What the paper trained, in TDML\n"  # the first line of the page
_INTRODUCTION = """\
The paper (arXiv 2407.07339) trains ResNet-50 on CIFAR-10, on one machine and in {2, 4, 8}
replicas × {2, 4, 8} stages, and shows how three attacks are found. `bash launch/paper.sh` plays
these runs here; `bash launch/paper.sh --results` makes this page from `docs/results/*.json`, and
these from the run folders: nothing on it is written by hand.

- **Runs** are named MODEL-RECIPE-REPLICASxSTAGES, then `momentum`, `kept`, the attack, `undefended`
  (`trust.enabled=false`), and the rounds where they are more than usual. A round is one epoch.
  With `momentum` the mean of M replicas is added with an outer momentum of 1 − 1/M
  (`sync=nesterov`), which goes as far as all of their steps would; it is ours, not the paper's.
  With `kept` their optimizers go on from round to round (`sync.inner_state=kept`).
  Accuracies are of the half of CIFAR-10's test set that judges nobody. `resnet18_small` is
  ResNet-18 with a stem for pictures of 32 pixels (`model.stem=cifar_pooled`), which torchvision's
  shrinks to 8 before the first block.
- **Recipes:** `paper` is the paper's, `fast` the practice of today in 30 epochs; `conf/recipe/` has
  both.
- **Of M replicas** each takes 1/M of an epoch's steps in a round, and their mean moves as far as
  one of them. Where the training loss of a run is above one machine's, it has not come as far in
  its rounds.
- **Hours** are of the clock, also those in which a run was paused or shared its machine.
- **Attackers:** 1 of 4 or 3 of 8 replicas, from round 10 on. Spares take the places of those who
  are banned.
"""
_COLUMNS = (
    "run", "attack", "rounds", "test accuracy", "training loss", f"first {PAPERS_ACCURACY:.2f}",
    "against one machine", "hours", "precision", "machine",
)  # fmt: skip

_ATTACKS = "-attacks"  # at the end of a figure's title

Histories = Mapping[str, History]  # by the name of the run


def write_page(docs: Path, runs: Sequence[Run], histories: Histories) -> Path:
    """Write DOCS/results.md, and its figures into DOCS/results/. Returns the page's path.

    Raises:
        SettingError: there is a results.md that is no such page.
    """
    page = docs / "results.md"
    if page.exists() and not page.read_bytes().startswith(_HEADING.encode()):
        raise SettingError(
            f"--docs {docs}: {page} is not of `tdml paper`: move it, or choose another folder"
        )
    (docs / "results").mkdir(parents=True, exist_ok=True)
    _remove_figures(docs / "results")
    for title, chosen in _figures(runs, histories).items():
        drawn = draw_figures(chosen)
        for name in _names(title):
            replace_file(docs / "results" / f"{title}-{name}.svg", drawn[name])
    replace_file(page, page_text(runs, histories))
    return page


def _remove_figures(folder: Path) -> None:
    """Those of the page, and nobody else's."""
    plain = [f"{model}-{recipe}" for model in MODELS for recipe in RECIPES]
    for title in (*plain, *(title + _ATTACKS for title in plain)):
        for name in _names(title):
            (folder / f"{title}-{name}.svg").unlink(missing_ok=True)


def page_text(runs: Sequence[Run], histories: Histories) -> str:
    """The page, in Markdown."""
    parts = [
        _HEADING,
        _INTRODUCTION,
        "## The bars\n",
        *(_bar(bar, runs, histories) for bar in BARS),
    ]
    for model in MODELS:
        for recipe in RECIPES:
            chosen = [run for run in runs if (run.model, run.recipe) == (model, recipe)]
            parts += [f"## {model}, recipe {recipe}\n", *_section(chosen, histories)]
    return "\n".join(parts)


def _bar(bar: Bar, runs: Sequence[Run], histories: Histories) -> str:
    """Who meets it, who misses it, and of whom it is not known yet."""
    results = bar_results(bar, runs, histories)
    rows = [f"**{bar.text}.**\n"]
    for status in (MET, MISSED):
        rows += [f"- {status}: {_list(one for one in results if one.status == status)}"]
    known = (MET, MISSED, NOT_RUN)
    waiting = [f"`{one.run.name}` ({one.status})" for one in results if one.status not in known]
    rows += [f"- not known yet: {', '.join(waiting)}"] if waiting else []
    return "\n".join(
        [*rows, f"- not run: {_grouped(one.run for one in results if one.status == NOT_RUN)}\n"]
    )


def _list(chosen: Iterable[BarResult]) -> str:
    return ", ".join(f"`{result.run.name}` ({result.figure})" for result in chosen) or "none"


def _section(runs: Sequence[Run], histories: Histories) -> list[str]:
    """The runs of one model and one recipe."""
    ordered = sorted(
        runs, key=lambda run: (run.attack, run.longer, run.replicas, run.stages, not run.defended)
    )
    begun = [histories[run.name] for run in ordered if run.name in histories]
    parts = [
        f"![{title}: {name}](results/{title}-{name}.svg)\n"
        for title in _figures(runs, histories)
        for name in _names(title)
    ]
    if begun:
        table = [_COLUMNS, ["---"] * len(_COLUMNS), *(_row(history, begun) for history in begun)]
        parts += ["\n".join(f"| {' | '.join(row)} |" for row in table) + "\n"]
    left = [run for run in ordered if run.name not in histories]
    return parts + ([f"Not run: {_grouped(left)}.\n"] if left else [])


def _figures(runs: Sequence[Run], histories: Histories) -> dict[str, list[History]]:
    """What is drawn together, by a title: the runs of a model and a recipe without attacks, and
    those with them, once they have begun to attack, beside the ones that they are held against."""
    groups: dict[str, list[History]] = {}
    for run in runs:
        for title in _titles(run) if run.name in histories else ():
            groups.setdefault(title, []).append(histories[run.name])
    return {
        title: chosen
        for title, chosen in groups.items()
        if not title.endswith(_ATTACKS) or any(map(ranked, chosen))
    }


def _titles(run: Run) -> list[str]:
    title = f"{run.model}-{run.recipe}"
    if run.attack:
        return [title + _ATTACKS]
    plain = not (run.longer or run.momentum)
    compared = plain and (run.replicas, run.stages) in ((1, 1), (4, 2), (8, 2))
    return [title, title + _ATTACKS] if compared else [title]


def _names(title: str) -> tuple[str, str]:
    return ("accuracy", "ranks") if title.endswith(_ATTACKS) else ("accuracy", "loss")


def _row(history: History, others: Sequence[History]) -> list[str]:
    last, reached = history.last, history.first_round_at(PAPERS_ACCURACY)
    accuracy = "–" if last is None or last.test_accuracy is None else f"{last.test_accuracy:.4f}"
    return [
        f"`{history.name}`",
        attack_of(history),
        f"{last.round if last else 0} of {history.settings['rounds']}"
        + ("" if history.ended else ", not ended"),
        accuracy,
        "–" if last is None or last.train_loss is None else f"{last.train_loss:.3f}",
        "–" if reached is None else str(reached),
        gain_over_baseline(history, others),
        f"{history.seconds / 3600:.1f}",
        str(history.settings["train"].get("precision", "fp32")),
        "; ".join(dict.fromkeys(machine.words for machine in history.machines)) or "unknown",
    ]


def _grouped(runs: Iterable[Run]) -> str:
    """Names, with what they begin alike said once."""
    groups: dict[str, list[str]] = {}
    for run in runs:
        start = f"{run.model}-{run.recipe}-"
        groups.setdefault(start, []).append(run.name.removeprefix(start))
    return "; ".join(f"{start}… {', '.join(ends)}" for start, ends in groups.items()) or "none"
