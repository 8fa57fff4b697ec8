"""The tables of `tdml bench detection`: results.json and results.md, over the seeds of each group
of cases."""

import json
import math
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from tdml.lab.grids import ABSENT, CLEAN
from tdml.lab.intervals import mean_interval, wilson

_SAME = (
    "setting", "replicas", "steps", "partition", "alpha", "stages", "single_node",
    "share_of_rounds", "from_round",
)  # fmt: skip
_OTHERWISE = "attackers", "attack", "defence", "rounds"
_HEAD = (
    "attack", "defence", "proven at once", "rounds to the proof (median, 95 %)", "never proven",
    "attackers' weight that counted", "honest banned", "honest weight not counted", "spent",
    "accuracy", "absent", "clean",
)  # fmt: skip


def write_tables(results: Sequence[dict], grid_name: str, out: Path) -> Path:
    """Write results.json and results.md into a folder; the path of the latter."""
    played = [result for result in results if "accuracy" in result]
    groups = summarise(played)
    head = {
        "grid": grid_name, "cases": len(results), "torch": torch.__version__,
        "processor": f"{platform.machine()}, {os.cpu_count()} processors",
        "seconds": round(sum(result["seconds"] for result in played), 1),
        "commits": sorted({result["commit"] for result in played if result.get("commit")}),
    }  # fmt: skip
    skipped = [{"key": r["key"], "reason": r["skipped"]} for r in results if "skipped" in r]
    text = json.dumps(head | {"groups": groups, "skipped": skipped}, indent=1)
    (out / "results.json").write_text(text + "\n")
    markdown = out / "results.md"
    markdown.write_text("\n".join(_markdown(head, groups, skipped)) + "\n")
    return markdown


def summarise(played: Sequence[dict]) -> list[dict]:
    """One summary for all seeds of what is otherwise the same case."""
    groups: dict[tuple, list[dict]] = {}
    for result in played:
        case = result["case"]
        key = _setting(case) + tuple(case[name] for name in _OTHERWISE)
        groups.setdefault(key, []).append(result)
    clean = {
        (*_seed(case), case["defence"]): result
        for result in played
        if (case := result["case"])["attack"] == CLEAN
    }
    absent = {
        _without(case): result["final_accuracy"]
        for result in played
        if (case := result["case"])["attack"] == ABSENT
    }
    return [_summary(group, clean, absent) for group in groups.values()]


def _summary(group: Sequence[dict], clean: dict, absent: dict) -> dict:
    case = {name: value for name, value in group[0]["case"].items() if name not in ("seed", "root")}
    attackers = [a for result in group for a in result["attackers"] if a["first_act"] is not None]
    honest = [h for result in group for h in result["honest"]]
    delays = [
        a["convicted"] - a["first_act"] + 1 if a["convicted"] else math.inf for a in attackers
    ]
    replica_rounds = sum(h["rounds"] for h in honest)
    attacker_rounds = sum(a["rounds"] for a in attackers)
    summary = {
        "case": case,
        "seeds": len(group),
        "attackers": len(attackers),
        "proven_at_once": _share(sum(delay == 1 for delay in delays), len(delays)),
        "rounds_to_proof": {"median": _quantile(delays, 0.5), "p95": _quantile(delays, 0.95)},
        "never_proven": _share(sum(math.isinf(delay) for delay in delays), len(delays)),
        "attackers_counted": sum(a["counted"] for a in attackers) / attacker_rounds
        if attacker_rounds
        else None,
        "honest_banned": _share(sum(bool(h["banned"]) for h in honest), len(honest)),
        "honest_not_counted": sum(h["lost_weight"] for h in honest) / replica_rounds
        if replica_rounds
        else None,
        "spent": _mean([result["spent"] for result in group]),
        "final_accuracy": _mean([result["final_accuracy"] for result in group]),
        "clean_accuracy": _mean(list(_clean(group, clean))),
        "absent_accuracy": _mean(
            [absent[key] for r in group if (key := _without(r["case"])) in absent]
        ),
        "below_plain": _below_plain(group, clean),
        "seconds": _mean([result["seconds"] for result in group]),
    }
    if any("backdoor_success" in result for result in group):
        summary["backdoor_success"] = _mean(_successes(group))
        same = [clean.get((*_seed(r["case"]), r["case"]["defence"]), {}) for r in group]
        summary["clean_backdoor_success"] = _mean(_successes(same))
    if case["single_node"]:
        named = [a["named_right"] for a in attackers if "named_right" in a]
        summary["right_node"] = _share(sum(named), len(named))
    return summary


def _successes(results: Iterable[Mapping]) -> list[float]:
    return [result["backdoor_success"] for result in results if "backdoor_success" in result]


def _below_plain(group: Sequence[dict], clean: Mapping[tuple, dict]) -> float | None:
    """The median over the seeds of how much less accurate clean runs are than the plain mean's."""
    differences = [
        clean[key]["final_accuracy"] - result["final_accuracy"]
        for result in group
        if result["case"]["attack"] == CLEAN and (key := (*_seed(result["case"]), "none")) in clean
    ]
    return statistics.median(differences) if differences else None


def _clean(group: Sequence[dict], clean: Mapping[tuple, dict]) -> Iterable[float]:
    """The accuracies of the same seeds without attackers, after as many rounds."""
    for result in group:
        case = result["case"]
        by_rounds = clean.get((*_seed(case), case["defence"]), {}).get("accuracy", {})
        accuracy = by_rounds.get(str(case["rounds"]), by_rounds.get(case["rounds"]))
        if accuracy is not None:
            yield accuracy


def _seed(case: dict) -> tuple:
    """What a case has in common with the clean ones of the same seed."""
    return (*_setting(case, shared=True), case["seed"])


