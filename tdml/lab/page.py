"""`docs/results/detection.md`, made from the files in `docs/results/detection/` alone."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tdml import config as settings
from tdml.common.files import replace_file
from tdml.lab.byzfl_rules import RULES
from tdml.lab.grids import ABSENT, CLEAN
from tdml.lab.tables import steps_of, tables

_INTRODUCTION = """# Whom it finds, and whom it accuses wrongly

`tdml bench detection --grid … --keep docs` makes this page from the files in
`docs/results/detection/`, and these from what it has played: nothing on it is written by hand.
Attackers are the last replicas; they begin in the round that a table names, or in the first.
*Absent* is the same run in which they are banned by their first message, before they do anything.
`tdml-0.1` are the rules of the first version, with its own settings and played by its code on the
same jobs; what they let count was not noted. An MLP has no buffers, nor have the language models,
so there `buffer_poison` does nothing, and newer grids leave it out. The accuracy of language models
is that of tokens, after eight rounds, when much hangs on how many replicas there are. The bars are
TDML's own, with audits where nothing else is said; a grid may have been played in part.
"""
_LOUD = (
    "gaussian", "garbage", "garbage+huge", "garbage+shape", "reversed_mean", "scaled",
    "single_layer", "zero_gradient", "zero_update",
)  # fmt: skip

_USUAL = 10  # steps of a round, of which the bars say nothing
_FORMER = "tdml-0.1"  # the rules of the first version
RANDOM_JOBS = "random-jobs.json"
Group = Mapping[str, Any]  # as `tdml.lab.tables` reads it from JSON


def keep(results: Path, docs: Path) -> Path:
    """Keep a results.json, and make the page. Returns the page's path."""
    grid = json.loads(results.read_text())
    folder = docs / "results" / "detection"
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / f"{grid['grid']}.json", results.read_text())
    return write_page(folder)


def write_page(folder: Path) -> Path:
    """Make the page of all that is kept in docs/results/detection. Returns its path."""
    jobs = folder / RANDOM_JOBS
    files = sorted(set(folder.glob("*.json")) - {jobs})
    kept = [json.loads(file.read_text()) for file in files]
    random = json.loads(jobs.read_text()) if jobs.exists() else None
    page = folder.with_suffix(".md")
    replace_file(page, page_text(kept, random))
    return page


def page_text(kept: Sequence[dict], random: dict | None) -> str:
    """The page, in Markdown."""
    parts = [_INTRODUCTION]
    if random:
        summary = (
            "{jobs} jobs of honest nodes with odd data, few samples, training that diverges, code "
            "that does not repeat itself, and machines that compute a little otherwise; {refused} "
            "more were refused by their settings. {nodes} nodes, {banned} of them banned; "
            "{windows} windows repeated. Commit {commit}.\n"
        ).format(**random)
        parts += ["## `python -m tests.lab.random_jobs`\n", summary]
    for grid in kept:
        parts.append(f"## `--grid {grid['grid']}`\n")
        commits = ", ".join(f"`{commit[:10]}`" for commit in grid["commits"]) or "unknown"
        parts.append(
            f"{grid['cases']} cases; commit {commits}; {grid['processor']}, "
            f"torch {grid['torch']}.\n"
        )
        groups = grid["groups"]
        parts += [*_bars(groups), *_beside_former(groups), *_without_audits(groups), ""]
        parts += (line.replace("## ", "### ") for line in tables(grid["groups"]))
        parts.append("")
    return "\n".join(parts)


def _bars(groups: Sequence[Group]) -> Iterable[str]:
    """Each bar, and in how many groups of cases it is met; those that miss it."""
    groups = [group for group in groups if group["case"]["defence"] == "tdml"]
    for text, missing, asked in (
        ("no honest node is banned", _banned, lambda g: True),
        (
            "at most 5 % of honest weight is kept from counting with like shares, 10 % with skewed",
            _not_counted,
            lambda g: True,
        ),
        (
            "under attack it ends at most 0.01 below the same run with the attackers absent",
            _below_absent,
            lambda g: g.get("absent_accuracy") and not _is_reference(g),
        ),
        (
            "loud attackers are proven in their first round (at least 99 of 100)",
            _late,
            lambda g: g["case"]["attack"] in _LOUD and g["attackers"],
        ),
        (
            "every attacker is proven in the end",
            lambda g: _share(g["never_proven"], 0),
            lambda g: g["attackers"],
        ),
        (
            "cross-checks and audits of clean runs take at most trust.budget",
            _overspent,
            lambda g: g["case"]["attack"] == CLEAN,
        ),
        (
            "clean runs end at most 0.005 below the plain mean (median of the seeds)",
            lambda g: _more(g["below_plain"], 0.005),
            lambda g: g["case"]["attack"] == CLEAN and g.get("below_plain") is not None,
        ),
        (
            "a backdoor works in the end at most 0.02 more often than in a clean model",
            _backdoor,
            lambda g: g["attackers"] and "backdoor_success" in g,
        ),
    ):
        yield from _bar(text, [(g, missing(g)) for g in groups if asked(g)])


