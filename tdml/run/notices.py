"""What the user should know of a run, once, beside what its rounds say."""

import re

from tdml.round.engine import Round
from tdml.trust.judgement import LOST

_UNREPEATABLE = (
    "some audits could not be settled: recomputation has confirmed neither side. If that happens "
    "again, steps of this job cannot be repeated, and nobody can be convicted by them: see "
    "docs/your-model.md"
)


def notices(played: Round) -> list[str]:
    """What a round has shown."""
    unsettled = any(settled.unsettled for settled in played.settlements)
    return [*([_UNREPEATABLE] if unsettled else []), *_unreadable(played)]


def _unreadable(played: Round) -> list[str]:
    """Training samples that cost their replica the round."""
    lost = [made.reason for made in played.judgements.values() if made.status == LOST]
    found = [m[0] for reason in lost if (m := re.search(r"training sample \d+[^;]*", reason))]
    return [
        f"data: {text}: mend or leave out that sample: the replica that is given it loses its "
        "rounds, and nobody is to blame"
        for text in dict.fromkeys(found)
    ]
