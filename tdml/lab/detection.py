"""`tdml bench detection`: whom the defences find, how soon, and whom they accuse wrongly, over a
grid of cases.

Every case is a whole run in one process, without RPC, of the functions in `tdml.trust` and
`tdml.attacks` that the cluster runs. Cases are kept one by one: what was interrupted goes on where
it was.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tdml.errors import SettingError, one_line
from tdml.lab import byzfl_rules
from tdml.lab.grids import CLEAN, DEFENCES, Case, attack_names, grid, narrowed
from tdml.lab.models import SETTINGS
from tdml.lab.runs import run_case
from tdml.lab.tables import write_tables

CASES = "cases.jsonl"


def run(
    grid_name: str,
    chosen: dict[str, Sequence],
    rounds: int | None,
    extra: Sequence[str],
    jobs: int,
    out: Path,
    root: str | None,
) -> int:
    """Play the cases that are not in `out` yet, then write its tables.

    Args:
        chosen: what narrows the grid: field of a case → its values.
        rounds: of every case, instead of the grid's.
        extra: settings of every case, as for `tdml train`.
        root: the folder of CIFAR-10, if its cases shall take part.

    Raises:
        SettingError: a name is unknown, no case is left, or `out` cannot be written.
    """
    console = Console()
    cases = _cases(grid_name, chosen, rounds, tuple(extra), root)
    if byzfl_rules.library() is None and any(case.defence in byzfl_rules.RULES for case in cases):
        console.print(byzfl_rules.MISSING, highlight=False, soft_wrap=True)
        cases = [case for case in cases if case.defence not in byzfl_rules.RULES]
    if not cases:
        raise SettingError("no case is left: give a wider --grid, or fewer options that narrow it")
    file = _open(out)
    done = read_cases(file)
    left = [case for case in cases if "error" in done.get(case.key, {"error": ""})]
    if there := [done[case.key] for case in cases if case not in left]:
        console.print(_said_of(there, len(cases), out), highlight=False, soft_wrap=True)
    interrupted = _play_all(left, max(1, min(jobs, len(left))), file, console)
    results = read_cases(file)
    mine = [results[case.key] for case in cases if case.key in results]
    if mine and all("skipped" in result for result in mine):
        raise SettingError(f"no case can be played: {mine[0]['skipped']}")
    markdown = write_tables(mine, grid_name, out)
    failed = [result for result in mine if "error" in result]
    for result in failed[:5]:
        console.print(
            f"failed: {result['key']}: {result['error']}", highlight=False, soft_wrap=True
        )
    console.print(f"{len(mine)} of {len(cases)} cases: {markdown}", highlight=False, soft_wrap=True)
    return 130 if interrupted else int(bool(failed))


def _said_of(there: Sequence[dict], cases: int, out: Path) -> str:
    """Results of an earlier version would be taken for this one's."""
    commits = sorted({result.get("commit") or "unknown" for result in there})
    return (
        f"{len(there)} of {cases} cases are in {out} already, of commit {', '.join(commits)}, and "
        "are not played again: another --out plays all"
    )


def read_cases(file: Path) -> dict[str, dict]:
    """The results of a cases.jsonl by key, the last one of each; a line that was cut off does not
    count."""
    results = {}
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            result = json.loads(line)
        except json.JSONDecodeError:
            continue
        results[result["key"]] = result
    return results


def _cases(
    grid_name: str,
    chosen: dict[str, Sequence],
    rounds: int | None,
    extra: tuple[str, ...],
    root: str | None,
) -> list[Case]:
    attacks = sorted({name for setting in SETTINGS for name in attack_names(setting)})
    known = {"attack": [*attacks, CLEAN], "defence": DEFENCES, "setting": list(SETTINGS)}
    for name, values in chosen.items():
        for value in values:
            if name in known and value not in known[name]:
                raise SettingError(
                    f"--{name} {value} is unknown: choose from {', '.join(known[name])}"
                )
    if rounds is not None and rounds < 1:
        raise SettingError(f"--rounds {rounds}: give at least 1")
    cases = narrowed(grid(grid_name, root), chosen)
    if rounds is not None:
        cases = [replace(case, rounds=rounds) for case in cases]
    cases = [replace(case, root=root or "", extra=extra) for case in cases]
    return list(dict.fromkeys(cases))


def _open(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
        file = out / CASES
        with file.open("a+") as kept:
            kept.seek(0)
            written = kept.read()
            if written and not written.endswith("\n"):
                kept.write("\n")  # after a line that was cut off
            return file
    except OSError as error:
        raise SettingError(f"--out {out} cannot be written: {one_line(error)}") from error


def _play_all(cases: Sequence[Case], jobs: int, file: Path, console: Console) -> bool:
    """Play the cases and append each to the file as soon as it has ended. Returns whether Ctrl-C
    ended it early."""
    columns = (
        TextColumn("[progress.description]{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True) as progress, file.open("a") as kept:
        task = progress.add_task("cases", total=len(cases))
        try:
            for result in _results(cases, jobs):
                kept.write(json.dumps(result) + "\n")
                kept.flush()
                progress.advance(task)
        except KeyboardInterrupt:
            return True
    return False


def _results(cases: Sequence[Case], jobs: int) -> Iterable[dict]:
    if jobs == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield from map(run_case, cases)
        finally:
            torch.set_num_threads(threads)
    else:
        yield from _in_processes(cases, jobs)


def _in_processes(cases: Sequence[Case], jobs: int) -> Iterator[dict]:
    # the processes are the parallelism
    os.environ["OMP_NUM_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_settle_in, initargs=(os.getpid(),))
    try:
        # the processes start with the first case and inherit it: they are ended from here
        with _deaf_to_ctrl_c():
            futures = [pool.submit(run_case, case) for case in cases]
        for future in as_completed(futures):
            yield future.result()
    except (KeyboardInterrupt, GeneratorExit):
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _settle_in(parent: int) -> None:
    """In a new process: one thread for torch, and no life after the command's own."""
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