def _without(case: dict) -> tuple:
    """What a case has in common with the one in which its attackers are absent."""
    return (*_seed(case), case["defence"], case["attackers"], case["rounds"])


def _setting(case: dict, shared: bool = False) -> tuple:
    """What a table has in common; with `shared`, also with the cases without attackers."""
    return tuple(case[name] for name in (_SAME[:-3] if shared else _SAME))


def _share(hits: int, trials: int) -> dict:
    low, high = wilson(hits, trials)
    return {
        "hits": hits,
        "of": trials,
        "share": hits / trials if trials else None,
        "low": low,
        "high": high,
    }


def _mean(values: Sequence[float]) -> dict | None:
    if not values:
        return None
    mean, half = mean_interval(values)
    return {"mean": mean, "half": None if math.isnan(half) else half}


def _quantile(delays: Sequence[float], share: float) -> float | None:
    """The smallest delay that this share of the attackers do not exceed; None if they are never
    found."""
    if not delays:
        return None
    delay = sorted(delays)[max(0, math.ceil(share * len(delays)) - 1)]
    return None if math.isinf(delay) else delay


# Markdown


def _markdown(head: dict, groups: Sequence[dict], skipped: Sequence[dict]) -> Iterable[str]:
    yield f"# tdml bench detection --grid {head['grid']}"
    yield ""
    yield (
        f"{head['cases']} cases, {head['seconds']:.0f} s of computing; {head['processor']}, "
        f"torch {head['torch']}."
    )
    yield (
        "Proven at once: in the round of its first deed. Rounds to the proof: 1 is that "
        "round. In brackets: 95 %"
    )
    yield (
        "intervals (Wilson's of shares, Student's of accuracies over the seeds). Spent: of "
        "the fleet's computation."
    )
    yield from tables(groups)
    if skipped:
        yield from ("", f"## Left out: {len(skipped)} cases", "")
        yield from sorted({f"- {item['reason']}" for item in skipped})


def tables(groups: Sequence[dict]) -> Iterable[str]:
    """A table for every setting, in Markdown."""
    by_setting: dict[tuple, list[dict]] = {}
    for group in groups:
        setting = (*_setting(group["case"]), group["case"]["attackers"])
        by_setting.setdefault(setting, []).append(group)
    for rows in by_setting.values():
        yield from ("", f"## {_title(rows[0]['case'])}", "")
        named = any("right_node" in row for row in rows)
        yield from _grid(
            [*_HEAD, *(["right node"] if named else [])], [_row(row, named) for row in rows]
        )
        if len({row["case"]["defence"] for row in rows}) > 1:
            yield from ("", "Accuracy after the last round:", "", *_by_defence(rows))


def steps_of(case: Mapping) -> str:
    """How long a round is, in words."""
    if case["steps"] is None:
        return "one epoch"
    return f"{case['steps']} step{'s' if case['steps'] > 1 else ''}"


def _title(case: dict) -> str:
    count = f"{case['rounds']} round{'s' if case['rounds'] > 1 else ''}"
    kinds = {"iid": "IID", "contiguous": "by document"}
    kind = kinds.get(case["partition"], f"Dirichlet {case['alpha']}")
    parts = [
        case["setting"],
        f"n = {case['replicas']}",
        f"f = {case['attackers']}",
        f"{count} of {steps_of(case)}",
        kind,
    ]
    if case["stages"] > 1:
        parts.append(
            f"{case['stages']} stages{', one node attacks' if case['single_node'] else ''}"
        )
    if case["from_round"] > 1 and case["attackers"]:
        parts.append(f"from round {case['from_round']} on")
    if case["share_of_rounds"] < 1:
        parts.append(f"in {case['share_of_rounds']:.0%} of the rounds")
    return ", ".join([*parts, *case["extra"]])


def _row(group: dict, named: bool) -> list[str]:
    delay = group["rounds_to_proof"]
    cells = [
        group["case"]["attack"], group["case"]["defence"], _percent(group["proven_at_once"]),
        f"{_count(delay['median'])}, {_count(delay['p95'])}" if group["attackers"] else "",
        _percent(group["never_proven"]), _plain(group["attackers_counted"]),
        _percent(group["honest_banned"]), _plain(group["honest_not_counted"]),
        _plain(group["spent"]["mean"]), _accuracy(group["final_accuracy"]),
        _accuracy(group["absent_accuracy"]),
        _accuracy(group["clean_accuracy"]),
    ]  # fmt: skip
    if success := group.get("backdoor_success"):
        cells[9] += f"; backdoor {_accuracy(success)}"
    return (
        [*cells, _percent(group["right_node"])]
        if named and "right_node" in group
        else cells + [""] * named
    )


def _plain(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _by_defence(rows: Sequence[dict]) -> Iterable[str]:
    defences = list(dict.fromkeys(row["case"]["defence"] for row in rows))
    attacks = list(dict.fromkeys(row["case"]["attack"] for row in rows))
    accuracies = {
        (row["case"]["attack"], row["case"]["defence"]): _accuracy(row["final_accuracy"])
        for row in rows
    }
    return _grid(
        ["attack", *defences],
        [[a, *(accuracies.get((a, d), "") for d in defences)] for a in attacks],
    )


def _grid(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _percent(share: dict) -> str:
    if not share["of"]:
        return ""
    return f"{share['share']:.1%} ({share['low']:.1%} to {share['high']:.1%})".replace(".0%", "%")


def _accuracy(mean: dict | None) -> str:
    if mean is None:
        return ""
    return f"{mean['mean']:.3f}" + ("" if mean["half"] is None else f" ± {mean['half']:.3f}")


def _count(rounds: float | None) -> str:
    return "never" if rounds is None else f"{rounds:.0f}"
