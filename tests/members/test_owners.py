"""What the owners of data say that they hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tdml import config as settings
from tdml.data import csv, digits
from tdml.data.contents import Contents, form_of
from tdml.data.source import Source
from tdml.members.cards import Card
from tdml.members.owners import Owners, owners_of
from tdml.settings.schema import Topology
from tdml.tasks.classification import Classification
from tdml.tasks.objective import task_of

_TASK = Classification()
_TOPOLOGY = Topology(replicas=2, stages=3, spares=0)
_HELD = Contents(90, 2, "labels", "", "inputs", "", form="a vector")


def make() -> tuple[Owners, list[np.ndarray]]:
    shares = [np.arange(7), np.arange(7)]
    return Owners(_TOPOLOGY, "a vector", shares, least=32), shares


def fault(owners: Owners, name: str, held: Contents | None) -> str | None:
    return owners.fault(name, Card("settings", "", held))


def test_shares_are_what_owners_say() -> None:
    owners, shares = make()
    other = replace(_HELD, training_samples=32, training_inputs="others")
    for name, held in (("r0.s0", _HELD), ("r0.s1", None), ("r0.s2", _HELD), ("r1.s0", other)):
        assert fault(owners, name, held) is None
    assert [len(share) for share in shares] == [90, 32]
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
        "more than there are": (
            replace(_HELD, training_samples=2**52),
            "r1.s2 says that it has 4503599627370496 training samples",
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


def _own(*overrides: str) -> Owners | None:
    config = settings.load(["topology.stages=1", "sync.local_steps=2", *overrides])
    source = Source(*digits(8), 0, task_of(config))
    return owners_of(config, source, torch.Size([32, 10]), [np.arange(7)] * 2)


def test_only_where_data_stay_with_them_there_are_owners() -> None:
    assert _own() is None
    assert _own("data.partition=own") is not None


def test_owners_may_have_no_label_that_the_model_does_not_know() -> None:
    owners = _own("data.partition=own")
    assert owners is not None
    held = replace(_HELD, form="a tensor (3, 8, 8) of torch.float32", largest_label=10)
    told = fault(owners, "r0.s0", held)
    assert told and "the data of r0.s0: " in told and "model.num_classes" in told
    assert fault(owners, "r0.s0", replace(held, largest_label=9)) is None


def test_columns_and_classes_are_part_of_a_samples_form(tmp_path: Path) -> None:
    """Each owner's words would be numbered by themselves."""

    def form(rows: str, classes: Any = True) -> str:
        (tmp_path / "x.csv").write_text("a,b,kind\n" + rows * 5)
        return form_of(Source(*csv(str(tmp_path / "x.csv"), "kind", classes, 0.4), 0, _TASK))

    cats, eels = "1,2,cat\n2,1,dog\n", "1,2,dog\n2,1,eel\n"
    assert form(cats) == "a tensor (2,) of torch.float32 of a, b → kind: cat, dog"
    assert form(eels) != form(cats)
    assert form(eels, ["cat", "dog", "eel"]) == form(cats, ["cat", "dog", "eel"])
