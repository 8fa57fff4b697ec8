"""What becomes of a replica whose update could not be had for the mean."""

from types import SimpleNamespace

import pytest

from tdml.round.aggregate import without_missing
from tdml.round.audits import Audits
from tdml.round.judge import Judged
from tdml.trust.judgement import Judgement, Proof

_OWN, _OLD = Proof(("r0.s1",), "another update"), Proof(("r0.s0",), "known before")
_OTHERS = Proof(("r1.s0",), "another's")


def _again(proofs: list[Proof], enabled: bool = True) -> Judged:
    """Replica 0, all of whose work was repeated, is missing from the mean; `proofs` came with
    that."""
    judgements = {
        index: Judgement(
            index, (f"r{index}.s0", f"r{index}.s1"), "suspicious", "large", 0.9, 0.5, verified=True
        )
        for index in (0, 1)
    }
    judged = Judged(judgements, [_OLD], Audits(), 0.0, ())
    job = SimpleNamespace(config=SimpleNamespace(trust=SimpleNamespace(enabled=enabled)))
    again = without_missing(job, judged, SimpleNamespace(proofs=[_OLD, *proofs]), [0])
    assert again.judgements[1] == judgements[1]
    assert (again.judgements[0].weight, again.judgements[0].scale) == (0.0, 1.0)
    return again


def test_who_shows_another_update_is_convicted_and_not_paid_for_what_was_repeated() -> None:
    again = _again([_OWN, _OTHERS])
    found = again.judgements[0]
    assert (found.status, found.blamed, found.verified) == ("malicious", ("r0.s1",), False)
    assert found.reason == "another update"
    assert again.proofs == [_OLD, _OWN, _OTHERS]


@pytest.mark.parametrize(
    ("proofs", "enabled"), [([], True), ([_OTHERS], True), ([_OWN], False)], ids=str
)
def test_who_is_lost_does_not_count_and_is_paid_for_what_was_repeated(
    proofs: list[Proof], enabled: bool
) -> None:
    found = _again(proofs, enabled).judgements[0]
    assert (found.status, found.blamed, found.verified) == ("suspicious", (), True)
    assert found.reason == "large; its update could not be had for the mean"
