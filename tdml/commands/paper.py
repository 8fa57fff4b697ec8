"""`tdml paper`: plays the paper's experiments, and makes a page of them. `launch/paper.sh` installs
and calls it."""

import argparse
from collections.abc import Sequence
from pathlib import Path


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser(
        "paper", help="play the experiments of the paper (arXiv 2407.07339); days"
    )
    add = parser.add_argument
    add(
        "chosen",
        nargs="*",
        metavar="filter|key=value",
        help=(
            "runs, by name, by a pattern of names or by words of one, all without; and "
            "settings of every run"
        ),
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--list",
        action="store_true",
        help="show the runs, how far they have come and their settings",
    )
    what.add_argument(
        "--results",
        action="store_true",
        help="keep what they came to in docs/results, make the page",
    )
    folders = {
        "runs": ("runs/paper", "run folders"),
        "data": ("data", "data (cifar-10-batches-py)"),
        "docs": ("docs", "pages"),
    }
    for name, (folder, holds) in folders.items():
        add(
            f"--{name}",
            type=Path,
            default=Path(folder),
            metavar="FOLDER",
            help=f"of the {holds}: %(default)s",
        )
    parser.set_defaults(command=_paper)


def _paper(parsed: argparse.Namespace) -> int:
    from tdml.paper.play import Player, state_of
    from tdml.paper.runs import all_runs, choose

    runs = choose([text for text in parsed.chosen if "=" not in text], all_runs())
    if parsed.results:
        return _results([run.name for run in runs], parsed.runs, parsed.docs)
    if parsed.list:
        for run in runs:
            print(f"{run.name:<43} {state_of(parsed.runs / run.name):<26} {' '.join(run.settings)}")
        return 0
    player = Player(parsed.runs, parsed.data, [text for text in parsed.chosen if "=" in text])
    player.check(runs[0])
    return player.play(runs)


def _results(names: Sequence[str], folder: Path, docs: Path) -> int:
    from tdml.paper.page import write_page
    from tdml.paper.results import load, update
    from tdml.paper.runs import all_runs

    for line in update(names, folder, docs / "results"):
        print(line)
    print(write_page(docs, all_runs(), load(docs / "results", all_runs())))
    return 0
