"""`docs/results/detection.md`, made from `docs/results/detection-*.json` alone."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tdml.files import replace_file
from tdml.lab.grids import ABSENT, CLEAN
from tdml.lab.tables import tables

_INTRODUCTION = """# Whom it finds, and whom it accuses wrongly

`tdml bench detection --grid … --keep docs` makes this page from `docs/results/detection-*.json`,
and these from what it has played: nothing on it is written by hand. Attackers are the last
replicas; they begin in the round that a table names, or in the first. *Absent* is the same run in
which they are banned by their first message, before they do anything.
"""
_LOUD = (
    "gaussian", "garbage", "garbage+huge", "garbage+shape", "sign_flip", "reversed_mean", "scaled",
    "single_layer", "zero_gradient", "zero_update",
)  # fmt: skip

Group = Mapping[str, object]


def keep(results: Path, docs: Path) -> Path:
    """Keep a results.json, and make the page. Returns the page's path."""
    found = json.loads(results.read_text())
    folder = docs / "results"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"detection-{found['grid']}.json", results.read_text())
    files = sorted(folder.glob("detection-*.json"))
    page = folder / "detection.md"
    replace_file(page, page_text([json.loads(file.read_text()) for file in files]))
    return page


def page_text(kept: Sequence[dict]) -> str:
    """The page, in Markdown."""
    parts = [_INTRODUCTION]
    for found in kept:
        parts.append(f"## `--grid {found['grid']}`\n")
        commits = ", ".join(f"`{commit[:10]}`" for commit in found["commits"]) or "unknown"
        parts.append(
            f"{found['cases']} cases; commit {commits}; {found['processor']}, "
            f"torch {found['torch']}.\n"
        )
        parts += [*_bars(found["groups"]), ""]
        parts += (line.replace("## ", "### ") for line in tables(found["groups"]))
        parts.append("")
    return "\n".join(parts)


def _bars(groups: Sequence[Group]) -> Iterable[str]:
    """Each bar, and in how many groups of cases it is met; those that miss it."""
    for text, missing, asked in (
        ("no honest node is banned", _banned, lambda g: True),
        (
            "at most 5 % of honest weight is kept from counting with like shares, 10 % with skewed",
            _not_counted, lambda g: True,
        ),
        (
            "under attack it ends at most 0.01 below the same run with the attackers absent",
            _below_absent, lambda g: g.get("absent_accuracy") and not _is_reference(g),
        ),
        (
            "loud attackers are proven in their first round (at least 99 of 100)",
            _late, lambda g: g["case"]["attack"] in _LOUD and g["attackers"],
        ),
        (
            "every attacker is proven in the end",
            lambda g: _share(g["never_proven"], 0), lambda g: g["attackers"],
        ),
    ):  # fmt: skip
        chosen = [group for group in groups if asked(group)]
        missed = [f"{_name(g)} ({why})" for g in chosen if (why := missing(g))]
        yield f"- **{text}**: met in {len(chosen) - len(missed)} of {len(chosen)} groups of cases"
        if missed:
            yield f"  - missed: {'; '.join(missed)}"


def _is_reference(group: Group) -> bool:
    return group["case"]["attack"] in (CLEAN, ABSENT)


def _name(group: Group) -> str:
    case = group["case"]
    kind = "alike" if case["partition"] == "iid" else "skewed"
    return f"{case['attack']}, {case['attackers']} of {case['replicas']}, {kind}"


def _banned(group: Group) -> str:
    return _share(group["honest_banned"], 0)


def _share(share: Mapping, most: float) -> str:
    return f"{share['hits']} of {share['of']}" if (share["share"] or 0) > most else ""


def _not_counted(group: Group) -> str:
    most = 0.05 if group["case"]["partition"] == "iid" else 0.10
    share = group["honest_not_counted"]
    return f"{share:.1%}" if share is not None and share > most else ""


def _below_absent(group: Group) -> str:
    below = group["absent_accuracy"]["mean"] - group["final_accuracy"]["mean"]
    return f"{below:.3f} below" if below > 0.01 else ""


def _late(group: Group) -> str:
    at_once = group["proven_at_once"]
    return f"{at_once['hits']} of {at_once['of']}" if at_once["share"] < 0.99 else ""
