"""Which kind of entry may stand where in a round.

Round 0 goes: `job`, `roster`, the stakes as `rewards`, perhaps the first `weights`, `root`. A round
n ≥ 1 goes from `round` to `root`, with the kinds between them in the order of `_ORDER`. A `refusal`
may stand anywhere in between. `end`, perhaps `rewards`, and `root` are a round of their own after
the last, so that every entry is under the root of its round. A `resume` is the first entry of the
round with which the run goes on, and so is a `rollback`, which may also come right after these.
Before a `round` a `roster` may stand, where keys have changed.
"""

from collections.abc import Sequence

_ORDER = (
    "roster", "commit", "reveal", "audit", "verdict", "ban", "rewards", "weights", "root",
)  # fmt: skip
_BEFORE_THE_FIRST = {"roster", "refusal", "rewards", "weights", "root"}
_IN_A_ROUND = {*_ORDER, "refusal"} - {"roster"}
_ONCE = {"roster", "reveal", "rewards", "weights"}


def check_place(kind: str, before: Sequence[str], number: int, ended: bool) -> None:
    """Check where an entry stands.

    Args:
        before: kinds of the entries of this round so far.
        number: of the round.
        ended: whether the run was over after the round before.

    Raises:
        ValueError: no entry of this kind may come next.
    """
    if kind not in _allowed(before, number, ended):
        raise ValueError(f"no {kind} may stand here")
    if kind in _ONCE and kind in before:
        raise ValueError(f"the round has a {kind} already")
    ranks = [_ORDER.index(other) for other in (*before, kind) if other in _ORDER]
    if kind in _ORDER and ranks[-1] < max(ranks):
        raise ValueError(f"this {kind} comes too late")
    if kind == "root" and (missing := _needed(before) - set(before)):
        raise ValueError(f"the round has no {min(missing)}")


def _allowed(before: Sequence[str], number: int, ended: bool) -> set[str]:  # noqa: PLR0911 - one line a case
    if not before and number == 0:
        return {"job"}
    if not before:
        return {"resume"} if ended else {"resume", "rollback", "roster", "round", "end"}
    if list(before) in (["roster"], ["rollback", "roster"]):
        return {"round"}
    if list(before) in (["rollback"], ["resume"]):
        return {"roster", "round", "end"}
    if list(before) == ["resume", "roster"]:
        return {"round", "end"}
    if "end" in before:
        return {"rewards", "root"}
    return _BEFORE_THE_FIRST if number == 0 else _IN_A_ROUND


def _needed(before: Sequence[str]) -> set[str]:
    """What a round that is closed must have. Whether money is due is for the accounts to know."""
    if "end" in before:
        return set()
    return {"roster"} if "job" in before else {"reveal", "weights"}