def _beside_former(groups: Sequence[Group]) -> Iterable[str]:
    """Whether attackers are proven no later than by the rules of the first version."""
    medians = {
        _apart_from_defence(g): _median(g) for g in groups if g["case"]["defence"] == _FORMER
    }
    asked = [
        (g, f"{_median(g):g} rounds, {former:g} before" if _median(g) > former else "")
        for g in groups
        if g["case"]["defence"] == "tdml" and g["attackers"]
        for former in [medians.get(_apart_from_defence(g))]
        if former is not None
    ]
    yield from _bar(f"attackers are proven no later than by `{_FORMER}` (median)", asked)


def _median(group: Group) -> float:
    """Rounds from the first act to the proof; infinite: half of the attackers are never proven."""
    median = group["rounds_to_proof"]["median"]
    return math.inf if median is None else median


def _without_audits(groups: Sequence[Group]) -> Iterable[str]:
    """How TDML's statistics alone do beside rules that are told how many attack."""
    best: dict[tuple, float] = {}
    for group in groups:
        if group["case"]["defence"] in RULES:
            alike = _apart_from_defence(group)
            best[alike] = max(group["final_accuracy"]["mean"], best.get(alike, 0.0))
    own = [g for g in groups if g["case"]["defence"] == "tdml-no-audits"]
    below = [
        (g, _more(best[alike] - g["final_accuracy"]["mean"], 0.01))
        for g in own
        if (alike := _apart_from_defence(g)) in best
    ]
    text = "without audits it ends at most 0.01 below the best of ByzFL's rules, which are told f"
    yield from _bar(text, below)


def _apart_from_defence(group: Group) -> tuple:
    case = {name: value for name, value in group["case"].items() if name != "defence"}
    return tuple(map(str, case.values()))


def _bar(text: str, asked: Sequence[tuple[Group, str]]) -> Iterable[str]:
    """A bar that was asked of some groups of cases, and why they miss it, "" where they do not."""
    if not asked:
        return
    missed = [f"{_name(group)} ({why})" for group, why in asked if why]
    yield f"- **{text}**: met in {len(asked) - len(missed)} of {len(asked)} groups of cases"
    if missed:
        yield f"  - missed: {'; '.join(missed)}"


def _is_reference(group: Group) -> bool:
    return group["case"]["attack"] in (CLEAN, ABSENT)


def _name(group: Group) -> str:
    case = group["case"]
    kind = "alike" if case["partition"] == "iid" else "skewed"
    stages = f", a node of {case['stages']} stages" if case["single_node"] else ""
    who = f"{case['attackers']} of {case['replicas']}"
    steps = "" if case["steps"] == _USUAL else f", {steps_of(case)}"
    return f"{case['setting']}: {case['attack']}, {who}, {kind}{steps}{stages}"


def _banned(group: Group) -> str:
    """Of the honest replicas, and of the partners of a node that attacks alone."""
    named = group.get("right_node", {"hits": 0, "of": 0})
    wrong = named["of"] - named["hits"]
    partners = f"of {wrong} of {named['of']} attackers a partner" if wrong else ""
    return _share(group["honest_banned"], 0) or partners


def _share(share: Mapping, most: float) -> str:
    return f"{share['hits']} of {share['of']}" if (share["share"] or 0) > most else ""


def _not_counted(group: Group) -> str:
    most = 0.05 if group["case"]["partition"] == "iid" else 0.10
    share = group["honest_not_counted"]
    return f"{share:.1%}" if share is not None and share > most else ""


def _below_absent(group: Group) -> str:
    return _more(group["absent_accuracy"]["mean"] - group["final_accuracy"]["mean"], 0.01)


def _more(below: float, most: float) -> str:
    return f"{below:.3f} below" if below > most else ""


def _overspent(group: Group) -> str:
    own = [setting for setting in group["case"]["extra"] if setting.startswith("trust.")]
    spent = group["spent"]["mean"]
    return f"{spent:.1%}" if spent > settings.load(own).trust.budget else ""


def _backdoor(group: Group) -> str:
    """Where it hardly works it matters little how often it seems to in a clean model."""
    success, clean = group["backdoor_success"]["mean"], group.get("clean_backdoor_success")
    if success <= (clean["mean"] if clean else 0.0) + 0.02:
        return ""
    return f"{success:.3f}" + (f", {clean['mean']:.3f} clean" if clean else ", clean not measured")


def _late(group: Group) -> str:
    at_once = group["proven_at_once"]
    return f"{at_once['hits']} of {at_once['of']}" if at_once["share"] < 0.99 else ""
