"""A ledger as text, for people."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from tdml.ledger.describe import describe
from tdml.ledger.entry import Entry, by_round

_STYLES = {"malicious": "bold red", "suspicious": "yellow", "lost": "magenta"}


@dataclass(frozen=True)
class EntryLine:
    """An entry's number and kind, and what it says; a heading has neither number nor kind."""

    label: str
    kind: str
    text: str
    style: str = ""  # rich's


def lines(
    entries: Sequence[Entry], node: str | None = None, round: int | None = None
) -> list[EntryLine]:
    """The ledger, with a heading per round and the evidence of each verdict under it.

    Args:
        entries: all of them.
        node: only what names this node or its key.
        round: only this round.
    """
    keys, names = node_keys(entries), {key: name for name, key in _rosters(entries)}
    entry_lines, rounds = [], by_round(entries)
    for number, part in enumerate(rounds):
        shown = part if node is None else _about(part, node, keys[node])
        if shown and round in (None, part[0].round):
            entry_lines.append(_heading(part, rounds[number + 1 :]))
            entry_lines += _of_round(shown, names)
    return entry_lines


def node_keys(entries: Sequence[Entry]) -> dict[str, str]:
    """Public keys by node name, as the last roster that has the name says."""
    return dict(_rosters(entries))


def void_since(number: int, later: Iterable[Entry]) -> Entry | None:
    """The first of the entries after a round that has made the round void; None if none has."""
    voids = (e for e in later if e.kind in ("resume", "rollback") and e.body["after"] < number)
    return next(voids, None)


def _rosters(entries: Sequence[Entry]) -> Iterator[tuple[str, str]]:
    """Name and key of every node of every roster, in their order."""
    for entry in entries:
        if entry.kind == "roster":
            yield from entry.body["keys"].items()


def _heading(part: Sequence[Entry], later: Sequence[Sequence[Entry]]) -> EntryLine:
    number, last = part[0].round, part[-1]
    text = "end" if any(entry.kind == "end" for entry in part) else f"round {number}"
    if void := void_since(number, chain.from_iterable(later)):
        text += f", void: entry {void.index} goes on after round {void.body['after']}"
    elif last.kind != "root":
        text += ", not closed"
    return EntryLine("", "", text, "bold")


def _of_round(part: Sequence[Entry], names: Mapping[str, str]) -> list[EntryLine]:
    """A line per entry in their order, but that a verdict's audits, on which it rests, come right
    after it."""
    audits: dict[int, list[Entry]] = {}
    for entry in part:
        if entry.kind == "audit":
            audits.setdefault(entry.body["replica"], []).append(entry)
    judged = {entry.body["replica"] for entry in part if entry.kind == "verdict"}
    entry_lines = []
    for entry in part:
        if entry.kind == "audit" and entry.body["replica"] in judged:
            continue
        entry_lines.append(_line(entry, names))
        if entry.kind == "verdict":
            own = audits.get(entry.body["replica"], ())
            entry_lines += [_line(audit, names, indent="  ") for audit in own]
    return entry_lines


def _line(entry: Entry, names: Mapping[str, str], indent: str = "") -> EntryLine:
    style = _STYLES.get(
        entry.body.get("status", ""), "red" if entry.kind in ("ban", "refusal") else ""
    )
    return EntryLine(str(entry.index), indent + entry.kind, describe(entry, names), style)


def _about(part: Sequence[Entry], node: str, key: str) -> list[Entry]:
    """The entries that name a node, with those postings alone that move its money."""
    entries = []
    for entry in part:
        if not _names(entry.body, node, key):
            continue
        if entry.kind == "rewards":
            postings = [posting for posting in entry.body["postings"] if _names(posting, node, key)]
            entries.append(replace(entry, body={"postings": postings}))
        else:
            entries.append(entry)
    return entries


def _names(value: Any, node: str, key: str) -> bool:
    """Whether a name or a key is somewhere in a body."""
    if isinstance(value, str):
        return value == node or key in value
    if isinstance(value, Mapping):
        return any(_names(part, node, key) for pair in value.items() for part in pair)
    return isinstance(value, Sequence) and any(_names(part, node, key) for part in value)
