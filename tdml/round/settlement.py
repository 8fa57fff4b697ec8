"""A dispute over a window, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from tdml.round.fleet import Replica
from tdml.round.repeat import Window
from tdml.trust.dispute import Transcript
from tdml.trust.judgement import Proof


@dataclass(frozen=True)
class Settlement:
    """What came of a dispute over a window."""

    replica: int  # whose window it is
    window: int
    validator: int | None  # None: the coordinator has looked
    proofs: tuple[Proof, ...] = ()  # against the nodes that have lied
    unsettled: str = ""  # why nobody is proven to lie
    place: str = ""  # where the transcripts part, in words
    unsure: bool = False  # a party was found wrong, but what is found does not repeat itself
    # the evidence of a conviction: the digests of files, by name
    artifacts: Mapping[str, str] = field(default_factory=dict)

    @property
    def blamed(self) -> tuple[str, ...]:
        """The nodes that are proven to lie."""
        return tuple(name for proof in self.proofs for name in proof.nodes)


@dataclass(frozen=True)
class Dispute:
    """Who says what of a window."""

    window: Window
    # by index: first the owner, or who has found the same; then a validator, if there is one
    parties: Mapping[int, Replica]
    transcripts: Sequence[Transcript]
    alone: bool = False  # nobody else can repeat the window: what the coordinator finds decides

    @property
    def validator(self) -> int | None:
        """The index of the party that has found something else than the owner."""
        return [*self.parties, None][1]

    def by(self, index: int) -> list[Transcript]:
        """The transcripts of one party."""
        return [transcript for transcript in self.transcripts if transcript.party == index]

    def convict(
        self,
        proofs: Sequence[Proof],
        place: str = "",
        artifacts: Mapping[str, str] | None = None,
    ) -> Settlement:
        """The settlement by which nodes are proven to lie."""
        found = replace(self._nothing, proofs=tuple(proofs), place=place)
        return replace(found, artifacts=artifacts or {})

    def leave_open(self, reason: str, place: str = "", unsure: bool = False) -> Settlement:
        """The settlement by which nobody is proven to lie, for a reason."""
        return replace(self._nothing, unsettled=reason, place=place, unsure=unsure)

    @property
    def _nothing(self) -> Settlement:
        return Settlement(self.window.order.replica, self.window.number, self.validator)
