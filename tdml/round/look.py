"""What comes of a look: the coordinator itself takes one step of one stage of a window."""

from dataclasses import dataclass
from enum import Enum, auto

from tdml.round.settlement import Settlement


class Finding(Enum):
    """What a look may find."""

    RIGHT = auto()  # the coordinator finds what the owner has found
    LIE = auto()  # nodes are proven to lie
    UNSETTLED = auto()  # something is wrong, and nobody is proven to lie
    UNKNOWN = auto()  # this machine cannot tell: kinds of machines may differ so
    # the same, for random draws differ between kinds: of such a step no look will ever tell
    DRAWS_DIFFER = auto()
    UNREADABLE = auto()  # the coordinator cannot read the samples


@dataclass(frozen=True)
class Look:
    """What came of a look."""

    finding: Finding
    why: str = ""  # it is unsettled, or unreadable
    settlement: Settlement | None = None  # by which nodes are proven to lie

    @staticmethod
    def settled(settlement: Settlement) -> "Look":
        """What came of a look after which the coordinator has `settled` who lies, if anybody is
        proven to."""
        if settlement.proofs:
            return Look(Finding.LIE, settlement=settlement)
        return Look(Finding.UNSETTLED, settlement.unsettled)
