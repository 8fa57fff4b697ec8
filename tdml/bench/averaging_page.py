"""`docs/results/averaging.md`, made from the files in `docs/results/averaging/` alone."""

from collections.abc import Mapping, Sequence
from typing import Any

_INTRODUCTION = """# Averaging once a round instead of in every step

`tdml bench averaging KEY=VALUE… --keep docs` makes this page from the files in
`docs/results/averaging/`, and these from what it has measured: nothing on it is written by hand.
*In every step* is a plain loop over the same samples in the same steps, in which the replicas'
gradients are averaged and one optimizer lives to the end. Bytes are weights and updates between the
coordinator and the replicas; what a step sends is measured in a job with `sync.local_steps=1`.
`python.txt` has the sources of Python's standard library without its tests, one after the other.
"""
_ROWS = 12  # of a table, at most


def page_text(kept: Sequence[Mapping[str, Any]]) -> str:
    """The page, in Markdown."""
    return "\n".join([_INTRODUCTION, *(line for run in kept for line in _section(run))])


def _section(run: Mapping[str, Any]) -> list[str]:
    machine = run["machine"]
    where = f"{machine['gpu'] or machine['processor']}, torch {machine['versions']['torch']}"
    rounds = len(run["rare"])
    apart = -(-rounds // _ROWS)
    rows = [number for number in range(1, rounds + 1) if number % apart == 0 or number == rounds]
    return [
        f"## `{run['name']}`\n",
        f"{run['said'][0].upper()}{run['said'][1:]}.\n",
        f"`tdml bench averaging {' '.join(run['settings'])}`\n",
        f"{run['samples']:,} samples, each {run['sample']}; commit "
        f"`{(run['commit'] or 'unknown')[:10]}`; {where}.\n",
        f"| round | steps | test loss, averaged every {run['local_steps']} steps | in every step "
        "| difference |",
        "| --- | --- | --- | --- | --- |",
        *(_row(run, number) for number in rows),
        "",
    ]


def _row(run: Mapping[str, Any], number: int) -> str:
    rare, every = run["rare"][number - 1], run["every_step"][number - 1]
    steps = number * run["local_steps"]
    return f"| {number} | {steps} | {rare:.4f} | {every:.4f} | {rare / every - 1:+.2%} |"
