"""Check a ledger from its file alone, without trusting the process that wrote it.

What cannot be found without something that is held outside, because all is then signed as it should
be:

- the coordinator has made the whole chain anew, or somebody else has under another coordinator's
  key. Nobody but the nodes can sign their commits, but commits can be left out.
- an older copy of the file has been put in the place of a newer one.

Whoever holds the root of a round (`root`) finds every such change up to that round. Whoever knows
the public keys (`roster`) finds another coordinator and invented nodes.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tdml.errors import SettingError, one_line
from tdml.ledger.entry import START, Entry, check_head, seals
from tdml.ledger.reader import LEDGER, LedgerReader, read, to_entry
from tdml.ledger.rules import MakeBook, Rules
from tdml.members.roster import COORDINATOR_NAME
from tdml.settings.file import flat, from_yaml

_LARGEST_CONFIG = 2**20  # bytes


class Wrong(ValueError):
    """The first thing that is wrong with a ledger, in one line."""


@dataclass(frozen=True)
class Summary:
    """A ledger that is sound."""

    entries: int
    rounds: int  # closed rounds that count, but for round 0 and the end
    ended: bool
    root: str  # of the last closed round, which may be the end's; "" if none is closed
    # digest of the last global weights, the model's if the run has ended; "" if there are none
    weights: str
    config: str  # SHA-256 of config.yaml
    terms: Mapping[str, Any]  # what the first entry says


def verify(
    path: Path,
    make_book: MakeBook,
    roster: Mapping[str, str] | None = None,
    root: str | None = None,
) -> Summary:
    """Check the ledger at `path`: tables, hashes, signatures, order, money.

    Args:
        make_book: makes the accounts of a job from the bodies of its `job` and its `roster`.
        roster: public keys by name that all must be the run's, with `coordinator` among the names
            or not.
        root: that some round must have, be it one that became void.

    Raises:
        Wrong: something is not as it must be. The message names the first entry that is wrong.
        SettingError: there is no ledger, or SQLite cannot read it.
    """
    with read(path) as reader:
        if fault := reader.fault():
            raise Wrong(fault)
        rules = Rules(make_book)
        entries, hash, roots = _follow(reader, rules, roster)
        try:
            check_head(reader.heads(), entries, hash, rules.coordinator)
        except ValueError as error:
            raise Wrong(str(error)) from None
    if root is not None and root not in roots:
        raise Wrong(f"no round has the root {root}")
    return Summary(
        entries,
        rules.rounds,
        rules.ended,
        rules.last.root,
        rules.last.weights,
        rules.config,
        rules.terms,
    )


def verify_run(
    run: Path, make_book: MakeBook, roster: Mapping[str, str] | None = None, root: str | None = None
) -> Summary:
    """The same for a run folder, with its config.yaml and, if the run has ended, its model.pt.

    Raises:
        Wrong: as `verify`, or a file is not the one that the ledger speaks of.
        SettingError: as `verify`.
    """
    summary = verify(run / LEDGER, make_book, roster, root)
    if _digest_of_config(run / "config.yaml") != summary.config:
        raise Wrong("config.yaml is not the one that the job was started with")
    _check_terms(summary.terms, run / "config.yaml")
    if summary.ended and _digest_of_model(run / "model.pt") != summary.weights:
        raise Wrong("model.pt is not the model of the last round")
    return summary


def _follow(
    reader: LedgerReader, rules: Rules, roster: Mapping[str, str] | None
) -> tuple[int, str, set[str]]:
    """Check every entry. Returns their number, the last hash and the roots."""
    count, hash, roots = 0, START, set()
    for row in reader.rows():
        where = f"entry {count}"
        try:
            entry = to_entry(row)
            where += f" ({entry.kind}, round {entry.round})"
            entry.check_link(count, hash)
            if not entry.statement.signed_by_author(entry.signature):
                raise ValueError("it is not signed by its author")
            rules.apply(entry)
            if not seals(entry.hash, entry.seal, rules.coordinator):
                raise ValueError("it is not sealed by the coordinator")
            if roster is not None:
                _check_keys(entry, roster)
        except ValueError as error:
            raise Wrong(f"{where}: {one_line(error)}") from error
        count, hash = count + 1, entry.hash
        if entry.kind == "root":
            roots.add(entry.body["root"])
    if not count:
        raise Wrong("the ledger is empty")
    return count, hash, roots


def _check_keys(entry: Entry, roster: Mapping[str, str]) -> None:
    """Hold the entries that name keys against a roster from elsewhere."""
    if entry.kind == "job" and roster.get(COORDINATOR_NAME, entry.author) != entry.author:
        raise ValueError("the coordinator's key is not that of the roster")
    if entry.kind != "roster":
        return
    wanted = {name: key for name, key in roster.items() if name != COORDINATOR_NAME}
    refused = entry.body["refused"].keys()
    keys = {name: key for name, key in entry.body["keys"].items() if name not in refused}
    for name in sorted((keys.keys() | wanted.keys()) - refused):
        if keys.get(name) != wanted.get(name):
            raise ValueError(f"the key of {name} is not that of the roster")


def _check_terms(terms: Mapping[str, Any], path: Path) -> None:
    """What the nodes were told when they came is what they are paid by. Only what no resume may
    change."""
    from tdml.trust.numbers import RANDOM_SHARE  # with torch

    try:
        settings = flat(from_yaml(path))
    except SettingError as error:
        raise Wrong(str(error)) from error
    most = settings.get("topology.max_replicas")
    said = {
        "replicas": settings.get("topology.replicas") if most is None else most,
        "stages": settings.get("topology.stages"),
        "policy": settings.get("rewards.policy"),
        "pool": settings.get("rewards.pool"),
        "stake": settings.get("rewards.stake"),
    }
    for term, value in said.items():
        settled_at_start = term == "stake" and value is None
        if value != terms[term] and not settled_at_start:
            raise Wrong(f"config.yaml says {term} {value}, and the ledger {terms[term]}")
    chance, budget = terms["audit_chance"], settings.get("trust.budget")
    if chance and (not isinstance(budget, float) or chance != RANDOM_SHARE * budget):
        raise Wrong(f"config.yaml says trust.budget={budget}, and the ledger chance {chance}")


def _digest_of_model(path: Path) -> str:
    """Of a file that may hold anything; "" if it holds no weights."""
    from tdml.ledger.weights import digest_of_weights
    from tdml.models.model_file import read_weights

    try:
        return digest_of_weights(read_weights(path))
    except ValueError:
        return ""


def _digest_of_config(path: Path) -> str:
    """Of a file that may hold anything; "" if there is none, or it is no settings by its size."""
    if not path.is_file() or path.stat().st_size > _LARGEST_CONFIG:
        return ""
    return hashlib.sha256(path.read_bytes()).hexdigest()
