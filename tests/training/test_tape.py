import hashlib

import pytest
import torch

from tdml.training.tape import Opening, Tape
from tdml.trust.audit import edges
from tdml.trust.commitment import content

STEPS, WINDOWS = 7, 3


def a_tape(changed: str = "", taken: int = STEPS, windows: int = WINDOWS) -> tuple[Tape, str]:
    """A sealed tape of seven steps, and its root. `changed` names the one thing in which it differs."""
    weights = torch.arange(4.0) + (changed == "weights")
    records = torch.arange(STEPS * 36.0, dtype=torch.float64).view(STEPS, 1, 4, 1, 9).clone()
    if changed.startswith("record"):
        records[int(changed[-1]), 0, 3, 0, 8] += 1e-9
    tape = Tape(edges(STEPS, windows), weights, records)
    for step in range(taken):
        if tape.wants(step):
            tape.keep(torch.full((6,), float(step)) + (changed == f"state{step}"))
    return tape, tape.seal(torch.ones(4) + (changed == "update"))


def test_states_are_wanted_at_the_inner_borders_only() -> None:
    tape, _ = a_tape()
    assert [step for step in range(STEPS) if tape.wants(step)] == [2, 5]
    assert tape.edges == (0, 2, 5, 7)


@pytest.mark.parametrize("changed", ["weights", "state2", "state5", "update", *(f"record{i}" for i in range(STEPS))])
def test_the_root_binds_every_state_and_every_record(changed: str) -> None:
    assert a_tape(changed)[1] != a_tape()[1]


def test_the_root_is_a_merkle_tree_over_pairs_of_digests() -> None:
    """RFC 6962 by hand, for four leaves."""
    tape, root = a_tape()
    opening = tape.open([0, 1, 2])
    states = [content(t) for t in (torch.arange(4.0), torch.full((6,), 2.0), torch.full((6,), 5.0), torch.ones(4))]
    records = [content(tape.records[a:b]) for a, b in ((0, 2), (2, 5), (5, 7))]

    def sha(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    leaves = [
        sha(b"\x00" + sha(f"tdml border|{state}|{record}".encode()))
        for state, record in zip(states, ["", *records], strict=True)
    ]
    assert root == sha(b"\x01" + sha(b"\x01" + leaves[0] + leaves[1]) + sha(b"\x01" + leaves[2] + leaves[3])).hex()
    assert (list(opening.states), list(opening.records)) == (states, records)


def test_an_opening_shows_what_was_asked_for_and_leads_to_the_root() -> None:
    tape, root = a_tape()
    opening = tape.open([0, 2])
    assert opening.root == root
    first, third = opening.starts
    assert first is None
    assert torch.equal(third, torch.full((6,), 5.0))
    assert content(third) == opening.states[2]
    assert [len(sketches) for sketches in opening.sketches] == [2, 2]
    assert [content(sketches) for sketches in opening.sketches] == [opening.records[0], opening.records[2]]
    assert tape.border(0) is None
    assert content(tape.border(1)) == opening.states[1]


@pytest.mark.parametrize("field", ["states", "records"])
@pytest.mark.parametrize("place", range(3))
def test_another_digest_in_an_opening_leads_to_another_root(field: str, place: int) -> None:
    tape, root = a_tape()
    opening = tape.open([])
    digests = {"states": list(opening.states), "records": list(opening.records)}
    digests[field][place] = hashlib.sha256(b"other").hexdigest()
    assert Opening(tuple(digests["states"]), tuple(digests["records"])).root != root


def test_states_and_records_of_different_length_have_no_root() -> None:
    opening = a_tape()[0].open([])
    with pytest.raises(ValueError, match="zip"):
        Opening(opening.states, opening.records[:-1]).root  # noqa: B018


@pytest.mark.parametrize("taken", [0, 1, 3, 5])
def test_steps_that_were_left_out_leave_the_last_state_at_the_borders(taken: int) -> None:
    tape, _ = a_tape(taken=taken)
    opening = tape.open([1, 2])
    last_kept = [torch.arange(4.0), *(torch.full((6,), float(s)) for s in (2, 5) if s < taken)][-1]
    assert len(opening.states) == WINDOWS + 1
    assert torch.equal(opening.starts[1], last_kept)


def test_one_window_keeps_no_state() -> None:
    tape, root = a_tape(windows=1)
    assert not any(tape.wants(step) for step in range(STEPS))
    opening = tape.open([0])
    assert opening.starts == (None,)
    assert opening.states == (content(torch.arange(4.0)), content(torch.ones(4)))
    assert opening.root == root
