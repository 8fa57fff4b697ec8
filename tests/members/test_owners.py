"""What the owners of data say that they hold."""

from dataclasses import replace

import numpy as np

from tdml.config import Topology
from tdml.data.contents import Contents
from tdml.members.cards import Card
from tdml.members.owners import Owners, owners_of

_TOPOLOGY = Topology(replicas=2, stages=3, spares=0)
_HELD = Contents(90, 2, "labels", "", "inputs", "", form="a vector")


def make() -> tuple[Owners, list[np.ndarray]]:
    shares = [np.arange(7), np.arange(7)]
    return Owners(_TOPOLOGY, "a vector", shares, least=32), shares


def fault(owners: Owners, name: str, held: Contents | None) -> str | None:
    return owners.fault(name, Card("settings", "", held))


def test_shares_are_what_owners_say() -> None:
    owners, shares = make()
    other = replace(_HELD, training_samples=33, training_inputs="others")
    for name, held in (("r0.s0", _HELD), ("r0.s1", None), ("r0.s2", _HELD), ("r1.s0", other)):
        assert fault(owners, name, held) is None
    assert [len(share) for share in shares] == [90, 33]
    # in the middle nothing is read, though who comes back may bring data
    assert fault(owners, "r0.s1", other) is None


def test_who_comes_back_holds_what_it_held() -> None:
    owners, shares = make()
    assert fault(owners, "r0.s0", _HELD) is None
    told = fault(owners, "r0.s0", replace(_HELD, training_samples=91))
    assert told and "the training samples (91 and 90) of r0.s0, now and before, differ" in told
    assert "as long as the run lasts" in told
    assert fault(owners, "r0.s0", _HELD) is None
    assert [len(share) for share in shares] == [90, 7]


def test_what_owners_hold_must_fit() -> None:
    owners, _ = make()
    wrong = {
        "few": (
            replace(_HELD, training_samples=31),
            "the 31 training samples of r1.s2 are too few",
        ),
        "form": (replace(_HELD, form="an image"), "a sample of r1.s2 is an image, one of rank 0"),
        "nothing": (None, "r1.s2 says nothing of its data"),
    }
    for held, told in wrong.values():
        found = fault(owners, "r1.s2", held)
        assert found and told in found and "\n" not in found
    assert fault(owners, "r1.s0", _HELD) is None
    assert "r1.s0 and r1.s2" in str(fault(owners, "r1.s2", replace(_HELD, sample_weights="w")))


def test_nobody_takes_the_place_of_an_owner() -> None:
    owners, _ = make()
    assert "leave spares and tdml join out" in str(fault(owners, "spare0", _HELD))


def test_only_where_data_stay_with_them_there_are_owners() -> None:
    assert owners_of({"partition": "iid"}, _TOPOLOGY, "", [], 1) is None
    assert owners_of({"partition": "own"}, _TOPOLOGY, "", [], 1) is not None
