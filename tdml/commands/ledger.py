"""`tdml ledger`: verify, show, proof, check."""

import argparse
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tdml.common.files import replace_file
from tdml.errors import SettingError, one_line, printable
from tdml.ledger import proof
from tdml.ledger.reader import LEDGER, read
from tdml.ledger.show import EntryLine, lines, node_keys, void_since
from tdml.ledger.verify import Summary, Wrong, verify_run
from tdml.members.roster import read_keys

_KIND_WIDTH = 12


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `ledger` to the commands of `tdml`."""
    ledger = commands.add_parser("ledger", help="the signed record of a run")
    actions = ledger.add_subparsers(required=True, metavar="action")
    verify = actions.add_parser(
        "verify", help="compute all of it again; exit status 1 if anything is wrong"
    )
    verify.add_argument("run", type=_folder, metavar="RUN", help="a run folder")
    verify.add_argument(
        "--roster", type=Path, metavar="FILE", help="YAML, node name: public key; also coordinator:"
    )
    verify.add_argument(
        "--root", type=str.lower, metavar="HEX", help="the root that some round must have"
    )
    verify.set_defaults(command=_verify)
    show = actions.add_parser("show", help="what it says, with the evidence of each verdict")
    show.add_argument("run", type=_folder, metavar="RUN", help="a run folder")
    show.add_argument("--node", metavar="NAME", help="only what names this node")
    show.add_argument(
        "--round", type=int, metavar="N", help="only this round; 0 is what comes before the first"
    )
    show.set_defaults(command=_show)
    prove = actions.add_parser(
        "proof", help="write a file that proves one entry to whoever holds the round's root"
    )
    prove.add_argument("run", type=_folder, metavar="RUN", help="a run folder")
    prove.add_argument(
        "entry", type=int, metavar="ENTRY", help="its number, as `tdml ledger show` says it"
    )
    prove.add_argument("--out", type=Path, metavar="FILE", help="proof-ENTRY.json")
    prove.set_defaults(command=_prove)
    check = actions.add_parser(
        "check", help="check such a file; exit status 1 if it proves nothing"
    )
    check.add_argument("proof", type=Path, metavar="PROOF")
    check.add_argument(
        "root", type=str.lower, metavar="ROOT", help="of the round, from a source that you trust"
    )
    check.set_defaults(command=_check)


def _folder(text: str) -> Path:
    """A run's, also where its ledger was named."""
    path = Path(text)
    return path.parent if path.name == LEDGER and path.is_file() else path


def _verify(parsed: argparse.Namespace) -> int:
    from tdml.rewards.accounts import Accounts

    roster = (
        None if parsed.roster is None else read_keys(f"--roster={parsed.roster}", parsed.roster)
    )
    try:
        summary = verify_run(parsed.run, Accounts, roster, parsed.root)
    except Wrong as error:
        return _is_wrong(parsed.run, error)
    print(f"{parsed.run}: {_all_is_well(summary)}")
    return 0


def _is_wrong(what: Path, error: ValueError) -> int:
    with suppress(BrokenPipeError):  # the status must say so whether anybody reads or not
        print(f"{what}: wrong: {one_line(error)}")
    return 1


def _all_is_well(summary: Summary) -> str:
    end = (
        "model.pt is the model of the last"
        if summary.ended
        else "the run has not ended, so model.pt was not checked"
    )
    return (
        f"all is well: {summary.entries} entries, {summary.rounds} rounds, {end}; last root "
        f"{summary.root or 'none'}"
    )


def _show(parsed: argparse.Namespace) -> int:
    with read(parsed.run / LEDGER) as ledger:
        entries = ledger.entries()
    if parsed.node is not None and parsed.node not in (keys := node_keys(entries)):
        raise SettingError(f"--node={parsed.node}: no such node: choose one of {', '.join(keys)}")
    if parsed.round is not None and all(entry.round != parsed.round for entry in entries):
        raise SettingError(f"--round={parsed.round}: there is no such round")
    _print(lines(entries, parsed.node, parsed.round))
    return 0


def _print(lines: Sequence[EntryLine]) -> None:
    """Wrapped in columns on a terminal; elsewhere one line each, however long."""
    console = Console(highlight=False)
    width = max((len(line.label) for line in lines), default=0)
    for line in lines:
        label, kind = f"{line.label:>{width}}", f"{line.kind:<{_KIND_WIDTH}}"
        if not console.is_terminal:
            print(f"{label}  {kind} {line.text}" if line.label else f"\n{line.text}")
        elif not line.label:
            console.print(Text(f"\n{line.text}", style=line.style))
        else:
            row = Table.grid(padding=(0, 1))
            row.add_row(
                Text(label, style="dim"),
                Text(kind, style=line.style),
                Text(line.text, style=line.style, overflow="fold"),
            )
            console.print(row)


def _prove(parsed: argparse.Namespace) -> int:
    with read(parsed.run / LEDGER) as ledger:
        entries = ledger.entries()
    inclusion, root = proof.prove(entries, parsed.entry)
    number = inclusion.statement.round
    void = void_since(number, entries[parsed.entry + 1 :])
    since = f", which is void since entry {void.index}" if void else ""
    out = parsed.out or Path(f"proof-{parsed.entry}.json")
    replace_file(out, inclusion.encode().decode())  # through no link that somebody has left there
    print(f"{out}: entry {parsed.entry} is under the root {root} of round {number}{since}")
    return 0


def _check(parsed: argparse.Namespace) -> int:
    try:
        inclusion = proof.check(parsed.proof.read_bytes(), parsed.root)
    except ValueError as error:
        return _is_wrong(parsed.proof, error)
    statement = inclusion.statement
    said = f"{statement.kind} of round {statement.round} by {statement.author}"
    print(f"{parsed.proof}: entry {inclusion.index} is under this root: {printable(said)}")
    return 0
