"""A dispute over a window, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tdml.round.fleet import Replica
from tdml.round.repeat import Window
from tdml.trust.dispute import Transcript
from tdml.trust.judgement import Proof


@dataclass(frozen=True)
class Settlement:
    """What came of a dispute: who is proven to lie, or why nobody is; and where the
    transcripts parted."""

    replica: int
    window: int
    validator: int | None
    proofs: tuple[Proof, ...] = ()
    unsettled: str = ""
    place: str = ""
    unsure: bool = False  # somebody was found wrong, but not again and again
    blind: bool = False  # nothing could be told, for a model had drawn
    # what a conviction rests on: the digests of files, by name
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def blamed(self) -> tuple[str, ...]:
        """The nodes that are proven to lie."""
        return tuple(name for proof in self.proofs for name in proof.nodes)


@dataclass(frozen=True)
class Dispute:
    """Who says what of a window. `parties` are by index: its owner, or who stands in for it, and a
    validator, if there is one; `alone`: nobody else can repeat it, so that what the coordinator
    finds decides."""

    window: Window
    parties: Mapping[int, Replica]
    transcripts: Sequence[Transcript]
    alone: bool = False

    @property
    def validator(self) -> int | None:
        """Who has found something else than the owner."""
        return [*self.parties, None][1]

    def by(self, index: int) -> list[Transcript]:
        """One party's transcripts."""
        return [transcript for transcript in self.transcripts if transcript.party == index]

    def convict(
        self,
        proofs: Sequence[Proof],
        place: str = "",
        artifacts: Mapping[str, str] | None = None,
    ) -> Settlement:
        """Nodes are proven to lie."""
        found = replace(self._nothing, proofs=tuple(proofs), place=place)
        return replace(found, artifacts=artifacts or {})

    def leave_open(
        self, reason: str, place: str = "", unsure: bool = False, blind: bool = False
    ) -> Settlement:
        """Nobody is proven to lie, for that reason."""
        return replace(self._nothing, unsettled=reason, place=place, unsure=unsure, blind=blind)

    @property
    def _nothing(self) -> Settlement:
        return Settlement(self.window.order.replica, self.window.number, self.validator)
