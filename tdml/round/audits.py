"""What came of a round's audits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tdml.round.repeat import Window
from tdml.round.settlement import Settlement
from tdml.trust.judgement import Audited, Proof


@dataclass
class Audits:
    """What came of a round's audits: by replica, all proofs, and the nodes that did not answer;
    `drawn` are the windows that chance chose, by replica; `steps` is how much validators repeated,
    `looks` how much owners did for the coordinator."""

    drawn: Mapping[int, Sequence[int]] = field(default_factory=dict)
    by_replica: dict[int, Audited] = field(default_factory=dict)
    proofs: list[Proof] = field(default_factory=list)
    silent: set[str] = field(default_factory=set)  # names
    settlements: list[Settlement] = field(default_factory=list)
    steps: int = 0
    looks: int = 0
    notes: list[str] = field(default_factory=list)  # for the user
    unanswered: set[int] = field(default_factory=set)  # who did not repeat others' work

    def of(self, index: int) -> Audited:
        """What came of a replica's."""
        return self.by_replica.get(index, Audited())

    def repeated(self, index: int, windows: Sequence[int]) -> int:
        """In windows that chance chose, the steps of a replica that were found again, or of which
        nothing better can be had, since one of its nodes is proven to lie: its partners have shown
        what they did.

        Args:
            windows: the steps of each.
        """
        audited = self.of(index)
        shown = range(len(windows)) if audited.lied else {*audited.clean, *audited.looked}
        return sum(windows[window] for window in self.drawn.get(index, ()) if window in shown)

    def left_undecided(self, window: Window) -> list[Settlement]:
        """The disputes over a window in which nobody was proven to lie."""
        place = (window.order.replica, window.number)
        return [s for s in self.settlements if (s.replica, s.window) == place and not s.proofs]

    def unsure(self, window: Window) -> set[int | None]:
        """The validators of a window between whom and its owner one was found wrong, not for
        sure. Of small differences, which two kinds of machines may have, none of them is."""
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

    def hides(self, names: Iterable[str]) -> bool:
        """Whether one of a replica's nodes has not shown something: it owes its round, and all of
        that is repeated then."""
        return not self.silent.isdisjoint(names)

    def rest(
        self, windows: Mapping[int, Sequence[object]], names: Mapping[int, Sequence[str]]
    ) -> dict[int, list[int]]:
        """Of the windows of some replicas those that nobody has repeated yet, or only who is proven
        to lie himself. He may have others in league with him, and for each who is found later a run
        would go back once more.

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
        """Count a replica's clean windows as looked at only: its validators are of a rare kind of
        machine, and may be in league with it."""
        audited = self.of(index)
        looked = tuple(sorted({*audited.clean, *audited.looked}))
        self.by_replica[index] = replace(audited, clean=(), looked=looked)

    def leave_unknown(self, window: Window) -> None:
        """Nobody can tell of a window: two kinds of machines may differ so."""
        before = self._without(window)
        self.by_replica[window.order.replica] = replace(
            before, unknown=(*before.unknown, window.number)
        )

    def join(self, other: "Audits") -> None:
        """Those of other replicas too."""
        self.by_replica |= other.by_replica
        self.proofs += other.proofs
        self.silent |= other.silent
        self.settlements += other.settlements
        self.steps += other.steps
        self.looks += other.looks
        self.notes += other.notes

    def found_clean(self, window: Window, validator: int) -> None:
        """A replica has repeated a window, and found the very same."""
        before = self._before(window)
        clean = tuple(sorted({*before.clean, window.number}))
        self._set(window, replace(before, clean=clean), validator)

    def looked_right(self, window: Window) -> None:
        """The coordinator has looked at a window, and found nothing wrong."""
        index, before = window.order.replica, self._before(window)
        looked = tuple(sorted({*before.looked, window.number} - {*before.clean}))
        validators = {window.number: None, **before.validators}
        self.by_replica[index] = replace(before, looked=looked, validators=validators)

    def found_lied(self, window: Window, validator: int | None) -> None:
        """The owner is proven to have lied in a window; None: by the coordinator's look."""
        before = self._before(window)
        self._set(window, replace(before, lied=(*before.lied, window.number)), validator)

    def left_open(self, window: Window, why: str) -> None:
        """A window could not be settled, whoever had found it clean."""
        self._set(window, replace(self._without(window), unsettled=why), None)

    def _before(self, window: Window) -> Audited:
        return self.of(window.order.replica)

    def _without(self, window: Window) -> Audited:
        """As if nobody had found the window clean."""
        before = self._before(window)
        return replace(before, clean=tuple(w for w in before.clean if w != window.number))

    def _set(self, window: Window, audited: Audited, validator: int | None) -> None:
        validators = {**audited.validators, window.number: validator}
        self.by_replica[window.order.replica] = replace(audited, validators=validators)
