"""What came of a round's audits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tdml.round.repeat import Window
from tdml.round.settlement import Settlement
from tdml.trust.judgement import Audited, Proof


@dataclass
class Audits:
    """What came of a round's audits."""

    drawn: Mapping[int, Sequence[int]] = field(default_factory=dict)  # windows that chance chose
    by_replica: dict[int, Audited] = field(default_factory=dict)
    proofs: list[Proof] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)  # names of nodes that have not shown their work
    settlements: list[Settlement] = field(default_factory=list)
    steps: int = 0  # that validators have repeated
    looks: int = 0  # steps that owners have repeated for the coordinator's looks
    notes: list[str] = field(default_factory=list)  # for the user
    unanswered: set[int] = field(default_factory=set)  # replicas that did not repeat others' work

    def of(self, index: int) -> Audited:
        """What came of the audit of a replica."""
        return self.by_replica.get(index, Audited())

    def repeated(self, index: int, windows: Sequence[int]) -> int:
        """How many of a replica's steps chance has chosen, and were found again. Where one of its
        nodes is proven to lie, all that were chosen count: its partners have shown what they did.

        Args:
            windows: how many steps each has.
        """
        audited = self.of(index)
        shown = range(len(windows)) if audited.lied else {*audited.clean, *audited.looked}
        return sum(windows[window] for window in self.drawn.get(index, ()) if window in shown)

    def left_undecided(self, window: Window) -> list[Settlement]:
        """The disputes over a window in which nobody was proven to lie."""
        place = (window.order.replica, window.number)
        return [s for s in self.settlements if (s.replica, s.window) == place and not s.proofs]

    def unsure(self, window: Window) -> set[int | None]:
        """The validators in disputes with the owner of a window in which one side was found wrong,
        but not for sure."""
        return {s.validator for s in self.left_undecided(window) if s.unsure}

    def is_clean(self, window: Window) -> bool:
        """Whether another replica has found the same of a window."""
        return window.number in self._before(window).clean

    @property
    def liars(self) -> frozenset[str]:
        """Names of the nodes that are proven to lie, however often."""
        return frozenset(name for proof in self.proofs for name in proof.nodes)

    def convicts(self, names: Iterable[str]) -> bool:
        """Whether one of these nodes is proven to lie."""
        return not self.liars.isdisjoint(names)

    def any_silent(self, names: Iterable[str]) -> bool:
        """Whether one of a replica's nodes has not shown its work: it owes the round, all of which
        will be repeated."""
        return not self.silent.isdisjoint(names)

    def rest(
        self, windows: Mapping[int, Sequence[object]], names: Mapping[int, Sequence[str]]
    ) -> dict[int, list[int]]:
        """The windows of some replicas that nobody has repeated yet, except a proven liar. The liar
        may have accomplices: for each that is found later the run would go back once more.

        Args:
            names: of all replicas' nodes.
        """
        false = {index for index, own in names.items() if self.convicts(own)}
        left = {}
        for index, own in windows.items():
            audited = self.of(index)
            if not (audited.lied or audited.unsettled):
                done = {w for w, validator in audited.validators.items() if validator not in false}
                left[index] = [window for window in range(len(own)) if window not in done]
        return {index: own for index, own in left.items() if own}

    def doubt(self, index: int) -> None:
        """Count a replica's clean windows as looked at only: its validators are on a rare kind of
        machine, and may be its accomplices."""
        audited = self.of(index)
        looked = tuple(sorted({*audited.clean, *audited.looked}))
        self.by_replica[index] = replace(audited, clean=(), looked=looked)

    def leave_unknown(self, window: Window) -> None:
        """Note that nobody can tell of a window: two kinds of machines may differ so."""
        before = self._without(window)
        self.by_replica[window.order.replica] = replace(
            before, unknown=(*before.unknown, window.number)
        )

    def join(self, other: "Audits") -> None:
        """Add the audits of other replicas."""
        self.by_replica |= other.by_replica
        self.proofs += other.proofs
        self.silent |= other.silent
        self.settlements += other.settlements
        self.steps += other.steps
        self.looks += other.looks
        self.notes += other.notes

    def found_clean(self, window: Window, validator: int) -> None:
        """Note that a replica has repeated a window, and found the same."""
        before = self._before(window)
        clean = tuple(sorted({*before.clean, window.number}))
        self._set(window, replace(before, clean=clean), validator)

    def looked_right(self, window: Window) -> None:
        """Note that the coordinator has looked at a window, and found nothing wrong."""
        index, before = window.order.replica, self._before(window)
        looked = tuple(sorted({*before.looked, window.number} - {*before.clean}))
        validators = {window.number: None, **before.validators}
        self.by_replica[index] = replace(before, looked=looked, validators=validators)

    def found_lied(self, window: Window, validator: int | None) -> None:
        """Note that the owner has lied in a window, as a validator has found; None: as the
        coordinator's look has."""
        before = self._before(window)
        self._set(window, replace(before, lied=(*before.lied, window.number)), validator)

    def left_open(self, window: Window, why: str) -> None:
        """Note why a window could not be settled; that somebody found it clean is void."""
        self._set(window, replace(self._without(window), unsettled=why), None)

    def _before(self, window: Window) -> Audited:
        return self.of(window.order.replica)

    def _without(self, window: Window) -> Audited:
        """What came of the replica's other windows, and of this one but for being clean."""
        before = self._before(window)
        return replace(before, clean=tuple(w for w in before.clean if w != window.number))

    def _set(self, window: Window, audited: Audited, validator: int | None) -> None:
        validators = {**audited.validators, window.number: validator}
        self.by_replica[window.order.replica] = replace(audited, validators=validators)
