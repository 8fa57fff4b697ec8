"""What an entry may say after those before it: the rules of the chain besides cryptography."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

from tdml.common import merkle
from tdml.ledger.entry import Entry
from tdml.ledger.place import check_place
from tdml.protocol.identity import is_job_of


class Book(Protocol):
    """The accounts: a function of the entries after the first roster."""

    def apply(self, kind: str, round: int, body: dict[str, Any]) -> None:
        """Raises:
        ValueError: money moves otherwise than the rules say.
        """

    def snapshot(self) -> Any:
        """The balances and all that they depend on."""

    def restore(self, snapshot: Any) -> None:
        """Undo what was applied since."""


MakeBook = Callable[[dict[str, Any], dict[str, Any]], Book]  # from the bodies of `job` and `roster`


@dataclass(frozen=True)
class LedgerState:
    """What holds after a round."""

    weights: str = ""  # digest of the global weights, if known
    roster: Mapping[str, Any] = field(default_factory=dict)  # the body of the last `roster`
    banned: tuple[str, ...] = ()  # public keys, in their order
    ended: bool = False
    root: str = ""  # of the round
    book: Any = None  # snapshot of the accounts


@dataclass
class _Open:
    """The round that is being written."""

    number: int
    leaves: list[str] = field(default_factory=list)  # hashes of its entries
    kinds: list[str] = field(default_factory=list)
    secret: str = ""
    slots: Mapping[str, list[str]] = field(default_factory=dict)  # node names by replica
    committed: set[str] = field(default_factory=set)
    judged: set[int] = field(default_factory=set)


class Rules:
    """Applies the rules to the entries in their order."""

    def __init__(self, make_book: MakeBook) -> None:
        self._make_book = make_book
        self._book: Book | None = None  # from the roster on
        self._job: Entry | None = None  # the first entry
        self._closed: list[LedgerState] = []  # by round
        self._state = LedgerState()
        self._open: _Open | None = None
        self.config = ""  # what config.yaml should hash to

    @property
    def coordinator(self) -> str:
        """The public key that the first entry names; "" before it."""
        return self._job.body["coordinator"] if self._job else ""

    @property
    def terms(self) -> Mapping[str, Any]:
        """What the first entry says."""
        return self._job.body if self._job else {}

    @property
    def last(self) -> LedgerState:
        """What holds after the last closed round."""
        return self._closed[-1] if self._closed else LedgerState()

    @property
    def ended(self) -> bool:
        """Whether the run is over."""
        return self.last.ended and self._open is None

    @property
    def rounds(self) -> int:
        """Closed rounds that count, but for those before the first and of the end."""
        return max(0, len(self._closed) - 1 - self.last.ended)

    def apply(self, entry: Entry) -> None:
        """Take the next entry, whose body is what its kind has.

        Raises:
            ValueError: it is against the rules.
        """
        self._check_author(entry)
        if entry.kind == "resume":
            self._rewind(entry)
        if entry.kind == "rollback":
            self._roll_back(entry)
        round_ = self._open = self._open or _Open(len(self._closed))
        if entry.round != round_.number:
            raise ValueError(f"it is of round {entry.round}, but round {round_.number} comes here")
        check_place(entry.kind, round_.kinds, round_.number, self.last.ended)
        if rule := self._RULES.get(entry.kind):
            rule(self, entry, round_)
        self._apply_to_book(entry)
        round_.leaves.append(entry.hash)
        round_.kinds.append(entry.kind)
        if entry.kind == "root":
            self._close(entry)

    def _apply_to_book(self, entry: Entry) -> None:
        if self._book is not None:
            self._book.apply(entry.kind, entry.round, entry.body)
        elif entry.kind == "roster":
            assert self._job is not None
            self._book = self._make_book(self._job.body, entry.body)

    def _check_author(self, entry: Entry) -> None:
        if self._job is None:
            if entry.kind != "job":
                raise ValueError("the first entry is no job")
            if not is_job_of(entry.job, entry.body["coordinator"]):
                raise ValueError("the job is not that of its coordinator")
            self._job, self.config = entry, entry.body["config"]
        if entry.job != self._job.job:
            raise ValueError("it is of another job")
        if entry.kind != "commit" and entry.author != self.coordinator:
            raise ValueError("its author is not the coordinator")

    def _rewind(self, entry: Entry) -> None:
        after = entry.body["after"]
        if after >= len(self._closed) or self._closed[after].ended:
            raise ValueError(f"it goes on after round {after}, which is not closed")
        banned = self._state.banned
        del self._closed[after + 1 :]
        self._state = replace(self.last, banned=banned)  # what is proven is so in any round
        assert self._book is not None  # a round is closed, and the first has the roster
        self._book.restore(self.last.book)
        for key in banned[len(self.last.banned) :]:
            self._book.apply("ban", after + 1, {"key": key})
        self._open = _Open(after + 1)
        self.config = entry.body.get("config", self.config)

    def _roll_back(self, entry: Entry) -> None:
        """The weights are those of an earlier round; bans, keys and money are not. A run that was
        cut off before it went back does so when it is resumed."""
        after = entry.body["after"]
        begun = self._open is not None and not {*self._open.kinds} <= {"resume", "roster"}
        if begun or after >= len(self._closed) or self.last.ended:
            raise ValueError(
                f"it goes on after round {after}, which is not closed, or another round is open"
            )
        weights = self._closed[after].weights
        del self._closed[after + 1 :]
        assert self._book is not None
        self._closed[after] = self._state = replace(
            self._state,
            weights=weights,
            root=self._closed[after].root,
            book=self._book.snapshot(),
        )
        self._open = _Open(after + 1)

    def _close(self, entry: Entry) -> None:
        assert self._book is not None
        self._closed.append(
            replace(self._state, root=entry.body["root"], book=self._book.snapshot())
        )
        self._state, self._open = self.last, None

    # One rule per kind, where there is more to say than where it may stand

    def _take_roster(self, entry: Entry, round_: _Open) -> None:
        before, keys = self._state.roster.get("keys", {}), entry.body["keys"]
        changed = [name for name, key in before.items() if keys.get(name) != key]
        if changed and "resume" not in round_.kinds:
            raise ValueError(f"{min(changed)} had another key before")
        self._state = replace(self._state, roster=entry.body)

    def _begin_round(self, entry: Entry, round_: _Open) -> None:
        body = entry.body
        if self._state.weights not in ("", body["weights"]):
            raise ValueError("it does not start from the weights with which the round before ended")
        placed = [node for nodes in body["slots"].values() for node in nodes]
        if len(set(placed)) < len(placed):
            raise ValueError("a node has two slots")
        there = [*placed, *body.get("standby", ())]
        if strangers := set(there) - self._state.roster["keys"].keys():
            raise ValueError(f"{min(strangers)} takes part but is not in the roster")
        if not self.last.weights:  # what the run begins with, whenever it begins again
            self._closed[-1] = replace(self.last, weights=body["weights"])
        round_.secret, round_.slots = body["secret"], body["slots"]

    def _check_commit(self, entry: Entry, round_: _Open) -> None:
        node = entry.body["node"]
        if not any(node in nodes for nodes in round_.slots.values()):
            raise ValueError(f"{node} has no slot in this round")
        if entry.author != self._state.roster["keys"][node]:
            raise ValueError(f"its author is not {node}")
        if entry.author in self._state.banned or node in self._state.roster["refused"]:
            raise ValueError(f"{node} is banned")
        if entry.body["play"] != round_.secret:
            raise ValueError("it is of another play of the round")
        if node in round_.committed:
            raise ValueError(f"{node} commits twice")
        round_.committed.add(node)

    def _check_reveal(self, entry: Entry, round_: _Open) -> None:
        if hashlib.sha256(bytes.fromhex(entry.body["secret"])).hexdigest() != round_.secret:
            raise ValueError("the secret is not the one that the round had committed to")

    def _check_verdict(self, entry: Entry, round_: _Open) -> None:
        body = entry.body
        replica, nodes = body["replica"], body["nodes"]
        if replica in round_.judged:
            raise ValueError(f"replica {replica} has two verdicts")
        round_.judged.add(replica)
        if round_.slots.get(str(replica)) != nodes:
            raise ValueError(f"these are not the nodes of replica {replica}")
        if strangers := {*body["blamed"], *body.get("forgiven", ())} - {*nodes}:
            raise ValueError(
                f"{min(strangers)} is blamed or forgiven but has no slot in the replica"
            )
        if body["status"] != "lost" and (without := {*nodes} - round_.committed):
            raise ValueError(f"{min(without)} is judged but has committed to nothing")
        if body.get("repeated", 0) > body["samples"]:
            raise ValueError("more samples are repeated than the replica has worked on")

    def _ban(self, entry: Entry, round_: _Open) -> None:
        node, key = entry.body["node"], entry.body["key"]
        if self._state.roster["keys"].get(node) != key:
            raise ValueError(f"the key is not that of {node}")
        if key in self._state.banned:
            raise ValueError(f"{node} is banned already")
        self._state = replace(self._state, banned=(*self._state.banned, key))

    def _change_weights(self, entry: Entry, round_: _Open) -> None:
        self._state = replace(self._state, weights=entry.body["digest"])

    def _end(self, entry: Entry, round_: _Open) -> None:
        if self._state.weights not in ("", entry.body["model"]):
            raise ValueError("the model is not that of the last round")
        self._state = replace(self._state, weights=entry.body["model"], ended=True)

    def _check_root(self, entry: Entry, round_: _Open) -> None:
        if without := {*round_.slots} - {str(replica) for replica in round_.judged}:
            raise ValueError(f"there is no verdict on replica {min(without)}")
        if entry.body["entries"] != len(round_.leaves):
            raise ValueError(
                f"it speaks of {entry.body['entries']} entries, but the round has "
                f"{len(round_.leaves)}"
            )
        if entry.body["root"] != merkle.root(round_.leaves):
            raise ValueError("it is not the root of the round's entries")

    _RULES: ClassVar[dict[str, Callable[["Rules", Entry, _Open], None]]] = {
        "roster": _take_roster,
        "round": _begin_round,
        "commit": _check_commit,
        "reveal": _check_reveal,
        "verdict": _check_verdict,
        "ban": _ban,
        "weights": _change_weights,
        "end": _end,
        "root": _check_root,
    }
