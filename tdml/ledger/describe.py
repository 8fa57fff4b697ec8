"""What an entry says, in one line of plain text."""

from collections.abc import Callable, Mapping
from typing import Any

from tdml.errors import printable
from tdml.ledger.entry import Entry
from tdml.ledger.statement import canonical

_SHORT = 12  # digits of a digest


def describe(entry: Entry, names: Mapping[str, str]) -> str:
    """One line.

    Args:
        names: node names by public key.
    """
    return printable(_rewards(entry.body, names) if entry.kind == "rewards" else _TEXTS[entry.kind](entry.body))


def _job(body: dict[str, Any]) -> str:
    return (
        f"{body['name']}: {body['rounds']} rounds, {body['replicas']} replicas × {body['stages']} stages, TDML "
        f"{body['version']}; rewards: {body['policy']}, pool {body['pool']:,}, stake {body['stake']:,}; "
        f"audits: rate {body['audit_rate']:g}, {body['audit_windows']} windows; "
        f"coordinator {_short(body['coordinator'])}"
    )


def _roster(body: dict[str, Any]) -> str:
    keys = ", ".join(f"{name} {_short(key)}" for name, key in body["keys"].items())
    refused = "".join(f"; {name} refused: {why}" for name, why in body["refused"].items())
    return f"keys {'given in advance' if body['given'] else 'trusted at first contact'}: {keys}{refused}"


def _resume(body: dict[str, Any]) -> str:
    changes = ((key, *map(canonical, values)) for key, values in body.get("changed", {}).items())
    changed = "".join(f"; {key} {old.decode()} → {new.decode()}" for key, old, new in changes)
    return f"goes on after round {body['after']}; what came later is void{changed}"


def _round(body: dict[str, Any]) -> str:
    seats = "; ".join(f"{replica}: {' '.join(nodes)}" for replica, nodes in body["seats"].items())
    return f"from weights {_short(body['weights'])}; seats {seats}"


def _commit(body: dict[str, Any]) -> str:
    digests = (f"{what} {_short(body[what])}" for what in ("update", "states") if body[what])
    return f"{body['node']}: {', '.join(digests) or 'nothing'}"


def _suspicion(body: dict[str, Any]) -> str:
    return f"{_who(body)}: {body['reason']}"


def _evidence(body: dict[str, Any]) -> str:
    judges = ", ".join(map(str, body["judges"]))
    text = f"{_who(body)}: {body['against']:+.2f} nats, stands at {body['total']:.2f}"
    return text + f"; judges {judges}" * bool(judges) + f": {body['reason']}" * bool(body["reason"])


def _audit(body: dict[str, Any]) -> str:
    windows, validators = ", ".join(map(str, body["windows"])), canonical(body["validators"]).decode()
    text = f"{_who(body)} {body['outcome']}: windows {windows}, executed again by {validators}"
    artifacts = "".join(f"; {name} in artifact {digest}" for name, digest in body["artifacts"].items())
    return text + _blamed(body) + f": {body['reason']}" * bool(body["reason"]) + artifacts


def _verdict(body: dict[str, Any]) -> str:
    work = f", {body['samples']:,} samples" if body["samples"] else ""
    lied = f"; lied as validators: {', '.join(body['perjured'])}" if body.get("perjured") else ""
    said = f"{_who(body)} {body['status']}{work}" + _blamed(body) + lied
    return said + f": {body['reason']}" * bool(body["reason"])


def _rewards(body: dict[str, Any], names: Mapping[str, str]) -> str:
    def account(text: str) -> str:
        kind, _, key = text.partition(":")
        return f"{kind} of {names.get(key, _short(key))}" if key else kind

    moves = (f"{p['amount']:,} {account(p['from'])} → {account(p['to'])} ({p['why']})" for p in body["postings"])
    return "; ".join(moves) or "nothing"


def _who(body: dict[str, Any]) -> str:
    nodes = " ".join(body["nodes"])
    return f"replica {body['replica']}" + f" ({nodes})" * bool(nodes)


def _blamed(body: dict[str, Any]) -> str:
    blamed = f"; to blame: {', '.join(body['blamed'])}" if body["blamed"] else ""
    disputes = "".join(f"; in dispute: {one} and {other}" for one, other in body.get("disputes", []))
    gone = f"; gone: {', '.join(body['absent'])}" if body.get("absent") else ""
    erratic = f"; own repetitions differ: {', '.join(body['erratic'])}" if body.get("erratic") else ""
    return blamed + disputes + gone + erratic


def _short(digest: str) -> str:
    return digest[:_SHORT] + "…" * (len(digest) > _SHORT)


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "job": _job,
    "roster": _roster,
    "resume": _resume,
    "round": _round,
    "commit": _commit,
    "reveal": lambda body: f"secret {_short(body['secret'])}",
    "suspicion": _suspicion,
    "evidence": _evidence,
    "audit": _audit,
    "verdict": _verdict,
    "refusal": lambda body: f"{body['node'] or 'unknown'}: {body['what']}",
    "ban": lambda body: f"{body['node']} with the key {_short(body['key'])}: {body['reason']}",
    "weights": lambda body: body["digest"],
    "root": lambda body: f"{body['root']} over {body['entries']} entries",
    "end": lambda body: f"{body['reason']}; model {body['model']}",
}
