"""The result of one round."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tdml.protocol.orders import Commitment
from tdml.round.settlement import Settlement
from tdml.trust.judgement import Audited, Judgement


@dataclass
class Round:
    """All that has happened in one round. Ledger, metrics and reports are made from it."""

    number: int
    slots: dict[int, tuple[str, ...]]  # names of the nodes, by replica and stage
    steps: dict[int, int] = field(default_factory=dict)  # that each replica is to take
    weights: str = ""  # digest of the global weights afterwards
    judgements: dict[int, Judgement] = field(default_factory=dict)
    commitments: dict[int, list[Commitment]] = field(default_factory=dict)
    audits: dict[int, Audited] = field(default_factory=dict)
    settlements: list[Settlement] = field(default_factory=list)
    bans: dict[str, str] = field(default_factory=dict)
    forgiven: tuple[str, ...] = ()  # nodes that owe an earlier round's work no longer, never shown
    # The task's metrics and the loss, by name; of the validation half where it is measured.
    test: Mapping[str, float | None] = field(default_factory=dict)
    validation: Mapping[str, float | None] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    spent: float = 0.0  # steps of training, on cross-checks and audits
    trained: bool = False  # whether any replica has finished its steps
    tainted: range = range(0)  # rounds that may hold something of a node proven to lie

    @property
    def accepted(self) -> list[int]:
        """The replicas whose updates count."""
        return [index for index, judgement in sorted(self.judgements.items()) if judgement.accepted]
