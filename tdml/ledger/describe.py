"""What an entry says, in one line of plain text."""

from collections.abc import Callable, Mapping
from typing import Any

from tdml.errors import printable
from tdml.ledger.entry import Entry
from tdml.protocol.statement import canonical

_SHORT = 12  # digits of a digest


def describe(entry: Entry, names: Mapping[str, str]) -> str:
    """An entry in one line of plain text.

    Args:
        names: node names by public key.
    """
    return printable(
        _rewards(entry.body, names) if entry.kind == "rewards" else _TEXTS[entry.kind](entry.body)
    )


def _job(body: dict[str, Any]) -> str:
    return (
        f"{body['name']}: {body['rounds']} rounds, {body['replicas']} replicas × {body['stages']} "
        f"stages, TDML {body['version']}; rewards: {body['policy']}, pool {body['pool']:,}, stake "
        f"{body['stake']:,}; audits: chance {body['audit_chance']:g} a window; coordinator "
        f"{_short(body['coordinator'])}"
    )


def _roster(body: dict[str, Any]) -> str:
    keys = ", ".join(f"{name} {_short(key)}" for name, key in body["keys"].items())
    refused = "".join(f"; {name} refused: {why}" for name, why in body["refused"].items())
    return (
        f"keys {'given in advance' if body['given'] else 'trusted at first contact'}: "
        f"{keys}{refused}"
    )


def _resume(body: dict[str, Any]) -> str:
    changes = ((key, *map(canonical, values)) for key, values in body.get("changed", {}).items())
    changed = "".join(f"; {key} {old.decode()} → {new.decode()}" for key, old, new in changes)
    return f"goes on after round {body['after']}; what came later is void{changed}"


def _round(body: dict[str, Any]) -> str:
    slots = "; ".join(f"{replica}: {' '.join(nodes)}" for replica, nodes in body["slots"].items())
    standby = f"; standing by: {' '.join(body['standby'])}" if "standby" in body else ""
    fewer = ", ".join(f"replica {index} {steps}" for index, steps in body.get("steps", {}).items())
    steps = f"; fewer steps: {fewer}" if fewer else ""
    return f"from weights {_short(body['weights'])}; {slots}{standby}{steps}"


def _commit(body: dict[str, Any]) -> str:
    digests = (f"{what} {_short(body[what])}" for what in ("update", "states") if body[what])
    return f"{body['node']}: {', '.join(digests) or 'nothing'}"


def _audit(body: dict[str, Any]) -> str:
    by = (
        f"{window} by {'the coordinator' if v is None else f'replica {v}'}"
        for window, v in body["validators"].items()
    )
    text = f"{_who(body)} {body['outcome']}: windows executed again: {', '.join(by) or 'none'}"
    return (
        text
        + f": {body['reason']}" * bool(body["reason"])
        + "".join(map(_dispute, body["disputes"]))
    )


def _dispute(dispute: dict[str, Any]) -> str:
    outcome = f"{', '.join(dispute['blamed'])} lied" if dispute["blamed"] else dispute["unsettled"]
    artifacts = "".join(
        f"; {name} in artifact {digest}" for name, digest in dispute["artifacts"].items()
    )
    return f"; window {dispute['window']}, {dispute['place']}: {outcome}{artifacts}"


def _verdict(body: dict[str, Any]) -> str:
    work = f", {body['samples']:,} samples" if body["samples"] else ""
    work += f", {body['repeated']:,} repeated by chance" if "repeated" in body else ""
    blamed = f"; to blame: {', '.join(body['blamed'])}" if body["blamed"] else ""
    forgiven = f"; forgiven: {', '.join(body['forgiven'])}" if "forgiven" in body else ""
    unfound = ", not found again" if body.get("unfound") else ""
    reason = f": {body['reason']}" if body["reason"] else ""
    return f"{_who(body)} {body['status']}{work}{unfound}{blamed}{forgiven}{reason}"


def _rewards(body: dict[str, Any], names: Mapping[str, str]) -> str:
    def account(text: str) -> str:
        kind, _, key = text.partition(":")
        return f"{kind} of {names.get(key, _short(key))}" if key else kind

    moves = (
        f"{p['amount']:,} {account(p['from'])} → {account(p['to'])} ({p['why']})"
        for p in body["postings"]
    )
    return "; ".join(moves) or "nothing"


def _who(body: dict[str, Any]) -> str:
    nodes = " ".join(body["nodes"])
    return f"replica {body['replica']}" + f" ({nodes})" * bool(nodes)


def _short(digest: str) -> str:
    return digest[:_SHORT] + "…" * (len(digest) > _SHORT)


_TEXTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "job": _job,
    "roster": _roster,
    "resume": _resume,
    "rollback": lambda body: (
        f"goes on from the weights after round {body['after']}: {body['reason']}"
    ),
    "round": _round,
    "commit": _commit,
    "reveal": lambda body: f"secret {_short(body['secret'])}",
    "audit": _audit,
    "verdict": _verdict,
    "refusal": lambda body: f"{body['node'] or 'unknown'}: {body['what']}",
    "ban": lambda body: f"{body['node']} with the key {_short(body['key'])}: {body['reason']}",
    "weights": lambda body: body["digest"],
    "root": lambda body: f"{body['root']} over {body['entries']} entries",
    "end": lambda body: (
        f"{body['reason']}; model {body['model']}"
        + "".join(f"; {_short(key)} has work to show" for key in body.get("owing", ()))
    ),
}
