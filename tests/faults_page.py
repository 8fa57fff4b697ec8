"""docs/results/faults.md: what each fault has cost.

`python -m tests.faults_page` plays all cases of `tests/test_faults_job.py`, an hour or more on
two cores, and writes it. Further arguments go to pytest, such as `-k "kill and train"`: of what is
not played then, the page keeps what it had.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tdml.common.files import replace_file
from tests.test_faults_job import CASES, FOUND

_TEST = Path(__file__).with_name("test_faults_job.py")
PAGE = _TEST.parent.parent / "docs" / "results" / "faults.md"
_INTRODUCTION = """# What faults cost

Made by `python -m tests.faults_page`. One fault in round 3 of 6, in one process of a job of two replicas of two stages and a spare
(`sync.timeout=3`): in the phase that is named, of a node of replica 1, the coordinator or the spare. Every case that is here has ended with all
rounds, an accuracy above 0.6, a ledger that `tdml ledger verify` finds sound, and balances that add up. "lost" are rounds without one of the
two replicas, or both where it was the coordinator that was cut off for good; "seconds" what the longest round took beyond the median one. A
coordinator that is killed, stopped or cut off for good, or out of memory, is started again with `resume=true`: how long that takes is not in its
seconds. "pause": stopped for 5 s; "memory": an allocation fails; "cut": the process has a host of its own, a network namespace, to which nothing
comes any more and from which nothing goes; "cut in": nothing comes; "cut out": nothing goes.

| fault | phase | role | lost | seconds |
|---|---|---|---|---|
"""
_ROW = r"\| ([\w ]+) \| (\w+) \| ([\w ]+) \| (\d+) \| ([\d.]+) \|"
Case = tuple[str, str, str]


def page_text(found: Sequence[Mapping]) -> str:
    """The page, in Markdown."""
    by_case = {(line["fault"], line["phase"], line["role"]): line for line in found}
    return _INTRODUCTION + "".join(_row(case, by_case.get(case)) for case in CASES)


def _row(case: Case, found: Mapping | None) -> str:
    fault, phase, role = case
    cost = f"{found['lost']} | {found['cost']:.1f}" if found else "– | not played"
    return f"| {fault} | {phase} | {role} | {cost} |\n"


def read(page: str) -> list[dict]:
    """What a page says of the cases that were played."""
    rows = (re.fullmatch(_ROW, line) for line in page.splitlines())
    names = ("fault", "phase", "role")
    return [
        dict(zip(names, row.groups(), strict=False)) | {"lost": int(row[4]), "cost": float(row[5])}
        for row in rows
        if row
    ]


def main(arguments: Sequence[str]) -> int:
    """Play the cases, and write the page; the exit status of the tests."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.jsonl"
        found.touch()
        command = [sys.executable, "-m", "pytest", "-q", "-m", "slow or not slow", str(_TEST)]
        played = subprocess.run(
            [*command, *arguments], env=os.environ | {FOUND: str(found)}, check=False
        )
        lines = [json.loads(line) for line in found.read_text().splitlines()]
    kept = read(PAGE.read_text()) if PAGE.exists() and arguments else []
    replace_file(PAGE, page_text([*kept, *lines]))
    print(PAGE)
    return played.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
