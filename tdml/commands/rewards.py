"""`tdml rewards RUN`: the statement per key."""

import argparse
import json
import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from tdml.errors import SettingError, one_line, printable

if TYPE_CHECKING:
    from tdml.rewards.account_statement import AccountLine, AccountStatement
    from tdml.rewards.entries import Posting

_KEY = 16  # hex digits of a key that are shown


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to those of `tdml`."""
    rewards = commands.add_parser("rewards", help="what every node of a run has earned and lost")
    rewards.add_argument("run", type=Path, metavar="RUN", help="a run folder")
    rewards.add_argument(
        "--node",
        metavar="NAME|KEY",
        help="only this one, with all its postings; the start of a key is enough",
    )
    rewards.add_argument("--json", action="store_true", help="print JSON, with the keys in full")
    rewards.set_defaults(command=_rewards)


def _rewards(parsed: argparse.Namespace) -> int:
    statement = _read(parsed.run)
    lines = statement.lines if parsed.node is None else _chosen(statement, parsed.node)
    if parsed.json:
        print(to_json(statement, lines, postings=parsed.node is not None))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
        print(to_text(statement, lines, parsed.node is not None, width))
    return 0


def to_text(
    statement: "AccountStatement", lines: "list[AccountLine]", postings: bool, width: int
) -> str:
    """A table of the lines, and their postings where asked for; for the whole job the totals below
    it. No line is longer than `width` characters."""
    rows: list[tuple[str, ...]] = [
        ("node", "key", "rounds", "earned", "held back", "lost", "stake left")
    ]
    for line in lines:
        amounts = (line.rounds, line.earned, line.held, line.lost, line.stake)
        rows.append(
            (", ".join(line.names), line.key[:_KEY], *(f"{amount:,}" for amount in amounts))
        )
    text = _table(rows, "<<>>>>>", width)
    if postings:
        return "\n".join([text, *(_postings(statement, line, width) for line in lines)])
    t = statement.totals
    sums = [
        f"pools {t['pool_in']:,} + slashed stakes {t['slashed']:,} "
        f"= credits {t['credit']:,} + held back {t['held']:,} + treasury {t['treasury']:,}",
        (
            f"stakes put down {t['deposits']:,} = stakes left {t['stake']:,} + slashed stakes "
            f"{t['slashed']:,}"
        ),
    ]
    if statement.stands_for:
        sums.append(
            "paid by lot: for windows that chance had repeated, each as "
            f"{statement.stands_for:.3g} of them"
        )
    return "\n".join([text, "", *(_fold(line, width) for line in sums)])


def to_json(statement: "AccountStatement", lines: "list[AccountLine]", postings: bool) -> str:
    """The same as JSON."""
    keys = []
    for line in lines:
        own = [{"round": round, **_plain(posting)} for round, posting in statement.of(line.key)]
        keys.append(asdict(line) | ({"postings": own} if postings else {}))
    return json.dumps({"keys": keys, "totals": statement.totals}, indent=2)


def _read(run: Path) -> "AccountStatement":
    """Of a ledger that is sound: whoever pays by it may have it from somebody else."""
    from tdml.ledger.reader import LEDGER, read
    from tdml.ledger.verify import Wrong, verify
    from tdml.rewards.account_statement import statement_of
    from tdml.rewards.accounts import Accounts

    try:
        verify(run / LEDGER, Accounts)
    except Wrong as error:
        raise SettingError(
            f"{run / LEDGER}: {one_line(error)}: see tdml ledger verify {run}"
        ) from error
    with read(run / LEDGER) as ledger:
        return statement_of((entry.round, entry.kind, entry.body) for entry in ledger.entries())


def _chosen(statement: "AccountStatement", node: str) -> "list[AccountLine]":
    chosen = [
        line
        for line in statement.lines
        if node in line.names or (node and line.key.startswith(node))
    ]
    if not chosen:
        names = ", ".join(name for line in statement.lines for name in line.names)
        raise SettingError(f"--node {node}: there is no such name or key: choose one of {names}")
    return chosen


def _postings(statement: "AccountStatement", line: "AccountLine", width: int) -> str:
    rows: list[tuple[str, ...]] = [("round", "amount", "from", "to", "why")]
    for round, posting in statement.of(line.key):
        accounts = (_short(posting.source), _short(posting.target))
        rows.append((str(round), f"{posting.amount:,}", *accounts, posting.why))
    table = "\n" + _table(rows, ">><<<", width)
    if not line.unpaid:
        return table
    rounds = ", ".join(map(str, line.unpaid))
    said = f"nothing in rounds in which its replica was lost: {rounds} (why: tdml ledger show)"
    return f"{table}\n{_fold(said, width)}"


def _short(account: str) -> str:
    kind, colon, key = account.partition(":")
    return kind + colon + key[:_KEY]


def _plain(posting: "Posting") -> dict:
    import msgspec

    return msgspec.to_builtins(posting)


def _table(rows: list[tuple[str, ...]], alignment: str, width: int) -> str:
    """Columns two blanks apart, each flush left (<) or right (>); where that is too wide, a
    paragraph for each row. What a stranger's ledger says may not control the terminal."""
    rows = [tuple(map(printable, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            f"{cell:{side}{size}}" for cell, side, size in zip(row, alignment, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines if max(map(len, lines)) <= width else _paragraphs(rows, width))


def _paragraphs(rows: list[tuple[str, ...]], width: int) -> Iterator[str]:
    """The cells with their titles, which are the first row."""
    titles, *rest = rows
    for row in rest:
        cells = [f"{title} {cell}" for title, cell in zip(titles, row, strict=True)]
        yield _fold(f"{cells[0]}: {'; '.join(cells[1:])}", width)


def _fold(text: str, width: int) -> str:
    return textwrap.fill(text, width, subsequent_indent="  ", break_on_hyphens=False)
