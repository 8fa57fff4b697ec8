"""Which stage of a validator lied in a cross-check: what crossed its borders beside what crossed those of the others.

The last stage reports the losses, but an earlier one can send it other activations than it should. An evaluation is a
function of the weights and the samples, so honest validators see the same messages, bit for bit on one kind of machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tdml.trust.audit import LARGEST
from tdml.trust.blame import Blame, agreed, all_of, to_blame
from tdml.trust.exam import Hearing


@dataclass(frozen=True)
class Record:
    """What a validator's stages say that crossed their borders while it evaluated a candidate, see
    `tdml.training.borders`; None where a stage's answer is no such record. `kind` is that of its machines; `measured`:
    whether there is more than digests."""

    sketches: tuple[torch.Tensor | None, ...]
    kind: str
    measured: bool


# candidate → validator → what it recorded, of those who answered
Records = Mapping[int | None, Mapping[int, Record]]


def name_liars(hearing: Hearing, records: Records) -> dict[int, Blame]:
    """Who lied, of each perjurer's nodes; both by rows of the updates."""
    found = {}
    for liar, candidates in hearing.contradicted.items():
        blames = []
        for candidate in candidates:
            others = [v for v in hearing.judges[candidate] if candidate not in hearing.contradicted.get(v, ())]
            told = [records[candidate][v] for v in others]
            blames.append(_name(records[candidate][liar], [record for record in told if None not in record.sketches]))
        found[liar] = all_of(blames)
    return found


def _name(liar: Record, honest: Sequence[Record]) -> Blame:
    """From the record of one evaluation and those of all who agree on its result. Nobody is named where these do not
    agree on the way to it either."""
    if misfits := tuple(stage for stage, rows in enumerate(liar.sketches) if rows is None):
        return Blame(misfits)
    if not honest:
        return Blame()
    most = agreed([r.sketches for r in honest])
    same = [r for r in honest if all(map(torch.equal, r.sketches, most))]
    exact = len(same) > len(honest) / 2 and {r.kind for r in same} == {liar.kind}
    if not exact and not liar.measured:
        return Blame()
    last = len(liar.sketches) - 1
    return to_blame([last], liar.sketches, most, 0.0 if exact else LARGEST)
